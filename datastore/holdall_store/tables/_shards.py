"""Parts of a table that are read where an engine wants them: by Dask's workers, and Ray's."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from holdall_store.errors import InvalidNameError, MissingDependencyError, nearest
from holdall_store.tables._arguments import check_count

if TYPE_CHECKING:
    import pyarrow as pa

    from holdall_store.tables._table import Table

__all__ = ["PARTITION_BYTES", "Shard", "to_dask", "to_ray"]

PARTITION_BYTES: Final = 128 << 20
"""What Dask and Ray advise for a part, of bytes in the files."""

BACKENDS: Final = ("pyarrow", "numpy_nullable")


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a table, with the credentials that were given for it: whom it is sent to, is to read it."""

    table: Table
    options: Mapping[str, Any] = field(repr=False)

    def open(self) -> Table:
        """Return the table, which shows no bar: others are read beside it."""
        table = self.table.with_storage_options(self.options)
        table.shows_progress = False
        return table

    def split(self, n: int) -> list[Shard]:
        """Return `n` parts or less, none of them empty unless all are."""
        parts = [Shard(part, self.options) for part in self.table.split(n)]
        return [part for part in parts if part.table.files()] or parts[:1]

    @property
    def size_bytes(self) -> int:
        """How large the files are."""
        return sum(info.size for info in self.table.files())


class ReadFrame:
    """Reads a part as a frame of pandas; Dask asks for `columns` where it needs no others."""

    def __init__(self, dtype_backend: Literal["pyarrow", "numpy_nullable"]) -> None:
        self._dtype_backend: Literal["pyarrow", "numpy_nullable"] = dtype_backend

    def __call__(self, shard: Shard, columns: Sequence[str] | None = None) -> Any:
        table = shard.open()
        if columns is not None and list(columns):
            table = table.select(*columns)
        frame = table.to_pandas(dtype_backend=self._dtype_backend, index=False)
        return frame if columns is None else frame[list(columns)]


def to_dask(whole: Shard, npartitions: int | None, dtype_backend: Any, *, splits: bool) -> Any:
    """Return a frame of Dask's, whose partitions are parts of a table; one alone unless it `splits`."""
    if dtype_backend not in BACKENDS:
        raise InvalidNameError(
            f"dtype_backend={dtype_backend!r:.80} is not understood: give 'pyarrow' or 'numpy_nullable'. Types of NumPy's "
            f"would differ between partitions with nulls and without.{nearest(str(dtype_backend), BACKENDS)}"
        )
    try:
        frames = importlib.import_module("dask.dataframe")
    except ImportError as error:
        raise MissingDependencyError("to_dask() needs Dask: pip install 'holdall[dask]'.") from error
    if npartitions is not None:
        check_count(npartitions, 1, "npartitions= is a number")
    parts = max(1, -(-whole.size_bytes // PARTITION_BYTES)) if npartitions is None else npartitions
    read = ReadFrame(dtype_backend)
    meta = read(Shard(whole.table.head(0), whole.options))
    return frames.from_map(read, whole.split(parts) if splits else [whole], meta=meta, label="holdall-table")


def read_blocks(shard: Shard) -> Iterator[pa.Table]:
    """Yield a part in tables, at least one."""
    import pyarrow as pa

    table = shard.open()
    empty = True
    for batch in table.batches():
        empty = False
        yield pa.Table.from_batches([batch])
    if empty:
        yield table.schema.empty_table()


def to_ray(whole: Shard, override_num_blocks: int | None, *, splits: bool) -> Any:
    """Return a dataset of Ray's, whose tasks read parts of a table; one alone unless it `splits`."""
    try:
        data = importlib.import_module("ray.data")
        block = importlib.import_module("ray.data.block")
    except ImportError as error:
        raise MissingDependencyError("to_ray() needs Ray Data: pip install 'holdall[ray]'.") from error
    schema = whole.table.schema

    class HoldallTableDatasource(data.Datasource):  # type: ignore[misc, name-defined]
        """Tells Ray into which parts a table falls, and how each is read."""

        def estimate_inmemory_data_size(self) -> int:
            return whole.size_bytes

        def get_read_tasks(
            self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
        ) -> list[Any]:
            del data_context
            tasks = []
            for shard in whole.split(max(parallelism, 1)) if splits else [whole]:
                metadata = block.BlockMetadata(
                    num_rows=None,
                    size_bytes=shard.size_bytes,
                    input_files=tuple(info.url for info in shard.table.files()),
                    exec_stats=None,
                )
                read = functools.partial(read_blocks, shard)
                tasks.append(data.ReadTask(read, metadata, schema=schema, per_task_row_limit=per_task_row_limit))
            return tasks

    return data.read_datasource(HoldallTableDatasource(), override_num_blocks=override_num_blocks)
