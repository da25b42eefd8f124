"""What an engine is given of a table: files, what is wanted of them, and how to reach them. Never data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables._dataset import refuse_log
from holdall_store.tables._query import Query, selection_of
from holdall_store.tables._resolve import TableFile
from holdall_store.tables._scan import Scan
from holdall_store.tables._schema import Selection
from holdall_store.tables._snapshot import Snapshot
from holdall_store.tables._source import Source
from holdall_store.tables._source_local import LocalSource

if TYPE_CHECKING:
    from holdall_store.storage.buckets import ObjectConfig

__all__ = ["HandOff", "check_files", "hand_off", "refuse_same_names"]


@dataclass(frozen=True, slots=True)
class HandOff:
    """The files of a table that can have rows of the result, and what is wanted of them.

    ``bucket`` says how to reach S3, and is ``None`` for local files.
    """

    name: str
    snapshot: Snapshot
    query: Query
    files: Sequence[tuple[TableFile, tuple[int, ...] | None]]
    limit: int | None
    bucket: ObjectConfig | None

    @property
    def urls(self) -> list[str]:
        """The addresses of the files."""
        return [self.snapshot.source.url(file.found.key) for file, _ in self.files]

    @property
    def schema(self) -> Any:
        """The columns of the table that are needed: what is wanted, and what conditions look at."""
        import pyarrow as pa

        needed = {*self.query.schema.names, *selection_of(self.query.condition)}
        return pa.schema([each for each in self.query.table if each.name in needed])

    @property
    def stored(self) -> list[Any]:
        """Those of them that are in the files."""
        return [each for each in self.schema if each.name not in self.query.partitions]

    @property
    def selection(self) -> Selection:
        """What is wanted of all columns, in their order: those of the folders, too."""
        return {field.name: self.query.wanted.get(field.name) for field in self.query.schema}

    @property
    def is_whole(self) -> bool:
        """Whether all row groups of the files are meant."""
        return all(groups is None for _, groups in self.files)


def hand_off(scan: Scan, snapshot: Snapshot, engine: str) -> HandOff:
    """Return what `engine` gets of a table, after a look whether all files are still those that were seen.

    Raises `UnsupportedTypeError` where it cannot reach them, and `IntegrityError` for a file that was replaced.
    """
    from holdall_store.tables._source_s3 import S3Source  # what it brings is only for whom it concerns

    source = snapshot.source
    if not isinstance(source, LocalSource | S3Source):
        raise UnsupportedTypeError(
            f"{engine} is given files on a disk or in S3, and {snapshot.name} is elsewhere: to_dask() and to_ray() read "
            "it from everywhere, and every engine takes to_arrow()."
        )
    chosen = [piece for piece in scan.pieces if scan.query.condition_for(piece[0]) is not False]
    refuse_log(snapshot, scan, engine)
    check_files(source, [file for file, _ in chosen])
    bucket = source.config if isinstance(source, S3Source) else None
    return HandOff(snapshot.name, snapshot, scan.query, chosen, scan.limit, bucket)


def check_files(source: Source, files: Sequence[TableFile]) -> None:
    """Raise `IntegrityError` for a file that is not the one that was seen."""
    for _ in source.tails([(file.found, 1) for file in files]):
        pass


def refuse_same_names(fields: Any, engine: str, where: str) -> None:
    """Raise for columns or fields that differ by capitals only, where an engine takes them for one."""
    import pyarrow as pa

    seen: dict[str, str] = {}
    for each in fields:
        other = seen.setdefault(each.name.lower(), each.name)
        if other != each.name:
            raise UnsupportedTypeError(
                f"{engine} does not tell {other!r} from {each.name!r} in {where}: select() one of them, rename the "
                "other, or hand on to_arrow()."
            )
        if pa.types.is_struct(each.type):
            refuse_same_names([each.type.field(at) for at in range(each.type.num_fields)], engine, where)
