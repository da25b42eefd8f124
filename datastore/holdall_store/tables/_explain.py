"""What can be told of a table before its data are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdall_store.tables._bound import plain
from holdall_store.tables._filters import Tally
from holdall_store.tables._plan import cut, total
from holdall_store.tables._query import bounds_of, typed_scalar
from holdall_store.tables._resolve import TableFile
from holdall_store.tables._scan import Scan
from holdall_store.tables._schema import leaves_below
from holdall_store.tables._source import FetchedSource
from holdall_store.tables._units import GroupUnit
from holdall_store.tables._values import unit_factor

__all__ = ["ColumnStats", "Explanation", "FileInfo", "explain_scan", "gather_stats", "values_of"]


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file of a table: its size in bytes, the values of its partition columns, and which row groups, if not all."""

    url: str
    size: int
    partition: Mapping[str, Any]
    row_groups: tuple[int, ...] | None = None


def values_of(file: TableFile, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a file's partition columns, of which `kinds` are the names and types."""
    found: dict[str, Any] = {
        name: None if value is None else typed_scalar(value, plain(kind))
        for value, (name, kind) in zip(file.values, kinds.items(), strict=True)
    }
    if file.facts is not None:
        found.update(file.facts.constants)
    return {name: value.as_py() if hasattr(value, "as_py") else value for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """What footers tell of a column; ``None`` where one of them does not. Texts may be cut: they are bounds then.

    Where a table's log says that rows are deleted, the bounds are those of all rows, and nulls are not counted.
    """

    min: Any
    max: Any
    null_count: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What reading a table would take, beside footers and bloom filters, which are read by now.

    ``requests`` and ``bytes`` are what is asked of the storage: all of it is asked only if every row group has rows
    that the conditions are true for (``late_bytes`` are those that wait for that). On a local disk there are no
    requests, and ``bytes`` are decoded. ``rows_at_most`` is before conditions are looked up in the columns.
    ``filter_requests`` and ``filter_bytes`` are those of the bloom filters, which left ``filtered_row_groups`` out.
    """

    table: str
    files: int
    files_read: int
    row_groups: int
    row_groups_read: int
    requests: int
    bytes: int
    late_bytes: int
    bytes_of_files: int
    rows_at_most: int
    columns: tuple[str, ...]
    filtered_row_groups: int = 0
    filter_requests: int = 0
    filter_bytes: int = 0

    def __str__(self) -> str:
        late = f", {self.late_bytes:,} of them only where the conditions find rows" if self.late_bytes else ""
        filters = (
            f"  filters     {self.filter_bytes:,} bytes left {self.filtered_row_groups:,} row groups out\n"
            if self.filter_bytes
            else ""
        )
        return (
            f"{self.table}\n"
            f"  files       {self.files_read:,} of {self.files:,}\n"
            f"  row groups  {self.row_groups_read:,} of {self.row_groups:,} in these files\n"
            f"{filters}"
            f"  requests    {self.requests:,}\n"
            f"  bytes       {self.bytes:,} of {self.bytes_of_files:,}{late}\n"
            f"  rows        at most {self.rows_at_most:,}\n"
            f"  columns     {', '.join(self.columns)}"
        )


def explain_scan(name: str, scan: Scan) -> Explanation:
    """Return what a reading would take."""
    tally = Tally()
    units = [unit for unit in scan.units(whole=False, tally=tally) if isinstance(unit, GroupUnit)]
    fetched = [unit for unit in units if not unit.file.is_here]
    plain = [unit for unit in fetched if unit.head is None]
    spans = [span for unit in plain for span in cut([*unit.first]) + cut([*unit.rest])]
    spans += [span for unit in fetched if unit.head is not None for span in unit.head.spans]
    chosen = {id(unit.file): unit.file for unit in units}.values()
    weigh = fetched if isinstance(scan.source, FetchedSource) else units
    rows = sum(unit.rows_at_most for unit in units)
    return Explanation(
        table=name,
        files=len(scan.pieces),
        files_read=len(chosen),
        row_groups=sum(file.footer.metadata.num_row_groups for file in chosen if file.footer is not None),
        row_groups_read=sum(len(unit.groups) for unit in units),
        requests=len(spans) if isinstance(scan.source, FetchedSource) else 0,
        bytes=total(spans) if isinstance(scan.source, FetchedSource) else sum(unit.weight for unit in units),
        late_bytes=sum(total(unit.rest) for unit in weigh),
        bytes_of_files=sum(max(file.found.size, 0) for file, _ in scan.pieces),
        rows_at_most=rows if scan.limit is None else min(rows, scan.limit),
        columns=tuple(scan.query.schema.names),
        filtered_row_groups=tally.row_groups,
        filter_requests=tally.requests,
        filter_bytes=tally.bytes,
    )


def gather_stats(scan: Scan) -> dict[str, ColumnStats]:
    """Return what the footers of all row groups that would be read tell of each column of the result."""
    units = [unit for unit in scan.units(whole=False, filters=False) if isinstance(unit, GroupUnit)]
    return {field.name: _stats_of(field, units, scan) for field in scan.query.schema}


def _stats_of(field: Any, units: Iterable[GroupUnit], scan: Scan) -> ColumnStats:
    lows, highs = [], []
    nulls: int | None = 0
    known = True
    partitions = scan.query.partitions
    for unit in units:
        if field.name in partitions:
            bounds = scan.query.constants(unit.file.file)[field.name]
            if bounds.nulls == "all":
                nulls = None if nulls is None else nulls + unit.rows_at_most
            else:
                known = known and bounds.low is not None
                lows.append(bounds.low)
                highs.append(bounds.high)
            continue
        for index in unit.groups:
            bounds = bounds_of(unit.footer, index, (field.name,))
            count = _null_count(unit, index, field.name)
            nulls = None if nulls is None or count is None else nulls + count
            if bounds.nulls == "all":
                continue
            known = known and bounds.low is not None
            lows.append(bounds.low)
            highs.append(bounds.high)
    if not known or not lows:
        return ColumnStats(None, None, nulls)
    return ColumnStats(_value(min(lows), field.type), _value(max(highs), field.type), nulls)


def _null_count(unit: GroupUnit, index: int, name: str) -> int | None:
    """Return how many nulls a column has in a row group, or ``None`` if nobody counted."""
    footer = unit.footer
    if unit.kept is not None:
        return None
    if name not in footer.schema.names:
        return footer.rows(index) if footer.fills.get(name) is None else 0
    leaves = leaves_below(footer.schema, {name: None})
    if len(leaves) != 1 or leaves[0] in footer.sealed:
        return None
    statistics = footer.chunk(index, leaves[0]).statistics
    return int(statistics.null_count) if statistics is not None and statistics.has_null_count else None


def _value(ordinal: Any, kind: Any) -> Any:
    """Return a bound as a value of the column: times were compared as nanoseconds."""
    import pyarrow as pa

    types = pa.types
    if not types.is_temporal(kind):
        return ordinal
    if types.is_date(kind):
        return pa.scalar(ordinal // (86_400 * 10**9), pa.int32()).cast(pa.date32()).as_py()
    width = pa.int32() if types.is_time32(kind) else pa.int64()
    return pa.scalar(ordinal // unit_factor(kind.unit), width).cast(kind).as_py()
