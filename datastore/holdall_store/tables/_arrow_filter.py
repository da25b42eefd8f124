"""Conditions as expressions of Arrow's, for its datasets."""

from __future__ import annotations

from typing import Any

from holdall_store.tables._bound import BoundLeaf, Condition, Every, Not, Some, kernels, plain, positive
from holdall_store.tables._expression import COMPARISONS
from holdall_store.tables._names import take_path
from holdall_store.tables._query import Query

__all__ = ["filter_of", "to_arrow"]


def filter_of(query: Query) -> Any:
    """Return the condition of a query as an expression of Arrow's, or ``None`` if it has none."""
    return None if query.condition is None else to_arrow(query.condition, query.table)


def to_arrow(condition: Condition, schema: Any) -> Any:
    """Return `condition`, on rows of `schema`, as an expression of Arrow's that is true for the same rows."""
    return _said(positive(condition), schema)


def _said(condition: Condition, schema: Any) -> Any:
    if isinstance(condition, Every | Some):
        found = _said(condition.parts[0], schema)
        for part in condition.parts[1:]:
            other = _said(part, schema)
            found = found & other if isinstance(condition, Every) else found | other
        return found
    negated = isinstance(condition, Not)
    leaf = condition.inner if isinstance(condition, Not) else condition
    assert isinstance(leaf, BoundLeaf)
    found = _leaf(leaf, negated=negated)
    return found | _never() if _keeps_nan(leaf, schema, negated=negated) else found


def _leaf(leaf: BoundLeaf, *, negated: bool) -> Any:
    pc = kernels()
    field = pc.field(*leaf.path)
    if leaf.operator == "null":
        return field.is_valid() if negated else field.is_null()
    if leaf.operator == "in":
        found = field.isin(leaf.value)
        if negated:
            return ~found & field.is_valid()
        return found | field.is_null() if leaf.has_null else found
    if leaf.operator == "prefix":
        found = pc.starts_with(field, leaf.value.as_py())
    else:
        other = pc.field(*leaf.value) if isinstance(leaf.value, tuple) else pc.scalar(leaf.value)
        found = getattr(pc, COMPARISONS[leaf.operator])(field, other)
    return ~found if negated else found


def _never() -> Any:
    """Return what is never true, and what Arrow does not know to be so.

    Its statistics tell nothing of NaN: of a row group in which all else is 0, Arrow believes that no value differs from 0,
    and leaves it out. With this beside the comparison it has to look at the rows.
    """
    import pyarrow.compute as pc

    return pc.Expression._call("random", [], pc.RandomOptions()) < 0  # noqa: SLF001 - there is no other way to name it


def _keeps_nan(leaf: BoundLeaf, schema: Any, *, negated: bool) -> bool:
    """Tell whether a condition is true for NaN."""
    import pyarrow as pa

    paths = [leaf.path, leaf.value] if isinstance(leaf.value, tuple) else [leaf.path]
    if not any(pa.types.is_floating(plain(take_path(schema.field(path[0]).type, path[1:]))) for path in paths):
        return False
    if leaf.operator == "in":
        values: Any = leaf.value
        return any(value != value for value in values.to_pylist()) != negated
    return leaf.operator != "null" and (leaf.operator == "!=") != negated
