"""One fault at each request of a write: readers see the old rows or the new ones, and the next write goes well."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from tests.tables._lake import parquet

from holdall_store.errors import HoldallError, TableNotFoundError
from holdall_store.storage import MemoryStorage, Storage, _open
from holdall_store.tables import Table
from holdall_store.testing import CrashAfter, CrashBefore, FailWith, Fault, FaultyStorage, LostAnswer, SimulatedCrash

FAULTS: dict[str, Callable[[int], Fault]] = {
    "crash before": CrashBefore,
    "crash after": CrashAfter,
    "lost answer": LostAnswer,
    "disk full": lambda call: FailWith(call, errno.ENOSPC),
    "denied": lambda call: FailWith(call, errno.EACCES),
}
PLACE = "memory://tables-faults"

Rows = list[tuple[int, str]]


def frame(*rows: tuple[int, str]) -> pa.Table:
    """Return rows as a table."""
    return pa.table({"x": [x for x, _ in rows], "p": [p for _, p in rows]})


def rows_of(table: pa.Table) -> Rows:
    """Return the rows of a table, in an order of their own."""
    return sorted((row["x"], row["p"]) for row in table.to_pylist())


def found() -> Rows:
    """Return what a reader sees."""
    try:
        return rows_of(Table(f"{PLACE}/t").to_arrow())
    except TableNotFoundError:
        return []


def put(storage: Storage) -> None:
    """Let the place be this storage from now on."""
    _open._memories["tables-faults"] = storage  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Forget the place in the end."""
    yield
    _open._memories.pop("tables-faults", None)


def nothing(storage: Storage) -> None:
    """Begin with nothing."""


def written(storage: Storage) -> None:
    """Begin with a table of ours, of two commits."""
    Table.write(f"{PLACE}/t", frame((1, "a"), (2, "b")), partition_by="p")
    Table.write(f"{PLACE}/t", frame((3, "a")))


def foreign(storage: Storage) -> None:
    """Begin with files of others."""
    storage.create("t/p=a/one.parquet", [parquet(pa.table({"x": [1]}))])
    storage.create("t/p=b/two.parquet", [parquet(pa.table({"x": [2]}))])


NEW = frame((7, "a"), (8, "c"))

SCENARIOS: dict[str, tuple[Callable[[Storage], None], dict[str, Any], Rows]] = {
    "first": (nothing, {"mode": "error", "partition_by": "p"}, [(7, "a"), (8, "c")]),
    "append": (written, {}, [(1, "a"), (2, "b"), (3, "a"), (7, "a"), (8, "c")]),
    "overwrite": (written, {"mode": "overwrite", "partition_by": "p"}, [(7, "a"), (8, "c")]),
    "overwrite, kept": (written, {"mode": "overwrite", "partition_by": "p", "keep_replaced": True}, [(7, "a"), (8, "c")]),
    "partitions": (written, {"mode": "overwrite_partitions"}, [(2, "b"), (7, "a"), (8, "c")]),
    "append to others": (foreign, {}, [(1, "a"), (2, "b"), (7, "a"), (8, "c")]),
    "overwrite others": (foreign, {"mode": "overwrite", "partition_by": "p"}, [(7, "a"), (8, "c")]),
}  # fmt: skip


def prepare(name: str) -> tuple[MemoryStorage, Rows]:
    """Make what a scenario begins with, and return what is seen of it."""
    inner = MemoryStorage("tables-faults")
    put(inner)
    SCENARIOS[name][0](inner)
    return inner, found()


def play(name: str, storage: Storage) -> BaseException | None:
    """Play a scenario, and return what it raised."""
    put(storage)
    try:
        Table.write(f"{PLACE}/t", NEW, **SCENARIOS[name][1])
    except (SimulatedCrash, HoldallError) as error:
        return error
    return None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_every_request(name: str, fault: str) -> None:
    """The old rows or the new, never a mixture; new if the write returned; and then everything goes on as if nothing had been."""
    new = SCENARIOS[name][2]
    inner, old = prepare(name)
    counting = FaultyStorage(inner)
    assert play(name, counting) is None
    put(inner)
    assert found() == new
    assert len(counting.calls) > 4
    seen = set()
    for number in range(len(counting.calls)):
        inner, old = prepare(name)
        error = play(name, FaultyStorage(inner, [FAULTS[fault](number)]))
        put(inner)
        rows = found()
        assert rows in (old, new)
        seen.add(rows == new)
        if error is None:
            assert rows == new
        elif fault in ("disk full", "denied"):
            assert rows == old  # nothing had an effect
            assert "injected" in str(error)
        Table.write(f"{PLACE}/t", frame((9, "z")), partition_by="p")
        assert found() == sorted([*rows, (9, "z")])
        Table.write(f"{PLACE}/t", frame((1, "z")), mode="overwrite", partition_by="p")
        assert found() == [(1, "z")]
    assert False in seen
    assert True in seen or fault not in ("crash after", "lost answer")


@pytest.mark.parametrize("name", ["overwrite", "overwrite others", "partitions"])
def test_replaced_files_go_with_the_next_write(name: str) -> None:
    """Who dies between the commit and the deletion leaves files that are no rows; the next write deletes them."""
    inner, _ = prepare(name)
    counting = FaultyStorage(inner)
    play(name, counting)
    (number,) = [number for number, call in enumerate(counting.calls) if call.verb == "delete"]
    inner, _ = prepare(name)
    with contextlib.suppress(SimulatedCrash):
        play(name, FaultyStorage(inner, [CrashBefore(number)]))
    put(inner)
    assert found() == SCENARIOS[name][2]
    left = {info.key for info in inner.list("t/") if info.key.endswith(".parquet")}

    Table.write(f"{PLACE}/t", frame((9, "z")))
    there = {info.key for info in inner.list("t/") if info.key.endswith(".parquet")}
    assert left - there
    assert len(there) == len(Table(f"{PLACE}/t").files())


def test_what_was_refused_is_not_left_behind() -> None:
    """A write that fails by itself deletes what it had stored."""

    def pieces() -> Iterator[pa.Table]:
        yield frame((1, "a"))
        raise ValueError("no more")

    inner, old = prepare("append")
    before = [info.key for info in inner.list()]
    with pytest.raises(ValueError, match="no more"):
        Table.write(f"{PLACE}/t", itertools.chain(pieces()), file_bytes=1, row_group_bytes=1)
    assert [info.key for info in inner.list()] == before
    assert found() == old
