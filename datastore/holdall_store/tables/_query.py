"""A table's selection against one file: which row groups, which columns of Parquet, and what is left to look at."""

from __future__ import annotations

import decimal
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from holdall_store.errors import FormatError
from holdall_store.tables._bound import BoundLeaf, Condition, Every, Some, plain
from holdall_store.tables._footer import Footer
from holdall_store.tables._plain import nanoseconds_of
from holdall_store.tables._prune import CONSTANT_NULL, UNKNOWN, Bounds, Fact, outcomes
from holdall_store.tables._resolve import Log, TableFile
from holdall_store.tables._schema import Selection, leaves_below
from holdall_store.tables._values import ordinal

__all__ = [
    "Absent",
    "GroupPlan",
    "Query",
    "bounds_of",
    "constant",
    "look_into",
    "paths_of",
    "plan_file",
    "selection_of",
    "simplify",
    "type_at",
    "typed_array",
    "typed_scalar",
]

CONSTANTS_KEPT: Final = 4096
"""Values of partitions that are kept as they are compared: they come again with every file and row group."""

Look = Callable[[tuple[str, ...]], Bounds]

Absent = Mapping[tuple[int, tuple[str, ...]], frozenset[Fact]]
"""Values that a column of a row group is known not to have."""

NOTHING: Final[Absent] = {}


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted of every file.

    ``schema`` is the one of the result, ``table`` that of all columns, ``partitions`` the names of those that are not
    in the files, and ``wanted`` what is to be read of the others. ``dictionaries`` are columns to be given as such,
    and ``log`` is what says which files there are, if it is not their folders.
    """

    schema: Any
    table: Any
    wanted: Selection
    condition: Condition | None
    partitions: tuple[str, ...]
    dictionaries: tuple[str, ...] = ()
    log: Log | None = None

    def condition_for(self, file: TableFile) -> Condition | bool:
        """Return what is left of the condition for a file, by its partition columns and by what a log says of it."""
        if self.condition is None:
            return True
        known = self.constants(file)

        def look(path: tuple[str, ...]) -> Bounds:
            name = path[0]
            if name in known:
                return known[name]
            if self.log is None or file.facts is None or len(path) > 1:
                return UNKNOWN
            return self.log.statistics.bounds(file.facts.number, name)

        return simplify(self.condition, look)

    def constants(self, file: TableFile) -> dict[str, Bounds]:
        """Return what is known of columns that have one value in the whole file."""
        found = dict(zip(self.partitions, file.values, strict=True))
        if file.facts is not None:
            found.update(file.facts.constants)
        names = self.table.names
        return {
            name: constant(value, plain(self.table.field(name).type)) for name, value in found.items() if name in names
        }

    def footer(self, footer: Footer, file: TableFile) -> Footer:
        """Return a file's footer as the table sees it."""
        return footer if self.log is None else self.log.footer(footer, file)

    @property
    def needed(self) -> list[str]:
        """The columns of the files that are read, for the result or for the condition."""
        return list(dict.fromkeys([*self.wanted, *self.looked_at(self.condition)]))

    def looked_at(self, condition: Condition | None) -> Selection:
        """Return which columns of the files a condition looks at."""
        return {name: inner for name, inner in selection_of(condition).items() if name not in self.partitions}


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """A row group that is read: ``condition`` is what its rows have still to be looked at for."""

    index: int
    rows: int
    condition: Condition | None


def constant(value: Any, kind: Any = None) -> Bounds:
    """Return what is known of a column that has one value, from the name of a folder or from a log; `kind` is its type."""
    if value is None:
        return CONSTANT_NULL
    return _folder_constant(value, kind) if isinstance(value, str | int) else _bounds_at(value, kind)


@functools.lru_cache(CONSTANTS_KEPT)
def _folder_constant(value: str | int, kind: Any) -> Bounds:
    return _bounds_at(value, kind)


def _bounds_at(value: Any, kind: Any) -> Bounds:
    try:
        known = ordinal(typed_scalar(value, kind))
    except (ValueError, TypeError, NotImplementedError):
        known = None  # reading the column says so
    return Bounds(nulls="none", nan=True) if known is None or known != known else Bounds(known, known, "none")


def typed_scalar(value: Any, kind: Any) -> Any:
    """Return the name of a folder, or what a log says, as a value of type `kind`."""
    import pyarrow as pa

    scalar = value if isinstance(value, pa.Scalar) else pa.scalar(value)
    return scalar if kind is None or scalar.type == kind else scalar.cast(kind)


def typed_array(values: Iterable[Any], kind: Any) -> Any:
    """Return the values that the folders of files have for a column of type `kind`."""
    import pyarrow as pa

    inner = plain(kind)
    array = pa.array([None if value is None else typed_scalar(value, inner) for value in values], inner)
    return array if inner == kind else array.dictionary_encode().cast(kind)


def simplify(condition: Condition | None, look: Look) -> Condition | bool:
    """Return what is left of a condition where statistics decide parts of it; ``True`` or ``False`` if they decide all."""
    if condition is None:
        return True
    found = outcomes(condition, look)
    if True not in found:
        return False
    if found == {True}:
        return True
    if not isinstance(condition, Every | Some):
        return condition
    # What is true changes no conjunction, what is false no disjunction.
    neutral = isinstance(condition, Every)
    parts = tuple(_inner(part, look) for part in condition.parts if outcomes(part, look) != {neutral})
    if len(parts) == 1:
        return parts[0]
    same = len(parts) == len(condition.parts) and all(map(operator.is_, parts, condition.parts))
    return condition if same else type(condition)(parts)


