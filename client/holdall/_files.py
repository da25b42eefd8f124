"""Files and directories: as streams, and as local copies."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import threading
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Final

from holdall._defaults import STORE_FOLDER
from holdall_store.errors import AccessDeniedError, HoldallError, StorageError
from holdall_store.repository import COMPLETE_MARK, FILES_FOLDER, Repository, StoredArtifact, artifact_key, trim_cache
from holdall_store.serializers import Encoded
from holdall_store.serializers.files import (
    DIRECTORY_TAG,
    check_patterns,
    encode_directory,
    extract_directory,
    extract_file,
    parse_directory,
    parse_file,
)
from holdall_store.storage import LocalStorage

__all__ = ["cached_copy", "check_source", "encode_folder", "extract", "open_file", "replace_file", "writing_to"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

AHEAD_BYTES: Final = 64 << 20
"""What is fetched at once of a large file: eight ranges that travel together."""


class _FileStream(io.RawIOBase):
    """The bytes of a file artifact; each read fetches the chunks that it needs, and no more."""

    def __init__(self, repository: Repository, artifact: StoredArtifact, buffer: int | None, size: int) -> None:
        self._repository = repository
        self._artifact = artifact
        self._buffer = buffer
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"Position {base + offset} is before the beginning of the file.")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        length = max(0, min(len(view), self._size - self._position))
        if length and self._buffer is not None:
            view[:length] = self._repository.read_range(self._artifact, self._buffer, self._position, length)
            self._position += length
        return length


class NotAFolderError(StorageError, NotADirectoryError):
    """What is to be saved as a directory is none."""


def check_source(path: object, *, folder: bool = False) -> None:
    """Raise an error, with the nearest name, where there is no such file, or no such `folder`, to be saved."""
    if not isinstance(path, str | os.PathLike):  # what is none is told as for any other path
        return
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        return
    if not os.path.lexists(text):
        from holdall_store.transfer._paths import nearest_path
        from holdall_store.transfer._s3_local import MissingFolderError
        from holdall_store.transfer._s3_sources import MissingFileError

        kind, what = (MissingFolderError, "folder") if folder else (MissingFileError, "file")
        raise kind(errno.ENOENT, f"There is no {what} {text!r}.{nearest_path(text, folders=folder)}")
    if folder and os.path.isfile(text):
        raise NotAFolderError(errno.ENOTDIR, f"{text!r} is a file, no folder: save_file() saves it.")


def encode_folder(repository: Repository, path: str | os.PathLike[str], ignore: Iterable[str] = ()) -> Encoded:
    """Encode a directory to be saved in `repository`: without stores of the default name, and without that one."""
    storage = repository.storage
    store = storage.path if isinstance(storage, LocalStorage) else None
    return encode_directory(path, (STORE_FOLDER, *check_patterns(ignore)), apart=store)


def open_file(repository: Repository, artifact: StoredArtifact) -> io.RawIOBase:
    """Return a file artifact as a raw, seekable stream."""
    entry = parse_file(repository.node(artifact), _sizes(artifact))
    return _FileStream(repository, artifact, entry.buffer, entry.size)


def extract(repository: Repository, artifact: StoredArtifact, destination: Path) -> Path:
    """Write a file or directory artifact to `destination`, which must not be there yet; whole, or not at all."""
    with writing_to(destination):
        _extract(repository, artifact, destination)
    return destination


def replace_file(repository: Repository, artifact: StoredArtifact, destination: Path) -> None:
    """Write a file artifact to `destination` in the place of the file that is there, in one step."""
    part = destination.with_name(f".{destination.name[:100]}.{os.getpid()}.part")
    try:
        with writing_to(destination):
            _extract(repository, artifact, part)
            os.replace(part, destination)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing_to(destination: Path) -> Generator[None]:
    """Name the place in errors of the system, which name nothing, or a temporary file that nobody knows."""
    try:
        yield
    except HoldallError:
        raise  # some are OSErrors, too
    except OSError as error:
        raise _unwritable(error, destination) from error


def _unwritable(error: OSError, destination: Path) -> HoldallError:
    number = error.errno or 0
    way_out = "Free some space there, or name" if number in _FULL else "Name"
    message = f"{str(destination)!r} cannot be written: {error.strerror or error}. {way_out} another place."
    return AccessDeniedError(number, message) if number in _DENIED else StorageError(number, message)


def _extract(repository: Repository, artifact: StoredArtifact, destination: Path) -> None:
    node = repository.node(artifact)
    read = _ahead(repository, artifact) if repository.storage.traits.concurrency else _reader(repository, artifact)
    if isinstance(node, dict) and node.get("$") == DIRECTORY_TAG:
        extract_directory(parse_directory(node, _sizes(artifact)), read, destination)
    else:
        extract_file(parse_file(node, _sizes(artifact)), read, destination)


def cached_copy(repository: Repository, artifact: StoredArtifact, name: str) -> Path:
    """Return the path of a read-only copy in the cache; it is made if it is not there, or was changed."""
    node = repository.node(artifact)
    original = node.get("name") if isinstance(node, dict) else None
    leaf = original if isinstance(original, str) and original not in ("", ".", "..") and "/" not in original else name
    root = repository.settings.cache_folder() / FILES_FOLDER
    folder = root / artifact_key(artifact)  # not its digest, which another store could claim for something else
    target, mark = folder / leaf, folder / COMPLETE_MARK
    try:
        if mark.exists() and mark.read_text() == _fingerprint(target):
            with contextlib.suppress(OSError):  # a disk that may only be read
                os.utime(mark)
            return target
        _make_copy(repository, artifact, folder, leaf)
    except OSError as error:
        if isinstance(error, HoldallError):
            raise
        raise StorageError(
            error.errno,
            f"The cache folder {root} cannot be used ({error.strerror}). Set HOLDALL_HOME to a folder that can, or say "
            "where the copy is to be made: path(to=...).",
        ) from error
    trim_cache(repository.settings, keep=folder)
    return target


def _make_copy(repository: Repository, artifact: StoredArtifact, folder: Path, leaf: str) -> None:
    """Make a copy beside `folder`, whole, and give it that name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.parent / f".tmp-{os.getpid()}-{threading.get_ident()}-{folder.name[:16]}"
    _remove(work)
    work.mkdir()
    try:
        _extract(repository, artifact, work / leaf)
        _make_read_only(work / leaf)
        (work / COMPLETE_MARK).write_text(_fingerprint(work / leaf))
        _remove(folder)
        try:
            os.rename(work, folder)
        except OSError:
            if not (folder / COMPLETE_MARK).exists():  # otherwise another process was faster, with the same bytes
                raise
    finally:
        _remove(work)


