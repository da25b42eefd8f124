"""Files and folders as artifacts: what is found on the disk becomes a node and buffers that are read while saved.

The node of a file is ``{"$": "holdall.File", "name", "mode", "size", "buffer"}``; an empty one has no buffer. A folder
is ``{"$": "holdall.Directory", "name", "entries", "buffers"}``; its entries are columns, not objects, because there
may be very many:

- ``folders``: paths in the order of their bytes, the first is ``""``, the folder itself; ``folder_modes``;
- ``counts``: how many files lie in each folder; ``files``: their names, folder by folder and sorted; ``sizes``,
  ``file_modes``;
- ``links``: ``[path, target]`` of each symbolic link;
- ``small_below``: files with fewer bytes are bundled, one after the other; ``bundles``: how many are in each bundle.

Modes are ``{"most": mode, "other": {index: mode}}``. The buffers are the bundles and then the files that are not small,
each in the order of the files. Files without bytes are in no buffer.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import heapq
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdall_store.errors import ConflictError, InvalidNameError, UnsupportedTypeError
from holdall_store.serializers._file_nodes import DIRECTORY_TAG, FILE_TAG, link_problem
from holdall_store.serializers._protocol import BufferSource, Encoded, FileSource, Serializer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from holdall_store.serializers._protocol import Node

__all__ = ["SERIALIZERS", "OpenSource", "check_patterns", "encode_directory", "encode_file", "open_source"]

SERIALIZERS: tuple[Serializer, ...] = ()
"""None: no object is a file. Whoever saves a path calls `encode_file` or `encode_directory`."""

SMALL_BYTES = 64 << 10
"""Files below this are bundled: about the size of a chunk, below which a buffer of one's own costs more than it gives."""

BUNDLE_BYTES = 8 << 20
"""A bundle has no more than this: one efficient read, and few bytes too many for a single file of it."""

_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def encode_file(path: str | os.PathLike[str]) -> Encoded:
    """Encode one regular file; a symbolic link is followed.

    Errors of the system about the file are Python's own, and name it.
    """
    _check_given(path)
    name = os.path.basename(os.path.abspath(path))
    _check_text(name, os.fspath(path))
    real = os.path.realpath(path)
    found = os.stat(real)
    if not stat.S_ISREG(found.st_mode):
        hint = " (it can be saved as one)" if stat.S_ISDIR(found.st_mode) else ""
        raise UnsupportedTypeError(
            f"{os.fspath(path)!r} cannot be saved as a file: it is {_special(found.st_mode)}{hint}."
        )
    node = {"$": FILE_TAG, "name": name, "mode": found.st_mode & 0o777, "size": found.st_size, "buffer": None}
    buffers = []
    if found.st_size:
        node["buffer"] = 0
        buffers.append(_buffer([_source(real, found)]))
    return Encoded(node, buffers, "file")


def encode_directory(
    path: str | os.PathLike[str], ignore: Iterable[str] = (), *, apart: str | os.PathLike[str] | None = None
) -> Encoded:
    """Encode a folder and all that is in it; if `path` is a symbolic link, it is followed.

    `ignore` holds shell patterns: one without a slash is matched with every name (``*.pyc``, ``__pycache__``), one
    with a slash with paths from the top (``data/*.tmp``); what lies in an ignored folder is ignored. Kept are files,
    folders, permission bits, and symbolic links that stay within the folder; absolute ones become relative. Anything
    else is refused by name. Files with several hard links become several files. The folder `apart`, if it lies within,
    is left out.
    """
    _check_given(path)
    name = os.path.basename(os.path.abspath(path)) or "root"
    _check_text(name, os.fspath(path))
    real = os.path.realpath(path)
    tree = _Tree(real, os.path.abspath(path), _ignored(ignore), os.path.realpath(apart) if apart else "")
    tree.scan()
    buffers, bundles = _bundle(tree)
    entries: dict[str, Node] = {
        "folders": tree.folders,
        "folder_modes": _modes(tree.folder_modes),
        "counts": tree.counts,
        "files": tree.files,
        "file_modes": _modes(tree.file_modes),
        "sizes": [source.size for source in tree.sources],
        "links": tree.links,
        "small_below": SMALL_BYTES,
        "bundles": bundles,
    }
    node = {"$": DIRECTORY_TAG, "name": name, "entries": entries, "buffers": list(range(len(buffers)))}
    return Encoded(node, buffers, "directory")


