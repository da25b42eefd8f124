"""Conditions bound to a schema: their names are paths, their values of the columns' types; and their evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables._expression import COMPARISONS, All, AnyOf, Column, Expression, Leaf, Negation
from holdall_store.tables._names import find_path, take_path
from holdall_store.tables._values import equal_to, exact, ordinal

__all__ = [
    "BoundLeaf",
    "Condition",
    "Every",
    "Not",
    "Some",
    "bind",
    "evaluate",
    "kernels",
    "plain",
    "positive",
]

Path = tuple[str, ...]


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
    if is_nested(kind) and expression.operator != "null":
        raise UnsupportedTypeError(
            f"{expression!r:.300}: the column is of type {kind}, which is_null() alone looks at; of a struct, name a field."
        )
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
        given = [value for value in leaf.operand if value is not None]
        scalars = [scalar for scalar in (equal_to(value, kind) for value in given) if scalar is not None]
        has_null = len(given) < len(leaf.operand)
        if pa.types.is_floating(kind) and any(scalar.as_py() == 0 for scalar in scalars):
            # Arrow looks for the same bits, and zero has two signs, which are equal.
            scalars += [pa.scalar(0.0, kind), pa.scalar(-0.0, kind)]
        return BoundLeaf("in", path, pa.array(scalars, kind), _ordinals(scalars), has_null)
    operator, scalar = exact(leaf.operator, leaf.operand, kind)
    if isinstance(scalar, bool):  # the same for every value: as a comparison of the column with itself
        return BoundLeaf("==" if scalar else "!=", path, path, None)
    return BoundLeaf(operator, path, scalar, _ordinals([scalar]))


def _ordinals(scalars: Iterable[Any]) -> tuple[Any, ...] | None:
    found = tuple(ordinal(scalar) for scalar in scalars)
    return None if any(each is None for each in found) else found


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
        if condition.has_null:
            return pc.or_(found, pc.is_null(values))
        return pc.if_else(pc.is_valid(values), found, None) if values.null_count else found
    if condition.operator == "prefix":
        return pc.starts_with(values, pattern=condition.value.as_py())
    other = column(condition.value) if isinstance(condition.value, tuple) else condition.value
    return getattr(pc, COMPARISONS[condition.operator])(values, other)


def _try_out(leaf: BoundLeaf, kind: Any, schema: Any) -> None:
    """Evaluate on a row of nulls: what cannot be compared says so."""
    import pyarrow as pa

    def column(path: Path) -> Any:
        same = path == leaf.path
        return pa.nulls(1, kind if same else plain(take_path(schema.field(path[0]).type, path[1:])))

    evaluate(leaf, column)


def is_nested(kind: Any) -> bool:
    """Tell whether values of a type are made of others."""
    import pyarrow as pa

    return bool(pa.types.is_nested(kind))


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if text.startswith("and ") else f"and Arrow says: {text:.300}"


def positive(condition: Condition) -> Condition:
    """Return a condition that is true for the same rows, in which nothing but conditions on columns is negated."""
    if isinstance(condition, Every | Some):
        return type(condition)(tuple(positive(part) for part in condition.parts))
    if not isinstance(condition, Not):
        return condition
    inner = condition.inner
    if isinstance(inner, Not):
        return positive(inner.inner)
    if isinstance(inner, Every | Some):
        other = Some if isinstance(inner, Every) else Every
        return other(tuple(positive(Not(part)) for part in inner.parts))
    return condition
