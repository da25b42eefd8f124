"""How each kind of fsspec filesystem creates a file only if there is none, and what else is special about it."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from holdall_store.storage._durable import TEMPORARY_PREFIX
from holdall_store.storage._fsspec_errors import is_missing, read_failure
from holdall_store.storage._keys import is_segment

__all__ = ["CONNECTIONS_MAX", "PROBE_NAME", "REQUEST_TIMEOUT", "Way", "way_of"]

PROBE_NAME: Final = ".holdall-probe"
"""Its name begins with a dot, so it is nobody's object. It stays, so that the next process needs one try only."""

REQUEST_TIMEOUT: Final = 90.0
"""Seconds in which a server has to say something, where the library would wait forever."""

CONNECTIONS_MAX: Final = 8
"""For one storage, where each serves one thread: OpenSSH begins to refuse at ten that are being opened at once."""

OBJECT_REQUESTS: Final = 32
"""As many at once as pay on object stores, where each takes a while to be answered."""

Entry = tuple[str, int | None]


class Way:
    """The verbs as one kind of filesystem understands them; this one cannot create exclusively.

    ``shared``: threads may use one object at the same time. ``remade``: the object is all in the arguments that it was
    made from, so that others like it may stand in for it. ``settings`` are added to these arguments. ``probed``: it has
    to be seen that a file is not overwritten. ``whole``: what is read is never too short. ``private``: nobody else can
    write there. ``markers`` in a path mean something else than the character itself. ``bucketed``: the first segment
    of a path is a bucket. ``concurrency`` is how many requests at once pay.
    """

    shared: ClassVar[bool] = False
    remade: ClassVar[bool] = False
    probed: ClassVar[bool] = True
    whole: ClassVar[bool] = False
    private: ClassVar[bool] = False
    bucketed: ClassVar[bool] = False
    concurrency: ClassVar[int] = 1
    settings: Mapping[str, Any] = {}
    markers: tuple[str, ...] = ()
    refusal: str = "it has no way to create a file only if there is none, or to give one its name"
    """Why nothing can be written exclusively; empty where it can."""

    def prepared(self, fs: Any) -> Any:
        """Return a new filesystem object, ready for use."""
        return fs

    def closed(self, fs: Any) -> Any:
        """Return a filesystem object that is no longer needed, after its connections are closed."""
        return fs

    def write(self, fs: Any, path: str, body: bytes, *, exclusive: bool) -> None:
        """Make a file; when `exclusive`, raise whatever the filesystem says where there is one."""
        if exclusive:
            raise PermissionError(self.refusal)
        self.put(fs, path, body)

    def put(self, fs: Any, path: str, body: bytes) -> None:
        """Write a file whose name is free, and the folders above it."""
        try:
            fs.pipe_file(path, body)
        except Exception as error:
            if read_failure(error).meaning == "again":
                raise
            make_folders(fs, path.rpartition("/")[0])  # what is said of a missing folder differs widely
            fs.pipe_file(path, body)

    def read(self, fs: Any, path: str, start: int, length: int | None) -> bytes:
        """Return a part of a file, which may turn out too short."""
        if start == 0 and length is None:
            return bytes(fs.cat_file(path))
        return bytes(fs.cat_file(path, start=start, end=None if length is None else start + length))

    def size(self, fs: Any, path: str) -> int:
        """Return the size of a file; raise `FileNotFoundError` where there is none, `IsADirectoryError` at a folder."""
        fs.invalidate_cache()
        info = fs.info(path, **self._refresh(fs.info))
        if info["type"] != "file":
            raise IsADirectoryError(path)
        return int(info["size"])

    def entries(self, fs: Any, folder: str) -> list[Entry]:
        """Return the names in a folder, those of folders with a slash, and the sizes of files where they are known."""
        fs.invalidate_cache()
        found: list[Entry] = []
        for info in fs.ls(folder, detail=True, **self._refresh(fs.ls)):
            path = info["name"].rstrip("/")
            name = path.rpartition("/")[2]
            if path.strip("/") == folder.strip("/") or not is_segment(name):
                continue  # a folder's own marker, or a file of that name; or nobody's object
            if info["type"] == "directory":
                found.append((name + "/", None))
            elif info["type"] == "file":
                found.append((name, info["size"]))
        return found

    def remove(self, fs: Any, path: str) -> None:
        """Remove a file."""
        fs.rm_file(path)

    def refuses(self, fs: Any, folder: str) -> bool:
        """Tell whether a file that is there is left alone: the same name is created twice, or once if it is there."""
        path = f"{folder}/{PROBE_NAME}"
        for _ in range(2):
            body = b"holdall looks here whether only what is absent is created: " + os.urandom(8).hex().encode()
            try:
                self.write(fs, path, body, exclusive=True)
            except Exception as error:
                if read_failure(error).meaning == "again":
                    raise
                try:
                    there = self.read(fs, path, 0, None)
                except Exception:  # noqa: BLE001 - what went wrong is why it could not be written
                    raise error from None
                return there != body
        return False

    def _refresh(self, method: Any) -> dict[str, bool]:
        """Return what makes a method look at the server whatever it remembers."""
        import inspect

        return {"refresh": True} if "refresh" in inspect.signature(method).parameters else {}


