"""Conditions bound to a schema: their names are paths, their values of the columns' types; and their evaluation."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables._expression import COMPARISONS, All, AnyOf, Column, Expression, Leaf, Negation
from holdall_store.tables._names import find_path, take_path

__all__ = [
    "BoundLeaf",
    "Condition",
    "Every",
    "Not",
    "Some",
    "bind",
    "evaluate",
    "kernels",
    "ordinal",
    "to_arrow",
    "unit_factor",
]

Path = tuple[str, ...]

_FACTORS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
INT64_MAX: Final = (1 << 63) - 1
_DAY: Final = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class BoundLeaf:
    """A condition on one column; `ordinals` are its values as statistics are compared, ``None`` where they are not.

    ``value`` is what Arrow compares with: a scalar, an array for ``in``, or the path of another column.
    """

    operator: str
    path: Path
    value: Any
    ordinals: tuple[Any, ...] | None
    has_null: bool = False


@dataclass(frozen=True, slots=True)
class Every:
    """All parts are true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """One of the parts is true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The inner condition is false."""

    inner: Condition


Condition = BoundLeaf | Every | Some | Not


def kernels() -> Any:
    """Return Arrow's functions, which are made when it is loaded: no type checker knows them."""
    import pyarrow.compute as pc

    return pc


def bind(expression: Expression, schema: Any, where: str) -> Condition:
    """Return `expression` for tables of `schema`; raise for names that are not there and values of no use."""
    if isinstance(expression, All):
        return Every(tuple(bind(part, schema, where) for part in expression.parts))
    if isinstance(expression, AnyOf):
        return Some(tuple(bind(part, schema, where) for part in expression.parts))
    if isinstance(expression, Negation):
        return Not(bind(expression.inner, schema, where))
    assert isinstance(expression, Leaf)
    path = find_path(expression.name, schema, where)
    kind = plain(take_path(schema.field(path[0]).type, path[1:]))
    try:
        bound = _bind_leaf(expression, path, kind, schema, where)
        _try_out(bound, kind, schema)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        # Arrow's own errors are among these.
        raise UnsupportedTypeError(f"{expression!r:.300}: the column is of type {kind}, {_reason(error)}") from None
    return bound


def _bind_leaf(leaf: Leaf, path: Path, kind: Any, schema: Any, where: str) -> BoundLeaf:
    import pyarrow as pa

    if leaf.operator == "null":
        return BoundLeaf("null", path, None, None)
    if isinstance(leaf.operand, Column):
        return BoundLeaf(leaf.operator, path, find_path(leaf.operand.name, schema, where), None)
    if leaf.operator == "in":
        given = [_scalar(value, kind) for value in leaf.operand if value is not None]
        scalars = [scalar for scalar in (_fitting(each, kind) for each in given) if scalar is not None]
        has_null = len(given) < len(leaf.operand)
        if pa.types.is_floating(kind) and any(scalar.as_py() == 0 for scalar in scalars):
            # Arrow looks for the same bits, and zero has two signs, which are equal.
            scalars += [pa.scalar(0.0, kind), pa.scalar(-0.0, kind)]
        return BoundLeaf("in", path, pa.array(scalars, kind), _ordinals(scalars), has_null)
    scalar = _scalar(leaf.operand, kind)
    return BoundLeaf(leaf.operator, path, scalar, _ordinals([scalar]))


def _fitting(scalar: Any, kind: Any) -> Any:
    """Return a value as one of type `kind`, or ``None`` where no value of that type equals it."""
    import pyarrow as pa

    try:
        return scalar.cast(kind)
    except pa.ArrowInvalid:
        return None


