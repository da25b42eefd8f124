"""What the messages of errors are made of: values cut visibly, lists of names, mappings that answer with the nearest name."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

from holdall.store import NotFoundError, nearest

__all__ = ["MissingKeyError", "kind_of", "listed", "readable", "shown", "with_article"]

SHOWN_CHARACTERS_MAX: Final = 60
"""Length of a string in a message."""

LISTED_MAX: Final = 10


def shown(value: object) -> str:
    """Return a value as Python writes it, cut visibly: a string keeps its quotes."""
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS_MAX:
        value = value[: SHOWN_CHARACTERS_MAX - 3] + "…"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX + 20 else text[: SHOWN_CHARACTERS_MAX + 19] + "…"


def listed(names: Collection[str], limit: int = LISTED_MAX) -> str:
    """Return the first names with commas between, and how many there are if these are not all."""
    text = ", ".join(itertools.islice(names, limit))
    return text if len(names) <= limit else f"{text}, … ({len(names)} in all)"


def kind_of(value: object) -> str:
    """Return the type of a value with its article: ``an int``."""
    return with_article(type(value).__name__)


def with_article(name: str) -> str:
    """Return a name after ``a`` or ``an``."""
    return f"{'an' if name[:1].lower() in tuple('aeiou') else 'a'} {name}"


class MissingKeyError(NotFoundError, KeyError):
    """A run has no parameter or metric of that name."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


class _Named(dict[str, Any]):
    def __init__(self, values: Mapping[str, Any], what: str, where: str) -> None:
        super().__init__(values)
        self._what, self._where = what, where

    def __missing__(self, name: object) -> NoReturn:
        known = f" It has: {listed(self)}." if self else " It has none."
        raise MissingKeyError(f"{self._where} has no {self._what} {shown(name)}.{nearest(str(name), self)}{known}")


def readable(values: Mapping[str, Any], what: str, where: str) -> Mapping[str, Any]:
    """Return values that cannot be changed, and answer a name that there is none of with the nearest one."""
    return MappingProxyType(_Named(values, what, where))