class ObjectWay(Way):
    """Stores of objects, where one request creates a whole object on the condition that there is none."""

    shared = True
    remade = True
    whole = True
    bucketed = True
    concurrency = OBJECT_REQUESTS
    refusal = ""

    def __init__(self, *, sized: bool = False, markers: tuple[str, ...] = (), reading: Mapping[str, Any]) -> None:
        self.settings = {"use_listings_cache": False}
        self.markers = markers
        self._sized = sized
        self._reading = reading

    def write(self, fs: Any, path: str, body: bytes, *, exclusive: bool) -> None:
        # A chunk that holds all of it makes it one request.
        size = {"chunksize": len(body) + 1} if self._sized else {}
        fs.pipe_file(path, body, mode="create" if exclusive else "overwrite", **size)

    def read(self, fs: Any, path: str, start: int, length: int | None) -> bytes:
        span = (
            {} if start == 0 and length is None else {"start": start, "end": None if length is None else start + length}
        )
        return bytes(fs.cat_file(path, **span, **self._reading))


_LOCK = threading.Lock()


def _renew_lock() -> None:
    global _LOCK
    _LOCK = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class MemoryWay(Way):
    """Files in the memory of this process, which looks and then writes: a lock makes that one step."""

    shared = True
    probed = False
    private = True
    concurrency = 0
    refusal = ""

    def write(self, fs: Any, path: str, body: bytes, *, exclusive: bool) -> None:
        with _LOCK:
            fs.pipe_file(path, body, mode="create" if exclusive else "overwrite")


class RenameWay(Way):
    """Filesystems on which a whole file gets its name by a rename that, as has to be seen, never replaces another."""

    refusal = ""

    def write(self, fs: Any, path: str, body: bytes, *, exclusive: bool) -> None:  # noqa: ARG002 - the probe tells
        folder = path.rpartition("/")[0]
        temporary = f"{folder}/{TEMPORARY_PREFIX}{os.urandom(8).hex()}"
        renamed = False
        try:
            self.put(fs, temporary, body)
            self.rename(fs, temporary, path)
            renamed = True
        finally:
            if not renamed:
                self._discard(fs, temporary)

    def rename(self, fs: Any, old: str, new: str) -> None:
        """Give a file its name."""
        fs.mv(old, new)

    def _discard(self, fs: Any, path: str) -> None:
        try:
            self.remove(fs, path)
        except Exception:  # noqa: BLE001 - nobody reads or lists it, and what brought us here matters more
            return


class FtpWay(RenameWay):
    """FTP: a rename replaces on most servers, as the probe will find."""

    remade = True
    concurrency = CONNECTIONS_MAX

    def __init__(self) -> None:
        self.settings = {"use_listings_cache": False}

    def entries(self, fs: Any, folder: str) -> list[Entry]:
        found = super().entries(fs, folder)
        if [name for name, _ in found] == [folder.rpartition("/")[2]] and not fs.isdir(folder):
            return []  # it is a file, which many servers list as if it lay in itself
        return found


