"""What a filter asks of one run: functions that answer true, false, or, as in SQL, ``None`` for what is not known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdall_store.repository import RunRow

__all__ = [
    "Test",
    "against",
    "among",
    "begins",
    "both",
    "compared",
    "either",
    "holds",
    "metric",
    "missing",
    "negated",
    "param",
]

Test = Callable[[RunRow], bool | None]
"""True, false, or unknown."""


def metric(key: str) -> Callable[[RunRow], Any]:
    """Return what looks a metric up."""
    return lambda row: row.metrics.get(key)


def param(key: str) -> Callable[[RunRow], Any]:
    """Return what looks a parameter up: by its whole name, or else by the way through nested ones."""
    return lambda row: _dig(row.params, key)


def _dig(found: Any, key: str) -> Any:
    """Return what lies at the end of a way through dicts, whose keys may themselves have dots; ``None`` where it ends before."""
    if not isinstance(found, dict):
        return None
    if found.get(key) is not None:
        return found[key]
    ways = (position for position, character in enumerate(key) if character == ".")
    ends = (_dig(found.get(key[:position]), key[position + 1 :]) for position in ways)
    return next((end for end in ends if end is not None), None)


def against(get: Callable[[RunRow], Any], compare: Callable[[Any, Any], bool], value: Any) -> Test:
    """Return a comparison with a value; a text is neither smaller nor greater than a number."""

    def test(row: RunRow) -> bool | None:
        found = get(row)
        if found is None:
            return None
        try:
            return compare(found, value)
        except TypeError:  # a text is neither smaller nor greater than a number
            return None

    return test


def compared(
    left: Callable[[RunRow], Any], compare: Callable[[Any, Any], bool], right: Callable[[RunRow], Any]
) -> Test:
    """Return a comparison of two fields."""

    def test(row: RunRow) -> bool | None:
        first, second = left(row), right(row)
        if first is None or second is None:
            return None
        try:
            return compare(first, second)
        except TypeError:
            return None

    return test


def missing(get: Callable[[RunRow], Any]) -> Test:
    """Return what tells whether a run lacks a field."""
    return lambda row: get(row) is None


def begins(get: Callable[[RunRow], Any], start: str) -> Test:
    """Return what tells whether a text begins so."""

    def test(row: RunRow) -> bool | None:
        found = get(row)
        return None if found is None else str(found).startswith(start)

    return test


def holds(get: Callable[[RunRow], Any], name: str) -> Test:
    """Return what tells whether a name is among many."""
    return lambda row: name in get(row)


def among(get: Callable[[RunRow], Any], values: Sequence[Any]) -> Test:
    """Return what tells whether a field is one of several values."""

    def test(row: RunRow) -> bool | None:
        found = get(row)
        if found is None:
            return True if None in values else None
        return found in values

    return test


def negated(test: Test) -> Test:
    """Return the opposite; what is unknown stays so."""

    def negated(row: RunRow) -> bool | None:
        found = test(row)
        return None if found is None else not found

    return negated


def both(tests: Sequence[Test]) -> Test:
    """Return what is true where all are."""

    def both(row: RunRow) -> bool | None:
        result: bool | None = True
        for test in tests:
            found = test(row)
            if found is False:
                return False
            if found is None:
                result = None
        return result

    return both


def either(tests: Sequence[Test]) -> Test:
    """Return what is true where one is."""

    def either(row: RunRow) -> bool | None:
        result: bool | None = False
        for test in tests:
            found = test(row)
            if found:
                return True
            if found is None:
                result = None
        return result

    return either
