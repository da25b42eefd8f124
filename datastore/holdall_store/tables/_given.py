"""What a table is made of: addresses, or a table that another library has opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from holdall_store.errors import InvalidNameError, UnsupportedTypeError
from holdall_store.tables._arguments import check_options
from holdall_store.tables._as_of import AsOf

__all__ = ["Given", "given_source"]


class Given(NamedTuple):
    """Where a table is, what it is, and the table as another library has it open, if one has."""

    source: Any
    options: Mapping[str, Any] | None
    format: str | None
    as_of: AsOf
    opened: Any = None


def given_source(source: Any, options: Mapping[str, Any] | None, format: str | None, as_of: AsOf) -> Given:  # noqa: A002
    """Return what a caller gave; of tables of `deltalake` and `pyiceberg`, where they are and which state they show."""
    from holdall_store.tables import _delta, _iceberg

    check_options(options)

    if _delta.is_delta_table(source):
        _check_format(format, "delta")
        known = options if options is not None else _delta.options_of(source)
        uri = str(source.table_uri)
        if as_of is not None:
            return Given(uri, known or None, "delta", as_of)
        return Given(uri, known or None, "delta", source.version(), source)
    if _iceberg.is_iceberg_table(source):
        _check_format(format, "iceberg")
        if not source.metadata_location:
            raise UnsupportedTypeError("This table of pyiceberg is not committed yet: it has no metadata to read.")
        own = _iceberg.options_of(source) if source.metadata_location.startswith(("s3://", "s3a://")) else None
        return Given(source.metadata_location, options or own or None, "iceberg", as_of, source)
    if format in ("delta", "iceberg") and not isinstance(source, str) and not hasattr(source, "__fspath__"):
        raise InvalidNameError(f"format={format!r} is a table in a folder: give its path or URL, and no list.")
    return Given(source, options, format, as_of)


def _check_format(given: str | None, kind: str) -> None:
    if given not in (None, kind):
        raise InvalidNameError(f"format={given!r} is not what this is: a table of {kind.title()}.")
