"""Writers and readers at the same time: commits have an order, nothing is lost, and nobody sees two versions at once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.tables._lake import OPTIONS, Lake, parquet

from holdall_store.errors import AlreadyExistsError, FormatError, HoldallError, IntegrityError, InvalidNameError
from holdall_store.storage import Buffer, MemoryStorage, ObjectInfo, _open
from holdall_store.tables import Table, _units
from holdall_store.testing import WrappedStorage

PLACE = "memory://tables-races"


class Interrupted(WrappedStorage):
    """Lets others act before a slot of a log is created, or after so many files were listed."""

    def __init__(self, inner: MemoryStorage) -> None:
        super().__init__(inner)
        self.before_slot: list[Callable[[], Any]] = []
        self.listed_first = 0
        self.in_listing: list[Callable[[], Any]] = []

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        if "/_holdall/" in key and self.before_slot:
            self.before_slot.pop(0)()
        return self.inner.create(key, parts)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        if not self.in_listing or prefix.endswith("_holdall/"):
            yield from self.inner.list(prefix, after)
            return
        for number, info in enumerate(self.inner.list(prefix, after)):
            if number == self.listed_first:
                break
            after = info.key
            yield info
        if self.in_listing:
            self.in_listing.pop(0)()
        yield from self.inner.list(prefix, after)


@pytest.fixture
def place() -> Iterator[Interrupted]:
    """Give a place in memory."""
    storage = Interrupted(MemoryStorage("tables-races"))
    _open._memories["tables-races"] = storage  # type: ignore[assignment]
    yield storage
    _open._memories.pop("tables-races")


def frame(*rows: tuple[int, str]) -> pa.Table:
    """Return rows as a table."""
    return pa.table({"x": [x for x, _ in rows], "p": [p for _, p in rows]})


def put(*rows: tuple[int, str], **options: Any) -> Any:
    """Write rows."""
    return Table.write(f"{PLACE}/t", frame(*rows), **options)


def found(**options: Any) -> list[int]:
    """Return the numbers that a reader sees."""
    return sorted(Table(f"{PLACE}/t", **options).to_arrow().column("x").to_pylist())


def data_files(place: Interrupted) -> int:
    """Count the files of data."""
    return sum(info.key.endswith(".parquet") for info in place.inner.list())


MODES: list[tuple[str, str, list[int]]] = [
    ("append", "append", [0, 1, 2]),
    ("append", "overwrite", [1, 2]),
    ("overwrite", "append", [2]),
    ("overwrite", "overwrite", [2]),
    ("overwrite_partitions", "append", [0, 2]),
    ("overwrite_partitions", "overwrite", [2]),
    ("append", "overwrite_partitions", [0, 1, 2]),
]


@pytest.mark.parametrize(("mode", "meanwhile", "expected"), MODES)
def test_a_commit_comes_after_those_that_were_faster(
    place: Interrupted, mode: str, meanwhile: str, expected: list[int]
) -> None:
    """Who loses the slot takes the next: an append adds to what came, an overwrite replaces it, too. No file is left over."""
    put((0, "a"), partition_by="p")
    place.before_slot.append(lambda: put((1, "b"), mode=meanwhile, partition_by="p"))
    done = put((2, "b"), mode=mode, partition_by="p")

    assert done.version == 2
    assert found() == expected
    assert data_files(place) == len(expected)


def test_many_were_faster(place: Interrupted) -> None:
    """However many commits come between, each has its turn."""
    place.before_slot += [(lambda number: lambda: put((number, "a")))(number) for number in range(1, 6)]

    assert put((0, "a")).version == 5
    assert found() == [0, 1, 2, 3, 4, 5]


def test_only_one_makes_a_table(place: Interrupted) -> None:
    """With mode="error" the one who was slower hears of it, and leaves nothing."""
    place.before_slot.append(lambda: put((1, "a"), mode="error"))

    with pytest.raises(AlreadyExistsError, match="There already is a table"):
        put((2, "a"), mode="error")
    assert found() == [1]
    assert data_files(place) == 1


@pytest.mark.parametrize(
    ("other", "options", "error"),
    [
        (pa.table({"x": ["text"], "p": ["a"]}), {}, FormatError),
        (pa.table({"x": pa.array([1], pa.int8()), "p": ["a"]}), {}, FormatError),
        (pa.table({"y": [1]}), {}, HoldallError),
        (frame((1, "a")), {"partition_by": "p"}, InvalidNameError),
    ],
)
def test_another_made_the_table_meanwhile(
    place: Interrupted, other: pa.Table, options: dict[str, Any], error: type[Exception]
) -> None:
    """If what came meanwhile has no room for the frame, it is refused, and what was stored for it is deleted."""
    place.before_slot.append(lambda: Table.write(f"{PLACE}/t", other, **options))

    with pytest.raises(error):
        put((2, "a"))
    assert len(Table(f"{PLACE}/t")) == 1
    assert data_files(place) == 1


def test_the_schema_grew_meanwhile(place: Interrupted) -> None:
    """A column that another writer adds meanwhile is null in the rows that came without it; the table keeps it."""
    put((0, "a"))
    place.before_slot.append(lambda: Table.write(f"{PLACE}/t", pa.table({"x": [1], "new": [5]}), merge_schema=True))
    put((2, "a"))

    assert found() == [0, 1, 2]
    assert Table(f"{PLACE}/t").schema.names == ["x", "p", "new"]
    assert Table(f"{PLACE}/t").where(new=5).num_rows == 1


@pytest.mark.parametrize("begin", ["ours", "others"])
def test_a_listing_in_which_files_are_replaced(place: Interrupted, begin: str) -> None:
    """At whatever file of its listing a reader is when all are replaced, it sees the old rows or the new."""
    for at in range(7):
        place.inner.delete([info.key for info in place.inner.list()])
        for number in range(3):
            if begin == "ours":
                put((number, "a"))
            else:
                # Before and after the log in the order of names.
                name = f"t/{'AZ'[number % 2]}{number}.parquet" if number else "t/z.parquet"
                place.inner.create(name, [parquet(frame((number, "a")))])
        place.listed_first = at
        place.in_listing.append(lambda: put((7, "a"), (8, "a"), mode="overwrite"))

        assert found() in ([0, 1, 2], [7, 8])
        assert place.in_listing == []
        assert found() == [7, 8]


def test_a_listing_in_which_files_come(place: Interrupted) -> None:
    """The same with an append: all of it is seen or nothing."""
    for at in range(6):
        place.inner.delete([info.key for info in place.inner.list()])
        put((0, "a"), partition_by="p")
        place.listed_first = at
        place.in_listing.append(lambda: put((1, "A"), (2, "z")))

        assert found() in ([0], [0, 1, 2])
        assert found() == [0, 1, 2]


def test_a_reader_that_is_overtaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun goes on if the files are kept; else it is an error that says what happened. It is never both."""
    monkeypatch.setattr(_units, "UNIT_BYTES", 1)
    for keep in (True, False):
        folder = tmp_path / str(keep)
        old = pa.table({"x": range(3000)})
        for part in range(3):
            Table.write(folder, old.slice(part * 1000, 1000))
        pinned = Table(folder)
        batches = pinned.batches(bytes=1 << 20)
        begun = next(batches)
        Table.write(folder, pa.table({"x": [-1]}), mode="overwrite", keep_replaced=keep)
        if keep:
            rest = pa.Table.from_batches([begun, *batches])
            assert rest.equals(old)
            assert pinned.to_arrow().equals(old)
        else:
            with pytest.raises(IntegrityError, match="replaced after it was first seen"):
                pinned.to_arrow()
        assert Table(folder).to_arrow().to_pylist() == [{"x": -1}]
        assert [pinned.version, Table(folder).version] == [2, 3]


