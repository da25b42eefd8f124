"""Buffers go into a store and come back, on every storage; what is there already is not stored again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tests.engine._engine import (
    Unmappable,
    begin,
    chunks,
    keys,
    latest,
    pack_bytes,
    read,
    repository,
    save,
    source,
    storages,
    stretch,
    value,
)

from holdall_store.errors import HoldallError, RunStateError, StoreNotFoundError, UnsupportedTypeError
from holdall_store.format import chunker
from holdall_store.repository import Repository, _chunking, _index, _pack_writer
from holdall_store.repository._pack_writer import PackWriter
from holdall_store.serializers import BufferSource, FileSource
from holdall_store.storage import LocalStorage, MemoryStorage
from holdall_store.testing import CountingStorage

KINDS = ("local", "unmapped", "memory")

contents = st.builds(
    lambda kind, seed, size: {
        "noise": stretch(seed, size),
        "zeros": bytes(size),
        "text": (b"%d," % seed * size)[:size],
    }[kind],
    st.sampled_from(("noise", "zeros", "text")),
    st.integers(0, 3),  # few seeds, so that buffers and their beginnings are equal now and then
    st.sampled_from((0, 1, 12, 4095, 4096, 4097, 16_384, 70_000, 300_000, 1_200_000)),
)
buffers = st.lists(st.tuples(contents, st.sampled_from((1, 2, 4, 8, 12, 70_001)), st.booleans()), max_size=6)


@pytest.mark.parametrize("kind", KINDS)
@given(first=buffers, second=buffers, compression=st.sampled_from(("auto", "small", "none")))
@settings(max_examples=12)
def test_buffers_come_back(kind: str, first: Any, second: Any, compression: Any) -> None:
    """Empty, small and large, equal and alike: two saves come back bit by bit, writable, in a new process as in this."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # As if buffers were longer than a part, and work were worth a thread.
        patch.setattr(_chunking, "PART_BYTES", 700_000)
        patch.setattr(_pack_writer, "THREADED_BYTES_MIN", 100_000)
        store = repository(storages(Path(folder))[kind], Path(folder), compression=compression)
        for parts in (first, second):
            made = value(*(source(data, item_bytes, dense=dense) for data, item_bytes, dense in parts))
            saved = save(store, {"a": made, "again": made})
            expected = [data for data, _, _ in parts]

            assert read(store, saved["a"]) == read(store, saved["again"], verify=False) == expected
            assert latest(store) == {"a": expected, "again": expected}
            assert saved["again"].record.new == 0
            for view in store.reader.read(saved["a"].record.buffers, saved["a"].packs):
                view[:1] = view[:1]
            assert read(store, saved["a"]) == expected
        store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_into_a_loaded_buffer_stays_there(kind: str, tmp_path: Path) -> None:
    """Buffers are the caller's own: the store and other readers see nothing of what is done to them."""
    store = repository(storages(tmp_path)[kind], tmp_path)
    data = stretch(1, 2_000_000)
    saved = save(store, {"a": value(data)})["a"]
    (first,) = store.reader.read(saved.record.buffers, saved.packs)
    first[:] = bytes(len(first))

    assert read(store, saved) == [data]
    assert latest(store) == {"a": [data]}


def test_a_small_pack_size_makes_many_packs(tmp_path: Path) -> None:
    """Packs are closed at the storage's size, on a storage without maps; a buffer goes on in the next one."""
    storage = Unmappable(MemoryStorage(), 200_000)
    store = repository(storage, tmp_path)
    data = [stretch(1, 1_500_000), stretch(2, 10_000), stretch(1, 1_500_000)]
    saved = save(store, {"a": value(*data)})["a"]
    sizes = [info.size for info in storage.list("packs/")]

    assert len(sizes) > 6
    assert max(sizes) < 200_000 + (256 << 10)
    assert latest(store) == {"a": data}
    assert saved.record.new <= 1_511_000
    assert sum(sizes) < 1_510_000 + 200 * len(sizes) + 10_000


