"""The traps of fetching parts of Parquet files: each of them can give wrong values without any error."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tables._lake import Lake, numbers, parquet

from holdall_store.errors import FormatError, IntegrityError
from holdall_store.storage import open_storage
from holdall_store.tables import Table, _footer, _scan, _source_storage, _sparse, _units, col
from holdall_store.tables._plan import Span
from holdall_store.tables._source import Found, Tail

NATIONS = [f"nation number {at % 25}" for at in range(400)]


@pytest.fixture(autouse=True)
def ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read small files as large ones are: in ranges."""
    for module in (_footer, _scan):
        monkeypatch.setattr(module, "SMALL_BYTES", 0)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return a file in whose footer one text is replaced by another of the same length."""
    assert len(old) == len(new)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    assert data[-footer:].count(old) == 1
    return data[:-footer] + data[-footer:].replace(old, new)


def as_old_writer(data: bytes) -> bytes:
    """Return a file that says that parquet-mr 1.2.8 wrote it."""
    name = pq.read_metadata(io.BytesIO(data)).created_by.encode()
    return patched(data, name, b"parquet-mr version 1.2.8 (build 0)".ljust(len(name))[: len(name)])


def varint(value: int) -> bytes:
    """Return a number as footers hold it: Thrift's compact protocol, zigzag."""
    value = value << 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(found + bytes([value]))


def remote(data: bytes, name: str) -> Table:
    """Put a file where it has to be fetched."""
    url = f"memory://traps-{name}"
    open_storage(url).create("file.parquet", [data])
    return Table(f"{url}/file.parquet")


def forgetful(data: bytes, bytes_forgotten: int) -> bytes:
    """Return a file that counts too few bytes for its only column chunk, as parquet-mr once did."""
    chunk = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0)
    size = chunk.total_compressed_size
    old, new = varint(size), varint(size - bytes_forgotten)
    assert len(old) == len(new)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    # The field stands in the metadata of the chunk: an i64 after total_uncompressed_size.
    place = data.index(varint(chunk.total_uncompressed_size) + b"\x16" + old, len(data) - footer)
    begin = place + len(varint(chunk.total_uncompressed_size)) + 1
    return data[:begin] + new + data[begin + len(old) :]


def test_chunks_that_are_longer_than_they_say(lake: Lake) -> None:
    """A file of parquet-mr 1.2.8 that forgot 20 bytes of a chunk (PARQUET-816) is read right, and only with the pad."""
    table = pa.table({"n": NATIONS, "k": range(400)})
    data = parquet(table.select(["n"]), compression="none", write_statistics=False, use_dictionary=["n"])
    data = forgetful(as_old_writer(data), 20)

    assert remote(data, "padded").to_arrow().column("n").to_pylist() == NATIONS


def test_without_the_pad_the_values_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros in place of the forgotten bytes decode to other values without an error; a filled hole is one."""
    data = parquet(pa.table({"n": NATIONS}), compression="none", write_statistics=False)
    data = forgetful(as_old_writer(data), 20)
    monkeypatch.setattr(_footer, "needs_pad", lambda created_by: False)
    monkeypatch.setattr(_sparse, "HOLE", None)

    assert remote(data, "unpadded").to_arrow().column("n").to_pylist() != NATIONS
    monkeypatch.setattr(_sparse, "HOLE", b"\xff")
    with pytest.raises(FormatError, match="file.parquet"):
        remote(data, "unpadded-filled").to_arrow()


def test_memory_of_padded_chunks_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pad of one row group has bytes of the next, which must not vanish with it."""
    table = numbers(3000, 3)
    data = as_old_writer(parquet(table, row_group_size=700))
    monkeypatch.setattr(_sparse, "HOLE", None)
    monkeypatch.setattr(_units, "UNIT_BYTES", 1)
    released: list[Any] = []
    monkeypatch.setattr(_sparse.SparseFile, "release", lambda self, spans: released.append(spans))

    assert remote(data, "held").to_arrow().equals(table)
    assert released == []
    assert remote(parquet(table, row_group_size=700), "released").to_arrow().equals(table)
    assert released != []


