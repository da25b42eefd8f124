"""A frame artifact as a table: its columns are loaded when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from holdall._messages import with_article
from holdall.store import UnsupportedTypeError
from holdall_store.tables import Frame

if TYPE_CHECKING:
    from holdall._artifact import Artifact
    from holdall_store.serializers import TableShape

__all__ = ["ArtifactFrame"]


class ArtifactFrame(Frame):
    """The columns of a saved frame of pandas or polars, or of a saved table of Arrow."""

    def __init__(self, artifact: Artifact, shape: TableShape | None, sizes: Sequence[int]) -> None:
        if shape is None:
            raise UnsupportedTypeError(
                f"{artifact.reference} is {with_article(artifact.type)}, and no table: table() is for frames of pandas and "
                "polars and for tables of Arrow; load() gives the object."
            )
        self._artifact = artifact
        self.name = artifact.reference
        self.columns = [str(label) for label in shape.labels]
        self.rows = shape.rows
        self.schema = None if shape.schema is None else _plain(shape.schema, self.name)
        self._labels = dict(zip(self.columns, shape.labels, strict=True))
        weights = [sum(sizes[number] for number in numbers) for numbers in shape.buffers]
        self._bytes = dict(zip(self.columns, weights, strict=True))
        twice = [name for name, times in Counter(self.columns).items() if times > 1]
        if twice:
            raise UnsupportedTypeError(
                f"{self.name} has two columns called {twice[0]!r}: no table can. load() gives the frame."
            )

    def load(self, names: Sequence[str]) -> Any:
        found = self._artifact.load(columns=[self._labels[name] for name in names])
        return _to_arrow(found, self.name)

    def bytes_of(self, names: Iterable[str]) -> int:
        return sum(self._bytes.get(name, 0) for name in names)


def _plain(schema: Any, name: str) -> Any:
    from holdall_store.tables import normal_schema

    return normal_schema(schema, name)


def _to_arrow(found: Any, name: str) -> Any:
    """Return a loaded frame as a table of Arrow: of the same memory where that is possible."""
    import pyarrow as pa

    module = type(found).__module__.partition(".")[0]
    if module == "polars":
        return found.to_arrow()
    if module != "pandas":
        return found if isinstance(found, pa.Table) else pa.Table.from_batches([found])
    if not all(isinstance(label, str) for label in found.columns):
        found = found.set_axis([str(label) for label in found.columns], axis=1)
    try:
        return pa.Table.from_pandas(found)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(part) for part in error.args)
        raise UnsupportedTypeError(
            f"{name} has values that Arrow has no type for ({reason:.300}): select other columns, or load() the frame."
        ) from error
