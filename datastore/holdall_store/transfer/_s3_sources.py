"""Where uploads come from: memory, files, streams."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from typing import Any, Final, Protocol

from holdall_store.errors import NotFoundError, StorageError, UnsupportedTypeError
from holdall_store.storage import Buffer
from holdall_store.transfer._paths import nearest_path
from holdall_store.transfer._plan import MULTIPART_BYTES, Span, stream_part_bytes

__all__ = ["FileSource", "MemorySource", "MissingFileError", "Source", "StreamSource", "source_of"]

READ_BYTES: Final = 8 << 20


class MissingFileError(FileNotFoundError, NotFoundError):
    """A file that was to be uploaded is not there."""


class Source(Protocol):
    """Bytes whose number is known, to be read in any order and more than once."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether reading costs nothing."""
        ...

    def read(self, span: Span) -> Buffer:
        """Return the bytes of `span`."""
        ...


class MemorySource:
    """Bytes that the caller has in memory, and leaves as they are meanwhile."""

    __slots__ = ("_view",)

    in_memory = True

    def __init__(self, data: Any) -> None:
        view = memoryview(data)
        if not view.contiguous or not view.c_contiguous:
            view = memoryview(view.tobytes())
        self._view = view.cast("B") if view.nbytes else memoryview(b"")

    @property
    def size(self) -> int:
        return len(self._view)

    def read(self, span: Span) -> Buffer:
        return self._view[span.begin : span.end]


class FileSource:
    """A file on this machine, which must not change while it is uploaded: then it is an error, not a mixture."""

    __slots__ = ("_identity", "modified", "path", "size")

    in_memory = False

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            status = os.stat(path)
        except OSError as error:
            raise _file_error(error, path) from error
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(errno.EINVAL, f"Cannot upload {path!r}: it is no plain file. Use upload() for folders.")
        self.size = status.st_size
        self.modified = status.st_mtime
        self._identity = _identity(status)

    def read(self, span: Span) -> Buffer:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _file_error(error, self.path) from error
        try:
            self._check(descriptor)
            data = bytearray(span.length)
            view, done = memoryview(data), 0
            while done < span.length:
                count = os.preadv(descriptor, [view[done : done + READ_BYTES]], span.begin + done)
                if not count:
                    break
                done += count
            self._check(descriptor)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise _file_error(error, self.path) from error
        finally:
            os.close(descriptor)
        return view[:done]

    def _check(self, descriptor: int) -> None:
        if _identity(os.fstat(descriptor)) != self._identity:
            raise StorageError(
                errno.EBUSY, f"{self.path!r} was changed while it was uploaded: try again when it is at rest."
            )


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _file_error(error: OSError, path: str) -> Exception:
    if isinstance(error, FileNotFoundError):
        return MissingFileError(errno.ENOENT, f"There is no file {path!r}.{nearest_path(path)}")
    return StorageError(error.errno, f"Cannot read {path!r}: {error.strerror}.")


class StreamSource:
    """Something with a ``read`` method, which is read once, from its beginning if it can go there."""

    __slots__ = ("_stream", "name")

    def __init__(self, stream: Any, name: str) -> None:
        self.name = name
        self._stream = stream
        seekable = getattr(stream, "seekable", None)
        if seekable is not None and seekable():
            stream.seek(0)

    def parts(self) -> Iterator[MemorySource]:
        """Yield what is uploaded as one object if it is the only one, and as its parts otherwise."""
        first = self._read(MULTIPART_BYTES)
        if len(first) < MULTIPART_BYTES:
            yield MemorySource(first)
            return
        view, step = memoryview(first), stream_part_bytes(1)
        number = 0
        for at in range(0, len(first), step):
            number += 1
            yield MemorySource(view[at : at + step])
        while data := self._read(stream_part_bytes(number + 1)):
            number += 1
            yield MemorySource(data)

    def _read(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            piece = self._stream.read(min(count - len(data), READ_BYTES))
            if not piece:
                break
            if isinstance(piece, str):
                raise UnsupportedTypeError(f"The file for {self.name!r:.200} gives text: open it in binary mode.")
            data += piece
        return data


def source_of(value: Any, name: str) -> Source | StreamSource:
    """Return what to upload for a value that a caller gave: text as UTF-8, a buffer, or a file."""
    if isinstance(value, str):
        try:
            return MemorySource(value.encode())
        except UnicodeEncodeError:
            raise UnsupportedTypeError(
                f"The text for {name!r:.200} holds half a character (a lone surrogate), which UTF-8 cannot say: encode it "
                "yourself, and give the bytes."
            ) from None
    if isinstance(value, io.BytesIO):
        return MemorySource(value.getvalue())
    if callable(getattr(value, "read", None)):
        return StreamSource(value, name)
    try:
        return MemorySource(value)
    except TypeError:
        raise UnsupportedTypeError(
            f"Cannot upload a {type(value).__name__} as {name!r:.200}: give str, bytes, a buffer, or a file opened in "
            "binary mode."
        ) from None
