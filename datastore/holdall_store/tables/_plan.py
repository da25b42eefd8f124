"""Which bytes of a Parquet file have to be fetched: arithmetic on offsets, without a byte of data."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

__all__ = [
    "CHUNK_PAD",
    "GAP_BYTES",
    "REQUEST_BYTES",
    "Span",
    "chunk_span",
    "coalesce",
    "covers",
    "cut",
    "inner_pages",
    "needs_pad",
    "total",
]

GAP_BYTES: Final = 256 << 10
"""A larger hole between two ranges costs more to carry than a second request does, with many under way at once."""

GAP_BYTES_ALWAYS: Final = 4 << 10
"""A hole this small costs less than the headers of a request."""

WASTE_SHARE: Final = 32
"""Holes that are carried weigh at most this part of what is wanted: a thirty-second, which nobody notices."""

REQUEST_BYTES: Final = 8 << 20
"""Longer ranges are cut: S3 gives each connection 50 to 90 MB/s, and several share the work."""

CHUNK_PAD: Final = 100
"""Bytes by which parquet-mr before 1.2.9 forgot to count the header of the dictionary page (PARQUET-816)."""

_WRITER: Final = re.compile(r"\s*parquet-mr\b(?:\s+version\s+(\d+)(?:\.(\d+))?(?:\.(\d+))?)?", re.IGNORECASE)
_FIXED: Final = (1, 2, 9)


class Span(NamedTuple):
    """Bytes from ``begin`` up to, but not including, ``end``."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.end - self.begin


def needs_pad(created_by: str | None) -> bool:
    """Tell whether the writer of a file counted too few bytes for a column chunk."""
    match = _WRITER.match(created_by or "")
    return match is not None and tuple(int(part or 0) for part in match.groups()) < _FIXED


def chunk_span(data_page: int, dictionary_page: int | None, compressed: int, footer: int, *, pad: bool) -> Span:
    """Return the bytes of a column chunk, or raise `ValueError` where they cannot be in the file.

    `footer` is where the file's metadata begins. A dictionary page offset of 0 means that there is none.
    """
    begin = dictionary_page if dictionary_page is not None and 0 < dictionary_page < data_page else data_page
    end = begin + compressed
    if begin < 4 or compressed < 0 or end > footer:
        raise ValueError(
            f"a column chunk from byte {begin} to {end} is not within the file's data, which end at {footer}"
        )
    return Span(begin, end + min(CHUNK_PAD, footer - end) if pad else end)


def coalesce(spans: Iterable[Span], gap: int = GAP_BYTES, waste_share: int = WASTE_SHARE) -> list[Span]:
    """Return spans in order that cover `spans`, with small holes filled, the smallest first, as long as they weigh little."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.length):
        if merged and span.begin <= merged[-1].end + GAP_BYTES_ALWAYS:
            merged[-1] = Span(merged[-1].begin, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    holes = sorted((after.begin - before.end, at) for at, (before, after) in enumerate(itertools.pairwise(merged)))
    left = total(merged) // waste_share if waste_share else 0
    filled = set()
    for size, at in holes:
        if size > gap or size > left:
            break
        left -= size
        filled.add(at)
    found: list[Span] = []
    for at, span in enumerate(merged):
        if at and at - 1 in filled:
            found[-1] = Span(found[-1].begin, span.end)
        else:
            found.append(span)
    return found


def cut(spans: Iterable[Span], size: int = REQUEST_BYTES) -> list[Span]:
    """Return the same bytes in pieces, none much longer than `size` and those of one span about equal."""
    found = []
    for span in spans:
        pieces = max(-(-span.length // size), 1)
        edges = [span.begin + span.length * at // pieces for at in range(pieces + 1)]
        found += [Span(begin, end) for begin, end in itertools.pairwise(edges)]
    return found


def covers(held: Sequence[Span], wanted: Iterable[Span]) -> bool:
    """Tell whether every byte of `wanted` is in `held`, whose spans may touch and overlap."""
    joined: list[Span] = []
    for span in sorted(held):
        if joined and span.begin <= joined[-1].end:
            joined[-1] = Span(joined[-1].begin, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return all(any(have.begin <= span.begin and span.end <= have.end for have in joined) for span in wanted)


def inner_pages(span: Span, page: int) -> Span | None:
    """Return the whole pages of memory within `span`, or ``None`` if there are none."""
    begin, end = -(-span.begin // page) * page, span.end // page * page
    return Span(begin, end) if begin < end else None


def total(spans: Iterable[Span]) -> int:
    """Return how many bytes the spans have together."""
    return sum(span.length for span in spans)