class OpenSource:
    """A file that is being saved."""

    def __init__(self, source: FileSource, file: int) -> None:
        self._source = source
        self._file = file

    def read(self, offset: int, length: int) -> memoryview:
        """Return exactly `length` bytes from `offset`, or raise `ConflictError` because they are there no more."""
        data = memoryview(bytearray(length))
        done = 0
        while done < length:
            count = os.preadv(self._file, [data[done:]], offset + done)
            if count == 0:
                raise _changed(self._source, "it became shorter")
            done += count
        return data


@contextlib.contextmanager
def open_source(source: FileSource) -> Generator[OpenSource]:
    """Open a file that is to be saved, and make sure that it is, and stays, what it was when it was found.

    A difference in size, time of modification or inode raises `ConflictError`, when the file is opened and when it is
    closed.
    """
    file = _open(source)
    try:
        _check_unchanged(source, file)
        yield OpenSource(source, file)
        _check_unchanged(source, file)
    finally:
        os.close(file)


def read_whole(source: FileSource, target: memoryview) -> None:
    """Read all of a file into `target`, which has its size; `open_source` for the many small files of a directory.

    One look afterwards sees what changed before and while it was read.
    """
    file = _open(source)
    try:
        done = 0
        while done < len(target):
            count = os.readv(file, [target[done:]])
            if count == 0:
                raise _changed(source, "it became shorter")
            done += count
        _check_unchanged(source, file)
    finally:
        os.close(file)


