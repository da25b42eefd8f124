"""What a table asks of the place where its files are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from holdall_store.errors import IntegrityError
from holdall_store.tables._plan import Span

__all__ = ["TAIL_BYTES", "FetchedSource", "Fill", "Found", "MappedSource", "Source", "Tail", "changed"]

TAIL_BYTES: Final = 128 << 10
"""The last part of a file that is asked for before anything is known of it: most footers fit."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its key, its size, and what tells this content from any other under the same key.

    ``size`` is -1 while it is not known. ``version`` is an ETag or a time of modification; it is empty where the
    storage tells none, or while it is not known.
    """

    key: str
    size: int = -1
    version: str = ""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last bytes of a file, from `begin`; `found` has the size and the version of what was read."""

    found: Found
    begin: int
    data: memoryview


@dataclass(slots=True)
class Fill:
    """Ranges of one file to be fetched into `target`, where they stand as in the file; `tag` is the caller's."""

    found: Found
    spans: Sequence[Span]
    target: memoryview
    tag: Any = field(default=None, repr=False)

    @property
    def weight(self) -> int:
        """How many bytes are fetched."""
        return sum(span.length for span in self.spans)


class Source(ABC):
    """A place with files. Its methods may be called from any thread, and in a forked child.

    Errors are those of `holdall_store.errors`, and name the file. What has another version than the one that is asked
    for raises `IntegrityError`: bytes of two versions are never given together. Each is a `FetchedSource` or a
    `MappedSource`.
    """

    @property
    @abstractmethod
    def identity(self) -> str:
        """Return what tells this place from all others."""

    @abstractmethod
    def url(self, key: str) -> str:
        """Return the address of a file, for people and for other engines."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[Found]:
        """Yield the files whose keys begin with `prefix`, which is empty or ends with a slash, sorted by key."""

    def is_of_one_moment(self, count: int) -> bool:  # noqa: ARG002
        """Tell whether a listing of `count` files shows all of them as they were at one time."""
        return False

    @abstractmethod
    def tails(self, wanted: Sequence[tuple[Found, int]]) -> Iterator[Tail | None]:
        """Yield the last so many bytes of each file, in order, all of it where it has no more; ``None``: no such file."""

    def arrow_filesystem(self) -> tuple[Any, Callable[[str], str]] | None:
        """Return a filesystem of pyarrow's for the same place, and how keys are called there, if there is one."""
        return None


class FetchedSource(Source):
    """A place whose bytes travel: only those that are asked for, checked as they come."""

    @abstractmethod
    def fetch(self, fills: Iterable[Fill], *, bytes_max: int, ordered: bool = True) -> Iterator[Fill]:
        """Yield each of `fills` when all of its ranges are in its target; about `bytes_max` bytes are under way."""


class MappedSource(Source):
    """A place whose files can be mapped."""

    @abstractmethod
    def map(self, found: Found) -> Any:
        """Return a file as a source for Arrow."""

    @abstractmethod
    def check(self, found: Found) -> None:
        """Raise `IntegrityError` if a file that was mapped has changed."""


def changed(url: str, detail: str) -> IntegrityError:
    """Return what is raised for a file that is not the one that was seen."""
    return IntegrityError(
        f"{url} was replaced after it was first seen ({detail}): make the Table anew to read what is there now."
    )
