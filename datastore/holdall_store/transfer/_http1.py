"""HTTP/1.1 as a client needs it (RFC 9112), strictly, and with no socket: heads and bodies of answers, piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = [
    "CHUNKED",
    "UNTIL_CLOSE",
    "ChunkedReader",
    "Head",
    "HeadReader",
    "ProtocolError",
    "body_length",
    "parse_head",
]

HEAD_BYTES_MAX: Final = 64 << 10
"""S3 sends less than one, user metadata of 2 KiB included; whatever comes, a head never fills the memory."""

SIZE_LINE_BYTES_MAX: Final = 1024
"""A chunk's size has 16 digits at most; the rest is room for extensions, which mean nothing to us."""

DIGITS_MAX: Final = 18
"""Of a length: no object has more, and no number with more fits an index."""

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

HEAD_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_LINE: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_HEX: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")

_UNIQUE: Final = frozenset({"x-amz-request-id", "x-amz-id-2"})
"""Headers whose lines never come again."""

_KNOWN_MAX: Final = 1024
_KNOWN_CHARS_MAX: Final = 128


class _Lines(dict[str, tuple[str, str]]):
    """Lines that were checked, and what they say: most of those of an answer were in the one before."""

    def __missing__(self, line: str) -> tuple[str, str]:
        """Check a line, and remember it."""
        found = _LINE.fullmatch(line)
        if found is None:
            raise ProtocolError("the head of the answer has a line that is no header")
        pair = found[1].lower(), found[2].rstrip(" \t")
        if len(line) <= _KNOWN_CHARS_MAX and pair[0] not in _UNIQUE:
            if len(self) >= _KNOWN_MAX:
                self.clear()
            self[line] = pair
        return pair


_read_line: Final = _Lines().__getitem__

_STATUS_LINES: Final[dict[str, tuple[int, bool]]] = {}
"""The same for first lines: a status, and whether the connection is kept unless a header says otherwise."""


class ProtocolError(Exception):
    """The server does not speak HTTP/1.1, or contradicts itself."""


@dataclass(slots=True)
class Head:
    """The head of an answer. Names of headers are in lower case, values are decoded as Latin-1."""

    status: int
    headers: dict[str, str]
    keep_alive: bool
    length: int | None
    chunked: bool


def parse_head(raw: bytes | bytearray) -> Head:
    """Return the head that `raw` is, which ends before the empty line."""
    lines = raw.decode("latin-1").split("\r\n")
    status, kept = _STATUS_LINES.get(lines[0]) or _check_status(lines[0])
    del lines[0]
    headers = dict(map(_read_line, lines))
    if len(headers) != len(lines):
        headers = _merge(map(_read_line, lines))
    length = headers.get("content-length")
    if length is not None and not (length.isdigit() and length.isascii() and len(length) <= DIGITS_MAX):
        raise ProtocolError("the answer's length is not a number")
    coding = headers.get("transfer-encoding")
    if coding is not None and (length is not None or coding.lower() != "chunked"):
        raise ProtocolError("the answer's length is given in two ways, or in an unknown one")
    connection = headers.get("connection")
    if connection is not None:
        connection = connection.lower()
        kept = (kept or "keep-alive" in connection) and "close" not in connection
    return Head(status, headers, kept, None if length is None else int(length), coding is not None)


def _check_status(line: str) -> tuple[int, bool]:
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise ProtocolError("the answer is not HTTP/1.1")
    version, status = found.groups()
    if len(_STATUS_LINES) < _KNOWN_MAX and len(line) <= _KNOWN_CHARS_MAX:
        _STATUS_LINES[line] = int(status), version == "1"
    return int(status), version == "1"


