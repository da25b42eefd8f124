"""Which chunks the store holds already: a bounded cache on the local disk, never the truth.

A pack's table lists its chunks; this index remembers the tables of the packs it has seen, so that a save finds equal
chunks without reading them again. It may forget anything at any time: then a chunk is stored once more. What it says
of a pack counts only while the pack is listed in the store, and a collector's log has the last word (`_gclog`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from holdall_store.config import logger
from holdall_store.errors import HoldallError
from holdall_store.format import FOOTER_BYTES, Footer, PackRef, PackTable, pack_key, parse_footer
from holdall_store.storage import Storage
from holdall_store.transfer import run_ordered

__all__ = ["ChunkIndex", "Location", "read_table"]

ENTRIES_MAX: Final = 2_000_000
"""Chunks remembered on disk: about 130 GiB of data in 150 MB of index. The oldest packs are forgotten first."""

TABLES_IN_MEMORY: Final = 64
"""Parsed tables kept at hand: predictions go from chunk to chunk of few packs."""

TAIL_BYTES: Final = 64 << 10
"""The table of a pack of 64 MiB has about 40 KB."""

SCHEMA_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE packs (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, entries INTEGER NOT NULL,
                    table_offset INTEGER NOT NULL, digest BLOB NOT NULL, raw BLOB NOT NULL);
CREATE TABLE chunks (prefix INTEGER PRIMARY KEY, place INTEGER NOT NULL);
"""

_PLACE_BITS: Final = 24
"""A place is the pack's id shifted by this, plus the chunk's number: no pack has 16 million chunks (a terabyte)."""


class Location(NamedTuple):
    """A chunk of a pack."""

    pack: str
    number: int


