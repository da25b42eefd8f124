"""Texts come back as they were written, however a file stores them: as views, written out, or in dictionaries."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tables._lake import Lake, parquet, write

from holdall_store.tables import Table, _footer, col
from holdall_store.tables._texts import written_out

WORDS = st.sampled_from(["", "A", "N", "R", "DELIVER IN PERSON", "é", "日本"])
FLAGS = st.sampled_from(["A", "N", "R"])
CODES = st.sampled_from(["é", "ab", "zz"])
TEXTS = st.one_of(
    st.lists(FLAGS, max_size=200),
    st.lists(CODES, max_size=200),
    st.lists(st.one_of(st.none(), WORDS), max_size=200),
    st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=60),
)
KINDS = st.sampled_from([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])


@given(
    TEXTS, KINDS, st.booleans(), st.sampled_from(["1.0", "2.0"]), st.integers(1, 80), st.sampled_from(["A", "é", "DE"])
)
def test_texts_come_back(
    values: list[str | None], kind: Any, dictionary: bool, version: str, rows: int, wanted: str
) -> None:
    """What is read is what was written, row group by row group and under a condition, as plain texts in place of views."""
    lake = {"k": pa.array(range(len(values)), pa.int64()), "t": pa.array(values, pa.string()).cast(kind)}
    data = parquet(pa.table(lake), use_dictionary=dictionary, data_page_version=version, row_group_size=rows)

    got = _read(data)

    assert got.column("t").to_pylist() == values
    assert got.schema.field("t").type == (pa.string() if kind == pa.string_view() else kind)
    assert _read(data, where=wanted).column("t").to_pylist() == [each for each in values if each == wanted]


def _read(data: bytes, where: str | None = None) -> pa.Table:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(data)
        file.flush()
        table = Table(file.name)
        return (table if where is None else table.where(t=where)).to_arrow()


def test_a_file_with_views_is_told_plain_texts(tmp_path: Path) -> None:
    """The footer that a file with views is decoded with names plain texts, nested ones too, so that nothing is cast."""
    kinds = [("a", pa.string_view()), ("b", pa.list_(pa.string_view())), ("c", pa.binary_view()), ("n", pa.int8())]
    rows = [{"a": "x", "b": ["p"], "c": b"1", "n": 1}, {"a": None, "b": [], "c": None, "n": None}]
    path = write(tmp_path / "a.parquet", pa.Table.from_pylist(rows, pa.schema(kinds)))

    snapshot = Table(path)._snapshot
    footer = next(_footer.load_footers(snapshot.source, [file.found for file in snapshot.listing.files]))

    assert pq.read_schema(path).field("a").type == pa.string_view()
    assert footer is not None
    assert footer.metadata.schema.to_arrow_schema().types == [
        pa.string(),
        pa.list_(pa.field("element", pa.string())),
        pa.binary(),
        pa.int8(),
    ]
    assert Table(path).to_arrow().to_pylist() == rows


def test_what_else_the_stored_schema_says_stays(tmp_path: Path) -> None:
    """Types that only the stored schema tells, and metadata of fields, are not lost with the views."""
    fields = [
        pa.field("v", pa.string_view()),
        pa.field("d", pa.duration("ms")),
        pa.field("z", pa.timestamp("us", "Europe/Paris")),
        pa.field("l", pa.large_string(), metadata={"unit": "m"}),
        pa.field("s", pa.struct([("w", pa.string_view()), ("x", pa.int8())])),
    ]
    rows = [{"v": "a", "d": 5, "z": 7, "l": "b", "s": {"w": "c", "x": 1}}]
    path = write(tmp_path / "a.parquet", pa.Table.from_pylist(rows, pa.schema(fields, {"mine": "kept"})))

    schema = Table(path).schema

    assert schema.types == [
        pa.string(),
        pa.duration("ms"),
        pa.timestamp("us", "Europe/Paris"),
        pa.large_string(),
        pa.struct([("w", pa.string()), ("x", pa.int8())]),
    ]
    assert Table(path).to_arrow().column("s").to_pylist() == [{"w": "c", "x": 1}]


def test_metadata_that_repeats_the_stored_schema_do_no_harm(tmp_path: Path) -> None:
    """Where the stored schema cannot be told from a copy of it in other metadata, the file is read all the same."""
    table = pa.table({"v": pa.array(["a", "b"], pa.string_view())})
    stored = base64.b64encode(table.schema.serialize())
    length = bytes([len(stored) & 0x7F | 0x80, len(stored) >> 7])
    pair = b"\x18\x0cARROW:schema\x18" + length + stored
    path = write(tmp_path / "a.parquet", table.replace_schema_metadata({"copy": pair}))

    assert Table(path).to_arrow().to_pylist() == [{"v": "a"}, {"v": "b"}]


def test_texts_that_repeat_are_decoded_as_dictionaries(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    """A column of a few texts is decoded as a dictionary and given as texts; one whose texts differ is not."""
    rows = 3000
    table = pa.table({"flag": ["yes", "no", "yes"] * (rows // 3), "name": [f"name {at}" for at in range(rows)]})
    lake.put("a.parquet", table, row_group_size=1000, compression="none")
    asked: list[list[str]] = []
    read = pq.ParquetFile

    def spy(*given: Any, **options: Any) -> Any:
        asked.append(list(options["read_dictionary"] or []))
        return read(*given, **options)

    monkeypatch.setattr(pq, "ParquetFile", spy)

    got = Table("s3://bucket/a.parquet", storage_options=lake.options).where(col("flag") != "maybe").to_arrow()

    assert got.equals(table)
    assert asked
    assert all(each == ["flag"] for each in asked)


def test_texts_of_a_dictionary_with_nulls_and_slices() -> None:
    """Written out are only rows that are there, in their order, with nulls where the index or the text is null."""
    words = pa.array(["xx", "ab", "cd", None], pa.string()).slice(1)
    pieces = [
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 1, None], pa.int32()), pa.array(["ab", "cd"])),
        pa.DictionaryArray.from_arrays(pa.array([1, 0, 1, 1], pa.int32()).slice(1), words.slice(0, 2)),
        pa.DictionaryArray.from_arrays(pa.array([2, 0], pa.int32()), words),
        pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array(["ab"])),
    ]
    for piece in pieces:
        column = pa.chunked_array([piece])
        assert written_out(column).to_pylist() == column.to_pylist()
        assert written_out(column).type == pa.string()
        written_out(column).validate(full=True)


def test_an_index_beyond_a_dictionary_is_an_error() -> None:
    """An index that a dictionary does not have raises, where the bytes behind it could be taken for a text."""
    broken = pa.DictionaryArray.from_arrays(pa.array([0, 7], pa.int32()), pa.array(["ab", "cd"]), safe=False)

    with pytest.raises(pa.ArrowIndexError):
        written_out(pa.chunked_array([broken]))


def test_large_texts_of_dictionaries_stay_large(tmp_path: Path) -> None:
    """Large texts that repeat are given as large texts, whole or widened from plain ones."""
    plain = pa.table({"t": ["a", "b"] * 500})
    write(tmp_path / "0.parquet", plain)
    write(tmp_path / "1.parquet", plain.cast(pa.schema([("t", pa.large_string())])))

    got = Table(tmp_path).to_arrow()

    assert got.schema.field("t").type == pa.large_string()
    assert got.column("t").to_pylist() == ["a", "b"] * 1000


def test_a_name_with_a_dot_is_not_a_field(tmp_path: Path) -> None:
    """A column called like a field of a struct does not change how that is read."""
    rows = [{"a.b": "x", "a": {"b": "y"}}, {"a.b": "x", "a": {"b": "y"}}] * 100
    path = write(tmp_path / "a.parquet", pa.Table.from_pylist(rows))

    assert Table(path).to_arrow().to_pylist() == rows
