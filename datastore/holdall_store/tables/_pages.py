"""Headers of the pages in a column chunk: how far the bytes of its first rows reach. Pure, and strict."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdall_store.tables._thrift import CutError, read_struct

__all__ = ["Page", "parse_page", "reach_of_rows"]

DICTIONARY: Final = 2
"""The type of a page with a dictionary."""

_DATA: Final = {0: 5, 3: 8}
"""Types of pages with values, and the field of the header that says how many: versions 1 and 2."""


class Page(NamedTuple):
    """A page: its type, how many values it has (nulls among them), and where it ends."""

    kind: int
    values: int
    end: int


def reach_of_rows(data: memoryview, rows: int) -> int | None:
    """Return where the page ends that has row number `rows` of a column without lists, counted from the chunk's begin.

    `data` are the chunk's first bytes; pages may end behind them. ``None`` says that a header is not among them.
    Raises `ValueError` for what is no header.
    """
    at = found = 0
    while found < rows:
        page = parse_page(data, at)
        if page is None:
            return None
        if page.kind in _DATA:
            found += page.values
        at = page.end
    return at


def parse_page(data: memoryview, at: int) -> Page | None:
    """Return the page whose header begins at `at`, or ``None`` if the header is not all there."""
    try:
        fields, begin = read_struct(data, at)
    except CutError:
        return None
    except ValueError as error:
        raise ValueError(f"no header of a page: {error}") from None
    kind, size = fields.get(1), fields.get(3)
    if not isinstance(kind, int) or not isinstance(size, int) or size < 0:
        raise ValueError("no header of a page")
    inner = fields.get(_DATA.get(kind, 0))
    values = inner.get(1) if isinstance(inner, dict) else 0
    if not isinstance(values, int) or values < 0 or (kind in _DATA and not isinstance(inner, dict)):
        raise ValueError("a header of a page that does not say how many values it has")
    return Page(kind, values, begin + size)
