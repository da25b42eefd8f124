"""Stores that earlier versions wrote are read, and what is in them is found again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.engine._engine import keys, pack_bytes, table_of
from tests.golden.make import FOLDER, begin, describe, make, store, values

from holdall import Client
from holdall_store.format import CODEC_GROUPED_ZSTD, CODEC_RAW, CODEC_ZSTD
from holdall_store.serializers import encode
from holdall_store.storage import LocalStorage, MemoryStorage, Storage

VERSIONS = sorted(path.stem for path in FOLDER.glob("version*.zip"))


def unpack(version: str, storage: Storage) -> dict[str, Any]:
    """Put a golden store into `storage`, and return what it must load to."""
    with zipfile.ZipFile(FOLDER / f"{version}.zip") as archive:
        for name in archive.namelist():
            storage.create(name, [archive.read(name)])
    expected: dict[str, Any] = json.loads((FOLDER / f"{version}.json").read_text(encoding="utf-8"))
    return expected


def test_there_is_a_golden_store_of_every_version() -> None:
    """Version 1 is among them."""
    assert "version1" in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["local", "memory"])
def test_all_of_it_loads(version: str, kind: str, tmp_path: Path) -> None:
    """Every run, artifact, alias and metric is what it was when the store was written."""
    storage = LocalStorage(tmp_path / "s") if kind == "local" else MemoryStorage()
    expected = unpack(version, storage)
    client = Client(storage, namespace=expected["namespace"], trust=False)
    flow = client.flow(expected["flow"])

    assert {run.id: run.status for run in flow.runs()} == {key: run["status"] for key, run in expected["runs"].items()}
    for run_id, run in expected["runs"].items():
        assert {artifact.name: describe(artifact.load()) for artifact in flow[run_id]} == run["artifacts"]
    whole = flow.latest_successful_run
    assert (dict(whole.params), whole.tags, whole.user) == ({"lr": 0.1, "name": "first"}, {"nightly"}, "ana")
    assert [(point.step, str(point.value)) for point in whole.metric("loss")] == [(0, "0.5"), (1, "nan")]
    assert whole.metrics["auc"] == 1
    for alias, targets in expected["alias"].items():
        assert [record.run for record in client.aliases.history(whole.namespace, whole.flow, alias)] == targets
        assert client.run(f"{whole.flow}:{alias}").id == targets[-1]
    exceptions = {run.id: run.exception.type for run in flow.runs() if run.exception}
    assert sorted(exceptions.values()) == ["Abandoned", "ValueError"]


@pytest.mark.parametrize("version", VERSIONS)
def test_it_holds_every_way_of_storing(version: str) -> None:
    """Raw, compressed and grouped chunks are there, and a buffer of several chunks."""
    storage = MemoryStorage()
    unpack(version, storage)
    tables = [table_of(storage, key.removeprefix("packs/")) for key in keys(storage, "packs/")]

    assert {entry.codec for table in tables for entry in table} == {CODEC_RAW, CODEC_ZSTD, CODEC_GROUPED_ZSTD}
    assert max(len(table) for table in tables) > 1


@pytest.mark.parametrize("version", VERSIONS)
def test_what_it_holds_is_not_stored_again(version: str, tmp_path: Path) -> None:
    """A save of the same values by this version adds nothing to the packs: they are cut and hashed as they were."""
    storage = MemoryStorage()
    unpack(version, storage)
    before = pack_bytes(storage)
    repository = store(storage, tmp_path, 1000)
    run = begin(repository)
    run.save({name: encode(value) for name, value in values().items()})
    run.end("succeeded")
    repository.close()

    assert pack_bytes(storage) == before
    client = Client(storage, namespace="user:ana")
    assert {artifact.name: describe(artifact.load()) for artifact in client.flow(run.head.flow)[run.head.run]} == {
        name: describe(value) for name, value in values().items()
    }


def test_it_is_what_this_version_writes(tmp_path: Path) -> None:
    """The script that made the newest one still makes a store that loads to the same."""
    expected = json.loads((FOLDER / f"{VERSIONS[-1]}.json").read_text(encoding="utf-8"))
    storage = MemoryStorage()
    made = make(storage, tmp_path)
    golden = MemoryStorage()
    unpack(VERSIONS[-1], golden)

    assert made == expected
    assert keys(storage) == keys(golden)