WORKER = textwrap.dedent("""
    import sys, json
    import pyarrow as pa
    from holdall_store.tables import Table
    url, options, worker, commits = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    print("ready", flush=True)
    sys.stdin.readline()
    for commit in range(commits):
        rows = pa.table({"worker": [worker] * 3, "commit": [commit] * 3, "row": range(3)})
        Table.write(url, rows, partition_by=["worker"], storage_options=options or None)
""")


def append_from_processes(url: str, options: dict[str, Any], workers: int, commits: int) -> None:
    """Let processes append to one table, all from the same moment on."""
    import json

    begun = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, url, json.dumps(options), str(worker), str(commits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in range(workers)
    ]
    for process in begun:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in begun:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(60) for process in begun] == [0] * workers
    for process in begun:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def check_all_is_there(table: Table, workers: int, commits: int) -> None:
    """Look for the rows of all commits, and for their versions."""
    rows = [(row["worker"], row["commit"], row["row"]) for row in table.to_arrow().to_pylist()]
    assert sorted(rows) == [(w, c, r) for w in range(workers) for c in range(commits) for r in range(3)]
    assert table.version == workers * commits - 1
    assert len(table.files()) == workers * commits


def test_processes_append_to_a_table_on_a_disk(tmp_path: Path) -> None:
    """Four processes that append at once lose nothing, and each commit is a version."""
    append_from_processes(str(tmp_path / "t"), {}, 4, 6)

    check_all_is_there(Table(tmp_path / "t"), 4, 6)
    assert sum(1 for _ in (tmp_path / "t").rglob("*.parquet")) == 24


def test_processes_append_to_a_table_in_a_bucket(lake: Lake) -> None:
    """The same in a bucket, with what S3 has to tell who was first."""
    append_from_processes("s3://bucket/lake/t", {**OPTIONS, "endpoint_url": lake.server.url}, 3, 5)

    check_all_is_there(lake.table("lake/t"), 3, 5)
