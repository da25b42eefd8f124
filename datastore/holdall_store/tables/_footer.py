"""Footers of Parquet files: read many at once, understood, and kept."""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from holdall_store.errors import FormatError
from holdall_store.tables._lake_columns import Matched
from holdall_store.tables._plan import Span, chunk_span, needs_pad
from holdall_store.tables._schema import count_leaves, normal_schema
from holdall_store.tables._source import TAIL_BYTES, FetchedSource, Found, Source, Tail, changed
from holdall_store.tables._views import without_views

__all__ = ["SMALL_BYTES", "Footer", "MatchedFooter", "cached_footer", "load_footers", "parse_footer"]

SMALL_BYTES: Final = 1 << 20
"""Files up to this size are fetched whole, footer and data in one request: a second one would take longer."""

CACHE_BYTES: Final = 64 << 20
"""Footers, and small files that came with them, that are kept: enough for some ten thousand files."""

PARSED_FACTOR: Final = 4
"""A footer in memory is about so many times larger than in the file."""

FOOTERS_AT_ONCE: Final = 512
"""Footers that are asked for together."""

_MAGIC: Final = b"PAR1"
_MAGIC_ENCRYPTED: Final = b"PARE"
_END_BYTES: Final = 8
_ENDINGS: Final = (".parquet", ".parq", ".pq")
_OTHERS: Final = (
    " Where it lies beside data, name these with a glob, as in folder/*.parquet, or give it a name that begins with _."
)


FOLDED_BYTES: Final = 2
"""A text that is written out takes at least four bytes; the number of one of 65 536 in a dictionary takes two."""


class Footer:
    """What the end of a file says of the rest.

    ``schema`` is the file's own, ``given`` the one in which its columns are given; ``texts`` are columns that can be
    decoded as dictionaries, with their numbers. ``whole`` are the bytes of the file where it is small and they came along.
    ``fills`` are values of columns that the file does not have, and ``sealed`` are the numbers of encrypted columns.
    """

    fills: ClassVar[Mapping[str, Any]] = {}
    int96_unit: ClassVar[str | None] = None
    """In which unit times of the old kind are decoded, if not in nanoseconds."""

    __slots__ = ("begin", "found", "given", "metadata", "padded", "schema", "sealed", "texts", "url", "whole")

    def __init__(
        self,
        url: str,
        found: Found,
        begin: int,
        metadata: Any,
        whole: memoryview | None,
        sealed: frozenset[int] = frozenset(),
    ) -> None:
        self.url = url
        self.found = found
        self.begin = begin
        self.metadata = metadata
        self.whole = whole
        self.sealed = sealed
        self.padded = needs_pad(metadata.created_by)
        try:
            self.schema = metadata.schema.to_arrow_schema()
        except (ValueError, TypeError, NotImplementedError) as error:
            raise FormatError(f"{url} has a schema that Arrow does not understand: {error}") from error
        self.given = normal_schema(self.schema, url)
        if sum(count_leaves(field.type) for field in self.schema) != metadata.num_columns:
            raise FormatError(f"{url} stores an Arrow schema that does not fit its columns: write it anew.")
        self.texts = _texts_of(self.schema)

    @property
    def weight(self) -> int:
        """About how many bytes of memory this takes."""
        return int(self.metadata.serialized_size) * PARSED_FACTOR + len(self.whole or b"")

    def rows(self, row_group: int) -> int:
        """Return how many rows a row group has."""
        return int(self.metadata.row_group(row_group).num_rows)

    def chunk(self, row_group: int, leaf: int) -> Any:
        """Return what there is of a column in a row group; an encrypted one raises `FormatError`, where Arrow would abort."""
        if leaf in self.sealed:
            path = self.metadata.schema.column(leaf).path
            raise FormatError(
                f"{self.url}: the column {path!r} is encrypted: select() others, or read it with pyarrow.parquet and its keys."
            )
        return self.metadata.row_group(row_group).column(leaf)

    def first_row(self, row_group: int) -> int:
        """Return how many rows of the file come before a row group."""
        return sum(self.rows(before) for before in range(row_group))

    def stored_names(self, names: Sequence[str]) -> list[str]:
        """Return how columns are called in the file."""
        return list(names)

    def columns(self, decoded: dict[str, Any]) -> dict[str, Any]:
        """Return decoded columns by their names in ``schema``."""
        return decoded

    def folded(self, row_group: int) -> list[str]:
        """Return the columns of texts that take so few bytes in a row group that most of them must be in a dictionary."""
        found = []
        for name, leaf in self.texts.items():
            if "." in name or leaf in self.sealed:  # with a dot, Arrow would take it for a field of a struct
                continue
            chunk = self.chunk(row_group, leaf)
            if chunk.has_dictionary_page and chunk.total_uncompressed_size <= FOLDED_BYTES * chunk.num_values:
                found.append(name)
        return found

    def spans(self, row_group: int, leaves: Sequence[int]) -> list[Span]:
        """Return where in the file the given columns of a row group are."""
        found = []
        for leaf in leaves:
            chunk = self.chunk(row_group, leaf)
            if chunk.file_path:
                raise FormatError(f"{self.url} keeps its data in other files ({chunk.file_path!r:.200}): read those.")
            try:
                found.append(
                    chunk_span(
                        chunk.data_page_offset,
                        chunk.dictionary_page_offset,
                        chunk.total_compressed_size,
                        self.begin,
                        pad=self.padded,
                    )
                )
            except ValueError as error:
                raise FormatError(f"{self.url}: in row group {row_group}, {error}: the footer is damaged.") from None
        return found


