"""Whatever a store claims: an error of ours, in bounded memory and time."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from blake3 import blake3
from tests.fuzz._forge import FLOW, KEY, artifact, large, pack_of, record, store, zeros

import holdall
from holdall import HoldallError
from holdall_store.errors import FormatError, IntegrityError, StorageError
from holdall_store.format import Entry

CHUNK, STORED = zeros(262_144)
DATA, REF = pack_of([CHUNK] * 3, STORED)


def test_what_is_forged_well_loads() -> None:
    """The forgeries below differ from this in what they are about only."""
    client = store(record(artifacts={"a": large([[0, 0, 3]], 786_432)}, packs=[REF]), DATA)

    assert client.load(f"{FLOW}/a") == bytes(786_432)


SPANS: dict[str, tuple[list[list[int]], int]] = {
    "a chunk that is not there": ([[0, 3, 1]], 262_144),
    "before the first": ([[0, -1, 1]], 262_144),
    "fewer than none": ([[0, 0, -1]], 262_144),
    "more than there are": ([[0, 0, 4]], 1_048_576),
    "a pack that is not listed": ([[1, 0, 1]], 262_144),
    "a pack before the first": ([[-1, 0, 1]], 262_144),
    "numbers beyond all bounds": ([[0, 1 << 63, 1 << 63]], 262_144),
    "a larger size": ([[0, 0, 1]], 262_145),
    "a smaller size": ([[0, 0, 1]], 1),
    "no size": ([[0, 0, 1]], 0),
    "a negative size": ([[0, 0, 1]], -5),
    "a size and no chunks": ([], 262_144),
    "no chunks, very often": ([[0, 0, 0]] * 10_000, 262_144),
    "an impossible size": ([[0, 0, 1]] * 2, 1 << 62),
    "an impossible size in one piece": ([[0, 0, 3]], 1 << 80),
}


@pytest.mark.parametrize("what", SPANS)
def test_spans_that_lie(what: str) -> None:
    """Spans out of range and sizes that are not those of the chunks are errors that name the artifact."""
    spans, size = SPANS[what]
    with pytest.raises((IntegrityError, FormatError, StorageError), match="flow/a@|flow/2026|00000000"):
        store(record(artifacts={"a": large(spans, size)}, packs=[REF]), DATA).load(f"{FLOW}/a")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc/passwd"}, {"name": "a" * 16 + "-1/../../holdall.json"}, {"name": ""}, {"name": "\0"},
        {"table_offset": -1}, {"table_offset": 1 << 80}, {"entries": -3}, {"entries": 1 << 60}, {"entries": 2},
        {"table": "zz"}, {"table": ""}, {"table": "0" * 64}, {"table": "é" * 64}, {"name": "b" * 16 + "-1"},
    ],
)  # fmt: skip
def test_packs_that_lie(change: dict[str, Any]) -> None:
    """Names that lead elsewhere, and tables that are not there, reach no storage or give an error."""
    with pytest.raises(HoldallError):
        store(record(artifacts={"a": large([[0, 0, 3]], 786_432)}, packs=[{**REF, **change}]), DATA).load(f"{FLOW}/a")


def chunk(**members: Any) -> Entry:
    """Return the entry of a chunk of zeros, changed."""
    return CHUNK._replace(**members)


@pytest.mark.parametrize(
    "entry",
    [
        chunk(offset=0), chunk(offset=1 << 62), chunk(stored_bytes=1 << 31), chunk(raw_bytes=(1 << 32) - 1),
        chunk(raw_bytes=0), chunk(raw_bytes=262_143), chunk(codec=0), chunk(codec=2, stride=3), chunk(codec=2, stride=0),
        chunk(codec=99), chunk(digest=bytes(32)), chunk(stored_bytes=0), chunk(stored_bytes=5), chunk(offset=70),
    ],
)  # fmt: skip
def test_tables_that_lie(entry: Entry) -> None:
    """A chunk that is not where or what its table says is an error."""
    pack, ref = pack_of([entry], STORED)
    size = entry.raw_bytes
    with pytest.raises((IntegrityError, FormatError)):
        store(record(artifacts={"a": large([[0, 0, 1]], size)}, packs=[ref]), pack).load(f"{FLOW}/a")


def peak_of(action: Callable[[], Any]) -> int:
    """Return how many bytes `action`, which must raise an error of ours, takes at most."""
    tracemalloc.start()
    try:
        with pytest.raises(HoldallError):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_one_chunk_a_million_times() -> None:
    """A terabyte that a kilobyte of pack claims to be is refused before anything is allocated."""
    spans = [[0, 0, 3]] * 50_000
    client = store(record(artifacts={"a": large(spans, 786_432 * 50_000)}, packs=[REF]), DATA)

    assert peak_of(lambda: client.load(f"{FLOW}/a")) < 64 << 20


def test_very_many_tiny_chunks() -> None:
    """A buffer of far more chunks than any writer cuts is refused before they are listed."""
    entry = Entry(blake3(b"\0").digest(), 64, 1, 1, 0, 0, 1)
    pack, ref = pack_of([entry] * 1000, b"\0")
    client = store(record(artifacts={"a": large([[0, 0, 1000]] * 1000, 1_000_000)}, packs=[ref]), pack)

    assert peak_of(lambda: client.load(f"{FLOW}/a")) < 64 << 20


def test_many_buffers_that_are_too_large_together() -> None:
    """Each fits the machine's memory, all together do not: they are refused together."""
    from holdall_store.repository import _reader

    size = 786_432 * 8
    count = _reader._memory_bytes() // size + 2
    buffers = [{"bytes": size, "spans": [[0, 0, 3]] * 8}] * count
    client = store(record(artifacts={"a": artifact(buffers=buffers)}, packs=[REF]), DATA)
    stored = client.artifact(f"{FLOW}/a")._stored

    with pytest.raises(StorageError, match="bytes of memory"):
        client.repository.reader._plan(stored.record.buffers[0], stored.packs, {}, [], [], size - 1)
    assert count * size > _reader._memory_bytes()