def _merge(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        headers[name] = _join(name, headers[name], value) if name in headers else value
    return headers


def _join(name: str, first: str, second: str) -> str:
    if name in ("content-length", "transfer-encoding", "content-range"):
        if first != second or name == "transfer-encoding":
            raise ProtocolError(f"the answer has two {name}s")
        return first
    return f"{first}, {second}"


def body_length(method: str, head: Head) -> int:
    """Return how many bytes follow `head`, or else `CHUNKED` or `UNTIL_CLOSE`."""
    if method == "HEAD" or head.status in (204, 304):
        return 0
    if head.chunked:
        return CHUNKED
    return UNTIL_CLOSE if head.length is None else head.length


class HeadReader:
    """Finds the head in bytes that come piece by piece; what is only interim (1xx) is passed over."""

    __slots__ = ("_pending", "_skipped")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._skipped = 0

    def feed(self, data: bytearray, end: int) -> tuple[Head | None, int]:
        """Take ``data[:end]``; return the head once it is whole, and where in `data` the body begins."""
        begin = 0
        while True:
            if self._pending:
                head, begin = self._continue(data, begin, end)
            else:
                stop = data.find(HEAD_END, begin, end)
                if stop < 0:
                    self._keep(data[begin:end])
                    return None, end
                head, begin = parse_head(data[begin:stop]), stop + 4
            if head is None or head.status >= 200:
                return head, begin
            if head.status == 101:
                raise ProtocolError("the server switched to another protocol")
            self._skipped += begin
            if self._skipped > HEAD_BYTES_MAX:
                raise ProtocolError("the server sends interim answers without end")
            if begin == end:
                return None, end

    def _continue(self, data: bytearray, begin: int, end: int) -> tuple[Head | None, int]:
        before = len(self._pending)
        self._keep(data[begin : min(end, begin + HEAD_BYTES_MAX + 4)])
        stop = self._pending.find(HEAD_END, max(before - 3, 0))
        if stop < 0:
            return None, end
        head = parse_head(self._pending[:stop])
        self._pending.clear()
        return head, begin + stop + 4 - before

    def _keep(self, piece: bytearray) -> None:
        if not self._pending and not b"HTTP/1.".startswith(piece[:7]):
            raise ProtocolError("the answer is not HTTP/1.1")
        self._pending += piece
        if len(self._pending) > HEAD_BYTES_MAX and self._pending.find(HEAD_END, 0, HEAD_BYTES_MAX) < 0:
            raise ProtocolError(f"the head of the answer is longer than {HEAD_BYTES_MAX} bytes")


_SIZE, _DATA, _DATA_END, _TRAILER = range(4)


class ChunkedReader:
    """Takes the chunks out of a body in chunked coding that comes piece by piece."""

    __slots__ = ("_left", "_line", "_state", "_trailer", "done")

    def __init__(self) -> None:
        self.done = False
        self._state = _SIZE
        self._left = 0
        self._line = bytearray()
        self._trailer = 0

    def feed(self, data: memoryview) -> tuple[list[memoryview], int]:
        """Return the pieces of the body in `data`, and how much of `data` belongs to the answer."""
        pieces = []
        at, end = 0, len(data)
        while at < end and not self.done:
            if self._state == _DATA:
                stop = min(end, at + self._left)
                pieces.append(data[at:stop])
                self._left -= stop - at
                at = stop
                if not self._left:
                    self._state = _DATA_END
            else:
                at = self._take_line(data, at)
        return pieces, at

    def _take_line(self, data: memoryview, at: int) -> int:
        """Take what is left of a line from ``data[at:]``; return where the next one begins."""
        window = bytes(data[at : at + SIZE_LINE_BYTES_MAX + 2])
        stop = window.find(b"\n")
        self._line += window if stop < 0 else window[: stop + 1]
        if len(self._line) > SIZE_LINE_BYTES_MAX + 2:
            raise ProtocolError("a line between the chunks of the answer is too long")
        if stop < 0:
            return at + len(window)
        if not self._line.endswith(b"\r\n"):
            raise ProtocolError("a line between the chunks of the answer has no proper end")
        line = bytes(self._line[:-2])
        self._line.clear()
        self._end_line(line)
        return at + stop + 1

    def _end_line(self, line: bytes) -> None:
        if self._state == _DATA_END:
            if line:
                raise ProtocolError("a chunk of the answer is longer than it says")
            self._state = _SIZE
        elif self._state == _SIZE:
            found = _HEX.fullmatch(line)
            if found is None:
                raise ProtocolError("a chunk of the answer has no size")
            self._left = int(found[1], 16)
            self._state = _DATA if self._left else _TRAILER
        else:
            self._trailer += len(line) + 2
            if self._trailer > HEAD_BYTES_MAX:
                raise ProtocolError("the answer's trailer is too long")
            self.done = not line