class WebdavWay(RenameWay):
    """WebDAV: a move can refuse to replace, but servers look first and move then, which is no exclusion."""

    refusal = "WebDAV servers look whether a name is free and take it then, so that two writers may both find it free"

    def rename(self, fs: Any, old: str, new: str) -> None:
        fs.client.move(old, new)


class SftpWay(RenameWay):
    """SFTP: its plain rename fails where there is something (OpenSSH makes a hard link), and large files are pipelined.

    A connection serves one thread at a time: two that wait for answers would take each other's.
    """

    remade = True
    whole = True
    concurrency = CONNECTIONS_MAX

    def prepared(self, fs: Any) -> Any:
        fs.ftp.get_channel().settimeout(REQUEST_TIMEOUT)
        return fs

    def closed(self, fs: Any) -> Any:
        fs.ftp.close()
        fs.client.close()
        return fs

    def put(self, fs: Any, path: str, body: bytes) -> None:
        try:
            fs.ftp.putfo(io.BytesIO(body), path)
        except OSError as error:
            if not is_missing(error):
                raise
            make_folders(fs, path.rpartition("/")[0])
            fs.ftp.putfo(io.BytesIO(body), path)

    def rename(self, fs: Any, old: str, new: str) -> None:
        fs.ftp.rename(old, new)

    def read(self, fs: Any, path: str, start: int, length: int | None) -> bytes:
        with fs.ftp.open(path, "rb") as file:
            size = file.stat().st_size - start
            wanted = size if length is None else min(length, size)
            return b"".join(file.readv([(start, wanted)])) if wanted > 0 else b""

    def size(self, fs: Any, path: str) -> int:
        found = fs.ftp.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(path)
        return int(found.st_size)

    def entries(self, fs: Any, folder: str) -> list[Entry]:
        found: list[Entry] = []
        for info in fs.ftp.listdir_attr(folder or "/"):
            if not is_segment(info.filename):
                continue
            if stat.S_ISDIR(info.st_mode):
                found.append((info.filename + "/", None))
            elif stat.S_ISREG(info.st_mode):
                found.append((info.filename, info.st_size))
        return found

    def remove(self, fs: Any, path: str) -> None:
        fs.ftp.remove(path)


def make_folders(fs: Any, folder: str) -> None:
    """Make a folder and those above it; others may be doing the same."""
    for left in reversed(range(folder.count("/") + 1)):
        fs.invalidate_cache()
        try:
            fs.makedirs(folder, exist_ok=True)
        except Exception:
            fs.invalidate_cache()
            if fs.isdir(folder):
                return
            if not left:  # that somebody makes one of them this instant happens once for each
                raise
        else:
            return


_WAYS: Final[dict[str, Way]] = {
    "fsspec.implementations.memory.MemoryFileSystem": MemoryWay(),
    "fsspec.implementations.sftp.SFTPFileSystem": SftpWay(),
    "fsspec.implementations.ftp.FTPFileSystem": FtpWay(),
    "webdav4.fsspec.WebdavFileSystem": WebdavWay(),
    "s3fs.core.S3FileSystem": ObjectWay(sized=True, markers=("?versionId=",), reading={"max_concurrency": 1}),
    "gcsfs.core.GCSFileSystem": ObjectWay(sized=True, reading={}),
    "adlfs.spec.AzureBlobFileSystem": ObjectWay(markers=("?versionid=",), reading={}),
}
"""What is known, by the name of the class: none of these libraries is imported to find out that it is not in use."""


def way_of(kind: type) -> Way:
    """Return how filesystems of a class are used: as is known of it, or else by a rename, if it has one of its own."""
    for base in kind.__mro__:
        way = _WAYS.get(f"{base.__module__}.{base.__qualname__}")
        if way is not None:
            return way
    renames = next((base for base in kind.__mro__ if "mv" in vars(base)), None)
    # What fsspec itself has is a copy and a deletion.
    return Way() if renames is None or renames.__module__ == "fsspec.spec" else RenameWay()
