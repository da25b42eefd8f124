"""A table as a frame of Spark's."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from holdall_store.errors import MissingDependencyError, UnsupportedTypeError
from holdall_store.storage.buckets import ObjectConfig
from holdall_store.tables._bound import plain
from holdall_store.tables._handoff import HandOff, refuse_same_names
from holdall_store.tables._keys import keys_for
from holdall_store.tables._partitions import NULL_NAME, Values
from holdall_store.tables._resolve import TableFile
from holdall_store.tables._sql import SparkSql
from holdall_store.tables._translate import condition_in, selection_in

__all__ = ["hive_root", "s3a_options", "to_spark"]

DECIMAL_DIGITS_MAX: Final = 38
_PATTERN: Final = frozenset("*?[]{}\\")
_REBASE: Final = {"datetimeRebaseMode": "CORRECTED", "int96RebaseMode": "CORRECTED"}
"""Days are those of one calendar, as Arrow has them, and never moved."""


def to_spark(given: HandOff, session: Any) -> Any:
    """Return a frame that Spark reads from the files of a table, with its columns and conditions."""
    try:
        types = importlib.import_module("pyspark.sql.types")
    except ImportError as error:
        raise MissingDependencyError("to_spark() needs Spark: pip install 'holdall[spark]', and Java.") from error
    if not hasattr(session, "createDataFrame"):
        raise UnsupportedTypeError(f"to_spark() takes a session of Spark, not {session!r:.80}.")
    query = given.query
    refuse_same_names(query.table, "Spark", given.name)
    if not given.is_whole:
        raise UnsupportedTypeError(
            f"Spark is given whole files, and this is a part of {given.name} by split(): hand over the table that was "
            "split, which Spark splits by itself."
        )
    for url in given.urls:
        if _PATTERN.intersection(url):
            raise UnsupportedTypeError(f"Spark takes the name of {url} for a pattern: hand on to_arrow().")
    kinds = {field.name: spark_type(field.type, field.name, types) for field in given.stored}
    for name in query.partitions:
        kinds[name] = spark_type(query.table.field(name).type, name, types)
    language = SparkSql()
    try:
        frame = _read(given, session, kinds, types) if given.files else _nothing(session, kinds, types)
    except Exception as error:
        if "S3AFileSystem not found" in str(error):
            raise MissingDependencyError(
                "This session of Spark has no S3A, which reads s3:// for it: make it with the package "
                "org.apache.hadoop:hadoop-aws in the version of its Hadoop (spark.jars.packages)."
            ) from None
        raise
    if query.condition is not None:
        frame = frame.where(condition_in(language, query.condition, query.table))
    columns = selection_in(language, given.selection)
    frame = frame.selectExpr(*(f"{value} AS {language.name(name)}" for name, value in columns))
    return frame if given.limit is None else frame.limit(given.limit)


def _nothing(session: Any, kinds: Mapping[str, Any], types: Any) -> Any:
    return session.createDataFrame([], _struct(kinds, types))


def _struct(kinds: Mapping[str, Any], types: Any) -> Any:
    return types.StructType([types.StructField(name, kind, True) for name, kind in kinds.items()])


def _read(given: HandOff, session: Any, kinds: dict[str, Any], types: Any) -> Any:
    """Return all columns: those of the folders as Spark finds them, or one reading for each of their values."""
    names = given.query.partitions
    reader = session.read.options(**_REBASE, **s3a_options(given.bucket))
    # A column of the files whose name is that of a folder is not looked at.
    root = hive_root([file for file, _ in given.files], names)
    if not names or root is not None:
        if root is not None:
            reader = reader.option("basePath", _address(given.snapshot.source.url(root)))
        return reader.schema(_struct(kinds, types)).parquet(*map(_address, given.urls))
    functions = importlib.import_module("pyspark.sql.functions")
    inner = {name: kind for name, kind in kinds.items() if name not in names}
    groups: dict[Values, list[str]] = {}
    for (file, _), url in zip(given.files, given.urls, strict=True):
        groups.setdefault(file.values, []).append(_address(url))
    frames = []
    for values, urls in groups.items():
        frame = reader.schema(_struct(inner, types)).option("recursiveFileLookup", "true").parquet(*urls)
        for name, value in zip(names, values, strict=True):
            frame = frame.withColumn(name, functions.lit(value).cast(kinds[name]))
        frames.append(frame)
    return functools.reduce(lambda one, other: one.unionByName(other), frames)


def hive_root(files: Sequence[TableFile], names: tuple[str, ...]) -> str | None:
    """Return the folder below which Spark finds the same values in the names of folders; ``None`` if it would not."""
    roots = set()
    for file in files:
        *folders, _ = file.found.key.split("/")
        at = len(folders) - len(names)
        if at < 0 or any("=" in folder for folder in folders[:at]):
            return None
        for folder, name, value in zip(folders[at:], names, file.values, strict=True):
            found, separator, text = folder.partition("=")
            # Spark decodes escapes one by one, so that letters of several bytes come out as several.
            if not separator or found != name or not text or not text.isascii() or not unquote(text).isascii():
                return None
            if not isinstance(value, str | int | None) or isinstance(value, bool):
                return None
            if value is None if text != NULL_NAME else value is not None:
                return None
            if value is not None and (int(text) if isinstance(value, int) else unquote(text)) != value:
                return None
        roots.add("/".join(folders[:at]))
    return roots.pop() + "/" if len(roots) == 1 and names else None


def _address(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"s3a://{rest}" if separator and scheme in ("s3", "s3a") else f"file://{url}"


def s3a_options(config: ObjectConfig | None) -> dict[str, str]:
    """Return what Hadoop's S3A is told of a bucket: by whom, and where; nothing for local files."""
    if config is None:
        return {}
    keys = keys_for(config)
    found: dict[str, str | None] = {
        "endpoint": config.endpoint,
        "endpoint.region": config.region or ("us-east-1" if config.endpoint else None),
        "path.style.access": "false" if config.virtual_hosted or not config.endpoint else "true",
        "connection.ssl.enabled": "false" if (config.endpoint or "").lower().startswith("http://") else None,
        "access.key": keys.access_key if keys else None,
        "secret.key": keys.secret_key if keys else None,
        "session.token": keys.token if keys else None,
        "requester.pays.enabled": "true" if dict(config.settings).get("request_payer") else None,
    }
    providers = "org.apache.hadoop.fs.s3a."
    if config.anonymous:
        found["aws.credentials.provider"] = f"{providers}AnonymousAWSCredentialsProvider"
    elif keys is not None:
        kind = "TemporaryAWSCredentialsProvider" if keys.token else "SimpleAWSCredentialsProvider"
        found["aws.credentials.provider"] = providers + kind
    return {f"fs.s3a.bucket.{config.bucket}.{name}": value for name, value in found.items() if value is not None}


