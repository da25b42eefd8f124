"""What statistics say of a condition: which of true, false and null it can be for the rows that they describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from holdall_store.tables._bound import BoundLeaf, Condition, Every, Not, Some

__all__ = ["CONSTANT_NULL", "UNKNOWN", "Bounds", "Fact", "Outcomes", "fact", "outcomes"]

Outcomes = frozenset[bool | None]

Fact = tuple[type, Any]
"""A value and its type: 1, 1.0 and True are one key, and are not found by the same rule."""

ANYTHING: Final[Outcomes] = frozenset({True, False, None})
_NEVER_NULL: Final[Outcomes] = frozenset({True, False})
_NULL: Final[Outcomes] = frozenset({None})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of the values of a column: they lie between `low` and `high`, which need not occur.

    Both are `None` where nothing is known. Values are comparable Python objects: times are whole nanoseconds.
    ``nulls`` says whether there can be nulls; ``nan``, whether there can be values that are in no order. ``absent`` are
    values that equal none of the column's.
    """

    low: Any = None
    high: Any = None
    nulls: Literal["none", "some", "all"] = "some"
    nan: bool = False
    absent: frozenset[Fact] = frozenset()


UNKNOWN: Final = Bounds(nan=True)
CONSTANT_NULL: Final = Bounds(nulls="all")


def fact(ordinal: Any) -> Fact:
    """Return a value as it stands among those that are absent."""
    return type(ordinal), ordinal


def outcomes(condition: Condition, look: Callable[[tuple[str, ...]], Bounds]) -> Outcomes:
    """Return what `condition` can be: a superset of what it is, so what is not in it cannot happen."""
    if isinstance(condition, BoundLeaf):
        return _leaf(condition, look(condition.path))
    if isinstance(condition, Not):
        return frozenset(None if value is None else not value for value in outcomes(condition.inner, look))
    assert isinstance(condition, Every | Some)
    parts = [outcomes(part, look) for part in condition.parts]
    found = parts[0]
    for part in parts[1:]:
        both = _and if isinstance(condition, Every) else _or
        found = frozenset(both(one, other) for one in found for other in part)
    return found


def _and(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _or(one: bool | None, other: bool | None) -> bool | None:
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


def _leaf(leaf: BoundLeaf, bounds: Bounds) -> Outcomes:
    if leaf.operator == "null":
        return {"none": frozenset({False}), "some": _NEVER_NULL, "all": frozenset({True})}[bounds.nulls]
    if leaf.operator == "in":
        return _among(leaf, bounds)
    if bounds.nulls == "all":
        return _NULL
    if isinstance(leaf.value, tuple):  # another column, which may be null where this one is not
        if leaf.value != leaf.path or bounds.nan:
            return ANYTHING
        found: Outcomes = frozenset({leaf.operator in ("==", "<=", ">=")})
    elif leaf.operator in ("==", "!=") and leaf.ordinals is not None and fact(leaf.ordinals[0]) in bounds.absent:
        found = frozenset({leaf.operator == "!="})
    elif leaf.ordinals is None or bounds.low is None or bounds.high is None:
        found = _NEVER_NULL
    else:
        try:
            found = _compared(leaf.operator, leaf.ordinals[0], bounds)
        except TypeError:  # statistics of another type than the column: they say nothing
            found = _NEVER_NULL
    return found | _NULL if bounds.nulls == "some" else found


def _among(leaf: BoundLeaf, bounds: Bounds) -> Outcomes:
    """Return what ``isin`` can be: of a null it is null if the list names none."""
    found: Outcomes = frozenset()
    if bounds.nulls != "none":
        found |= {leaf.has_null or None}
    if bounds.nulls == "all":
        return found
    if leaf.ordinals is None:
        return found | _NEVER_NULL
    possible = [ordinal for ordinal in leaf.ordinals if fact(ordinal) not in bounds.absent]
    if not possible:
        return found | {False}
    if bounds.low is None or bounds.nan:
        return found | _NEVER_NULL
    try:
        for ordinal in possible:
            each = _compared("==", ordinal, bounds)
            if each == {True}:
                return found | {True}
            if True in each:
                return found | _NEVER_NULL
    except TypeError:
        return found | _NEVER_NULL
    return found | {False}


def _compared(operator: str, value: Any, bounds: Bounds) -> Outcomes:
    low, high = bounds.low, bounds.high
    if value != value or low != low or high != high:
        return _NEVER_NULL
    can: bool
    cannot: bool
    if operator == "==":
        can, cannot = low <= value <= high, not (low == value == high)
    elif operator == "!=":
        can, cannot = not (low == value == high), low <= value <= high
    elif operator == "<":
        can, cannot = low < value, not high < value
    elif operator == "<=":
        can, cannot = low <= value, not high <= value
    elif operator == ">":
        can, cannot = high > value, not low > value
    elif operator == ">=":
        can, cannot = high >= value, not low >= value
    else:  # a prefix
        begin, end = low[: len(value)], high[: len(value)]
        can, cannot = begin <= value <= end, not (begin == value == end)
    if bounds.nan:  # NaN differs from everything, and compares with nothing
        can, cannot = can or operator == "!=", cannot or operator != "!="
    return frozenset({outcome for outcome, possible in ((True, can), (False, cannot)) if possible})
