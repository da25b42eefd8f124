"""The reader of docs/reader.py, which knows nothing but docs/format.md, reads what the library writes."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

import holdall
from holdall_store.repository import Collector, SystemClock
from holdall_store.storage import LocalStorage

READER = Path(__file__).resolve().parents[2] / "docs" / "reader.py"
NAMESPACE = "team:Data Science"
FLOW = "Größe A"
ITEMS = 60_000

TREE = {
    "text": "naïve",
    "list": [1, 2.5, True, None],
    "tuple": (1, (2, 3)),
    "set": {"b", "a"},
    "keys": {1: "one", ("a", 2): "two"},
    "big": 2**70,
    "long": "é" * 20_000,
    "numbers": [float(number) for number in range(2000)],
}
VALUE = {
    **TREE,
    "tuple": [1, [2, 3]],
    "set": ["a", "b"],
    "keys": [[1, "one"], [["a", 2], "two"]],
}


def read(store: Path, *names: object) -> subprocess.CompletedProcess[str]:
    """Run the reader in a process that cannot find holdall."""
    arguments = [sys.executable, "-I", str(READER), str(store), *map(str, names)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)


def artifact(store: Path, run: str, name: str, *folder: Path) -> dict[str, Any]:
    """Return what the reader prints of an artifact."""
    done = read(store, NAMESPACE, FLOW, run, name, *folder)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Return arrays that are stored raw, compressed, and with their bytes grouped."""
    random = np.random.default_rng(1)
    return {
        "raw": random.integers(0, 256, 900_000, dtype=np.uint8),
        "zstd": np.zeros(ITEMS, dtype="<f8"),
        "grouped": (random.integers(0, 99, ITEMS) + 10_000_000_000).astype("<i8"),
        "fortran": np.asfortranarray(random.random((300, 200))),
        "tiny": np.arange(3, dtype="<i2"),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Write a store with the library: three runs, one of them failed, chunks shared between packs."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDALL_COMPRESSION", "small")
        patch.setenv("HOLDALL_HOME", str(folder / "home"))
        store = folder / "store"
        return store, _write(store, folder)


def _write(store: Path, folder: Path) -> list[str]:
    source = folder / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a.txt").write_text("hello")
    (source / "big.bin").write_bytes(np.random.default_rng(2).bytes(200_000))
    client = holdall.Client(store, namespace=NAMESPACE)
    runs = []
    with holdall.run(FLOW, client=client, params={"lr": 0.1}) as run:
        run.save(tree=TREE)
        run.save(arrays())
        run.save(small=[1, 2, 3], inline=np.arange(400, dtype="<i4"))
        run.flush()
        run.save(spilled=[[number, str(number)] for number in range(3000)])
        run.save(small=[4, 5, 6])
        runs.append(run.id)
    with holdall.run(FLOW, client=client) as run:
        run.save(again=np.concatenate([arrays()["raw"], np.arange(9, dtype=np.uint8)]))
        run.save_file(source / "big.bin", "file")
        run.save_dir(source, "folder")
        runs.append(run.id)
    with contextlib.suppress(RuntimeError), holdall.run(FLOW, client=client) as run:
        runs.append(run.id)
        run.save(partial={"step": 3})
        raise RuntimeError("out of luck")
    return runs


def test_it_lists_what_the_store_holds(written: tuple[Path, list[str]]) -> None:
    """Every run is listed, newest first, with its status and the names of its artifacts."""
    store, runs = written
    first = ["tree", "raw", "zstd", "grouped", "fortran", "tiny", "small", "inline", "spilled"]

    lines = [line.split("\t") for line in read(store).stdout.splitlines()]

    assert [line[:4] for line in lines] == [
        [NAMESPACE, FLOW, runs[2], "failed"],
        [NAMESPACE, FLOW, runs[1], "succeeded"],
        [NAMESPACE, FLOW, runs[0], "succeeded"],
    ]
    assert [sorted(line[4:]) for line in lines] == [["partial"], ["again", "file", "folder"], sorted(first)]


def test_it_reads_trees_as_json(written: tuple[Path, list[str]]) -> None:
    """Python objects come out as JSON, those that a failed run left and those that were saved twice, too."""
    store, runs = written

    assert artifact(store, runs[0], "tree")["value"] == VALUE
    assert artifact(store, runs[0], "small")["value"] == [4, 5, 6]
    assert artifact(store, runs[2], "partial")["value"] == {"step": 3}
    assert artifact(store, runs[0], "spilled")["value"] == [[number, str(number)] for number in range(3000)]


@pytest.mark.parametrize("name", ["raw", "zstd", "grouped", "fortran"])
def test_it_reads_arrays(written: tuple[Path, list[str]], tmp_path: Path, name: str) -> None:
    """The buffer of an array holds its bytes, whatever the codec of its chunks."""
    store, runs = written
    expected = arrays()[name]

    shown = artifact(store, runs[0], name, tmp_path)

    array = np.frombuffer((tmp_path / "0").read_bytes(), shown["node"]["dtype"])
    shaped = array.reshape(shown["node"]["shape"], order=shown["node"].get("order", "C"))
    assert shown["node"]["$"] == "numpy.ndarray"
    assert np.array_equal(shaped, expected)
    assert shown["buffers"] == [blake3((tmp_path / "0").read_bytes()).hexdigest()]