def test_a_large_buffer_stays_in_one_piece_where_it_can_be_mapped(tmp_path: Path) -> None:
    """On a local disk the size of packs does not part a buffer, and loading it maps the pack and reads nothing."""
    counting = CountingStorage(LocalStorage(tmp_path / "s", pack_bytes=100_000))
    store = repository(counting, tmp_path)
    data = stretch(1, 3_000_000)
    saved = save(store, {"a": value(source(data, 4, dense=True))})["a"]
    reader = Repository(counting, store.settings).reader
    counting.reset()
    (view,) = reader.read(saved.record.buffers, saved.packs)

    assert len(saved.packs) == 1
    assert bytes(view) == data
    assert counting.calls["map"] == 1
    assert counting.bytes["get"] < 5000


@pytest.mark.parametrize("kind", KINDS)
def test_ranges_of_a_buffer(kind: str, tmp_path: Path) -> None:
    """Any stretch of a buffer can be read alone, and costs the chunks around it."""
    counting = CountingStorage(storages(tmp_path)[kind])
    store = repository(counting, tmp_path)
    data = stretch(1, 1_000_000) + bytes(500_000)
    record, packs = save(store, {"a": value(data, b"tail" * 2000)})["a"]
    counting.reset()
    for start, length in (
        (0, 0),
        (0, 1),
        (700_000, 1),
        (123_456, 300_000),
        (999_990, 20),
        (1_499_999, 1),
        (0, 1_500_000),
    ):
        assert bytes(store.reader.read_range(record.buffers[0], packs, start, length)) == data[start : start + length]
    counting.reset()
    store.reader.read_range(record.buffers[0], packs, 500_000, 10)
    assert counting.bytes["get"] + counting.bytes["map"] <= 300_000
    for start, length in ((-1, 1), (0, 1_500_001), (1_500_000, 1), (5, -1)):
        with pytest.raises(ValueError, match="asked of a buffer"):
            store.reader.read_range(record.buffers[0], packs, start, length)


# What is saved again adds nothing.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["same process", "new process", "new machine"])
def test_a_second_save_of_the_same_adds_nothing(kind: str, how: str, tmp_path: Path) -> None:
    """In another run, flow, namespace and name, whether the index is at hand or is made from the packs' footers."""
    storage = storages(tmp_path)[kind]
    store = repository(storage, tmp_path)
    data = [stretch(1, 2_000_000), stretch(2, 50_000), bytes(300_000)]
    save(store, {"a": value(*data)})
    before = pack_bytes(storage)
    if how != "same process":
        store = repository(storage, tmp_path / "elsewhere" if how == "new machine" else tmp_path, seed=1)
    saved = save(store, {"other": value(*reversed(data))}, "another", "team:fraud")["other"]

    assert pack_bytes(storage) == before
    assert saved.record.new == 0
    assert latest(store, "another", "team:fraud") == {"other": data[::-1]}


def test_one_changed_array_adds_about_that_array(tmp_path: Path) -> None:
    """Of ten arrays nine are found again."""
    storage = LocalStorage(tmp_path / "s")
    store = repository(storage, tmp_path)
    arrays = [stretch(number, 400_000) for number in range(10)]
    save(store, {"model": value(*(source(part, 4, dense=True) for part in arrays))})
    before = pack_bytes(storage)
    arrays[4] = stretch(99, 400_000)
    saved = save(store, {"model": value(*(source(part, 4, dense=True) for part in arrays))})["model"]

    assert 400_000 <= pack_bytes(storage) - before <= 408_000
    assert 400_000 <= saved.record.new <= 400_100
    assert latest(store) == {"model": arrays}