def spark_type(kind: Any, name: str, types: Any) -> Any:
    """Return the type in which Spark reads a column; raise for what it would read otherwise, or not at all."""
    import pyarrow as pa

    is_ = pa.types
    kind = plain(kind)
    plainly = {
        pa.bool_(): types.BooleanType,
        pa.int8(): types.ByteType,
        pa.int16(): types.ShortType,
        pa.int32(): types.IntegerType,
        pa.int64(): types.LongType,
        pa.uint8(): types.ShortType,
        pa.uint16(): types.IntegerType,
        pa.uint32(): types.LongType,
        pa.float32(): types.FloatType,
        pa.float64(): types.DoubleType,
        pa.string(): types.StringType,
        pa.large_string(): types.StringType,
        pa.binary(): types.BinaryType,
        pa.large_binary(): types.BinaryType,
        pa.date32(): types.DateType,
    }
    if kind in plainly:
        return plainly[kind]()
    if kind == pa.uint64():
        return types.DecimalType(20, 0)
    if is_.is_decimal(kind) and kind.precision <= DECIMAL_DIGITS_MAX:
        return types.DecimalType(kind.precision, kind.scale)
    if is_.is_timestamp(kind) and kind.unit != "ns":
        return types.TimestampType() if kind.tz else types.TimestampNTZType()
    if is_.is_struct(kind):
        parts = [kind.field(at) for at in range(kind.num_fields)]
        return _struct({part.name: spark_type(part.type, f"{name}.{part.name}", types) for part in parts}, types)
    if is_.is_map(kind):
        return types.MapType(spark_type(kind.key_type, name, types), spark_type(kind.item_type, name, types))
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        return types.ArrayType(spark_type(kind.value_type, name, types))
    raise UnsupportedTypeError(
        f"Spark has no type for the column {name!r}, which is {kind}: select() the others, or write it in another type."
    )
