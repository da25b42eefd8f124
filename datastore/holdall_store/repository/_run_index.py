"""What searches remember of runs that have ended: a bounded cache on the local disk, never the truth.

Which runs there are is asked of the store at every search; a row saves the reading of a record that was read before. It
may be forgotten at any time: then that record is read once more.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from blake3 import blake3

from holdall_store.config import logger
from holdall_store.repository._run_rows import RunRow

__all__ = ["RunIndex", "index_path"]

ROWS_MAX: Final = 500_000
"""Runs remembered of one store: about 150 MB. Those that began longest ago are forgotten first."""

PRUNE_EVERY: Final = 10_000
"""Rows between two looks at the bound: to count takes time."""

RANGE_ROWS: Final = 800
"""Runs in one part of a listing that is made in parts at once: a page of an object store has a thousand keys."""

SCHEMA_VERSION: Final = 2

_SCHEMA: Final = """
CREATE TABLE flows (id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, flow TEXT NOT NULL, UNIQUE (namespace, flow));
CREATE TABLE runs (flow INTEGER NOT NULL, segment TEXT NOT NULL, row BLOB NOT NULL, PRIMARY KEY (flow, segment)) WITHOUT ROWID;
"""


def index_path(folder: Path, url: str, store: str | None) -> Path | None:
    """Return where it is remembered what the runs of a store say, by its address and id.

    Without an id, since offline nobody can be asked for it, it is what was last remembered of the address, if anything.
    """
    place = blake3(url.encode()).hexdigest(length=4)
    if store is not None:
        return folder / f"{store}-{place}.sqlite"
    return max(folder.glob(f"*-{place}.sqlite"), key=lambda path: path.stat().st_mtime, default=None)


class RunIndex:
    """Rows of runs by the flow and the segment of their keys.

    Safe to use from several threads and, on one folder, from several processes. Where its file cannot be used, it works in
    memory instead: a cache is never a reason to fail.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._decoder = msgspec.msgpack.Decoder(RunRow)
        self._encoder = msgspec.msgpack.Encoder()
        self._added = 0
        self._connection = self._open(path)

    def rows(self, namespace: str, flow: str, first: str, last: str) -> dict[str, RunRow]:
        """Return the rows that are remembered between two segments, these included, by segment."""
        with self._lock:
            found = self._query(
                "SELECT segment, row FROM runs WHERE flow = ? AND segment BETWEEN ? AND ?",
                (self._flow(namespace, flow), first, last),
            )
        decode = self._decoder.decode
        try:
            return {segment: decode(raw) for segment, raw in found}
        except (msgspec.MsgspecError, TypeError) as error:
            logger().warning("The run index %s is not used: %s", self._path, error)
            self.forget(namespace, flow)
            return {}

    def boundaries(self, namespace: str, flow: str, first: str, last: str) -> list[str]:
        """Return segments that part what is remembered between two others into stretches of `RANGE_ROWS` runs."""
        with self._lock:
            found = self._query(
                "SELECT segment FROM runs WHERE flow = ? AND segment > ? AND segment < ? ORDER BY segment",
                (self._flow(namespace, flow), first, last),
            )
        return [segment for (segment,) in found[RANGE_ROWS::RANGE_ROWS]]

    def add(self, namespace: str, flow: str, rows: Iterable[tuple[str, RunRow]]) -> None:
        """Remember rows of runs that have ended."""
        encoded = [(segment, self._encoder.encode(row)) for segment, row in rows if row.ended]
        if not encoded:
            return
        with self._lock:
            number = self._flow(namespace, flow)
            self._write(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?)", [(number, segment, raw) for segment, raw in encoded]
            )
            self._added += len(encoded)
            if self._added >= PRUNE_EVERY:
                self._added = 0
                self._prune()

    def forget(self, namespace: str, flow: str) -> None:
        """Forget what is remembered of a flow."""
        with self._lock:
            self._write("DELETE FROM runs WHERE flow = ?", [(self._flow(namespace, flow),)])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _flow(self, namespace: str, flow: str) -> int:
        """Return the number of a flow, given when it is first asked for."""
        for trial in range(3):
            for (number,) in self._query("SELECT id FROM flows WHERE namespace = ? AND flow = ?", (namespace, flow)):
                return int(number)
            if trial < 2:
                self._write("INSERT OR IGNORE INTO flows (namespace, flow) VALUES (?, ?)", [(namespace, flow)])
        return -1  # nothing can be written: nothing is remembered

    def _prune(self) -> None:
        """Forget the runs that began longest ago, of whichever flow has most, until the bound is kept."""
        counts = dict(self._query("SELECT flow, COUNT(*) FROM runs GROUP BY flow"))
        while (excess := sum(counts.values()) - ROWS_MAX) > 0:
            flow = max(counts, key=lambda number: counts[number])
            gone = min(excess, max(counts[flow] // 2, 1))
            self._write(
                "DELETE FROM runs WHERE flow = ? AND segment IN "
                "(SELECT segment FROM runs WHERE flow = ? ORDER BY segment DESC LIMIT ?)",
                [(flow, flow, gone)],
            )
            counts[flow] -= gone

    def _query(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            self._fall_back(error)
            return self._connection.execute(sql, values).fetchall()

    def _write(self, sql: str, values: list[tuple[Any, ...]]) -> None:
        try:
            with self._connection:
                self._connection.executemany(sql, values)
        except sqlite3.Error as error:
            # Another process holds it, or the disk is full: what is not remembered is read again.
            self._fall_back(error)

    def _fall_back(self, error: sqlite3.Error) -> None:
        logger().warning("The run index %s is not used: %s", self._path, error)
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
        if self._path is not None and isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._connection = self._open(None)

    def _open(self, path: Path | None) -> sqlite3.Connection:
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path or ":memory:", timeout=2, check_same_thread=False)
            # Losing the newest rows to a crash is harmless: their records are read again.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = WAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                with connection:
                    connection.executescript(
                        f"BEGIN IMMEDIATE; DROP TABLE IF EXISTS runs; DROP TABLE IF EXISTS flows; {_SCHEMA}"
                        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                    )
            connection.execute("SELECT COUNT(*) FROM flows").fetchone()
        except (sqlite3.Error, OSError) as error:
            if path is None:
                raise
            logger().warning("The run index %s is not used: %s", path, error)
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                with contextlib.suppress(OSError):
                    path.unlink()  # not a database any more: the next process begins a new one
            return self._open(None)
        return connection
