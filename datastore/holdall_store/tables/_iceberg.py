"""Tables of Iceberg: which files count, as `pyiceberg` reads it from their metadata."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from holdall_store.errors import (
    FormatError,
    HoldallError,
    MissingDependencyError,
    TableNotFoundError,
    UnsupportedTypeError,
)
from holdall_store.tables._as_of import AsOf, describe
from holdall_store.tables._iceberg_deletes import read_deletes
from holdall_store.tables._lake_columns import Matcher, plain_type
from holdall_store.tables._log_statistics import BinaryStatistics, FileStatistics
from holdall_store.tables._resolve import Address, Listing, Log, LogFacts, TableFile, key_in
from holdall_store.tables._source import Found, Source, Tail

__all__ = ["METADATA", "is_iceberg_table", "options_of", "read_iceberg"]

METADATA: Final = re.compile(r"(?:^|/)(?:v?(\d+)[^/]*|[^/]+)\.metadata\.json(?:\.gz)?$")
"""The files of metadata: the newest has the largest number."""

WHOLE: Final = (1 << 63) - 1
"""So many last bytes of a file are all of it."""

_OPTIONS: Final = {
    "s3.endpoint": "endpoint_url",
    "s3.access-key-id": "key",
    "s3.secret-access-key": "secret",
    "s3.session-token": "token",
    "s3.region": "region",
    "client.access-key-id": "key",
    "client.secret-access-key": "secret",
    "client.session-token": "token",
    "client.region": "region",
}


def is_iceberg_table(source: Any) -> bool:
    """Tell whether an object is a table of `pyiceberg`."""
    return any(
        each.__module__.partition(".")[0] == "pyiceberg" and each.__name__ == "Table" for each in type(source).__mro__
    )


def options_of(table: Any) -> dict[str, Any]:
    """Return what the catalog of an open table says of its bucket, as we spell it."""
    properties: Mapping[str, Any] = table.io.properties
    return {ours: properties[name] for name, ours in reversed(_OPTIONS.items()) if properties.get(name)}


def read_iceberg(source: Source, address: Address, as_of: AsOf, given: Any = None) -> Listing:
    """Return the files that make up a table, with what its metadata say of them; `given` is a table that is open already."""
    try:
        from pyiceberg.table import DataScan
    except ImportError as error:
        raise MissingDependencyError("Tables of Iceberg need pyiceberg: pip install 'holdall[iceberg]'.") from error
    key = _metadata_key(source, address)
    metadata = given.metadata if given is not None else _metadata(source, key)
    snapshot = _snapshot(metadata, as_of, address)
    scan = DataScan(
        table_metadata=metadata,
        io=_Files(source, address) if given is None else given.io,  # type: ignore[arg-type]
        snapshot_id=None if as_of is None or snapshot is None else snapshot.snapshot_id,
    )
    schema = scan.projection()
    known, matcher = _columns(schema, metadata, address)
    tasks = sorted(_tasks(scan, address) if snapshot is not None else (), key=lambda task: task.file.file_path)
    deleted = read_deletes(source, address, tasks)
    specs = metadata.specs()
    found = []
    statistics = []
    defaults = _defaults(schema, known)
    for at, task in enumerate(tasks):
        file = task.file
        constants = _constants(file, specs[file.spec_id], schema, known)
        gone = deleted.get(file.file_path)
        facts = LogFacts(at, constants, {**defaults, **constants}, gone)
        found.append(TableFile(Found(key_in(address, file.file_path), file.file_size_in_bytes), (), facts))
        counts = [dict(part or {}) for part in (file.null_value_counts, file.value_counts)]
        bounds = [dict(part or {}) for part in (file.lower_bounds, file.upper_bounds)]
        statistics.append(FileStatistics(bounds[0], bounds[1], counts[0], counts[1]))
    columns = {field.name: (field.field_id, known.field(field.name).type) for field in schema.fields}
    pinned = None if as_of is None or snapshot is None else int(snapshot.snapshot_id)
    origin = f"{address.place}/{key}" if address.place else key
    log = Log("Iceberg", origin, pinned, known, matcher, BinaryStatistics(statistics, columns))
    return Listing(tuple(found), (), (), log)


class _Files:
    """The files of a table's metadata, for pyiceberg to read: with our options and our connections."""

    def __init__(self, source: Source, address: Address) -> None:
        self._source = source
        self._address = address
        self.properties: dict[str, str] = {}

    def new_input(self, location: str) -> _File:
        return _File(self._source, location, key_in(self._address, location))


