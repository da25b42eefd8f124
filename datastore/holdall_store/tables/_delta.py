"""Tables of Delta: which files count, as `deltalake` reads it from their log."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from holdall_store.errors import (
    FormatError,
    MissingDependencyError,
    StorageError,
    TableNotFoundError,
    UnsupportedTypeError,
)
from holdall_store.storage.buckets import SCHEMES, ObjectConfig, chained_credentials, make_config
from holdall_store.tables._as_of import AsOf, describe
from holdall_store.tables._lake_columns import FIELD_ID, STORED_NAME, Matcher, plain_type
from holdall_store.tables._log_statistics import ArrowStatistics
from holdall_store.tables._resolve import Address, Listing, Log, LogFacts, TableFile, key_in
from holdall_store.tables._source import Found

__all__ = ["is_delta_table", "options_of", "read_delta"]

FEATURES: Final = frozenset(
    {
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "typeWidening",
        "typeWidening-preview",
        "v2Checkpoint",
        "vacuumProtocolCheck",
    }
)
"""What a table may ask of its readers that is heeded here."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_MAPPED_ID: Final = b"delta.columnMapping.id"
_MAPPED_NAME: Final = b"delta.columnMapping.physicalName"


def is_delta_table(source: Any) -> bool:
    """Tell whether an object is a table of `deltalake`."""
    return type(source).__module__.partition(".")[0] == "deltalake" and type(source).__name__ == "DeltaTable"


def read_delta(address: Address, options: Mapping[str, Any], as_of: AsOf, given: Any = None) -> Listing:
    """Return the files that make up a table, with what its log says of them; `given` is a table that is open already."""
    import pyarrow as pa

    table = given if given is not None else _open(address, options, as_of)
    _check_features(table, address.text)
    schema, matcher, stored = _columns(table, address.text)
    actions = pa.table(table.get_add_actions())
    actions = actions.take(pa.array(_order(actions), pa.int64()))
    keys = [_key(path, address) for path in actions.column("path").to_pylist()]
    deleted = _deleted(table, address)
    names = tuple(table.metadata().partition_columns)
    partitions = actions.column("partition").to_pylist() if names else [{}] * len(keys)
    files = tuple(
        TableFile(Found(key, size), tuple(values[name] for name in names), LogFacts(at, deleted=deleted.pop(key, None)))
        for at, (key, size, values) in enumerate(
            zip(keys, actions.column("size_bytes").to_pylist(), partitions, strict=True)
        )
    )
    if deleted:
        raise FormatError(
            f"{address.text}: its log deletes rows of {next(iter(deleted))!r:.200}, which it does not have."
        )
    parts = {
        name: actions.column(name).combine_chunks()
        for name in ("min", "max", "null_count")
        if name in actions.column_names
    }
    statistics = ArrowStatistics(parts, actions.column("num_records").combine_chunks(), stored)
    return Listing(files, names, (), Log("Delta", _uri(address), table.version(), schema, matcher, statistics))


def _order(actions: Any) -> list[int]:
    paths = actions.column("path").to_pylist()
    return sorted(range(len(paths)), key=lambda at: unquote(paths[at]))


def _open(address: Address, options: Mapping[str, Any], as_of: AsOf) -> Any:
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        raise MissingDependencyError("Tables of Delta need deltalake: pip install 'holdall[delta]'.") from error
    storage_options = _spelled(address, options)
    uri = _uri(address)
    try:
        if not isinstance(as_of, datetime.datetime):
            try:
                return DeltaTable(uri, version=as_of, storage_options=storage_options)
            except Exception:
                if as_of is None or (newest := DeltaTable(uri, storage_options=storage_options).version()) >= as_of:
                    raise
            raise TableNotFoundError(f"{address.text} has no version {as_of}: its newest is {newest}.")
        table = DeltaTable(uri, storage_options=storage_options)
        table.load_as_version(as_of)
        if table.version() == 0:  # which is given for all times before it, too
            created = datetime.datetime.fromtimestamp((table.metadata().created_time or 0) / 1000, datetime.UTC)
            if as_of < created:
                raise TableNotFoundError(
                    f"{address.text} was made at {created.isoformat()}: it is not there{describe(as_of)}."
                )
        return table
    except (TableNotFoundError, MissingDependencyError):
        raise
    except Exception as error:  # deltalake's errors are a tree of their own
        raise _explained(error, address, as_of) from error


def _uri(address: Address) -> str:
    return f"{address.place}/{address.key}" if address.place else address.key


def _explained(error: Exception, address: Address, as_of: AsOf) -> Exception:
    text = " ".join(_COLOURS.sub("", str(error)).replace("↳", "").split())
    if type(error).__name__ == "TableNotFoundError" or "No files in log segment" in text:
        return TableNotFoundError(
            f"There is no table of Delta at {address.text}{describe(as_of)}: it has no _delta_log with a version in it."
        )
    if isinstance(error, OSError):
        return StorageError(error.errno or 0, f"Cannot read the log of {address.text}: {text:.500}")
    return FormatError(f"The log of {address.text}{describe(as_of)} cannot be read: {text:.500}")