def test_the_store_holds_every_codec(written: tuple[Path, list[str]]) -> None:
    """What the tests read was stored raw, compressed, and grouped and compressed."""
    store, _ = written
    codecs = set()
    for pack in (store / "packs").iterdir():
        footer = pack.read_bytes()[-64:]
        offset, entries = int.from_bytes(footer[16:24], "little"), int.from_bytes(footer[24:32], "little")
        table = pack.read_bytes()[offset:][: 52 * entries]
        codecs |= {table[start + 48] for start in range(0, len(table), 52)}

    assert codecs == {0, 1, 2}


def test_it_reads_what_lies_in_the_record(written: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Short arrays stand in the node, those that are a little longer in the record."""
    store, runs = written

    tiny = artifact(store, runs[0], "tiny")["node"]
    inline = artifact(store, runs[0], "inline", tmp_path)["node"]

    assert base64.b64decode(tiny["base64"]) == np.arange(3, dtype="<i2").tobytes()
    assert inline["buffer"] == 0
    assert (tmp_path / "0").read_bytes() == np.arange(400, dtype="<i4").tobytes()


def test_it_follows_spans_over_several_packs(written: tuple[Path, list[str]], tmp_path: Path) -> None:
    """A buffer whose chunks another run stored for the most part comes back whole."""
    store, runs = written
    log = max(run for run in (store / "runs").glob("*/*/*") if run.name.endswith(runs[1][-7:]))
    record = json.loads(max(log.iterdir()).read_bytes())

    artifact(store, runs[1], "again", tmp_path)

    assert len({pack for pack, _, _ in record["artifacts"]["again"]["buffers"][0]["spans"]}) == 2
    assert (tmp_path / "0").read_bytes() == arrays()["raw"].tobytes() + bytes(range(9))


def test_it_reads_files_and_folders(written: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Files are buffers; small ones of a folder lie one after the other in the first."""
    store, runs = written
    for name in ("file", "folder"):
        (tmp_path / name).mkdir()
    big = np.random.default_rng(2).bytes(200_000)

    file = artifact(store, runs[1], "file", tmp_path / "file")
    entries = artifact(store, runs[1], "folder", tmp_path / "folder")["node"]["entries"]

    assert file["node"]["name"] == "big.bin"
    assert (tmp_path / "file" / "0").read_bytes() == big
    assert entries["folders"] == ["", "deep"]
    assert entries["files"] == ["big.bin", "a.txt"]
    assert (tmp_path / "folder" / "0").read_bytes() == b"hello"
    assert (tmp_path / "folder" / "1").read_bytes() == big


def test_digests_are_what_the_format_says(written: tuple[Path, list[str]]) -> None:
    """An artifact's digest hashes its node and, for each buffer, its size and the digests of its chunks."""
    store, runs = written
    log = next(run for run in (store / "runs").glob("*/*/*") if run.name.endswith(runs[0][-7:]))
    record = json.loads(max(log.iterdir()).read_bytes())
    for name in ("small", "zstd"):
        saved = record["artifacts"][name]
        digest = blake3(json.dumps(saved["node"], separators=(",", ":")).encode())
        for ref in saved.get("buffers", []):
            chunks = blake3()
            for pack, first, count in ref["spans"]:
                raw = (store / "packs" / record["packs"][pack]["name"]).read_bytes()
                for number in range(first, first + count):
                    start = record["packs"][pack]["table_offset"] + 52 * number
                    chunks.update(raw[start : start + 32])
            digest.update(ref["bytes"].to_bytes(8, "little") + chunks.digest())

        assert digest.hexdigest() == saved["digest"], name


@pytest.mark.parametrize(
    ("pattern", "place", "message"),
    [
        ("holdall.json", 20, "is damaged"),
        ("runs/*/*/*/00000000", 200, "is damaged"),
        ("packs/*", 30, "header"),
        ("packs/*", 5000, "is damaged"),
        ("packs/*", -100, "table"),
        ("packs/*", -50, "footer"),
    ],
)
def test_damage_is_seen(
    written: tuple[Path, list[str]], tmp_path: Path, pattern: str, place: int, message: str
) -> None:
    """A flipped bit in any kind of object ends the reader with an error that names the object."""
    store, runs = written
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    for path in sorted(copy.glob(pattern)):
        raw = bytearray(path.read_bytes())
        raw[place if place < len(raw) else -100] ^= 1
        path.chmod(0o644)
        path.write_bytes(raw)

    done = read(copy, NAMESPACE, FLOW, runs[0], "raw")

    assert done.returncode == 1
    assert message in done.stderr
    assert pattern.partition("/")[0] in done.stderr


def test_a_missing_slot_is_seen(written: tuple[Path, list[str]], tmp_path: Path) -> None:
    """A log that lacks a record is not read as if it were whole."""
    store, _ = written
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    next(copy.glob("runs/*/*/*/00000001")).unlink()

    done = read(copy)

    assert done.returncode == 1
    assert "missing" in done.stderr


def append(store: Path, run_id: str, /, **members: Any) -> None:
    """Append a record to the log of a run, sealed as the format says."""
    log = next(folder for folder in (store / "runs").glob("*/*/*") if folder.name.endswith(run_id[-7:]))
    last = max(path for path in log.iterdir())
    record = json.loads(last.read_bytes())
    del record["blake3"]
    slot = record["slot"] + 1
    body = json.dumps({**record, "slot": slot, **members}, separators=(",", ":")).encode()[:-1]
    seal = f',"blake3":"{blake3(body).hexdigest()}"}}\n'
    (log / f"{slot:08}").write_bytes(body + seal.encode())


@pytest.mark.parametrize("event", ["fence", "abandoned"])
def test_it_merges_what_collectors_write(tmp_path: Path, event: str) -> None:
    """A fence changes nothing; a run that is given up has failed, and keeps what it had committed."""
    client = holdall.Client(tmp_path / "store", namespace=NAMESPACE)
    active = holdall.ActiveRun(client, FLOW)
    active.save(rows=[1, 2])
    active.flush()
    append(tmp_path / "store", active.id, event=event, artifacts={}, complete=False)

    (line,) = read(tmp_path / "store").stdout.splitlines()
    theirs = client.flow(FLOW)[active.id]

    assert line.split("\t")[2:] == [active.id, "failed" if event == "abandoned" else "running", "rows"]
    assert [theirs.status, *theirs.keys()] == line.split("\t")[3:]


def test_it_reads_tasks(tmp_path: Path) -> None:
    """Tasks and their attempts are listed below their run, and what they saved is read."""
    client = holdall.Client(tmp_path / "store", namespace=NAMESPACE)
    with holdall.run(FLOW, client=client) as run:
        for step in ("Train", "2024"):
            for _ in range(2):
                with run.step(step) as active, active.task("Größe 3") as task:
                    task.save(rows=[1, task.attempt])
    store = tmp_path / "store"

    lines = [line.split("\t")[2:] for line in read(store).stdout.splitlines()]
    assert lines[0] == [run.id, "succeeded", "rows"]
    tasks = [["Größe 3", "rows"], ["Größe 3^1", "rows"], ["main"], ["main^1"]]
    assert sorted(lines[1:]) == [
        [f"{run.id}/{step}/{task[0]}", "succeeded", *task[1:]] for step in ("2024", "Train") for task in tasks
    ]
    assert artifact(store, f"{run.id}/2024/Größe 3^1", "rows")["value"] == [1, 1]
    log = next(store.rglob("*203^1"))
    log.rename(log.with_name(log.name.removesuffix("^1") + "^2"))
    assert "elsewhere" in read(store).stderr


@pytest.mark.parametrize(
    ("members", "refused"),
    [
        ({"something": {"new": [1]}}, False),
        ({"event": "merged"}, True),
        ({"holdall": 2}, True),
        ({"slot": 7}, True),
        ({"run": "20200101T000000000000-aaaaaa"}, True),
    ],
)
def test_reader_and_library_refuse_the_same(tmp_path: Path, members: dict[str, Any], refused: bool) -> None:
    """Both ignore members that they do not know, and refuse unknown events, newer versions, and misplaced records."""
    client = holdall.Client(tmp_path / "store", namespace=NAMESPACE)
    active = holdall.ActiveRun(client, FLOW)
    active.flush()
    append(tmp_path / "store", active.id, **members)

    ours = read(tmp_path / "store").returncode
    try:
        theirs = client.repository.catalog.run(NAMESPACE, FLOW, active.id).slots
    except (holdall.FormatError, holdall.IntegrityError):
        theirs = 0

    assert (ours, theirs) == ((1, 0) if refused else (0, 2))


def test_it_reads_what_a_collection_moved(written: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Where a pack was taken apart, its chunks are found in the packs that have them now, and damage there is seen."""
    original, runs = written
    store = tmp_path / "store"
    shutil.copytree(original, store)
    shutil.rmtree(next(store.glob(f"runs/*/*/*{runs[0][-6:]}")))
    with contextlib.closing(LocalStorage(store)) as storage:
        collector = Collector(storage, SystemClock())
        done = collector.apply(collector.plan())
    assert done.moved

    for name in ("again", "file", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / "before").mkdir(exist_ok=True)
        assert artifact(store, runs[1], name, tmp_path / name) == artifact(original, runs[1], name, tmp_path / "before")
    assert (tmp_path / "again" / "0").read_bytes()[:900_000] == arrays()["raw"].tobytes()
    for pack in (store / "packs").iterdir():
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    assert read(store, NAMESPACE, FLOW, runs[1], "again").returncode == 1


def test_the_reader_is_short_and_stands_alone() -> None:
    """It has at most 150 lines and imports the standard library, blake3 and zstandard."""
    text = READER.read_text(encoding="utf-8")
    imported = {
        line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
    }

    assert text.count("\n") <= 150
    assert imported - sys.stdlib_module_names == {"blake3", "zstandard"}