class _File:
    """One of them."""

    def __init__(self, source: Source, location: str, key: str) -> None:
        self.location = location
        self._source = source
        self._key = key

    def open(self, seekable: bool = True) -> io.BytesIO:  # noqa: ARG002 - pyiceberg's contract
        tails: list[Tail | None] = list(self._source.tails([(Found(self._key), WHOLE)]))
        if tails[0] is None:
            raise TableNotFoundError(f"{self.location} is gone, and the metadata of a table name it.")
        return io.BytesIO(tails[0].data)


def _metadata_key(source: Source, address: Address) -> str:
    return address.key if METADATA.search(address.key) else _newest(source, address)


def _metadata(source: Source, key: str) -> Any:
    from pyiceberg.serializers import FromInputFile

    location = source.url(key)
    try:
        return FromInputFile.table_metadata(_File(source, location, key))  # type: ignore[arg-type]
    except TableNotFoundError:
        raise TableNotFoundError(f"There is no file {location}.") from None
    except HoldallError:
        raise
    except Exception as error:  # pyiceberg's errors are a tree of their own, and pydantic's another
        raise FormatError(f"{location} is no metadata of a table of Iceberg: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _newest(source: Source, address: Address) -> str:
    """Return the key of the newest metadata below a folder: what its hint says, or that with the largest number."""
    root = address.key if address.key.endswith("/") or not address.key else address.key + "/"
    listed = [found.key for found in source.list(f"{root}metadata/")]
    numbered: dict[int, list[str]] = {}
    for key in listed:
        match = METADATA.search(key)
        if match is not None and match[1] is not None:
            numbered.setdefault(int(match[1]), []).append(key)
    hint = f"{root}metadata/version-hint.text"
    if hint in listed:
        text = _File(source, hint, hint).open().read().decode("utf-8", "replace").strip()
        if text.isdecimal() and int(text) in numbered:
            numbered = {int(text): numbered[int(text)]}
        elif f"{root}metadata/{text}" in listed:
            return f"{root}metadata/{text}"
    if not numbered:
        raise TableNotFoundError(f"There is no table of Iceberg at {address.text}: it has no metadata/*.metadata.json.")
    newest = numbered[max(numbered)]
    if len(newest) > 1:
        raise FormatError(
            f"{address.text} has {len(newest)} files of metadata with the number {max(numbered)}, and only its catalog knows "
            f"which of them counts: name one ({newest[0]}), or give the table of pyiceberg."
        )
    return newest[0]


def _snapshot(metadata: Any, as_of: AsOf, address: Address) -> Any:
    """Return the snapshot that is meant; ``None`` for a table that has none yet."""
    if as_of is None:
        return metadata.current_snapshot()
    if not isinstance(as_of, datetime.datetime):
        found = metadata.snapshot_by_id(as_of)
        if found is None:
            known = ", ".join(str(each.snapshot_id) for each in metadata.snapshots[-5:])
            raise TableNotFoundError(f"{address.text} has no snapshot {as_of}. Its last are: {known or '(none)'}.")
        return found
    moment = as_of.timestamp() * 1000
    before = [entry for entry in metadata.snapshot_log if entry.timestamp_ms <= moment]
    found = metadata.snapshot_by_id(before[-1].snapshot_id) if before else None
    if found is None:
        first = metadata.snapshot_log[0].timestamp_ms / 1000 if metadata.snapshot_log else None
        since = "none" if first is None else datetime.datetime.fromtimestamp(first, datetime.UTC).isoformat()
        raise TableNotFoundError(f"{address.text} has no snapshot{describe(as_of)}: its first known is of {since}.")
    return found


def _columns(schema: Any, metadata: Any, address: Address) -> tuple[Any, Matcher]:
    import pyarrow as pa
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    try:
        given = schema_to_pyarrow(schema)
    except (ValueError, NotImplementedError, TypeError) as error:
        raise UnsupportedTypeError(
            f"{address.text} has a column of a type that Arrow does not have: {error}"
        ) from error
    known = pa.schema(
        [field.with_type(plain_type(field.type)).with_nullable(True).remove_metadata() for field in given]
    )
    mapping = metadata.name_mapping()
    return known, Matcher(given, "id", None if mapping is None else _paths(mapping.root))


def _paths(fields: Iterable[Any], before: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    """Return the numbers of columns by their names in files that have no numbers."""
    found = {}
    for field in fields:
        for name in field.names:
            if field.field_id is not None:
                found[*before, name] = field.field_id
            found.update(_paths(field.fields, (*before, name)))
    return found


def _tasks(scan: Any, address: Address) -> list[Any]:
    try:
        tasks = list(scan.plan_files())
    except HoldallError:
        raise
    except Exception as error:
        if "equality delete" not in str(error).lower():
            raise FormatError(f"The metadata of {address.text} cannot be read: {_reason(error)}") from error
        raise UnsupportedTypeError(
            f"{address.text} has rows that are deleted by their values (equality deletes), which neither pyiceberg nor holdall "
            "applies: compact the table with the engine that wrote it."
        ) from error
    for task in tasks:
        if task.file.file_format.value.lower() != "parquet":
            raise UnsupportedTypeError(
                f"{task.file.file_path} is a file of {task.file.file_format.value}: only Parquet is read."
            )
    return tasks


def _constants(file: Any, spec: Any, schema: Any, known: Any) -> dict[str, Any]:
    """Return the values of columns that a file is partitioned by as they are: other transforms tell no values."""
    found = {}
    for at, part in enumerate(spec.fields):
        name = schema.find_column_name(part.source_id) if str(part.transform) == "identity" else None
        if name is not None and name in known.names:
            found[name] = _value(file.partition[at], known.field(name).type)
    return found


def _defaults(schema: Any, known: Any) -> dict[str, Any]:
    """Return the values of columns for files that were written before there were these columns."""
    found = {}
    for field in schema.fields:
        if getattr(field, "initial_default", None) is not None:
            found[field.name] = _value(field.initial_default, known.field(field.name).type)
    for path, number in _inner(schema):
        if getattr(schema.find_field(number), "initial_default", None) is not None:
            raise UnsupportedTypeError(
                f"The field {path!r} inside of a column has an initial default, which is not heeded here."
            )
    return found


def _inner(schema: Any) -> Sequence[tuple[str, int]]:
    top = {field.field_id for field in schema.fields}
    return [(schema.find_column_name(number), number) for number in schema.field_ids if number not in top]


def _value(value: Any, kind: Any) -> Any:
    """Return a value of the metadata as one of Arrow's."""
    import pyarrow as pa

    types = pa.types
    if value is None:
        return None
    if isinstance(value, pa.Scalar):
        return value
    if isinstance(kind, pa.BaseExtensionType):  # a UUID
        data = getattr(value, "bytes", value)
        return pa.ExtensionScalar.from_storage(kind, pa.scalar(data, kind.storage_type))
    if types.is_temporal(kind) and isinstance(value, int):
        return pa.scalar(value, pa.int32() if types.is_date32(kind) else pa.int64()).cast(kind)
    if isinstance(value, str) and not types.is_string(kind):
        if types.is_binary(kind) or types.is_fixed_size_binary(kind):
            return pa.scalar(bytes.fromhex(value), kind)
        return pa.scalar(value).cast(kind)
    return pa.scalar(value, kind)
