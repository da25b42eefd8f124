"""The index of chunks is a cache: bounded, shared, and never a reason for a wrong result or a failure."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine._engine import begin, keys, latest, names_of, pack_bytes, repository, save, stretch, value

from holdall_store.format import FOOTER_BYTES, pack_key
from holdall_store.repository import Repository, _index
from holdall_store.storage import LocalStorage, MemoryStorage

DATA = [stretch(number, 200_000) for number in range(4)]


def index_file(home: Path) -> Path:
    """Return the file of the only index in `home`."""
    (path,) = (home / "cache" / "index").glob("*.sqlite")
    return path


def damage_bytes(path: Path) -> None:
    """Overwrite the pages of the file, but for the first."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def damage_rows(path: Path) -> None:
    """Let the tables of packs say something else."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE packs SET raw = zeroblob(length(raw))")
    connection.close()


def swap_rows(path: Path) -> None:
    """Let chunks lie somewhere else."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE chunks SET place = place + 1")
        connection.execute("UPDATE packs SET table_offset = table_offset + 52")
    connection.close()


def other_schema(path: Path) -> None:
    """Leave an index as another version may have it."""
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP TABLE chunks; CREATE TABLE chunks (x); PRAGMA user_version = 99;")
    connection.close()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(os.urandom(10_000)),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: os.truncate(path, path.stat().st_size // 2),
    "pages": damage_bytes,
    "rows": damage_rows,
    "places": swap_rows,
    "newer": other_schema,
    "deleted": os.unlink,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("when", ["between", "while it is open"])
def test_a_damaged_index_costs_only_space(damage: str, when: str, tmp_path: Path) -> None:
    """Whatever becomes of its file, between two processes or under one: saves are right, and reads never ask it."""
    storage = LocalStorage(tmp_path / "s")
    store = repository(storage, tmp_path)
    save(store, {"a": value(*DATA)})
    if when == "between":
        store.close()
        # What was in the write-ahead log is in the file now.
        DAMAGES[damage](index_file(tmp_path))
        store = repository(storage, tmp_path, seed=1)
    else:
        DAMAGES[damage](index_file(tmp_path))
    saved = save(store, {"b": value(*DATA)}, "second")["b"]
    save(store, {"c": value(DATA[0], stretch(9, 50_000))}, "third")
    store.close()
    last = repository(storage, tmp_path, seed=2)
    save(last, {"d": value(*DATA)}, "fourth")

    assert saved.record.bytes == 800_005
    assert latest(store) == {"a": DATA}
    assert latest(store, "second") == {"b": DATA}
    assert latest(store, "third") == {"c": [DATA[0], stretch(9, 50_000)]}
    assert latest(store, "fourth") == {"d": DATA}
    last.close()


def test_an_index_that_somebody_holds_is_gone_without(tmp_path: Path) -> None:
    """A process that has locked the file does not hold the save up for long, nor make it fail."""
    storage = LocalStorage(tmp_path / "s")
    store = repository(storage, tmp_path)
    save(store, {"a": value(DATA[0])})
    store.close()
    before = pack_bytes(storage)
    holder = sqlite3.connect(index_file(tmp_path), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        store = repository(storage, tmp_path, seed=1)
        save(store, {"b": value(DATA[0], DATA[1])})
    finally:
        holder.close()

    assert latest(store) == {"b": DATA[:2]}
    assert pack_bytes(storage) - before < 201_000  # found through the footer of the pack
    store.close()


@pytest.mark.parametrize("how", ["a file in the way", "a full disk"])
def test_a_cache_that_cannot_be_written_is_gone_without(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place for the index, it is kept in memory for as long as the process lives."""
    home = tmp_path / "home"
    if how == "a file in the way":
        home.write_text("no folder")
    else:
        real = _index.ChunkIndex._open

        def full(self: Any, path: Path | None) -> sqlite3.Connection:
            connection = real(self, path)
            if path is not None:
                connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
            return connection

        monkeypatch.setattr(_index.ChunkIndex, "_open", full)
    storage = MemoryStorage()
    store = repository(storage, home)
    save(store, {"a": value(*DATA)})
    saved = save(store, {"b": value(*DATA)})["b"]

    assert saved.record.new in (0, sum(map(len, DATA)))
    assert latest(store) == {"b": DATA}
    store.close()


def test_the_index_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest packs are forgotten first; what is forgotten is stored once more, and nothing else happens."""
    monkeypatch.setattr(_index, "ENTRIES_MAX", 12)
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    for number in range(8):
        save(store, {"a": value(stretch(number, 300_000))}, f"f{number}")
    with sqlite3.connect(index_file(tmp_path)) as connection:
        (count,) = connection.execute("SELECT SUM(entries) FROM packs").fetchone()
        (rows,) = connection.execute("SELECT COUNT(*) FROM chunks").fetchone()
    connection.close()
    assert 0 < count <= 12
    assert rows <= count
    before = pack_bytes(storage)
    assert save(store, {"a": value(stretch(7, 300_000))}, "f7")["a"].record.new == 0
    assert pack_bytes(storage) == before
    store.close()
    store = repository(storage, tmp_path, seed=1)
    save(store, {"a": value(*(stretch(number, 300_000) for number in range(8)))}, "all")
    assert latest(store, "all") == {"a": [stretch(number, 300_000) for number in range(8)]}
    store.close()


def test_two_copies_of_a_store_share_an_index(tmp_path: Path) -> None:
    """A copy (`cp -r`) has the same id, so the same index: neither ever refers to a pack that only the other has."""
    first = repository(LocalStorage(tmp_path / "one"), tmp_path)
    save(first, {"a": value(DATA[0])})
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    second = repository(LocalStorage(tmp_path / "two"), tmp_path, seed=1)
    for number, store in enumerate((first, second, first, second, first)):
        own = begin(store, f"f{number}")
        own.save({"x": value(DATA[0], DATA[1 + number % 3], DATA[2])})
        own.end("succeeded")
        for at in (first, second):
            packs = {key.removeprefix("packs/") for key in keys(at.storage, "packs/")}
            for flow in at.catalog.flows("user:ana"):
                view = next(at.catalog.newest("user:ana", flow))
                assert names_of(view.artifacts.values()) <= packs
                assert latest(at, flow)
    first.close()
    second.close()


@pytest.mark.parametrize("how", ["same process", "new process"])
def test_a_pack_that_is_gone_is_never_referred_to(how: str, tmp_path: Path) -> None:
    """Packs that were deleted behind the index's back count as unknown in the next run."""
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    gone = names_of(save(store, {"a": value(*DATA)}).values())
    storage.delete([pack_key(name) for name in gone])
    if how == "new process":
        store.close()
        store = repository(storage, tmp_path, seed=1)
    saved = save(store, {"b": value(*DATA)})["b"]

    assert not names_of([saved]) & gone
    assert latest(store) == {"b": DATA}
    store.close()


@pytest.mark.parametrize("what", ["footer", "table", "cut off", "empty"])
def test_a_damaged_pack_is_not_used_for_deduplication(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pack whose table cannot be trusted is left alone, with a warning, and what it held is stored again."""
    storage = MemoryStorage()
    store = repository(storage, tmp_path / "one")
    (name,) = names_of(save(store, {"a": value(*DATA)}).values())
    data = bytearray(storage.get(pack_key(name)))
    place = {"footer": -5, "table": -FOOTER_BYTES - 5}.get(what)
    if place is not None:
        data[place] ^= 1
    storage.delete([pack_key(name)])
    storage.create(pack_key(name), [data[: {"cut off": len(data) - 10, "empty": 0}.get(what, len(data))]])
    other = repository(storage, tmp_path / "two", seed=1)
    saved = save(other, {"b": value(*DATA)})["b"]

    assert saved.record.new == sum(map(len, DATA))
    assert latest(other) == {"b": DATA}
    assert f"Pack {name} is not used" in caplog.text


def test_another_process_filled_the_index(tmp_path: Path) -> None:
    """What another process stored while this one had the index open is found without reading footers."""
    storage = MemoryStorage()
    early: Repository = repository(storage, tmp_path)
    early.create()
    early.index()
    late = repository(storage, tmp_path, seed=1)
    save(late, {"a": value(*DATA)})

    assert save(early, {"b": value(*DATA)})["b"].record.new == 0
    early.close()
    late.close()