def _reader(repository: Repository, artifact: StoredArtifact) -> Callable[[int, int, int], memoryview]:
    def read(buffer: int, offset: int, length: int) -> memoryview:
        return repository.read_range(artifact, buffer, offset, length)

    return read


def _ahead(repository: Repository, artifact: StoredArtifact) -> Callable[[int, int, int], memoryview]:
    """Return a reader for whoever reads on and on: far away, much at once costs little more than a piece of it."""
    sizes = _sizes(artifact)
    held: tuple[int, int, memoryview] = (-1, 0, memoryview(b""))

    def read(buffer: int, offset: int, length: int) -> memoryview:
        nonlocal held
        held_buffer, start, data = held
        if buffer != held_buffer or not start <= offset <= offset + length <= start + len(data):
            size = max(length, min(AHEAD_BYTES, sizes[buffer] - offset)) if 0 <= buffer < len(sizes) else length
            start, data = offset, repository.read_range(artifact, buffer, offset, size)
            held = (buffer, start, data)
        return data[offset - start : offset - start + length]

    return read


def _sizes(artifact: StoredArtifact) -> list[int]:
    return [buffer.bytes for buffer in artifact.record.buffers]


def _fingerprint(path: Path) -> str:
    """Return something that changes when a copy is changed: sizes and times of all that is in it."""
    try:
        if not path.is_dir():
            info = path.lstat()
            return f"{info.st_size} {info.st_mtime_ns}"
        parts = []
        for folder, folders, files in os.walk(path):
            folders.sort()
            for name in sorted(files):
                info = os.lstat(os.path.join(folder, name))
                parts.append(f"{name} {info.st_size} {info.st_mtime_ns}")
        return "\n".join(parts)
    except OSError:
        return ""


def _make_read_only(path: Path) -> None:
    """Take the right to write from all files, so that a cached copy is not changed by mistake."""
    for file in [path] if not path.is_dir() else [Path(f, n) for f, _, names in os.walk(path) for n in names]:
        if not file.is_symlink():
            file.chmod(stat.S_IMODE(file.stat().st_mode) & ~0o222)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    elif path.exists():
        # A directory that was saved read-only must be made writable before it can be emptied.
        for folder, _, _ in os.walk(path):
            os.chmod(folder, 0o700)
        shutil.rmtree(path, ignore_errors=True)
