"""Structs of Thrift's compact protocol, as far as small ones of Parquet's need it. Pure, strict, and bounded."""

from __future__ import annotations

from typing import Final

__all__ = ["CutError", "read_struct"]

_VARINT_BYTES_MAX: Final = 10
_DEPTH_MAX: Final = 8


class CutError(ValueError):
    """The bytes end within a struct."""


def read_struct(data: memoryview, at: int, depth: int = 0) -> tuple[dict[int, object], int]:
    """Return the fields of the struct that begins at `at`, and where it ends.

    A field is a truth, a whole number, a struct, or ``None`` for a text or a number with a point. Raises `CutError` where the bytes
    end too early, and `ValueError` for what is no struct, or has a list.
    """
    if depth > _DEPTH_MAX:
        raise ValueError("a struct is nested too deeply")
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
        return read_struct(data, at, depth + 1)
    raise ValueError(f"a struct has a field of the type {kind}")


def _byte(data: memoryview, at: int) -> int:
    if at >= len(data):
        raise CutError("the bytes end within a struct")
    return data[at]


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = _byte(data, at + place)
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a struct has a number without an end")


def _zigzag(data: memoryview, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at