DEEP = "[" * 50_000 + "]" * 50_000

NODES: dict[str, str] = {
    "deep": DEEP,
    "deep in a tag": '{"$":"list","items":' + DEEP + "}",
    "a tag that nobody knows": '{"$":"no.such.Thing"}',
    "a tag that is no string": '{"$":7}',
    "an empty tag": '{"$":""}',
    "a buffer that is not there": '{"$":"bytes","buffer":5}',
    "a buffer before the first": '{"$":"bytes","buffer":-1}',
    "a buffer that is no number": '{"$":"bytes","buffer":"0"}',
    "what is no base64": '{"$":"bytes","base64":"@@@"}',
    "a module": '{"$":"numpy.ndarray","dtype":"O","shape":[9],"buffer":0}',
    "an endless shape": '{"$":"numpy.ndarray","dtype":"<f8","shape":[9999999999,9999999999],"buffer":0}',
    "a reference to itself": '{"$":"ref","id":0}',
}


@pytest.mark.parametrize("what", NODES)
def test_nodes_that_lie(what: str) -> None:
    """Nesting without end, unknown tags and missing buffers are errors of ours."""
    body = record(artifacts={"a": artifact(node="NODE")})
    import json

    client = store(json.dumps(body).replace('"NODE"', NODES[what]).encode())
    with pytest.raises(HoldallError):
        client.load(f"{FLOW}/a")


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a\nb", "", "x" * 5000, "\x1b[31m", "..", ".complete"])
def test_names_that_lead_elsewhere(name: str) -> None:
    """An artifact's name in a record is nothing but a name: it can be listed and shown, and reaches no file."""
    client = store(record(artifacts={name: artifact()}))
    run = client.flow(FLOW).latest_run

    assert run.keys() == [name]
    assert run[name].load() == [1, 2, 3]
    assert "\x1b" not in repr(run[name])
    with pytest.raises(HoldallError):
        run[name].path()


@pytest.mark.parametrize(
    "members",
    [
        {"holdall": 99}, {"event": "explode"}, {"slot": 1}, {"namespace": "user:ana"}, {"flow": "other"}, {"run": "x"},
        {"status": "odd"}, {"artifacts": 5}, {"packs": {}}, {"artifacts": {"a": {}}}, {"metrics": {"x": [1]}},
        {"artifacts": {"a": artifact(buffers=[{"bytes": 3, "inline": "@@@"}])}, "status": None},
    ],
)  # fmt: skip
def test_records_that_lie(members: dict[str, Any]) -> None:
    """A record that is not of this run, this slot or this version is an error that names it."""
    client = store(record(**members))
    with pytest.raises((IntegrityError, FormatError)) as caught:
        client.load(f"{FLOW}/a")
    assert KEY.rpartition("/")[0] in str(caught.value)
    if members == {"holdall": 99}:
        assert "Update holdall" in str(caught.value)


def test_a_store_of_a_newer_version_is_left_alone() -> None:
    """Nothing is added to what a newer version began."""
    import json

    from tests.fuzz._forge import sealed

    client = store(record())
    storage = client.repository.storage
    storage.delete(["holdall.json"])
    storage.create("holdall.json", [sealed(json.dumps({"holdall": 99, "store": "s", "created": ""}).encode())])
    with pytest.raises(FormatError, match=r"holdall\.json is of format 99.*Update holdall"):
        holdall.save(1, "x/y", client=holdall.Client(storage, namespace="user:eve"))
    assert [info.key for info in storage.list()] == ["holdall.json", KEY]


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from tests.fuzz._forge import FLOW, large, pack_of, record, store, zeros
from holdall import HoldallError
entry, stored = zeros(1 << 20)
pack, ref = pack_of([entry] * 64, stored)
client = store(record(artifacts={"a": large([[0, 0, 64]] * 64, 64 * 64 << 20)}, packs=[ref]), pack)
artifact = client.artifact(FLOW + "/a")
try:
    artifact.load()
except HoldallError as error:
    print("without a limit:", type(error).__name__, file=sys.stderr)  # it may be refused here, too
soft = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
try:
    artifact.load()
except HoldallError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_what_does_not_fit_a_limit_is_an_error_of_ours() -> None:
    """Four gigabytes of a few kilobytes, where one is allowed: an error, and no process that is killed."""
    from pathlib import Path

    script = LIMITED.replace("try:\n    artifact.load()\nexcept HoldallError:\n    pass\n", "")
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, root], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.stdout == "StorageError\n", done.stderr