@given(st.data())
@settings(max_examples=20)
def test_a_save_that_knows_the_past_cuts_as_one_that_does_not(data: st.DataObject) -> None:
    """After any edit, the chunks are those of a fresh store: history never shows in what a value is cut into."""
    item = data.draw(st.sampled_from((1, 4, 12)))
    dense = data.draw(st.booleans())
    content = bytearray(
        stretch(data.draw(st.integers(0, 9)), 1_200_000) + bytes(data.draw(st.sampled_from((0, 900_000))))
    )
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_chunking, "PART_BYTES", 900_000)
        store = repository(MemoryStorage(), Path(folder))
        for version in range(3):
            made = value(source(bytes(content), item, dense=dense))
            known = save(store, {"a": made})["a"]
            fresh = repository(MemoryStorage(), Path(folder) / f"fresh{version}")
            scratch = save(fresh, {"a": made})["a"]
            assert chunks(store.storage, known) == chunks(fresh.storage, scratch)
            assert known.record.digest == scratch.record.digest
            fresh.close()
            # Edits begin and end at cuts more often than chance would have it: there prediction and search could differ.
            ends = [0]
            for _, size in chunks(store.storage, known)[0]:
                ends.append(ends[-1] + size)
            place = data.draw(st.sampled_from(ends[:-1])) + item * data.draw(st.sampled_from((0, 0, 1, 1000)))
            count = item * data.draw(st.sampled_from((1, 2, 5000)))
            edit = data.draw(st.sampled_from(("insert", "delete", "change", "cut off")))
            new = stretch(50 + version, count)
            content[place : place + (0 if edit == "insert" else count)] = b"" if edit == "delete" else new
            if edit == "cut off":
                del content[ends[-2] :]
        store.close()


def test_what_is_found_again_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second save follows the first one's chunks: a cut is looked for at the beginning, and hardly ever after."""
    store = repository(MemoryStorage(), tmp_path)
    data = stretch(1, 6_000_000)
    save(store, {"a": value(source(data, 4, dense=True))})
    searched: list[int] = []
    real = chunker.first_cut

    def counted(*args: Any) -> int:
        searched.append(1)
        return real(*args)

    monkeypatch.setattr(_chunking, "first_cut", counted)
    save(store, {"a": value(source(data, 4, dense=True))})

    assert 1 <= len(searched) <= 8  # once for each piece of work


# What lives in records.


def test_small_values_leave_few_objects(tmp_path: Path) -> None:
    """A run of a thousand small values is one record and the store's own object, and opens no index."""
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    run = begin(store)
    for number in range(1000):
        run.save({f"v{number}": value(b"%d" % number)})
    run.end("succeeded")

    assert len(keys(storage)) == 2
    assert not (tmp_path / "cache").exists()
    assert latest(store) == {f"v{number}": [b"%d" % number] for number in range(1000)}


def test_very_many_small_values_in_one_save(tmp_path: Path) -> None:
    """Together too large for a record that is quick to parse: what is over goes into a pack, and all come back."""
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    data = {f"v{number}": b"%06d" % number * 600 for number in range(1500)}
    saved = save(store, {name: value(part) for name, part in data.items()})

    assert max(info.size for info in storage.list("runs/")) < 3 << 20
    assert {name: parts[0] for name, parts in latest(store).items()} == data
    assert store.node(saved["v0"]) == store.node(saved["v1499"]) == "raw"


def test_a_record_that_would_be_too_long_is_refused_whole(tmp_path: Path) -> None:
    """A save that no reader could read leaves the run as it was, and the run goes on."""
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"before": value(b"1")})
    huge = value(node="n")
    huge.libraries = {"x": "y" * (65 << 20)}
    with pytest.raises(UnsupportedTypeError, match="at most"):
        run.save({"huge": huge}, commit=True)
    run.save({"after": value(b"2")})
    run.end("succeeded")

    assert latest(store) == {"before": [b"1"], "after": [b"2"]}


# Runs and stores.


def test_a_run_that_has_ended_takes_nothing_more(tmp_path: Path) -> None:
    """Ending twice is fine; saving, logging and flushing afterwards is not, or does nothing."""
    store = repository(MemoryStorage(), tmp_path)
    run = begin(store)
    run.save({"a": value(b"1")})
    run.end("succeeded")
    run.end("failed")
    run.flush()
    with pytest.raises(RunStateError, match="has ended"):
        run.save({"b": value(b"2")})
    with pytest.raises(RunStateError, match="has ended"):
        run.log([])

    assert next(store.catalog.newest("user:ana", "flow")).status == "succeeded"
    assert latest(store) == {"a": [b"1"]}