def _spelled(address: Address, options: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the options as deltalake spells them, with the credentials of the chain where none are given."""
    scheme = address.place.partition("://")[0].lower()
    if not scheme:
        return None
    if scheme not in SCHEMES:
        raise UnsupportedTypeError(
            f"{address.text}: deltalake reads the logs of tables on disk, in S3, Google's and Azure's buckets alone."
        )
    config = make_config(address.place, options)
    if config.kind != "s3":
        return {**dict(config.settings), **dict(config.secrets)}
    found = _keys(config)
    if config.endpoint is not None:
        found["aws_endpoint_url"] = config.endpoint
        if config.endpoint.startswith("http://"):
            found["aws_allow_http"] = "true"
    if config.region is not None:
        found["aws_region"] = config.region
    if config.anonymous:
        found["aws_skip_signature"] = "true"
    if config.virtual_hosted:
        found["aws_virtual_hosted_style_request"] = "true"
    return found


def _keys(config: ObjectConfig) -> dict[str, str]:
    if config.anonymous:
        return {}
    secrets = dict(config.secrets)
    if not secrets:
        frozen = chained_credentials(config).get_frozen_credentials()
        secrets = {"access_key_id": frozen.access_key, "secret_access_key": frozen.secret_key}
        if frozen.token:
            secrets["session_token"] = frozen.token
    return {f"aws_{name}": value for name, value in secrets.items()}


def _check_features(table: Any, name: str) -> None:
    protocol = table.protocol()
    if protocol.min_reader_version > 3:
        raise UnsupportedTypeError(
            f"{name} asks for readers of version {protocol.min_reader_version}, which is unknown here."
        )
    for feature in protocol.reader_features or ():
        if feature not in FEATURES:
            raise UnsupportedTypeError(
                f"{name} asks its readers for {feature!r}, which is not heeded here: read it with deltalake or Spark."
            )


def _columns(table: Any, name: str) -> tuple[Any, Matcher, dict[str, str]]:
    """Return the schema, how its columns are found in files, and what they are called in the log."""
    import pyarrow as pa

    given = pa.schema(table.schema().to_arrow())
    mode = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mode not in ("none", "name", "id"):
        raise UnsupportedTypeError(f"{name} maps its columns by {mode!r}, which is unknown here.")
    schema = pa.schema(
        [field.with_type(plain_type(field.type)).with_nullable(True).remove_metadata() for field in given]
    )
    marked = pa.schema([_marked(field, mode) for field in given])
    stored = {
        field.name: (field.metadata or {}).get(_MAPPED_NAME, b"").decode() if mode != "none" else field.name
        for field in given
    }
    return schema, Matcher(marked, "id" if mode == "id" else "name"), stored


def _marked(field: Any, mode: str) -> Any:
    """Return a field with its number, or its name in the files, where the matcher looks for them."""
    import pyarrow as pa

    known = field.metadata or {}
    marks = {}
    if mode == "id":
        marks = {FIELD_ID: known[_MAPPED_ID]} if _MAPPED_ID in known else {}
    elif mode == "name":
        marks = {STORED_NAME: known[_MAPPED_NAME]} if _MAPPED_NAME in known else {}
    return pa.field(field.name, _marked_type(field.type, mode), True, marks or None)


def _marked_type(kind: Any, mode: str) -> Any:
    import pyarrow as pa

    types = pa.types
    if types.is_struct(kind):
        return pa.struct([_marked(kind.field(i), mode) for i in range(kind.num_fields)])
    if types.is_map(kind):
        return pa.map_(_marked_type(kind.key_type, mode), _marked_type(kind.item_type, mode))
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_marked_type(kind.value_type, mode))
    return kind


def _key(path: str, address: Address) -> str:
    """Return the key of a file that the log names: below the table, or by a whole URL; as in URLs, it is quoted."""
    text = unquote(path)
    if "://" in text:
        return key_in(address, text)
    if text.startswith("/") and not address.place:
        return text
    return f"{address.key.rstrip('/')}/{text}" if address.key.strip("/") else address.key + text


def _deleted(table: Any, address: Address) -> dict[str, Any]:
    """Return the positions of deleted rows by the keys of their files."""
    import numpy as np
    import pyarrow as pa

    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return {}
    found = {}
    try:
        vectors = pa.table(table.deletion_vectors().read_all())
    except Exception as error:
        raise _explained(error, address, None) from error
    for url, kept in zip(vectors.column("filepath").to_pylist(), vectors.column("selection_vector"), strict=True):
        positions = np.flatnonzero(~np.asarray(kept.values.to_numpy(zero_copy_only=False), np.bool_))
        if len(positions):
            found[key_in(address, unquote(url))] = positions
    return found


def options_of(table: Any) -> dict[str, Any]:
    """Return the options that an open table was given, if it tells, without those that mean nothing here."""
    given = getattr(table, "_storage_options", None) or {}
    if not str(table.table_uri).startswith(("s3://", "s3a://")):
        return {} if str(table.table_uri).startswith("file:") else dict(given)
    return {name: value for name, value in given.items() if str(name).lower().removeprefix("aws_") in _UNDERSTOOD}


_UNDERSTOOD: Final = frozenset(
    {
        "access_key_id",
        "default_region",
        "endpoint",
        "endpoint_url",
        "region",
        "secret_access_key",
        "session_token",
        "skip_signature",
        "virtual_hosted_style_request",
    }
)
"""Of what deltalake understands for S3, what `make_config` does, too."""