class MatchedFooter(Footer):
    """A footer of a file whose columns have other names in the table: ``schema`` has those of the table."""

    __slots__ = ("_matched", "fills")

    int96_unit = "us"

    def __init__(self, footer: Footer, matched: Matched, fills: Mapping[str, Any]) -> None:
        self.url = footer.url
        self.found = footer.found
        self.begin = footer.begin
        self.metadata = footer.metadata
        self.padded = footer.padded
        self.whole = footer.whole
        self.sealed = footer.sealed
        self.schema = self.given = matched.named
        self.texts = _texts_of(matched.named)
        self.fills = fills  # type: ignore[misc]
        self._matched = matched

    def stored_names(self, names: Sequence[str]) -> list[str]:
        stored = self._matched.stored.names
        return [stored[self.schema.get_field_index(name)] for name in names]

    def columns(self, decoded: dict[str, Any]) -> dict[str, Any]:
        return self._matched.columns(decoded)

    @property
    def is_same(self) -> bool:
        """Whether the file has the table's columns under the table's names, and no others."""
        return bool(self._matched.stored.names == self.schema.names) and not self.fills


def _texts_of(schema: Any) -> dict[str, int]:
    """Return which columns of Parquet hold the columns of texts that are not nested."""
    import pyarrow as pa

    begins = itertools.accumulate((count_leaves(field.type) for field in schema), initial=0)
    return {
        field.name: leaf
        for field, leaf in zip(schema, begins, strict=False)
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    }


def parse_footer(url: str, tail: Tail) -> Footer | int:
    """Return the footer that is in the last bytes of a file, or how many of them it takes if there are too few.

    Raises `FormatError`, with `url`, for what is no Parquet file, or an encrypted one.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    size, data = tail.found.size, tail.data
    if size == 0:
        raise FormatError(f"{url} is empty, and no Parquet file.")
    magic = bytes(data[-4:])
    if magic == _MAGIC_ENCRYPTED:
        raise FormatError(f"{url} is encrypted, footer and all: read it with pyarrow.parquet and its decryption keys.")
    if size < _END_BYTES + len(_MAGIC) or magic != _MAGIC:
        raise FormatError(
            f"{url} is no Parquet file, or is cut off: it has {size} bytes and ends with {magic!r} instead of {_MAGIC!r}."
            f"{_OTHERS if not url.lower().endswith(_ENDINGS) else ''}"
        )
    length = int.from_bytes(data[-_END_BYTES:-4], "little")
    if length + _END_BYTES + len(_MAGIC) > size:
        raise FormatError(f"{url} is damaged: its footer would have {length} bytes, and the file has only {size}.")
    if length + _END_BYTES > len(data):
        return length + _END_BYTES
    end = data[-(length + _END_BYTES) :]
    try:
        stored = pq.read_metadata(pa.BufferReader(pa.py_buffer(end)))
        # More than the footer itself is a signature, as files with encrypted columns have it.
        sealed = _sealed(stored) if stored.serialized_size < length else frozenset[int]()
        metadata = without_views(stored, end)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{url} has a footer that cannot be read: {str(error) or type(error).__name__}") from error
    whole = data if tail.begin == 0 and size <= SMALL_BYTES else None
    return Footer(url, tail.found, size - length - _END_BYTES, metadata, whole, sealed)


def _sealed(metadata: Any) -> frozenset[int]:
    """Return which columns of Parquet are encrypted, each with a key of its own.

    Asked for what it knows of such a column, Arrow ends the process; asked to read it, it raises an error. There is nothing
    to be read here, so that is an error for all columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not metadata.num_row_groups:
        return frozenset()
    reader = pq.ParquetFile(pa.BufferReader(b""), metadata=metadata, pre_buffer=False).reader
    found = set()
    for leaf in range(metadata.num_columns):
        try:
            reader.read_row_groups([0], column_indices=[leaf], use_threads=False)
        except (pa.ArrowException, OSError, ValueError) as error:
            if "ecrypt" in str(error):
                found.add(leaf)
    return frozenset(found)


