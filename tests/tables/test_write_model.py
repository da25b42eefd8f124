"""Laws of writing, looked for with random frames, partitions, modes and orders of commits, against a plain model."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.tables._lake import write

from holdall_store.tables import Table

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
PARTITIONED: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-3, 3),
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.string(): TEXTS | st.sampled_from(["a", "08", "", "__HIVE_DEFAULT_PARTITION__", "null", "a/b=c", "..", "%41"]),
    pa.large_string(): TEXTS,
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.timestamp("us", tz="UTC"): st.datetimes(timezones=st.just(dt.UTC), min_value=dt.datetime(1700, 1, 1)),
    pa.timestamp("ms"): st.datetimes(max_value=dt.datetime(2200, 1, 1), min_value=dt.datetime(1700, 1, 1)).map(
        lambda each: each.replace(microsecond=each.microsecond // 1000 * 1000)
    ),
    pa.decimal128(12, 4): st.decimals(-9999, 9999, places=4, allow_nan=False),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["x", "y", "z"]),
}
PLAIN: dict[pa.DataType, st.SearchStrategy[Any]] = {
    **PARTITIONED,
    pa.binary(): st.binary(max_size=5),
    pa.list_(pa.int32()): st.lists(st.none() | st.integers(-5, 5), max_size=3),
    pa.struct({"a": pa.int16(), "b": pa.string()}): st.fixed_dictionaries(
        {"a": st.integers(0, 9), "b": st.none() | TEXTS}
    ),
    pa.map_(pa.string(), pa.int64()): st.dictionaries(TEXTS, st.integers(0, 9), max_size=2).map(
        lambda each: list(each.items())
    ),
    pa.timestamp("s"): st.datetimes(min_value=dt.datetime(1700, 1, 1), max_value=dt.datetime(2200, 1, 1)).map(
        lambda each: each.replace(microsecond=0)
    ),
    pa.time64("us"): st.times(),
    pa.duration("ms"): st.integers(0, 10**9).map(lambda each: dt.timedelta(milliseconds=each)),
    pa.dictionary(pa.int32(), pa.int64()): st.integers(0, 3),
    pa.null(): st.none(),
}


@st.composite
def frames(draw: st.DrawFn) -> tuple[pa.Table, list[str]]:
    """Make a frame, and the columns to partition it by."""
    rows = draw(st.integers(0, 12))
    columns: dict[str, pa.Array] = {}
    names = draw(st.lists(NAMES.filter(bool), max_size=2, unique=True))
    for name in names:
        kind = draw(st.sampled_from(list(PARTITIONED)))
        columns[name] = pa.array(draw(st.lists(st.none() | PARTITIONED[kind], min_size=rows, max_size=rows)), kind)
    for name in draw(st.lists(NAMES.filter(lambda each: each not in names), min_size=1, max_size=3, unique=True)):
        kind = draw(st.sampled_from(list(PLAIN)))
        columns[name] = pa.array(draw(st.lists(st.none() | PLAIN[kind], min_size=rows, max_size=rows)), kind)
    order = draw(st.permutations(list(columns)))
    return pa.table({name: columns[name] for name in order}), names


def counted(table: pa.Table) -> Counter[str]:
    """Return how often each row occurs. Decimals are equal whatever their zeros, and NaN is itself."""
    return Counter(repr(sorted(row.items())) for row in table.to_pylist())


@settings(max_examples=150)
@given(frames(), st.integers(1, 3), st.booleans())
def test_what_is_written_is_read_back(made: tuple[pa.Table, list[str]], groups: int, stream: bool) -> None:
    """Any frame, by any partitions, comes back with its schema and its rows; without partitions, in their order."""
    frame, names = made
    with tempfile.TemporaryDirectory() as folder:
        source = frame.to_reader(max_chunksize=2) if stream else frame
        Table.write(f"{folder}/t", source, partition_by=names, row_group_bytes=max(frame.nbytes // groups, 1))
        found = Table(f"{folder}/t").to_arrow()

    assert found.schema.equals(frame.schema)
    assert counted(found) == counted(frame)
    if not names:
        assert repr(found.to_pylist()) == repr(frame.to_pylist())


ROW = st.fixed_dictionaries({"p": st.sampled_from(["a", "b/c", None]), "n": st.integers(0, 2), "x": st.integers(0, 99)})
SCHEMA = pa.schema({"p": pa.string(), "n": pa.int64(), "x": pa.int64()})
ROWS = st.lists(ROW, max_size=5)

Model = list[dict[str, Any]]


class Writing(RuleBasedStateMachine):
    """A table, and what it must be: a list of rows, and what that was at each version."""

    @initialize(names=st.sampled_from([[], ["p"], ["n", "p"]]), keep=st.booleans())
    def begin(self, names: list[str], keep: bool) -> None:
        """Choose the partitions for good, and whether old versions are to be kept."""
        self.folder = Path(tempfile.mkdtemp())
        self.table = self.folder / "t"
        self.names = names
        self.keep = keep
        self.rows: Model = []
        self.versions: list[Model] = []
        self.strange = 0

    def teardown(self) -> None:
        """Remove the folder."""
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def _write(self, rows: Model, mode: Any, **options: Any) -> None:
        frame = pa.Table.from_pylist(rows, SCHEMA)
        done = Table.write(self.table, frame, mode=mode, partition_by=self.names, keep_replaced=self.keep, **options)
        assert done.version == len(self.versions)
        assert done.rows == len(rows)
        self.versions.append([*self.rows])

    @rule(rows=ROWS)
    def append(self, rows: Model) -> None:
        """Add rows."""
        self.rows = [*self.rows, *rows]
        self._write(rows, "append")

    @rule(rows=ROWS)
    def overwrite(self, rows: Model) -> None:
        """Put rows in the place of all."""
        self.rows = rows
        self._write(rows, "overwrite", sort_by="x")

    @rule(rows=ROWS)
    def overwrite_partitions(self, rows: Model) -> None:
        """Put rows in the place of those of their partitions."""
        if not self.names or (not self.versions and not self.strange):
            return
        touched = {tuple(row[name] for name in self.names) for row in rows}
        self.rows = [row for row in self.rows if tuple(row[name] for name in self.names) not in touched] + rows
        self._write(rows, "overwrite_partitions")

    @rule(row=ROW)
    def stranger(self, row: dict[str, Any]) -> None:
        """Let another program add a file."""
        if not self.versions:
            return  # whose partitions, that are all texts or numbers, would be those of the table
        folder = self.table
        for name in self.names:
            value = "__HIVE_DEFAULT_PARTITION__" if row[name] is None else str(row[name]).replace("/", "%2F")
            folder /= f"{name}={value}"
        rest = {name: [value] for name, value in row.items() if name not in self.names}
        schema = pa.schema([field for field in SCHEMA if field.name not in self.names])
        write(folder / f"part-{self.strange}.parquet", pa.table(rest, schema))
        self.strange += 1
        self.rows = [*self.rows, row]

    @invariant()
    def is_the_model(self) -> None:
        """Readers see the rows of the model, now and as of each version that is kept."""
        if not getattr(self, "versions", None):
            return
        assert counted(Table(self.table).to_arrow()) == counted(pa.Table.from_pylist(self.rows, SCHEMA))
        if self.keep:
            for version, rows in enumerate(self.versions):
                found = Table(self.table, as_of=version).to_arrow()
                assert counted(found) == counted(pa.Table.from_pylist(rows, SCHEMA))


def test_commits_in_any_order() -> None:
    """Appends, overwrites and files of others, in any order, are what a list of rows would be."""
    run_state_machine_as_test(Writing, settings=settings(max_examples=40, stateful_step_count=8))
