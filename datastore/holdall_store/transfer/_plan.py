"""Which requests move an object, and which objects a synchronisation moves: arithmetic, without a byte of data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

__all__ = [
    "COPY_BYTES_MAX",
    "FIRST_BYTES",
    "MULTIPART_BYTES",
    "PARTS_MAX",
    "Difference",
    "Entry",
    "Span",
    "Step",
    "clashes",
    "compare",
    "copy_part_bytes",
    "differs",
    "parse_content_range",
    "part_bytes",
    "path_problem",
    "range_bytes",
    "split",
    "stream_part_bytes",
]

MIB: Final = 1 << 20

FIRST_BYTES: Final = 8 * MIB
"""The first request for an object of unknown size asks for this much: most objects are smaller, and come in one."""

LARGE_BYTES: Final = 1 << 30
"""From here on ranges are twice as long: there are enough of them to keep every connection busy."""

MULTIPART_BYTES: Final = 64 * MIB
"""Smaller uploads are one request; larger ones would be sent anew as a whole when a connection breaks."""

PART_BYTES_MIN: Final = 16 * MIB
"""S3 allows 5 MiB; larger parts are fewer requests, and 16 MiB still spread well over connections."""

PARTS_MAX: Final = 10_000
"""S3 allows no more parts of an upload."""

STREAM_STEP: Final = 1_000
"""After so many parts of a stream of unknown length the parts double: 10 000 of them hold more than S3 allows."""

COPY_BYTES_MAX: Final = 5 << 30
"""S3 copies no larger object in one request."""

COPY_PART_BYTES_MIN: Final = 256 * MIB
"""The bytes of a copy travel inside of the service, about this fast a second."""

TIME_TOLERANCE_S: Final = 1.0
"""S3 tells times to the second."""


class Span(NamedTuple):
    """Bytes from ``begin`` up to, but not including, ``end``."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.end - self.begin

    @property
    def header(self) -> str:
        """The span as HTTP asks for it."""
        return f"bytes={self.begin}-{self.end - 1}"


def range_bytes(size: int) -> int:
    """Return how long the ranges should be in which `size` bytes are read."""
    return FIRST_BYTES if size < LARGE_BYTES else 2 * FIRST_BYTES


def split(begin: int, end: int, step: int) -> list[Span]:
    """Return consecutive spans of at most `step` bytes that are together those from `begin` to `end`."""
    return [Span(at, min(at + step, end)) for at in range(begin, end, step)]


def part_bytes(size: int) -> int:
    """Return the size of the parts, all but the last, in which `size` bytes are uploaded."""
    return _whole_mib(size, PART_BYTES_MIN)


def copy_part_bytes(size: int) -> int:
    """Return the size of the parts in which an object of `size` bytes is copied."""
    return _whole_mib(size, COPY_PART_BYTES_MIN)


def stream_part_bytes(number: int) -> int:
    """Return the size of part `number`, counted from 1, of an upload whose length is not known."""
    return PART_BYTES_MIN << ((number - 1) // STREAM_STEP)


def _whole_mib(size: int, least: int) -> int:
    needed = -(-size // PARTS_MAX)
    return max(least, -(-needed // MIB) * MIB)


def parse_content_range(text: str) -> tuple[Span, int] | None:
    """Return the span and the size of the whole that a ``Content-Range`` names, or ``None`` if it names none."""
    unit, _, rest = text.partition(" ")
    span, _, total = rest.partition("/")
    first, _, last = span.partition("-")
    if unit != "bytes" or not (first.isdecimal() and last.isdecimal() and total.isdecimal()):
        return None
    found, size = Span(int(first), int(last) + 1), int(total)
    return (found, size) if found.begin < found.end <= size else None


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or an object on one side of a synchronisation, by its path relative to that side.

    ``modified`` is in seconds since the epoch. ``digest`` is comparable with that of the other side, or empty.
    """

    path: str
    size: int
    modified: float
    digest: str = ""


Difference = Literal["new", "size", "time", "content", "extra"]
"""Why something is done about a path."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a synchronisation does about one path: ``put`` it into the target, or ``delete`` it there, and why."""

    action: Literal["put", "delete"]
    path: str
    size: int
    reason: Difference


def differs(source: Entry, target: Entry | None) -> Difference | None:
    """Return why `target` has to be written anew, or ``None`` if it is what `source` is.

    Digests decide where both sides have one. Without them, of two of the same size the one is taken for a copy of the
    other unless the source was modified later.
    """
    if target is None:
        return "new"
    if source.size != target.size:
        return "size"
    if source.digest and target.digest:
        return "content" if source.digest != target.digest else None
    return "time" if source.modified > target.modified + TIME_TOLERANCE_S else None


def compare(source: Iterable[Entry], target: Mapping[str, Entry], *, delete: bool) -> Iterator[Step]:
    """Yield what has to be done so that `target` holds what `source` does: first what to put, then what to delete."""
    seen = set()
    for entry in source:
        seen.add(entry.path)
        if reason := differs(entry, target.get(entry.path)):
            yield Step("put", entry.path, entry.size, reason)
    if delete:
        for path in sorted(target.keys() - seen):
            yield Step("delete", path, target[path].size, "extra")


def path_problem(path: str) -> str:
    """Return why no file below a folder can have the relative `path` of a key, or an empty string."""
    if not path:
        return "it is empty"
    if path.startswith("/"):
        return "it begins with a slash"
    if "\0" in path:
        return "it holds a NUL"
    if "\\" in path or (len(path) > 1 and path[1] == ":"):
        return "some systems read it as a path of another kind"
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            return f"it holds the segment {segment!r}"
        if len(segment) > 60 and len(segment.encode(errors="surrogatepass")) > 255:
            return "it holds a name of more than 255 bytes"
    return ""


def clashes(paths: Iterable[str], *, folds_case: bool) -> Iterator[tuple[str, str]]:
    """Yield pairs of `paths` that cannot both be files of one folder.

    One is a folder of the other, or, if `folds_case`, they differ in case alone.
    """
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        name = path.casefold() if folds_case else path
        other = files.get(name) or folders.get(name)
        if other is not None:
            yield other, path
            continue
        files[name] = path
        at = name.rfind("/")
        while at > 0:
            folder = name[:at]
            if folder in files:
                yield files[folder], path
                break
            if folder in folders:
                break
            folders[folder] = path
            at = name.rfind("/", 0, at)