def _scalar(value: Any, kind: Any) -> Any:
    """Return a value as Arrow compares it with a column of type `kind`."""
    import pyarrow as pa

    types = pa.types
    textual = types.is_string(kind) or types.is_large_string(kind)
    if isinstance(value, str) and not textual:
        if types.is_timestamp(kind) and kind.tz is not None:
            parsed = datetime.datetime.fromisoformat(value)
            value = parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)
            return pa.scalar(value, pa.timestamp("us", tz="UTC")).cast(kind)
        if types.is_time(kind):
            return pa.scalar(datetime.time.fromisoformat(value))
        return pa.scalar(value, pa.string()).cast(kind)
    if textual and isinstance(value, datetime.date):
        return pa.scalar(value.isoformat(), kind)
    if textual and isinstance(value, int) and not isinstance(value, bool):
        raise TypeError(f"and {value!r:.80} is a number: give a text")
    if types.is_timestamp(kind) and type(value) is datetime.date:
        value = datetime.datetime.combine(value, datetime.time())
        return pa.scalar(value.replace(tzinfo=datetime.UTC) if kind.tz else value, pa.timestamp("us", tz=kind.tz))
    if types.is_timestamp(kind) and kind.tz and isinstance(value, datetime.datetime) and value.tzinfo:
        value = pa.scalar(value)  # pandas' own have nanoseconds, which a scalar keeps
        return value.cast(pa.timestamp(value.type.unit, tz=kind.tz))
    if type(value).__module__.startswith("numpy"):
        return pa.array([value])[0]
    if textual or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.scalar(value, kind)
    if isinstance(value, int) and value > INT64_MAX:
        return pa.scalar(value, pa.uint64())
    if types.is_boolean(kind) != isinstance(value, bool):
        raise TypeError(f"and {value!r:.80} is a {type(value).__name__}")
    if types.is_decimal(kind) and isinstance(value, int) and not isinstance(value, bool):
        return pa.scalar(decimal.Decimal(value))
    return pa.scalar(value)


def _ordinals(scalars: Iterable[Any]) -> tuple[Any, ...] | None:
    found = tuple(ordinal(scalar) for scalar in scalars)
    return None if any(each is None for each in found) else found


def unit_factor(unit: str) -> int:
    """Return how many nanoseconds a unit has."""
    return _FACTORS[unit]


def ordinal(scalar: Any) -> Any:
    """Return a value as statistics are compared: times as nanoseconds; ``None`` for types in no order we know."""
    import pyarrow as pa

    kind, types = scalar.type, pa.types
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time(kind):
        return scalar.value * _FACTORS[kind.unit]
    if types.is_date32(kind):
        return scalar.value * _DAY
    if types.is_date64(kind):
        return scalar.value * 10**6
    value = scalar.as_py()
    return value if isinstance(value, bool | int | float | str | bytes | decimal.Decimal) else None


def plain(kind: Any) -> Any:
    """Return the type of the values of a dictionary, or the type itself."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def evaluate(condition: Condition, column: Callable[[Path], Any]) -> Any:
    """Return `condition` as an array of true, false and null; `column` gives the values at a path."""
    pc = kernels()
    if isinstance(condition, Not):
        return pc.invert(evaluate(condition.inner, column))
    if isinstance(condition, Every | Some):
        both = pc.and_kleene if isinstance(condition, Every) else pc.or_kleene
        found = evaluate(condition.parts[0], column)
        for part in condition.parts[1:]:
            found = both(found, evaluate(part, column))
        return found
    values = column(condition.path)
    if condition.operator == "null":
        return pc.is_null(values)
    if condition.operator == "in":
        found = pc.is_in(values, value_set=condition.value)
        return pc.or_(found, pc.is_null(values)) if condition.has_null else found
    if condition.operator == "prefix":
        return pc.starts_with(values, pattern=condition.value.as_py())
    other = column(condition.value) if isinstance(condition.value, tuple) else condition.value
    return getattr(pc, COMPARISONS[condition.operator])(values, other)


def _try_out(leaf: BoundLeaf, kind: Any, schema: Any) -> None:
    """Evaluate on no rows: what cannot be compared says so."""
    import pyarrow as pa

    def column(path: Path) -> Any:
        same = path == leaf.path
        return pa.array([], kind if same else plain(take_path(schema.field(path[0]).type, path[1:])))

    evaluate(leaf, column)


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if text.startswith("and ") else f"and Arrow says: {text:.300}"


def to_arrow(condition: Condition) -> Any:
    """Return `condition` as an expression of Arrow's, for its datasets and for other engines."""
    pc = kernels()
    if isinstance(condition, Not):
        return ~to_arrow(condition.inner)
    if isinstance(condition, Every | Some):
        found = to_arrow(condition.parts[0])
        for part in condition.parts[1:]:
            found = found & to_arrow(part) if isinstance(condition, Every) else found | to_arrow(part)
        return found
    field = pc.field(*condition.path)
    if condition.operator == "null":
        return field.is_null()
    if condition.operator == "in":
        found = field.isin(condition.value)
        return found | field.is_null() if condition.has_null else found
    if condition.operator == "prefix":
        return pc.starts_with(field, condition.value.as_py())
    value = condition.value
    other = pc.field(*value) if isinstance(value, tuple) else pc.scalar(value)
    return getattr(pc, COMPARISONS[condition.operator])(field, other)