@pytest.mark.parametrize("late", [False, True])
def test_released_memory_is_never_needed_again(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With memory given back as pieces are decoded, all values are right."""
    monkeypatch.setattr(_sparse, "HOLE", None)
    monkeypatch.setattr(_units, "UNIT_BYTES", 1)
    if late:
        monkeypatch.setattr(_units, "LATE_BYTES_MIN", 1)
    table = numbers(40_000, 6)
    chosen = remote(parquet(table, row_group_size=4_000), f"again-{late}").where(col("c0") >= 0)

    assert chosen.to_arrow().equals(table)


def test_a_dictionary_offset_of_zero_means_none() -> None:
    """What some writers say of a chunk without dictionary is no place in the file."""
    table = pa.table({"k": range(100)})
    data = parquet(table, use_dictionary=False)
    footer, _ = _footer_of(data)

    class Chunk:
        file_path = ""
        dictionary_page_offset = 0

        def __init__(self, chunk: Any) -> None:
            self.data_page_offset = chunk.data_page_offset
            self.total_compressed_size = chunk.total_compressed_size

    plain = footer.spans(0, [0])
    groups = footer.metadata

    class Metadata:
        def row_group(self, index: int) -> Any:
            real = groups.row_group(index)
            return type("Group", (), {"column": lambda self, leaf: Chunk(real.column(leaf))})()

    footer.metadata = Metadata()
    assert footer.spans(0, [0]) == plain


def _footer_of(data: bytes) -> tuple[_footer.Footer, bytes]:
    found = Found("a.parquet", len(data), "1")
    footer = _footer.parse_footer("a.parquet", Tail(found, 0, memoryview(data)))
    assert isinstance(footer, _footer.Footer)
    return footer, data


def test_names_with_dots_are_not_paths() -> None:
    """A column called ``a.b`` beside a struct ``a`` with a field ``b``: each is itself, and only its bytes are fetched."""
    table = pa.table({"a": [{"b": 1, "c": 2}], "a.b": ["text"], "x.y": [3], "a.": [4]})
    found = remote(parquet(table), "dots")

    assert found.to_arrow().equals(table)
    assert found.select("a.b").to_arrow().to_pydict() == {"a.b": ["text"]}
    assert found.select("a.c").to_arrow().to_pydict() == {"a": [{"c": 2}]}
    assert found.where(col("a.b") == "text").select("x.y").to_arrow().to_pydict() == {"x.y": [3]}


def test_leaves_are_counted_not_columns() -> None:
    """A column behind nested ones is found: columns of Parquet are leaves."""
    table = pa.table(
        {
            "s": [{"a": 1, "l": [{"x": 1, "y": "t"}]}],
            "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "e": pa.array([[1, 2]], pa.list_(pa.int32(), 2)),
            "k": [7],
        }
    )

    assert remote(parquet(table), "leaves").select("k").to_arrow().to_pydict() == {"k": [7]}
    assert remote(parquet(table), "leaves-s").select("e", "s.a").to_arrow().to_pylist() == [
        {"e": [1, 2], "s": {"a": 1}}
    ]


def test_views_are_given_as_texts() -> None:
    """Files that say that their texts are views, for which Arrow has no kernels, can be filtered, sorted and joined."""
    views = pa.table(
        {"s": pa.array(["a", "b", None], pa.string_view()), "b": pa.array([b"x", b"y", b"z"], pa.binary_view())}
    )
    nested = pa.array([["p"], [], None], pa.list_(pa.string_view()))
    found = remote(parquet(views.append_column("l", nested)), "views")

    assert found.schema.types == [pa.string(), pa.binary(), pa.list_(pa.string())]
    assert found.where(col("s").starts_with("b")).to_arrow().to_pylist() == [{"s": "b", "b": b"y", "l": []}]
    assert found.to_arrow().sort_by([("s", "descending")]).column("b").to_pylist() == [b"y", b"x", b"z"]


def test_a_chunk_that_came_in_part_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that were not noted as there raise before Arrow sees the zeros in their place."""
    monkeypatch.setattr(_sparse, "HOLE", None)
    monkeypatch.setattr(_sparse.SparseFile, "add", _add_all_but_one)
    found = remote(parquet(numbers(100, 2)), "part")

    with pytest.raises(IntegrityError, match="not fetched"):
        found.to_arrow()


def _add_all_but_one(self: _sparse.SparseFile, spans: Sequence[Span]) -> None:
    self._held += [Span(span.begin, span.end - 1) for span in spans]


def test_a_filled_hole_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With holes of ones, what is decoded although it did not come raises, and names the file."""
    monkeypatch.setattr(_sparse.SparseFile, "require", lambda self, spans: None)
    original = _source_storage.StorageSource.fetch

    def nothing(self: Any, fills: Iterator[Any], **options: Any) -> Iterator[Any]:
        return original(self, (_without_spans(fill) for fill in fills), **options)

    monkeypatch.setattr(_source_storage.StorageSource, "fetch", nothing)
    with pytest.raises(FormatError, match=r"file.parquet: row group.* cannot be decoded"):
        remote(parquet(numbers(100, 2)), "filled").to_arrow()


def _without_spans(fill: Any) -> Any:
    fill.spans = ()
    return fill


@pytest.mark.parametrize("make", [bytes, bytearray], ids=["short", "long"])
def test_a_server_that_sends_other_bytes(make: Callable[..., Any], lake: Lake) -> None:
    """An answer of another length than asked for, or for another range, is never taken for data."""
    from tests.storage._s3 import Reply

    data = parquet(numbers(5_000, 3), row_group_size=1_000)
    lake.put_bytes("t.parquet", data)
    table = lake.table("t.parquet")
    assert table.num_rows == 5_000
    etag = lake.server._newest("bucket", "t.parquet").etag  # type: ignore[union-attr]

    def fault(request: Any) -> Any:
        if request.method != "GET" or not request.key:
            return None
        begin, _, end = request.headers["range"].removeprefix("bytes=").partition("-")
        body = data[int(begin) : int(end) + 1]
        body = body[:-1] if make is bytes else body
        shift = 0 if make is bytes else 1
        told = f"bytes {int(begin) + shift}-{int(begin) + shift + len(body) - 1}/{len(data)}"
        return Reply(206, body, {"ETag": etag, "Content-Range": told})

    lake.server.fault = fault
    with pytest.raises(IntegrityError, match=r"t\.parquet"):
        table.to_arrow()
