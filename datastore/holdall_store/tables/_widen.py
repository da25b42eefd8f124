"""Types that are wide enough for two: what all values of both have room in, or most of them."""

from __future__ import annotations

from typing import Any

__all__ = ["has_room", "wider_type"]

_DECIMAL128_DIGITS = 38
_DECIMAL256_DIGITS = 76

_FLOAT_BITS = {16: 11, 32: 24, 64: 53}
"""Whole numbers of so many bits are exact in a float of that width."""


def wider_type(one: Any, other: Any) -> Any:
    """Return the type in which the values of both are read; `pyarrow.ArrowInvalid` or `ArrowTypeError` if there is none.

    It is the one that Arrow takes, but for decimals: those have as many digits as whole numbers need, and are no floats,
    whose values are others. `has_room` tells whether all values are exact in it.
    """
    import pyarrow as pa

    if one == other:
        return one
    pair = [pa.schema([("x", one)]), pa.schema([("x", other)])]
    return _with_digits(pa.unify_schemas(pair, promote_options="permissive").field(0).type, one, other)


def _with_digits(found: Any, one: Any, other: Any) -> Any:
    """Return a type with its decimals, also those within, as wide as those of `one` and `other` need."""
    import pyarrow as pa

    types = pa.types
    if types.is_null(one) or types.is_null(other):
        return found
    if types.is_floating(found) and (types.is_decimal(one) or types.is_decimal(other)):
        raise pa.ArrowTypeError("a decimal is no float")
    if types.is_decimal(found):
        return _decimal(found, max(_whole_digits(one), _whole_digits(other)) + found.scale)
    if types.is_struct(found):
        fields = []
        for at in range(found.num_fields):
            field = found.field(at)
            inner = [kind.field(field.name).type for kind in (one, other) if kind.get_field_index(field.name) >= 0]
            fields.append(field.with_type(_with_digits(field.type, *inner)) if len(inner) == 2 else field)
        return pa.struct(fields)
    if types.is_map(found):
        return pa.map_(
            found.key_field.with_type(_with_digits(found.key_type, one.key_type, other.key_type)),
            found.item_field.with_type(_with_digits(found.item_type, one.item_type, other.item_type)),
        )
    if types.is_list(found) or types.is_large_list(found):
        field = found.value_field.with_type(_with_digits(found.value_type, one.value_type, other.value_type))
        return pa.list_(field) if types.is_list(found) else pa.large_list(field)
    return found


def _decimal(found: Any, digits: int) -> Any:
    import pyarrow as pa

    if digits <= found.precision:
        return found
    if digits > _DECIMAL256_DIGITS:
        raise pa.ArrowInvalid(f"no decimal has {digits} digits")
    if digits <= _DECIMAL128_DIGITS and not pa.types.is_decimal256(found):
        return pa.decimal128(digits, found.scale)
    return pa.decimal256(digits, found.scale)


def _whole_digits(kind: Any) -> int:
    """Return how many digits stand before the point in the largest value."""
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        return int(kind.precision - kind.scale)
    if pa.types.is_boolean(kind):
        return 1
    signed = pa.types.is_signed_integer(kind)
    return len(str(2 ** (kind.bit_width - signed)))


def has_room(room: Any, kind: Any) -> bool:
    """Tell whether all values of `kind` are exact in `room`, a type that `wider_type` returned for it.

    Where they are not, reading a value that has no room is an error.
    """
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind) or types.is_dictionary(room):
        kind, room = (each.value_type if types.is_dictionary(each) else each for each in (kind, room))
    if kind == room:
        return True
    if types.is_integer(kind) and types.is_floating(room):
        return bool(kind.bit_width - types.is_signed_integer(kind) <= _FLOAT_BITS[room.bit_width])
    if types.is_unsigned_integer(kind) and types.is_signed_integer(room):
        return bool(kind.bit_width < room.bit_width)
    if (types.is_timestamp(kind) and types.is_timestamp(room)) or (types.is_duration(kind) and types.is_duration(room)):
        return bool(kind.unit == room.unit)
    if types.is_struct(kind) and types.is_struct(room):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return all(has_room(room.field(field.name).type, field.type) for field in fields)
    if types.is_map(kind) and types.is_map(room):
        return has_room(room.key_type, kind.key_type) and has_room(room.item_type, kind.item_type)
    if hasattr(kind, "value_type") and hasattr(room, "value_type"):
        return has_room(room.value_type, kind.value_type)
    return True