def _open(source: FileSource) -> int:
    try:
        # Something that is no file any more must not make us wait.
        return os.open(source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise _changed(source, "it is gone") from error
        raise


def _check_unchanged(source: FileSource, file: int) -> None:
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise _changed(source, "it is no file any more")
    if source.inode is not None and found.st_ino != source.inode:
        raise _changed(source, "it was replaced")
    if found.st_size != source.size:
        raise _changed(source, f"it had {source.size} bytes and has {found.st_size} now")
    if source.mtime_ns is not None and found.st_mtime_ns != source.mtime_ns:
        raise _changed(source, "it was written to")


def _changed(source: FileSource, how: str) -> ConflictError:
    return ConflictError(f"{str(source.path)!r} changed while it was saved: {how}. Save it when nobody writes to it.")


class _Tree:
    """What was found in a folder, as columns."""

    def __init__(self, root: str, given: str, ignored: Callable[[str, str], bool], apart: str) -> None:
        self._root = root
        self._given = given  # as the caller writes the root, and as absolute links may
        self._ignored = ignored
        self._apart = apart
        self.folders: list[str] = []
        self.folder_modes: list[int] = []
        self.counts: list[int] = []
        self.files: list[str] = []
        self.file_modes: list[int] = []
        self.sources: list[FileSource] = []
        self.links: list[list[str]] = []

    def scan(self) -> None:
        """Look at everything once, in the order of the node."""
        # A heap, because whole paths decide: "a-b" comes before "a/b".
        todo: list[tuple[str, int]] = [("", os.stat(self._root).st_mode)]
        while todo:
            path, mode = heapq.heappop(todo)
            self.folders.append(path)
            self.folder_modes.append(mode & 0o777)
            for inner in self._scan_folder(path):
                heapq.heappush(todo, inner)
        self.links.sort()

    def _scan_folder(self, folder: str) -> list[tuple[str, int]]:
        """Take in what lies in a folder, and return the folders in it with their modes."""
        prefix = f"{folder}/" if folder else ""
        base = os.path.join(self._root, folder) if folder else self._root
        inner = []
        before = len(self.files)
        with os.scandir(base) as scan:
            entries = sorted(scan, key=_entry_name)
        for entry in entries:
            path = prefix + entry.name
            if self._ignored(entry.name, path):
                continue
            _check_text(entry.name, entry.path)
            found = entry.stat(follow_symlinks=False)
            kind = stat.S_IFMT(found.st_mode)
            if kind == stat.S_IFREG:
                self.files.append(entry.name)
                self.file_modes.append(found.st_mode & 0o777)
                self.sources.append(_source(entry.path, found))
            elif kind == stat.S_IFDIR:
                if entry.path != self._apart:
                    inner.append((path, found.st_mode))
            elif kind == stat.S_IFLNK:
                self._add_link(path, entry.path)
            else:
                raise UnsupportedTypeError(
                    f"{entry.path!r} cannot be saved: it is {_special(found.st_mode)}. Ignore it, or remove it."
                )
        self.counts.append(len(self.files) - before)
        return inner

    def _add_link(self, path: str, place: str) -> None:
        target = os.readlink(place)
        _check_text(target, place)
        inside = self._inside(target)
        if inside is not None:
            target = os.path.relpath(f"/{inside}", os.path.dirname(f"/{path}"))
        problem = link_problem(path, target)
        if problem:
            raise UnsupportedTypeError(
                f"{place!r} cannot be saved: it is a symbolic link to {target!r}, which {problem}. "
                "Ignore it, or replace it by what it points to."
            )
        self.links.append([path, target])

    def _inside(self, target: str) -> str | None:
        """Return the path in the folder that an absolute target names; None for any other."""
        for root in (self._root, self._given):
            if os.path.normpath(target) == target and (target == root or target.startswith(root.rstrip("/") + "/")):
                return target[len(root) :].lstrip("/")
        return None


def _entry_name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _bundle(tree: _Tree) -> tuple[list[BufferSource], list[int]]:
    """Return the buffers of a tree, and how many files each bundle among them has."""
    bundles: list[list[FileSource]] = []
    large: list[BufferSource] = []
    room = 0
    for source in tree.sources:
        if source.size >= SMALL_BYTES:
            large.append(_buffer([source]))
        elif source.size:
            if room < source.size:
                bundles.append([])
                room = BUNDLE_BYTES
            bundles[-1].append(source)
            room -= source.size
    return [*map(_buffer, bundles), *large], [len(bundle) for bundle in bundles]


def _buffer(sources: Sequence[FileSource]) -> BufferSource:
    return BufferSource(tuple(sources), sum(source.size for source in sources))


def _source(path: str, found: os.stat_result) -> FileSource:
    return FileSource(path, found.st_size, found.st_mtime_ns, found.st_ino)


def _modes(modes: list[int]) -> dict[str, Node]:
    most = Counter(modes).most_common(1)[0][0] if modes else 0o644
    return {"most": most, "other": {str(index): mode for index, mode in enumerate(modes) if mode != most}}


def check_patterns(patterns: object) -> list[str]:
    """Return shell patterns as a list, of which a single one may be given as it is; refuse what is no text."""
    if isinstance(patterns, str):
        return [patterns]
    if not isinstance(patterns, Iterable):
        raise InvalidNameError(f"ignore is a list of patterns, such as ['*.tmp'], not {patterns!r:.80}.")
    checked = []
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise InvalidNameError(f"ignore is a list of patterns, such as ['*.tmp']; {pattern!r:.80} is no text.")
        checked.append(pattern)
    return checked


def _ignored(patterns: Iterable[str]) -> Callable[[str, str], bool]:
    """Return whether any of `patterns` means what has a name and a path."""
    stripped = [pattern.removeprefix("./").rstrip("/") for pattern in check_patterns(patterns)]
    names = _any_of(pattern for pattern in stripped if "/" not in pattern)
    paths = _any_of(pattern.lstrip("/") for pattern in stripped if "/" in pattern)
    return lambda name, path: bool((names and names.match(name)) or (paths and paths.match(path)))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    expression = "|".join(map(fnmatch.translate, patterns))
    return re.compile(expression) if expression else None


def _check_given(path: str | os.PathLike[str]) -> None:
    """Refuse an empty path, which Python would take for the working directory, and bytes."""
    given = os.fspath(path)
    if not isinstance(given, str):
        raise InvalidNameError(f"{given!r:.80} is no path as text: os.fsdecode(...) makes it one.")
    if not given:
        raise InvalidNameError("An empty path names no file or directory. The working directory is '.'.")


def _check_text(name: str, path: str) -> None:
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UnsupportedTypeError(
                f"{path!a} cannot be saved: its name or its target is not UTF-8. Rename it, or ignore it."
            ) from None


def _special(mode: int) -> str:
    return _SPECIAL.get(stat.S_IFMT(mode), "no regular file")
