"""A table as a frame of Daft's."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdall_store.errors import MissingDependencyError, UnsupportedTypeError
from holdall_store.storage.buckets import configured_region
from holdall_store.tables._bound import plain
from holdall_store.tables._handoff import HandOff
from holdall_store.tables._keys import keys_for
from holdall_store.tables._query import typed_array
from holdall_store.tables._translate import Language, Path, condition_in, selection_in

__all__ = ["to_daft"]

_FILE: Final = "holdall file"
_PATTERN: Final = frozenset("*?[]{}\\")


def to_daft(given: HandOff) -> Any:
    """Return a frame that Daft reads from the files of a table, with its columns and conditions."""
    try:
        import daft
    except ImportError as error:
        raise MissingDependencyError("to_daft() needs Daft: pip install 'holdall[daft]'.") from error
    if not given.files:
        return daft.from_arrow(given.query.schema.empty_table())
    for url in given.urls:
        if _PATTERN.intersection(url):
            raise UnsupportedTypeError(f"Daft takes the name of {url} for a pattern: hand on to_arrow().")
    listing = given.snapshot.listing
    frame = daft.read_parquet(
        [_address(url) for url in given.urls],
        row_groups=None if given.is_whole else _row_groups(given),
        infer_schema=False,  # it would be that of the first file, into which others are pressed without a word
        schema={field.name: daft.DataType.from_arrow_type(plain(field.type)) for field in given.stored},
        io_config=_io_config(given),
        file_path_column=_FILE if listing.names else None,
    )
    names: dict[str, str] = {}
    if listing.names:
        names = {name: f"{_FILE} {name}" for name in listing.names}
        frame = frame.join(daft.from_arrow(_values(given, names)), left_on=_FILE, right_on=f"{_FILE} here")
    language = DaftWords(daft, names)
    if given.query.condition is not None:
        frame = frame.where(condition_in(language, given.query.condition, given.query.table))
    frame = frame.select(*(value.alias(name) for name, value in selection_in(language, given.selection)))
    return frame if given.limit is None else frame.limit(given.limit)


def _address(url: str) -> str:
    return "s3" + url.removeprefix("s3a") if url.startswith("s3a://") else url


def _row_groups(given: HandOff) -> list[list[int]]:
    footers = given.snapshot.footers([file for file, _ in given.files])
    return [
        list(range(footer.metadata.num_row_groups)) if groups is None else list(groups)
        for footer, (_, groups) in zip(footers, given.files, strict=True)
    ]


def _values(given: HandOff, names: Mapping[str, str]) -> Any:
    """Return a table of the files and the values of the partition columns."""
    import pyarrow as pa

    columns = [pa.array([_address(url) for url in given.urls], pa.string())]
    for at, name in enumerate(names):
        columns.append(typed_array([file.values[at] for file, _ in given.files], given.query.table.field(name).type))
    return pa.table(columns, names=[f"{_FILE} here", *names.values()])


def _io_config(given: HandOff) -> Any:
    """Return how Daft reaches S3, or ``None`` for local files."""
    from daft.io import IOConfig, S3Config

    config = given.bucket
    if config is None:
        return None
    keys = keys_for(config)
    endpoint = config.endpoint
    region = config.region or (None if config.anonymous or config.secrets else configured_region(config))
    return IOConfig(
        s3=S3Config(
            region_name=region or ("us-east-1" if endpoint else None),
            endpoint_url=endpoint,
            key_id=keys.access_key if keys else None,
            access_key=keys.secret_key if keys else None,
            session_token=keys.token if keys else None,
            anonymous=config.anonymous,
            use_ssl=not (endpoint or "").lower().startswith("http://"),
            force_virtual_addressing=config.virtual_hosted,
            requester_pays=bool(dict(config.settings).get("request_payer")),
        )
    )


class DaftWords(Language):
    """Daft's expressions. Its comparisons with NaN are those of IEEE, as ours."""

    has_ordered_nan = False

    def __init__(self, daft: Any, names: Mapping[str, str]) -> None:
        self._daft = daft
        self._names = dict(names)

    def column(self, path: Path) -> Any:
        found = self._daft.col(self._names.get(path[0], path[0]))
        for name in path[1:]:
            found = found[name]
        return found

    def literal(self, scalar: Any) -> Any:
        import pyarrow as pa

        kind = scalar.type
        if pa.types.is_timestamp(kind):
            return self._daft.lit(scalar.value).cast(self._daft.DataType.from_arrow_type(kind))
        if pa.types.is_time(kind) or pa.types.is_duration(kind):
            raise UnsupportedTypeError(f"A condition with {scalar}, which is {kind}, cannot be handed to Daft.")
        return self._daft.lit(scalar.as_py())

    def compare(self, operator: str, left: Any, right: Any) -> Any:
        import operator as operators

        names = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
        return getattr(operators, names[operator])(left, right)

    def is_in(self, column: Any, values: Sequence[Any]) -> Any:
        found = functools.reduce(lambda one, other: one | other, [column == value for value in values])
        return found.fill_null(self._daft.lit(False))

    def starts_with(self, column: Any, prefix: Any) -> Any:
        return self._daft.functions.startswith(column, prefix)

    def is_null(self, column: Any) -> Any:
        return column.is_null()

    def is_nan(self, column: Any) -> Any:
        return self._daft.functions.is_nan(column)

    def negate(self, condition: Any) -> Any:
        return ~condition

    def both(self, left: Any, right: Any) -> Any:
        return left & right

    def either(self, left: Any, right: Any) -> Any:
        return left | right

    def choose(self, condition: Any, then: Any, otherwise: Any) -> Any:
        words = self._daft.functions
        null = self._daft.lit(None)
        found = words.when(condition, null if then is None else then)
        return found.otherwise(null if otherwise is None else otherwise)

    def constant(self, *, value: bool) -> Any:
        return self._daft.lit(value)

    def struct(self, fields: Sequence[tuple[str, Any]]) -> Any:
        return self._daft.functions.to_struct(*(value.alias(name) for name, value in fields))
