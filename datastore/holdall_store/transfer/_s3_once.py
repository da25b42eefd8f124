"""Targets of many transfers: each is written once, for of two the one that comes last would win, whichever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeVar

from holdall_store.errors import InvalidNameError

__all__ = ["once"]

_Thing = TypeVar("_Thing")


def once(things: Iterable[_Thing], target_of: Callable[[_Thing], str]) -> Iterable[_Thing]:
    """Return `things`, and raise `InvalidNameError` for a second one of the same target.

    A list, a tuple or a set is looked through at once; of anything else, which may not come twice, the second one is
    refused when it comes. Memory: a string for each target, where the caller keeps a result for each anyway.
    """
    if not isinstance(things, Sequence | AbstractSet):
        return _checked(things, target_of)
    for _ in _checked(things, target_of):
        pass
    return things


def _checked(things: Iterable[_Thing], target_of: Callable[[_Thing], str]) -> Iterator[_Thing]:
    known: set[str] = set()
    for thing in things:
        target = target_of(thing)
        if target in known:
            raise InvalidNameError(
                f"Two that would get the same name: {target!r:.300} is given twice, and one would overwrite the other. "
                "Give each a name of its own, or leave one out."
            )
        known.add(target)
        yield thing
