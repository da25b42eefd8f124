"""What the serializers of tables share: columns that can be loaded alone."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdall_store.errors import NotFoundError, nearest
from holdall_store.serializers._protocol import Decoder, Node, Serializer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["TableShape", "TabularSerializer", "decode_shared", "positions_of", "unknown_column"]

_LISTED_COLUMNS = 20
"""How many columns an error lists: as many as a person reads."""


@dataclass(frozen=True, slots=True)
class TableShape:
    """What the node of a table tells of it.

    ``labels`` are those of the columns, ``buffers`` the numbers of the buffers of each, and ``schema`` the one of Arrow,
    where the table has one.
    """

    library: str
    labels: Sequence[Any]
    rows: int
    buffers: Sequence[Sequence[int]]
    schema: Any = None


class TabularSerializer(Serializer):
    """A serializer of objects with columns that can be loaded alone."""

    @abstractmethod
    def shape(self, node: dict[str, Node], decoder: Decoder) -> TableShape:
        """Return what there is, and fetch no values for it."""

    @abstractmethod
    def decode_columns(self, node: dict[str, Node], decoder: Decoder, columns: Sequence[Any]) -> Any:
        """Return the object with `columns` alone, in that order, and fetch only their buffers (and the row index)."""


def positions_of(columns: Sequence[Any], known: Sequence[str]) -> list[int]:
    """Return where each column stands; every place of a name that occurs more than once."""
    places: dict[Any, list[int]] = {}
    for position, name in enumerate(known):
        places.setdefault(name, []).append(position)
    found: list[int] = []
    for wanted in columns:
        if not isinstance(wanted, str) or wanted not in places:
            raise unknown_column(wanted, known)
        found += places[wanted]
    return found


def decode_shared(skipped: Iterable[Node], wanted: Node, decoder: Decoder) -> None:
    """Decode what columns that are loaded share with columns that are not, where it stands in the latter."""
    if any(part.get("$") == "ref" for part in _objects(wanted)):
        for part in _objects(list(skipped)):
            if part.get("$") == "shared":
                decoder.node(part)


def _objects(node: Node) -> Iterator[dict[str, Node]]:
    todo = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            yield part
            todo.extend(reversed(part.values()))
        elif isinstance(part, list):
            todo.extend(reversed(part))


def unknown_column(wanted: object, known: Sequence[object]) -> NotFoundError:
    """Return the error for a column that is not there."""
    listed = ", ".join(repr(label) for label in known[:_LISTED_COLUMNS])
    more = f", … ({len(known)} in all)" if len(known) > _LISTED_COLUMNS else ""
    hint = nearest(wanted, [label for label in known if isinstance(label, str)]) if isinstance(wanted, str) else ""
    return NotFoundError(f"no column {wanted!r} in this table.{hint} Its columns: {listed or 'none'}{more}")