class _Cache:
    """The footers that were used last, up to a number of bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], Footer] = OrderedDict()
        self._weight = 0

    def get(self, key: tuple[Any, ...]) -> Footer | None:
        with self._lock:
            footer = self._kept.get(key)
            if footer is not None:
                self._kept.move_to_end(key)
            return footer

    def put(self, key: tuple[Any, ...], footer: Footer) -> None:
        with self._lock:
            old = self._kept.pop(key, None)
            self._weight += footer.weight - (old.weight if old else 0)
            self._kept[key] = footer
            while self._weight > self._bytes_max:
                self._weight -= self._kept.popitem(last=False)[1].weight

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._weight = 0

    def renew(self) -> None:
        """Forget a lock that another thread may have held when the process was forked."""
        self._lock = threading.Lock()


_cache = _Cache(CACHE_BYTES)
os.register_at_fork(after_in_child=_cache.renew)


def cached_footer(source: Source, found: Found) -> Footer | None:
    """Return the footer of a file if it is kept."""
    return _cache.get((source.identity, found.key, found.size, found.version)) if found.size >= 0 else None


def load_footers(source: Source, files: Sequence[Found]) -> Iterator[Footer | None]:
    """Yield the footers of files, in their order; ``None`` for one that is not there and was not known to be."""
    for at in range(0, len(files), FOOTERS_AT_ONCE):
        batch = files[at : at + FOOTERS_AT_ONCE]
        known = [cached_footer(source, found) for found in batch]
        unknown = [found for found, footer in zip(batch, known, strict=True) if footer is None]
        loaded = iter(_load(source, unknown))
        for footer in known:
            yield footer if footer is not None else next(loaded)


def _load(source: Source, files: Sequence[Found]) -> list[Footer | None]:
    def first(found: Found) -> int:
        return found.size if isinstance(source, FetchedSource) and 0 <= found.size <= SMALL_BYTES else TAIL_BYTES

    footers: list[Footer | None] = []
    longer: list[tuple[int, Found, int]] = []
    for found, tail in zip(files, source.tails([(found, first(found)) for found in files]), strict=True):
        footer = None if tail is None else parse_footer(source.url(found.key), tail)
        if tail is None and found.size >= 0:
            raise changed(source.url(found.key), "it is gone")
        if isinstance(footer, int):
            assert tail is not None
            longer.append((len(footers), tail.found, footer))
            footer = None
        footers.append(footer)
    again = source.tails([(found, length) for _, found, length in longer])
    for (at, found, _), tail in zip(longer, again if longer else (), strict=True):
        url = source.url(found.key)
        footer = None if tail is None else parse_footer(url, tail)
        if not isinstance(footer, Footer):
            raise changed(url, "it changed while its footer was read")
        footers[at] = footer
    for asked, footer in zip(files, footers, strict=True):
        if footer is not None:
            for found in {footer.found, asked}:  # the log of a table knows sizes, and no versions
                if found.size >= 0:
                    _cache.put((source.identity, found.key, found.size, found.version), footer)
    return footers
