"""Conditions and selections in the words of other engines, so that they find the rows that we do."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from holdall_store.tables._bound import BoundLeaf, Condition, Every, Not, Some, plain, positive
from holdall_store.tables._expression import COMPARISONS
from holdall_store.tables._names import take_path
from holdall_store.tables._schema import Selection

__all__ = ["Language", "condition_in", "selection_in"]

Path = tuple[str, ...]


class Language(ABC):
    """How an engine says things about the columns of a row. Whatever the methods take and give is the engine's own.

    `compare` gives null where a side is null. ``has_ordered_nan`` says that NaN is equal to itself and greater than all
    else there; for us, as for Arrow and IEEE, a comparison with it is false, and "not equal" true.
    """

    has_ordered_nan: bool

    @abstractmethod
    def column(self, path: Path) -> Any:
        """Return the column at `path`, which leads into structs."""

    @abstractmethod
    def literal(self, scalar: Any) -> Any:
        """Return a scalar of Arrow's, which is not null."""

    @abstractmethod
    def compare(self, operator: str, left: Any, right: Any) -> Any:
        """Return a comparison; the operators are Python's."""

    @abstractmethod
    def is_in(self, column: Any, values: Sequence[Any]) -> Any:
        """Return whether a column is one of some literals, and false where it is null."""

    @abstractmethod
    def starts_with(self, column: Any, prefix: Any) -> Any:
        """Return whether a text begins with another."""

    @abstractmethod
    def is_null(self, column: Any) -> Any:
        """Return whether a column is null."""

    @abstractmethod
    def is_nan(self, column: Any) -> Any:
        """Return whether a column of floating numbers is NaN; where it is null, whatever is no error."""

    def without_signed_zero(self, column: Any) -> Any:
        """Return a column of floating numbers so that its zeros, of both signs, are found among zeros."""
        return column

    @abstractmethod
    def negate(self, condition: Any) -> Any:
        """Return whether a condition is false."""

    @abstractmethod
    def both(self, left: Any, right: Any) -> Any:
        """Return whether both are true, as SQL has it."""

    @abstractmethod
    def either(self, left: Any, right: Any) -> Any:
        """Return whether one is true, as SQL has it."""

    @abstractmethod
    def choose(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """Return `then` where a condition, which is never null, is true; ``None`` is null."""

    @abstractmethod
    def constant(self, *, value: bool) -> Any:
        """Return true or false."""

    @abstractmethod
    def struct(self, fields: Sequence[tuple[str, Any]]) -> Any:
        """Return a struct of named columns."""


def condition_in(language: Language, condition: Condition, schema: Any) -> Any:
    """Return a condition on rows of `schema`, which is true for the rows that we find, and for others false or null."""
    return _said(language, positive(condition), schema)


def _said(language: Language, condition: Condition, schema: Any) -> Any:
    if isinstance(condition, Every | Some):
        parts = [_said(language, part, schema) for part in condition.parts]
        return functools.reduce(language.both if isinstance(condition, Every) else language.either, parts)
    negated = isinstance(condition, Not)
    leaf = condition.inner if isinstance(condition, Not) else condition
    assert isinstance(leaf, BoundLeaf)
    column = language.column(leaf.path)
    if leaf.operator == "in":
        return _is_in(language, leaf, column, negated=negated)
    if isinstance(leaf.value, tuple):
        return _compare_columns(language, leaf, schema, negated=negated)
    if leaf.operator in COMPARISONS:
        return _compare(language, leaf, column, floating=_is_floating(schema, leaf.path), negated=negated)
    if leaf.operator == "null":
        found = language.is_null(column)
    else:
        found = language.starts_with(column, language.literal(leaf.value))
    return language.negate(found) if negated else found


def _is_in(language: Language, leaf: BoundLeaf, column: Any, *, negated: bool) -> Any:
    """Return membership: a null is in no set that does not name it, and NaN is in a set that has one.

    Not to be in a set is said of what is there only.
    """
    import pyarrow as pa

    values = list(leaf.value)
    floating = pa.types.is_floating(leaf.value.type)
    nan = floating and any(_is_nan(value) for value in values)
    known = [language.literal(value) for value in values if not _is_nan(value)]
    looked = language.without_signed_zero(column) if any(_is_zero(value) for value in values) else column
    found = language.is_in(looked, known) if known else language.constant(value=False)
    null = language.is_null(column)
    if negated:
        found = language.negate(found)
        if floating:
            is_nan = language.is_nan(column)
            found = language.both(found, language.negate(is_nan)) if nan else language.either(found, is_nan)
        return language.both(found, language.negate(null))
    if nan:
        is_nan = language.choose(null, language.constant(value=False), language.is_nan(column))
        found = language.either(found, is_nan)
    return language.either(found, null) if leaf.has_null else found


def _compare(language: Language, leaf: BoundLeaf, column: Any, *, floating: bool, negated: bool) -> Any:
    keeps_nan = (leaf.operator == "!=") != negated
    if _is_nan(leaf.value):
        return language.choose(language.is_null(column), None, language.constant(value=keeps_nan))
    compared = language.without_signed_zero(column) if floating and leaf.value.as_py() == 0 else column
    found = language.compare(leaf.operator, compared, language.literal(leaf.value))
    if negated:
        found = language.negate(found)
    if not floating:
        return found
    if keeps_nan:  # said again, for engines whose statistics know nothing of NaN
        return language.either(found, language.is_nan(column))
    if language.has_ordered_nan and leaf.operator in (">", ">=", "!="):
        return language.both(found, language.negate(language.is_nan(column)))
    return found


def _compare_columns(language: Language, leaf: BoundLeaf, schema: Any, *, negated: bool) -> Any:
    sides = [language.column(leaf.path), language.column(leaf.value)]
    found = language.compare(leaf.operator, *sides)
    if negated:
        found = language.negate(found)
    paths = (leaf.path, leaf.value)
    may_be_nan = [side for side, path in zip(sides, paths, strict=True) if _is_floating(schema, path)]
    keeps_nan = (leaf.operator == "!=") != negated
    if not may_be_nan or not (language.has_ordered_nan or keeps_nan):
        return found
    nan = functools.reduce(language.either, [language.is_nan(side) for side in may_be_nan])
    null = language.either(*(language.is_null(side) for side in sides))
    return language.choose(null, None, language.choose(nan, language.constant(value=keeps_nan), found))


def _is_nan(scalar: Any) -> bool:
    value = scalar.as_py() if _floats(scalar.type) else None
    return value is not None and math.isnan(value)


def _is_zero(scalar: Any) -> bool:
    return _floats(scalar.type) and scalar.as_py() == 0


def _floats(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind))


def _is_floating(schema: Any, path: Path) -> bool:
    return _floats(plain(take_path(schema.field(path[0]).type, path[1:])))


def selection_in(language: Language, wanted: Selection, prefix: Path = ()) -> list[tuple[str, Any]]:
    """Return names and columns of what is wanted: of a struct that is wanted in part, one with those fields."""
    found = []
    for name, inner in wanted.items():
        path = (*prefix, name)
        value = language.column(path)
        if inner is not None:
            part = language.struct(selection_in(language, inner, path))
            value = language.choose(language.is_null(value), None, part)
        found.append((name, value))
    return found