def _inner(condition: Condition, look: Look) -> Condition:
    """Return a part of a condition, simplified where that leaves anything to look at."""
    found = simplify(condition, look)
    return condition if isinstance(found, bool) else found


def paths_of(condition: Condition | None) -> Iterator[tuple[str, ...]]:
    """Yield the columns that a condition looks at."""
    if condition is None:
        return
    if isinstance(condition, BoundLeaf):
        yield condition.path
        if isinstance(condition.value, tuple):
            yield condition.value
    elif isinstance(condition, Every | Some):
        for part in condition.parts:
            yield from paths_of(part)
    else:
        yield from paths_of(condition.inner)


def selection_of(condition: Condition | None) -> Selection:
    """Return the columns that a condition looks at as a selection."""
    wanted: Selection = {}
    for path in paths_of(condition):
        level = wanted
        for part in path[:-1]:
            inner = level.setdefault(part, {})
            if inner is None:
                break
            level = inner
        else:
            level[path[-1]] = None
    return wanted


def plan_file(
    query: Query, footer: Footer, file: TableFile, groups: tuple[int, ...] | None, absent: Absent = NOTHING
) -> list[GroupPlan]:
    """Return the row groups of a file, or of those of `groups`, that can have rows of the result."""
    condition = query.condition_for(file)
    if condition is False:
        return []
    found = []
    count = footer.metadata.num_row_groups
    chosen = range(count) if groups is None else groups
    if any(index >= count for index in chosen):
        raise FormatError(f"{footer.url} has {count} row groups, and others are asked for.")
    for index in chosen:
        rows = footer.rows(index)
        if not rows:
            continue
        left: Condition | bool = condition
        if not isinstance(condition, bool):
            left = simplify(condition, look_into(query, footer, file, index, absent))
        if left is not False:
            found.append(GroupPlan(index, rows, None if isinstance(left, bool) else left))
    return found


def look_into(query: Query, footer: Footer, file: TableFile, index: int, absent: Absent = NOTHING) -> Look:
    """Return a function that tells what the statistics of a row group, and its filters, say of a column."""
    known: dict[tuple[str, ...], Bounds] = {(name,): bounds for name, bounds in query.constants(file).items()}

    def look(path: tuple[str, ...]) -> Bounds:
        if path not in known:
            found = bounds_of(footer, index, path)
            lacks = absent.get((index, path))
            known[path] = replace(found, absent=lacks) if lacks else found
        return known[path]

    return look


def bounds_of(footer: Footer, index: int, path: tuple[str, ...]) -> Bounds:
    """Return what the statistics of a row group say of the column at `path`: one value if the file does not have it."""
    kind = type_at(footer.schema, path)
    if kind is None:
        return constant(footer.fills.get(path[0])) if len(path) == 1 else CONSTANT_NULL
    selection: Selection = {path[-1]: None}
    for name in reversed(path[:-1]):
        selection = {name: selection}
    leaves = leaves_below(footer.schema, selection)
    if len(leaves) != 1 or leaves[0] in footer.sealed:
        return UNKNOWN
    try:
        return _bounds(footer.chunk(index, leaves[0]), kind, nested=len(path) > 1)
    except (ValueError, TypeError, NotImplementedError, OverflowError):
        return UNKNOWN  # statistics that cannot be read say nothing


def type_at(schema: Any, path: tuple[str, ...]) -> Any:
    """Return the type of a file's column, or ``None`` if it has no such column."""
    import pyarrow as pa

    if path[0] not in schema.names:
        return None
    kind = schema.field(path[0]).type
    for name in path[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return plain(kind)


def _bounds(chunk: Any, kind: Any, *, nested: bool) -> Bounds:
    import pyarrow as pa

    types = pa.types
    nan = types.is_floating(kind)
    if types.is_nested(kind) or chunk.physical_type == "INT96":
        return UNKNOWN
    statistics = chunk.statistics
    if statistics is None:
        return Bounds(nan=nan)
    nulls = "some"
    if statistics.has_null_count and not nested:
        nulls = {0: "none", chunk.num_values: "all"}.get(statistics.null_count, "some") if chunk.num_values else "some"
    if nulls == "all":
        return CONSTANT_NULL
    if not statistics.has_min_max or types.is_float16(kind):
        return Bounds(None, None, nulls, nan)  # type: ignore[arg-type]
    low, high = _ordinals(statistics, kind)
    if low is None or high is None or low != low or high != high:
        low = high = None
    return Bounds(low, high, nulls, nan)  # type: ignore[arg-type]


def _ordinals(statistics: Any, kind: Any) -> tuple[Any, Any]:
    """Return the least and the largest value as conditions compare them; times from the raw numbers, to keep all digits."""
    import pyarrow as pa

    types = pa.types
    if types.is_temporal(kind):
        factor = nanoseconds_of(statistics.logical_type, kind)
        low, high = statistics.min_raw, statistics.max_raw
        return (low * factor, high * factor) if factor and isinstance(low, int) else (None, None)
    low, high = statistics.min, statistics.max
    if types.is_decimal(kind):
        fits = isinstance(low, decimal.Decimal) and isinstance(high, decimal.Decimal)
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        fits = isinstance(low, str) and isinstance(high, str)
    elif types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        fits = isinstance(low, bool | int | float) and isinstance(high, bool | int | float)
    else:
        fits = isinstance(low, bytes) and isinstance(high, bytes)
    return (low, high) if fits else (None, None)
