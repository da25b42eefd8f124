"""Conditions on rows: what `col` makes, as a small tree that knows no data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn

from holdall_store.errors import InvalidNameError, UnsupportedTypeError

__all__ = ["COMPARISONS", "All", "AnyOf", "Column", "Expression", "Leaf", "Negation", "col", "combine", "from_values"]

COMPARISONS: Final = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
"""The operators, and how Arrow calls them."""


class Expression(ABC):
    """A condition on the rows of a table, made with `col`; combine them with ``&``, ``|`` and ``~``.

    As in SQL, a comparison with a null is neither true nor false, and only rows for which the whole is true are kept.

    >>> (col("x") > 3) & ~col("country").isin(["US", "CA"])
    (col('x') > 3) & ~col('country').isin(['US', 'CA'])
    """

    __slots__ = ()

    def __and__(self, other: object) -> Expression:
        return All((self, _checked(other, "&")))

    def __or__(self, other: object) -> Expression:
        return AnyOf((self, _checked(other, "|")))

    def __invert__(self) -> Expression:
        return Negation(self)

    def __bool__(self) -> NoReturn:
        raise UnsupportedTypeError(
            f"{self!r:.200} is true or false for each row, not as a whole: combine conditions with &, | and ~ (in "
            "parentheses), not with 'and', 'or', 'not' or a chain such as 1 < col('x') < 3."
        )

    @abstractmethod
    def leaves(self) -> Iterator[Leaf]:
        """Yield the conditions on single columns of which this is made."""

    def columns(self) -> set[str]:
        """Return the names of the columns that this looks at."""
        names = {leaf.name for leaf in self.leaves()}
        return names | {leaf.operand.name for leaf in self.leaves() if isinstance(leaf.operand, Column)}


class Column:
    """A column, or with dots a field of a struct, to be compared with something: made by `col`.

    Comparing with ``None`` means `is_null`. Texts are understood as dates, times and numbers where the column has them.
    """

    __slots__ = ("name",)
    __hash__ = None  # type: ignore[assignment]  # == makes a condition

    def __init__(self, name: Any) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidNameError(f"A column is named by a text, not by {name!r:.80}.")
        self.name: str = name

    def __repr__(self) -> str:
        return f"col({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Column, (self.name,)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return self.is_null() if _is_missing(other) else self._compared("==", other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return Negation(self.is_null()) if _is_missing(other) else self._compared("!=", other)

    def __lt__(self, other: object) -> Expression:
        return self._compared("<", other)

    def __le__(self, other: object) -> Expression:
        return self._compared("<=", other)

    def __gt__(self, other: object) -> Expression:
        return self._compared(">", other)

    def __ge__(self, other: object) -> Expression:
        return self._compared(">=", other)

    def isin(self, values: Iterable[Any]) -> Expression:
        """Return the condition that the column is one of `values`; ``None`` among them means null."""
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            raise UnsupportedTypeError(f"isin takes a list of values: write [{values!r:.80}].")
        return Leaf("in", self.name, tuple(None if _is_missing(value) else _checked_value(value) for value in values))

    def is_null(self) -> Expression:
        """Return the condition that the column is null; NaN is not."""
        return Leaf("null", self.name, None)

    def between(self, low: Any, high: Any) -> Expression:
        """Return the condition that the column is at least `low` and at most `high`."""
        return All((self._compared(">=", low), self._compared("<=", high)))

    def starts_with(self, prefix: str | bytes) -> Expression:
        """Return the condition that the text, or the bytes, in the column begin with `prefix`."""
        if not isinstance(prefix, str | bytes):
            raise UnsupportedTypeError(f"starts_with takes a text, not {prefix!r:.80}.")
        return Leaf("prefix", self.name, prefix)

    def _compared(self, operator: str, other: object) -> Expression:
        if _is_missing(other):
            raise UnsupportedTypeError(f"{self!r} {operator} {other!r} is true for no row: write {self!r}.is_null().")
        return Leaf(operator, self.name, other if isinstance(other, Column) else _checked_value(other))


class Leaf(Expression):
    """A condition on one column."""

    __slots__ = ("name", "operand", "operator")

    def __init__(self, operator: str, name: str, operand: Any) -> None:
        self.operator = operator
        self.name = name
        self.operand = operand

    def __repr__(self) -> str:
        column = f"col({self.name!r})"
        if self.operator == "in":
            return f"{column}.isin({list(self.operand)!r})"
        if self.operator == "null":
            return f"{column}.is_null()"
        if self.operator == "prefix":
            return f"{column}.starts_with({self.operand!r})"
        return f"({column} {self.operator} {self.operand!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Leaf, (self.operator, self.name, self.operand)

    def leaves(self) -> Iterator[Leaf]:
        """Yield this."""
        yield self


class _Several(Expression):
    __slots__ = ("parts",)

    def __init__(self, parts: Iterable[Expression]) -> None:
        self.parts = tuple(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.parts,)

    def leaves(self) -> Iterator[Leaf]:
        """Yield the conditions on single columns of which this is made."""
        for part in self.parts:
            yield from part.leaves()


class All(_Several):
    """The condition that every part is true."""

    __slots__ = ()

    def __repr__(self) -> str:
        return " & ".join(f"({part!r})" if isinstance(part, AnyOf) else repr(part) for part in self.parts)


class AnyOf(_Several):
    """The condition that one of the parts is true."""

    __slots__ = ()

    def __repr__(self) -> str:
        return " | ".join(f"({part!r})" if isinstance(part, All) else repr(part) for part in self.parts)


class Negation(Expression):
    """The condition that another is false."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"~({self.inner!r})" if isinstance(self.inner, _Several) else f"~{self.inner!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Negation, (self.inner,)

    def leaves(self) -> Iterator[Leaf]:
        """Yield the conditions on single columns of which this is made."""
        yield from self.inner.leaves()


def col(name: str) -> Column:
    """Return the column `name`, to say what its rows must be like: ``col("x") > 3``.

    Dots lead into structs: ``col("user.id")``. There are the comparisons, `isin`, `is_null`, `between`, `starts_with`.

    >>> table.where(col("x").between(1, 3) | col("name").starts_with("A"))
    """
    return Column(name)


def from_values(values: Mapping[str, Any]) -> Expression | None:
    """Return the condition that each column has its value, or one of its values where that is a list."""
    parts: list[Expression] = []
    for name, value in values.items():
        column = Column(name)
        if isinstance(value, list | tuple | set | frozenset | range):
            parts.append(column.isin(sorted(value) if isinstance(value, set | frozenset) else value))
        else:
            # As None is null, NaN is NaN, alone as in a list.
            parts.append(column.isin([value]) if isinstance(value, float) and value != value else column == value)
    return combine(*parts)


def combine(*conditions: Expression | None) -> Expression | None:
    """Return the condition that all of those given are true; ``None`` is none."""
    parts: list[Expression] = []
    for condition in conditions:
        if isinstance(condition, All):
            parts.extend(condition.parts)
        elif condition is not None:
            parts.append(condition)
    return (parts[0] if len(parts) == 1 else All(parts)) if parts else None


def _checked(other: object, operator: str) -> Expression:
    if isinstance(other, Expression):
        return other
    raise UnsupportedTypeError(
        f"On the right of {operator} is {other!r:.80}, and not a condition: write comparisons in parentheses, "
        f"(col('x') > 3) {operator} (col('y') < 2)."
    )


def _is_missing(value: Any) -> bool:
    """Tell whether a value means null: ``None``, or what pandas and NumPy have for it, but NaN."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return type(value).__name__ in ("datetime64", "timedelta64") and bool(value != value)


def _checked_value(value: Any) -> Any:
    if isinstance(value, list | tuple | set | dict | Expression | Column):
        raise UnsupportedTypeError(
            f"A column is compared with single values, not with {value!r:.80}: for one of several there is isin, and whole lists and structs are not compared."
        )
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "shape", None) == () and type(value).__module__ == "numpy":
        kind = getattr(getattr(value, "dtype", None), "kind", "")
        return value if kind in "mM" else item()  # a NumPy number is the Python number; times have units of their own
    return value
