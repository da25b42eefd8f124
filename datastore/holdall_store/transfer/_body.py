"""Where the body of an answer goes: into memory, into a file, or nowhere."""

from __future__ import annotations

import os
from typing import Final, Protocol

from holdall_store.transfer._exchange import FileTarget

__all__ = [
    "Body",
    "ErrorBody",
    "FileBody",
    "GrowingBody",
    "LengthError",
    "MemoryBody",
    "TooLargeError",
    "WriteError",
    "write_at",
]

ERROR_BYTES_MAX: Final = 64 << 10
"""Of an answer that is an error this much is kept; S3 says what it has to say in less than one."""

_NOTHING: Final = memoryview(b"")


class LengthError(Exception):
    """A body has another length than the one that it must have."""


class TooLargeError(Exception):
    """A body is larger than whoever asked for it can take."""


class WriteError(Exception):
    """The file that a body is for cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.error = error


class Body(Protocol):
    """Takes the body of one answer, piece by piece."""

    def room(self, buffer: memoryview) -> memoryview:
        """Return where to put the next piece: memory of its own, or `buffer`."""
        ...

    def advance(self, piece: memoryview) -> None:
        """Take `piece`, the first bytes of what `room` returned."""
        ...

    def put(self, piece: memoryview) -> None:
        """Take a piece that lies anywhere."""
        ...

    def finish(self) -> memoryview:
        """Return what a response has for a body, now that all of it has come."""
        ...


class MemoryBody:
    """A body of known length into memory that is exactly as long; with `keep` the response has it."""

    __slots__ = ("_keep", "_view", "position")

    def __init__(self, view: memoryview, *, keep: bool) -> None:
        self._view = view
        self._keep = keep
        self.position = 0

    def room(self, buffer: memoryview) -> memoryview:  # noqa: ARG002 - its own memory is the room
        return self._view[self.position :]

    def advance(self, piece: memoryview) -> None:
        self.position += len(piece)

    def put(self, piece: memoryview) -> None:
        stop = self.position + len(piece)
        if stop > len(self._view):
            raise LengthError(f"more than {len(self._view)} bytes")
        self._view[self.position : stop] = piece
        self.position = stop

    def finish(self) -> memoryview:
        if self.position != len(self._view):
            raise LengthError(f"{self.position} bytes instead of {len(self._view)}")
        return self._view if self._keep else _NOTHING


class FileBody:
    """A body of known length into a file."""

    __slots__ = ("_length", "_position", "_target")

    def __init__(self, target: FileTarget, length: int) -> None:
        self._target = target
        self._length = length
        self._position = 0

    def room(self, buffer: memoryview) -> memoryview:
        return buffer[: self._length - self._position]

    def advance(self, piece: memoryview) -> None:
        self.put(piece)

    def put(self, piece: memoryview) -> None:
        if self._position + len(piece) > self._length:
            raise LengthError(f"more than {self._length} bytes")
        write_at(self._target.descriptor, piece, self._target.offset + self._position)
        self._position += len(piece)

    def finish(self) -> memoryview:
        if self._position != self._length:
            raise LengthError(f"{self._position} bytes instead of {self._length}")
        return _NOTHING


class GrowingBody:
    """A body whose length nobody told, up to a bound."""

    __slots__ = ("_bytes_max", "_data")

    def __init__(self, bytes_max: int) -> None:
        self._data = bytearray()
        self._bytes_max = bytes_max

    def room(self, buffer: memoryview) -> memoryview:
        return buffer

    def advance(self, piece: memoryview) -> None:
        self.put(piece)

    def put(self, piece: memoryview) -> None:
        if len(self._data) + len(piece) > self._bytes_max:
            raise TooLargeError(f"more than {self._bytes_max} bytes")
        self._data += piece

    def finish(self) -> memoryview:
        return memoryview(self._data)


class ErrorBody:
    """The beginning of a body that is read for what it says."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def room(self, buffer: memoryview) -> memoryview:
        return buffer

    def advance(self, piece: memoryview) -> None:
        self.put(piece)

    def put(self, piece: memoryview) -> None:
        self._data += piece[: ERROR_BYTES_MAX - len(self._data)]

    def finish(self) -> memoryview:
        return memoryview(self._data)


def write_at(descriptor: int, piece: memoryview, offset: int) -> None:
    """Write all of `piece`, or raise `WriteError`."""
    try:
        done = os.pwrite(descriptor, piece, offset)
        while done < len(piece):
            done += os.pwrite(descriptor, piece[done:], offset + done)
    except OSError as error:
        raise WriteError(error) from None
