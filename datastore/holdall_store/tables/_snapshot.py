"""What is known of a table's files: found when it is first needed, and then the same for all that is derived from it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from holdall_store.config import check_flags
from holdall_store.errors import IntegrityError, InvalidNameError
from holdall_store.storage import without_secrets
from holdall_store.tables._as_of import AsOf, describe
from holdall_store.tables._explain import ColumnStats, Explanation, FileInfo, explain_scan, gather_stats, values_of
from holdall_store.tables._footer import Footer, load_footers
from holdall_store.tables._names import find_path
from holdall_store.tables._partitions import Partitioning
from holdall_store.tables._query import Query
from holdall_store.tables._resolve import Address, Listing, TableFile, look_for_log, open_source, resolve
from holdall_store.tables._scan import Piece, Scan
from holdall_store.tables._schema import unify
from holdall_store.tables._source import Found, Source
from holdall_store.tables._split import split_pieces
from holdall_store.tables._units import GroupUnit

__all__ = ["LOGS", "SCHEMA_FILES", "Snapshot", "check_schema"]

LOGS: Final = ("delta", "iceberg")
"""Formats of tables with a log that says which files there are."""

SCHEMA_FILES: Final = 64
"""Footers that give a table its schema, spread over its files: columns come, go and widen in the order of the files."""


class Snapshot:
    """The files of a table, its schema and its footers. A pickle is pinned to the files that were seen."""

    def __init__(
        self,
        addresses: tuple[Address, ...],
        storage_options: Mapping[str, Any] | None,
        partitioning: Partitioning,
        schema: Any,
        format: str | None = None,  # noqa: A002 - as it is called on the face
        as_of: AsOf = None,
        opened: Any = None,
    ) -> None:
        self.addresses = addresses
        self.partitioning = partitioning
        self.given = schema
        self.format = format
        self.as_of = as_of
        self._opened = opened
        self.options = dict(storage_options or {})
        self._expected: tuple[Found, ...] | None = None
        self._lock = threading.RLock()
        self._listing: Listing | None = None
        self._schema: Any = None
        self._files_total = 0
        self._name = ""
        self.source: Source = open_source(addresses[0].place, self.options or None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "options": without_secrets(self.options), "_opened": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    @property
    def name(self) -> str:
        """What the table is called in messages."""
        if self._name:
            return self._name
        first, *others = self.addresses
        return (f"{first.text} and {len(others)} more" if others else first.text) + describe(self.as_of)

    @property
    def listing(self) -> Listing:
        """The files, which are listed once."""
        with self._lock:
            if self._listing is None:
                self._listing = self._expected_of(self._find_files())
            return self._listing

    def pin(self, listing: Listing, schema: Any) -> None:
        """Take files and a schema as those that were seen."""
        self._listing, self._schema = listing, schema

    def expect(self, files: tuple[Found, ...]) -> None:
        """Hold the log to the files that it named when the table was saved."""
        self._expected = files

    def _expected_of(self, listing: Listing) -> Listing:
        """Return those files of a listing that are expected: a version of a log is never written again."""
        if self._expected is None:
            return listing
        named = {(file.found.key, file.found.size): file for file in listing.files}
        for found in self._expected:
            if (found.key, found.size) not in named:
                raise IntegrityError(
                    f"The log of {self.name} names other files than when the table was saved, and not {found.key} any "
                    "more: what was saved cannot be read."
                )
        return replace(listing, files=tuple(named[found.key, found.size] for found in self._expected))

    def _find_files(self) -> Listing:
        address = self.addresses[0]
        kind, listed = self.format, None
        if kind is None and len(self.addresses) == 1:
            kind, listed = look_for_log(self.source, address)
        if kind not in LOGS:
            given = None if isinstance(self.given, str) else self.given
            return resolve(self.source, self.addresses, self.partitioning, listed, given, self.as_of)
        if self.partitioning is not None or self.given is not None:
            raise InvalidNameError(
                f"{address.text} is a table of {kind.title()}, whose log has the schema and the values of partitions: leave "
                f"{'partitioning' if self.partitioning is not None else 'schema'}= away."
            )
        if kind == "delta":
            from holdall_store.tables._delta import read_delta

            return read_delta(address, self.options, self.as_of, self._opened)
        from holdall_store.tables._iceberg import read_iceberg

        return read_iceberg(self.source, address, self.as_of, self._opened)

    def with_options(self, storage_options: Mapping[str, Any]) -> Snapshot:
        """Return the same files, reached in another way."""
        found: Snapshot = object.__new__(Snapshot)
        source = open_source(self.addresses[0].place, dict(storage_options) or None)
        found.__setstate__({**self.__dict__, "options": dict(storage_options), "source": source})
        return found

    def with_files(self, files: Iterable[TableFile]) -> Snapshot:
        """Return the same table with some of its files, which is all that who reads these has to know."""
        listing = self.listing
        state = {**self.__dict__, "_schema": self.schema, "_files_total": len(listing.strangers), "_name": self.name}
        kept = tuple(dict.fromkeys(files))
        strangers = set(kept) & set(listing.strangers)
        some = replace(listing, files=kept, strangers=tuple(file for file in kept if file in strangers))
        state.update(_listing=some, addresses=self.addresses[:1])
        found: Snapshot = object.__new__(Snapshot)
        found.__setstate__(state)
        return found

    @property
    def version(self) -> int | None:
        """The version that our own log says is read, if there is one."""
        pin = self.listing.pin
        return None if pin is None else pin.version

    @property
    def is_pinned(self) -> bool:
        """Whether the files were seen."""
        return self._listing is not None

    def pieces(self, chosen: Sequence[tuple[TableFile | int, tuple[int, ...] | None]] | None) -> list[Piece]:
        """Return every file, whole, or those pieces that are chosen, in which a file may be told by its number."""
        files = self.listing.files
        if chosen is None:
            return [(file, None) for file in files]
        return [(files[file] if isinstance(file, int) else file, groups) for file, groups in chosen]

    def schema_of(self, names: Iterable[str] | None) -> Any:  # noqa: ARG002 - files tell all types at once
        """Return a schema in which the columns of these names are."""
        return self.schema

    def check_names(self, names: Sequence[str]) -> None:
        """Raise `ColumnNotFoundError` for a name that leads to no column."""
        for name in names:
            find_path(name, self.schema, self.name)

    def scan(self, query: Query, pieces: Sequence[Piece], limit: int | None, **how: Any) -> Scan:
        """Return a reading of the files."""
        check_flags(ordered=how.get("ordered", True))
        return Scan(self.source, query, pieces, limit, **how)

    def files(self, query: Query, pieces: Sequence[Piece]) -> list[FileInfo]:
        """Return what is known of the files of these pieces that can have rows of the result."""
        kinds = {name: self.schema.field(name).type for name in self.listing.names}
        return [
            FileInfo(self.source.url(file.found.key), file.found.size, values_of(file, kinds), groups)
            for file, groups in pieces
            if query.condition_for(file) is not False
        ]

    def count(self, scan: Scan) -> int:
        """Return how many rows there are."""
        rows = 0
        for unit in scan.units(whole=False):
            if not isinstance(unit, GroupUnit) or unit.condition is not None:
                return sum(table.num_rows for table in scan.tables())
            rows += unit.rows_at_most
        return rows if scan.limit is None else min(rows, scan.limit)

    def explain(self, name: str, scan: Scan) -> Explanation:
        """Return what a reading would take."""
        return explain_scan(name, scan)

    def stats(self, scan: Scan) -> dict[str, ColumnStats]:
        """Return what footers tell of the columns."""
        return gather_stats(scan)

    def split(self, scan: Scan, n: int, by: Literal["bytes", "rows"]) -> list[list[Piece]]:
        """Return what each of `n` parts reads."""
        return split_pieces(scan, n, by)

    def dataset(self, scan: Scan) -> Any:
        """Return the files as a dataset of pyarrow's."""
        from holdall_store.tables._dataset import make_dataset

        return make_dataset(self, scan)

    def footers(self, files: Sequence[TableFile]) -> list[Footer]:
        """Return the footers of files."""
        return [footer for footer in load_footers(self.source, [file.found for file in files]) if footer is not None]

    @property
    def is_sampled(self) -> bool:
        """Whether there are files that did not give the table its schema."""
        total = max(self._files_total, len(self.listing.strangers))
        return self.given is None and self.listing.log is None and total > SCHEMA_FILES

    @property
    def known_schema(self) -> Any:
        """All columns, or ``None`` while nobody asked for them."""
        return self._schema

    @property
    def is_uniform(self) -> bool:
        """Whether the files whose footers gave the schema have no column in another type than it."""
        if not (self.given is None or isinstance(self.given, str)):
            return False
        schema, names = self.schema, self.listing.names
        return all(
            each.name in schema.names and each.type == schema.field(each.name).type
            for footer in self.footers(self._sample(self.listing.files))
            for each in footer.given
            if each.name not in names
        )

    def _sample(self, files: tuple[TableFile, ...]) -> tuple[TableFile, ...]:
        if self.given == "all" or len(files) <= SCHEMA_FILES:
            return files
        last = len(files) - 1
        return tuple(files[at * last // (SCHEMA_FILES - 1)] for at in range(SCHEMA_FILES))

    @property
    def schema(self) -> Any:
        """All columns: those of the files, then those of the folders."""
        with self._lock:
            if self._schema is None:
                self._schema = self._find_schema()
            return self._schema

    def _find_schema(self) -> Any:
        import pyarrow as pa

        listing = self.listing
        if listing.log is not None:
            return listing.log.schema
        pinned = None if listing.pin is None else listing.pin.schema
        if isinstance(self.given, pa.Schema):
            known = pinned = self.given
        else:
            found = [(footer.url, footer.given) for footer in self.footers(self._sample(listing.strangers))]
            if pinned is not None:
                inner = [(url, _without(schema, listing.names)) for url, schema in found]
                found = [(f"the log of {self.name}", pinned), *inner]
            known = unify(found)
        for name, integer in zip(listing.names, listing.integers, strict=True):
            if pinned is not None and name in pinned.names:
                continue
            field = pa.field(name, pa.int64() if integer else pa.string())
            at = known.get_field_index(name)
            # What the folder says goes before what the file says, as for all other readers.
            known = known.set(at, field) if at >= 0 else known.append(field)
        return known


def _without(schema: Any, names: Sequence[str]) -> Any:
    """Return a file's schema without the columns that are partitions: what the folder says goes first."""
    for name in names:
        if name in schema.names:
            schema = schema.remove(schema.get_field_index(name))
    return schema


def check_schema(schema: Any) -> Any:
    """Return what a caller says of the schema: ``None``, ``"all"`` or one of Arrow's."""
    if schema is None or (isinstance(schema, str) and schema == "all"):
        return schema
    if type(schema).__module__.startswith("pyarrow") and type(schema).__name__ == "Schema":
        return schema
    raise InvalidNameError(
        f"schema={schema!r:.80} is not understood: give a pyarrow.Schema, 'all' to look at every file, or nothing."
    )
