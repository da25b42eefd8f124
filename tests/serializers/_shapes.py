"""Importable classes of every kind that a tree can hold, and some that it cannot."""

from __future__ import annotations

import collections
import enum
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Color(enum.Enum):
    """Members with values of several types, and an alias."""

    RED = 1
    GREEN = "green"
    CRIMSON = 1


class Level(enum.IntEnum):
    """Members that are integers."""

    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    """Flags that combine."""

    READ = enum.auto()
    WRITE = enum.auto()


class Mode(enum.IntFlag):
    """Flags that are integers, and keep bits that have no name."""

    A = 1
    B = 4


class Peculiar(enum.Flag):
    """Flags that say themselves what an unknown value is."""

    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return super()._missing_(value)


@dataclass
class Config:
    """A dataclass like most."""

    lr: float = 0.1
    layers: list[int] = field(default_factory=list)
    hidden: int = field(default=3, init=False)

    class Nested(NamedTuple):
        """A named tuple in a class."""

        x: int


@dataclass(frozen=True, slots=True)
class Point:
    """A dataclass that does not change, and has no ``__dict__``."""

    x: float
    y: Any


@dataclass(frozen=True)
class Strict:
    """A dataclass whose ``__init__`` must not run again."""

    value: int

    def __post_init__(self) -> None:
        """Count the times that somebody made one."""
        CALLS.append(self.value)


CALLS: list[int] = []


@dataclass
class Box(Generic[T]):
    """A generic dataclass."""

    content: T


@dataclass
class Private:
    """A dataclass with a name of its own in a slot."""

    __slots__ = ("__secret", "public")
    public: int

    def hide(self, value: int) -> None:
        """Set what only this class sees."""
        self.__secret = value

    def seek(self) -> int:
        """Return what only this class sees."""
        return self.__secret


@dataclass
class Reduced:
    """A dataclass that says itself how it is pickled."""

    x: int

    def __reduce__(self) -> Any:
        """Double the value, so that a test can see who made the copy."""
        return Reduced, (self.x * 2,)


@dataclass
class DictLike(dict):  # type: ignore[type-arg]
    """A dataclass that is also a dict, and so has state that is not in its attributes."""

    x: int = 0


Pair = collections.namedtuple("Pair", ["left", "right"])  # noqa: PYI024


class Labelled(NamedTuple):
    """A typed named tuple with a default."""

    name: str
    value: Any = None


class PairWithDict(Pair):
    """A named tuple with room for more attributes."""


class Plain:
    """An ordinary object: a pickle's business."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class ListSubclass(list):  # type: ignore[type-arg]
    """A list that is not just a list."""
