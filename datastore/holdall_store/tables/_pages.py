"""Headers of the pages in a column chunk: how far the bytes of its first rows reach. Pure, and strict."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["Page", "parse_page", "reach_of_rows"]

DICTIONARY: Final = 2
"""The type of a page with a dictionary."""

_DATA: Final = {0: 5, 3: 8}
"""Types of pages with values, and the field of the header that says how many: versions 1 and 2."""

_VARINT_BYTES_MAX: Final = 10
_DEPTH_MAX: Final = 8


class Page(NamedTuple):
    """A page: its type, how many values it has (nulls among them), and where it ends."""

    kind: int
    values: int
    end: int


class _Cut(Exception):
    """The bytes end within a header."""


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
        fields, begin = _struct(data, at, 0)
    except _Cut:
        return None
    kind, size = fields.get(1), fields.get(3)
    if not isinstance(kind, int) or not isinstance(size, int) or size < 0:
        raise ValueError("no header of a page")
    inner = fields.get(_DATA.get(kind, 0))
    values = inner.get(1) if isinstance(inner, dict) else 0
    if not isinstance(values, int) or values < 0 or (kind in _DATA and not isinstance(inner, dict)):
        raise ValueError("a header of a page that does not say how many values it has")
    return Page(kind, values, begin + size)


def _struct(data: memoryview, at: int, depth: int) -> tuple[dict[int, object], int]:
    """Read a struct of Thrift's compact protocol, and return its fields and where it ends."""
    if depth > _DEPTH_MAX:
        raise ValueError("a header of a page is nested too deeply")
    fields: dict[int, object] = {}
    number = 0
    while True:
        head = _byte(data, at)
        at += 1
        if not head:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, head & 15, depth)


def _value(data: memoryview, at: int, kind: int, depth: int) -> tuple[object, int]:
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return _byte(data, at), at + 1
    if kind in (4, 5, 6):
        return _zigzag(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return None, at + length
    if kind == 12:
        return _struct(data, at, depth + 1)
    raise ValueError(f"a header of a page has a field of the type {kind}")


def _byte(data: memoryview, at: int) -> int:
    if at >= len(data):
        raise _Cut
    return data[at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = _byte(data, at + place)
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a header of a page has a number without an end")


def _zigzag(data: memoryview, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