class ChunkIndex:
    """Tells where chunks lie, from the tables of packs.

    Safe to use from several threads and, on one folder, from several processes. Where its file cannot be opened or is
    damaged, it works in memory instead: a cache is never a reason to fail.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._refresh_lock = threading.Lock()
        self._refreshed = False
        self._tables: OrderedDict[str, tuple[PackTable, PackRef]] = OrderedDict()
        self._usable: set[str] = set()
        self._connection = self._open(path)
        self._empty = self._count() == 0

    def refresh(self, storage: Storage) -> None:
        """Learn which packs the store holds now, and the chunks of those that were not known."""
        sizes = {info.key.rpartition("/")[2]: info.size for info in storage.list("packs/")}
        with self._lock:
            known = {name for (name,) in self._query("SELECT name FROM packs")}
            gone = known - sizes.keys()
            # Another copy of this store may hold what is gone here: forgotten only to keep the bound.
            self._usable = known & sizes.keys()
            room = ENTRIES_MAX
            for name, table, ref in _read_tables(storage, {name: sizes[name] for name in sizes.keys() - known}):
                room -= len(table)
                if room < 0:
                    break
                self._add(name, table, ref)
            if gone:
                self._prune(gone)
            self._empty = self._count() == 0  # another process may have filled it
            self._refreshed = True

    def refresh_once(self, storage: Storage) -> None:
        """Do as `refresh` does unless it was done before in this process.

        What was stored since is not found, and what was deleted since is condemned in the collector's log, which a writer
        reads before it refers to anything: one of many tasks need not list the packs again.
        """
        with self._refresh_lock:
            if not self._refreshed:
                self.refresh(storage)

    def add(self, name: str, table: PackTable, ref: PackRef) -> None:
        """Remember a pack that was just written."""
        with self._lock:
            self._add(name, table, ref)
            self._prune(())

    def find(self, digest: bytes) -> Location | None:
        """Return where a chunk lies in a pack that the store is known to hold, or ``None``."""
        if self._empty:
            return None
        prefix = int.from_bytes(digest[:8], "little", signed=True)
        with self._lock:
            rows = self._query(
                "SELECT name, chunks.place FROM chunks JOIN packs ON packs.id = chunks.place >> ? WHERE prefix = ?",
                (_PLACE_BITS, prefix),
            )
            for name, place in rows:
                number = place & ((1 << _PLACE_BITS) - 1)
                if name in self._usable:
                    found = self.table(name)
                    if found and number < len(found[0]) and found[0].digest(number) == digest:
                        return Location(name, number)
        return None

    def table(self, name: str) -> tuple[PackTable, PackRef] | None:
        """Return the table of a pack, and how a record refers to it."""
        with self._lock:
            if name in self._tables:
                self._tables.move_to_end(name)
                return self._tables[name]
            rows = self._query("SELECT entries, table_offset, digest, raw FROM packs WHERE name = ?", (name,))
            for entries, offset, digest, raw in rows:
                try:
                    table = PackTable.parse(raw, Footer(offset, entries, digest))
                except HoldallError:
                    return None
                return self._keep(name, table, PackRef(name, offset, entries, digest.hex()))
        return None

    def forget(self, names: Iterable[str]) -> None:
        """Use none of these packs any more: a collector condemned them."""
        with self._lock:
            self._usable.difference_update(names)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _add(self, name: str, table: PackTable, ref: PackRef) -> None:
        with self._transaction():
            cursor = self._connection.execute(
                "INSERT OR IGNORE INTO packs (name, entries, table_offset, digest, raw) VALUES (?, ?, ?, ?, ?)",
                (name, len(table), ref.table_offset, bytes.fromhex(ref.table), table.raw),
            )
            if cursor.rowcount == 1 and len(table) < 1 << _PLACE_BITS:
                first = (cursor.lastrowid or 0) << _PLACE_BITS
                self._connection.executemany(
                    "INSERT OR REPLACE INTO chunks VALUES (?, ?)",
                    ((prefix, first + number) for number, prefix in enumerate(table.digest_prefixes())),
                )
        self._usable.add(name)
        self._keep(name, table, ref)
        self._empty = False

    def _keep(self, name: str, table: PackTable, ref: PackRef) -> tuple[PackTable, PackRef]:
        self._tables[name] = table, ref
        if len(self._tables) > TABLES_IN_MEMORY:
            self._tables.popitem(last=False)
        return table, ref

    def _prune(self, gone: Iterable[str]) -> None:
        """Forget the oldest packs, those that are gone first, until the bound is kept."""
        excess = self._count() - ENTRIES_MAX
        if excess <= 0:
            return
        first = set(gone)
        rows = list(self._query("SELECT id, name, entries FROM packs ORDER BY id"))
        for number, name, entries in sorted(rows, key=lambda row: (row[1] not in first, row[0])):
            if excess <= 0:
                break
            with self._transaction():
                self._connection.execute("DELETE FROM chunks WHERE place >> ? = ?", (_PLACE_BITS, number))
                self._connection.execute("DELETE FROM packs WHERE id = ?", (number,))
            self._usable.discard(name)
            self._tables.pop(name, None)
            excess -= entries

    def _count(self) -> int:
        return sum(count for (count,) in self._query("SELECT COALESCE(SUM(entries), 0) FROM packs"))

    def _query(self, sql: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            return iter(self._connection.execute(sql, values).fetchall())
        except sqlite3.Error as error:
            self._fall_back(error)
            return iter(self._connection.execute(sql, values).fetchall())

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        try:
            with self._connection:
                yield
        except sqlite3.Error as error:
            # Another process holds it, the disk is full, or it is damaged: what is not remembered costs only space.
            self._fall_back(error)

    def _fall_back(self, error: sqlite3.Error) -> None:
        logger().warning("The chunk index %s is not used: %s", self._path, error)
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._path is not None and isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._usable.clear()
        self._tables.clear()
        self._connection = self._open(None)

    def _open(self, path: Path | None) -> sqlite3.Connection:
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path or ":memory:", timeout=2, check_same_thread=False)
            # Losing the newest rows to a crash is harmless: the tables are read from the packs again.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = WAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                with connection:
                    connection.executescript(
                        f"BEGIN IMMEDIATE; DROP TABLE IF EXISTS packs; DROP TABLE IF EXISTS chunks; {_SCHEMA}"
                        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                    )
            connection.execute("SELECT COUNT(*) FROM packs").fetchone()
        except (sqlite3.Error, OSError) as error:
            if path is None:
                raise
            logger().warning("The chunk index %s is not used: %s", path, error)
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                with contextlib.suppress(OSError):
                    path.unlink()  # not a database any more: the next process begins a new one
            return self._open(None)
        return connection


def read_table(storage: Storage, name: str, size: int) -> tuple[PackTable, PackRef]:
    """Return the table of the pack `name` of `size` bytes, found through its footer.

    The end of the pack is read: most often the table comes with its footer.
    """
    key = pack_key(name)
    start = max(0, size - TAIL_BYTES)
    tail = storage.get(key, start, size - start)
    footer = parse_footer(tail[-FOOTER_BYTES:], size)
    if footer.table_offset >= start:
        begin = footer.table_offset - start
        raw = memoryview(bytes(tail[begin : begin + footer.table_bytes]))  # kept for long, and the rest of it not
    else:
        raw = storage.get(key, footer.table_offset, footer.table_bytes)
    return PackTable.parse(raw, footer), PackRef(name, footer.table_offset, footer.entries, footer.table_digest.hex())


def _read_tables(storage: Storage, sizes: Mapping[str, int]) -> Iterator[tuple[str, PackTable, PackRef]]:
    """Yield the tables of packs, given their sizes: several are read at once where each takes a while."""

    def read(name: str) -> Iterator[tuple[tuple[str, PackTable, PackRef], int]]:
        try:
            table, ref = read_table(storage, name, sizes[name])
        except HoldallError as error:
            logger().warning("Pack %s is not used for deduplication: %s", name, error)
        else:
            yield (name, table, ref), len(table)

    threads = min(storage.traits.concurrency, len(sizes))
    return run_ordered(list(sizes), read, bytes_max=ENTRIES_MAX, threads=threads)