def test_where_there_is_no_store_an_error_says_so(tmp_path: Path) -> None:
    """Looking makes nothing."""
    store = repository(LocalStorage(tmp_path / "s"), tmp_path)

    assert not store.exists()
    with pytest.raises(StoreNotFoundError, match="first save makes one"):
        store.record()
    assert store.catalog.namespaces() == []
    assert not (tmp_path / "s").exists()


def test_a_writer_forgets_its_oldest_chunks_and_finds_them_through_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a session keeps in memory is bounded; the same value again is still found."""
    monkeypatch.setattr(_pack_writer, "SESSION_CHUNKS_MAX", 3)
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"a": value(stretch(1, 1_000_000))})
    before = pack_bytes(storage)
    assert run.save({"b": value(stretch(1, 1_000_000))})["b"].record.new == 0
    assert pack_bytes(storage) == before


def test_an_index_that_loses_a_pack_in_the_middle_costs_only_space(tmp_path: Path) -> None:
    """A chunk whose pack's table is gone the next instant counts as unknown."""
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    saved = save(store, {"a": value(stretch(1, 100_000))})["a"]
    index = store.index()
    index.refresh(storage)
    writer = PackWriter(storage, "w" * 16, index, 0.0, frozenset)
    digest = chunks(storage, saved)[0][0][0]
    assert index.find(digest) is not None
    real = _index.ChunkIndex.find

    def find(self: Any, wanted: bytes) -> Any:
        found = real(self, wanted)
        self._tables.clear()
        self._connection.execute("DELETE FROM packs")
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_index.ChunkIndex, "find", find)
        written = writer.write([source(stretch(1, 100_000))])
    assert written.places[0].new_bytes == 100_000


# Bytes of files.


def files(folder: Path, *contents: bytes) -> BufferSource:
    """Return a buffer that is the bytes of several files."""
    sources = []
    for number, content in enumerate(contents):
        path = folder / f"file{number}"
        path.write_bytes(content)
        sources.append(FileSource(path, len(content)))
    return BufferSource(tuple(sources), sum(map(len, contents)))


@pytest.mark.parametrize("threads", [False, True])
def test_files_are_cut_as_the_same_bytes_in_memory(
    threads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files, windows and parts a buffer spans, its chunks are those of one stretch of memory."""
    monkeypatch.setattr(_chunking, "WINDOW_BYTES", 600_000)
    monkeypatch.setattr(_chunking, "PART_BYTES", 1_500_000)
    monkeypatch.setattr(_pack_writer, "THREADED_BYTES_MIN", 500_000 if threads else 1 << 40)
    contents = [stretch(1, 1_000_000), b"", b"x", stretch(2, 2_000_000), bytes(700_000), b""]
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    on_disk = save(store, {"a": value(files(tmp_path, *contents))})["a"]
    before = pack_bytes(storage)
    in_memory = save(store, {"b": value(b"".join(contents))})["b"]

    assert chunks(storage, on_disk) == chunks(storage, in_memory)
    assert pack_bytes(storage) == before
    assert on_disk.record.digest == in_memory.record.digest
    assert read(store, on_disk) == [b"".join(contents)]


@pytest.mark.parametrize("damage", ["gone", "shorter"])
def test_a_file_that_cannot_be_read_fails_its_save_alone(damage: str, tmp_path: Path) -> None:
    """An error of the source is no error of the store: nothing of the call is saved, and the run goes on."""
    storage = MemoryStorage()
    store = repository(storage, tmp_path)
    run = begin(store)
    source_ = files(tmp_path, stretch(1, 300_000), stretch(2, 300_000))
    if damage == "gone":
        (tmp_path / "file1").unlink()
    else:
        (tmp_path / "file1").write_bytes(b"short")
    with pytest.raises((HoldallError, OSError)) as caught:
        run.save({"large": value(stretch(3, 100_000)), "bad": value(source_)})
    assert "file1" in str(caught.value)
    run.save({"good": value(stretch(1, 300_000))})
    run.end("succeeded")

    assert latest(store) == {"good": [stretch(1, 300_000)]}
