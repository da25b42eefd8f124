"""A table as a relation of DuckDB's."""

from __future__ import annotations

from typing import Any, Final

from holdall_store.errors import MissingDependencyError, UnsupportedTypeError
from holdall_store.tables._bound import plain
from holdall_store.tables._dataset import make_dataset
from holdall_store.tables._handoff import HandOff, refuse_same_names
from holdall_store.tables._names import take_path
from holdall_store.tables._query import paths_of, typed_array
from holdall_store.tables._scan import Scan
from holdall_store.tables._sql import DuckSql
from holdall_store.tables._translate import condition_in, selection_in

__all__ = ["to_duckdb"]

_FILE: Final = "filename"
"""How DuckDB calls the column that says from which file a row is."""

_HERE: Final = "holdall"
"""Before the names of columns that are ours: of the files' own, none is called so."""

_PATTERN: Final = frozenset("*?[")
DECIMAL_DIGITS_MAX: Final = 38


def to_duckdb(given: HandOff, scan: Scan, connection: Any) -> Any:
    """Return a relation of the files of a table, with its columns and conditions.

    DuckDB's own reader is used where it gives the same values, and else Arrow's datasets, which it pushes columns and
    conditions into: for buckets, which it would need an extension for, and for types that it reads otherwise.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingDependencyError("to_duckdb() needs DuckDB: pip install 'holdall[duckdb]'.") from error
    schema = given.query.table
    refuse_same_names(schema, "DuckDB", given.name)
    for field in given.query.schema:
        _check_type(field.type, field.name)
    connection = duckdb.default_connection() if connection is None else connection
    if not isinstance(connection, duckdb.DuckDBPyConnection):
        raise UnsupportedTypeError(f"to_duckdb() takes a connection of DuckDB's, not {connection!r:.80}.")
    if given.files and _is_native(given):
        relation, names = _read_parquet(given, connection)
    else:
        dataset = make_dataset(given.snapshot, scan)
        # Of columns that nobody asked for, the types do not matter.
        relation, names = connection.from_arrow(dataset.replace_schema(given.schema)), {}
    language = DuckSql(names)
    if given.query.condition is not None:
        relation = relation.filter(condition_in(language, given.query.condition, schema))
    columns = selection_in(language, given.selection)
    relation = relation.project(", ".join(f"{value} AS {language.name(name)}" for name, value in columns))
    _check_times(relation, given)
    return relation if given.limit is None else relation.limit(given.limit)


def _read_parquet(given: HandOff, connection: Any) -> tuple[Any, dict[str, str]]:
    """Return the files as DuckDB reads them, and how columns are called there that come from the folders."""
    import pyarrow as pa

    listing = given.snapshot.listing
    options = {"hive_partitioning": False, "union_by_name": True}
    if not listing.names:
        return connection.read_parquet(given.urls, **options), {}
    files = connection.read_parquet(given.urls, filename=True, **options)
    names = {name: f"{_HERE} {name}" for name in listing.names}
    columns = [pa.array(given.urls, pa.string())]
    for at, name in enumerate(listing.names):
        columns.append(typed_array([file.values[at] for file, _ in given.files], given.query.table.field(name).type))
    values = connection.from_arrow(pa.table(columns, names=[f"{_HERE} file here", *names.values()]))
    return files.join(values, f'"{_FILE}" = "{_HERE} file here"'), names


def _is_native(given: HandOff) -> bool:
    """Tell whether DuckDB's reader gives the values of all columns as we do."""
    if given.bucket is not None or not given.is_whole or not given.snapshot.is_uniform:
        return False
    if _FILE in (name.lower() for name in given.query.table.names):
        return False
    if any(_PATTERN.intersection(url) for url in given.urls):
        return False
    # Of a file whose least and largest number are the same, it takes all for that number: NaN, too.
    if any(_may_be_nan(given, path) for path in paths_of(given.query.condition)):
        return False
    return all(_is_plain(field.type) for field in given.query.table)


def _may_be_nan(given: HandOff, path: tuple[str, ...]) -> bool:
    import pyarrow as pa

    kind = plain(take_path(given.query.table.field(path[0]).type, path[1:]))
    return path[0] not in given.query.partitions and bool(pa.types.is_floating(kind))


def _is_plain(kind: Any) -> bool:
    """Tell whether files say all of a type: of others Arrow keeps a note of its own, which DuckDB does not read."""
    import pyarrow as pa

    types = pa.types
    kind = plain(kind)
    if types.is_struct(kind) or types.is_map(kind) or types.is_list(kind) or types.is_large_list(kind):
        return all(_is_plain(kind.field(at).type) for at in range(kind.num_fields))
    if types.is_timestamp(kind):
        return bool(kind.unit == "us")
    if types.is_time(kind):
        return bool(kind.unit == "us")
    if types.is_decimal128(kind) or types.is_date32(kind) or types.is_boolean(kind) or types.is_integer(kind):
        return True
    if types.is_floating(kind):
        return bool(kind.bit_width > 16)
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


def _check_type(kind: Any, name: str) -> None:
    import pyarrow as pa

    if pa.types.is_decimal(kind) and kind.precision > DECIMAL_DIGITS_MAX:
        raise UnsupportedTypeError(f"DuckDB has no type for the column {name!r}, which is {kind}: select() the others.")
    for at in range(kind.num_fields):
        _check_type(kind.field(at).type, name)


def _check_times(relation: Any, given: HandOff) -> None:
    """Raise where a version of DuckDB would cut the nanoseconds off times with a zone."""
    import pyarrow as pa

    for field, kind in zip(given.query.schema, relation.types, strict=True):
        exact = pa.types.is_timestamp(field.type) and field.type.tz and field.type.unit == "ns"
        if exact and "NS" not in str(kind).upper():
            raise UnsupportedTypeError(
                f"This version of DuckDB counts microseconds where {field.name!r} is {field.type}: install DuckDB 2, or "
                "select() the others."
            )
