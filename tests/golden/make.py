"""Make the golden store of a format version: ``python -m tests.golden.make``. Done once for each version, then kept.

What this writes is committed, and every later version of holdall must read it.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3

from holdall_store.config import Settings
from holdall_store.format import (
    FORMAT_VERSION,
    AliasRecord,
    ExceptionInfo,
    GcRecord,
    RunRecord,
    alias_prefix,
    run_prefix,
    seal,
    slot_key,
)
from holdall_store.repository import Clock, Point, Repository, RunWriter
from holdall_store.serializers import encode
from holdall_store.storage import MemoryStorage, Storage

FOLDER = Path(__file__).parent
NAMESPACE, FLOW = "user:ana", "Golden flow"
GONE = "z" * 16 + "-1"


class Steady(Clock):
    """A clock that goes on by a second at each look, and tokens that come from a seed."""

    def __init__(self, seed: int) -> None:
        self._moment = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC) + dt.timedelta(hours=seed)
        self._random = random.Random(seed)

    def now(self) -> dt.datetime:
        """Return the next second."""
        self._moment += dt.timedelta(seconds=1)
        return self._moment

    def token(self, length: int) -> str:
        """Return the next token."""
        return "".join(self._random.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(length))


def values() -> dict[str, Any]:
    """Return one value for each way of storing: in the record, raw, compressed, grouped, spilled, in many chunks."""
    return {
        "small": {"depth": 3, "names": ["a", "b"], "none": None, "pi": 3.5, "é": "日本"},
        "tuple": (1, "two", b"three", 4 + 5j, frozenset({6})),
        "noise": blake3(b"golden").digest(length=30_000),
        "zeros": bytes(700_000),
        "text": "".join(f"line {number}\n" for number in range(6000)),
        "items": [f"item {number}" for number in range(1500)],
        "numbers": (np.arange(20_000, dtype="<i4") * 3).reshape(200, 100),
        "empty": np.zeros((0, 3), "<f8"),
        "when": dt.datetime(2026, 11, 23, 8, 14, 2, 45, dt.UTC),
    }


def describe(value: Any) -> Any:
    """Return as JSON what `value` is, bit by bit."""
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "shape": list(value.shape), "blake3": blake3(value.tobytes()).hexdigest()}
    if isinstance(value, bytes):
        return {"bytes": len(value), "blake3": blake3(value).hexdigest()}
    text = repr(value)
    return text if len(text) < 500 else {"characters": len(text), "blake3": blake3(text.encode()).hexdigest()}


def store(storage: Storage, home: Path | None, seed: int) -> Repository:
    """Return the store in `storage`, that compresses all that it can."""
    return Repository(storage, Settings(home=home, compression="small", trust=False), Steady(seed))


def begin(repository: Repository) -> RunWriter:
    """Return the writer of a run with parameters and tags."""
    params = {"lr": msgspec.Raw(b"0.1"), "name": msgspec.Raw(b'"first"')}
    info = {"user": "ana", "python": "3.11"}
    return repository.begin_run(NAMESPACE, FLOW, params=params, tags=["nightly"], info=lambda: info)


def make(storage: Storage, home: Path) -> dict[str, Any]:
    """Fill `storage`, and return what it must load to."""
    repository = store(storage, home, 0)
    whole, failed, given_up = begin(repository), begin(repository), begin(repository)
    for name, value in values().items():
        whole.save({name: encode(value)})
    fence(storage, whole.head.run)
    whole.log([Point("loss", 0.5, 0, 1.0), Point("loss", "nan", 1, 2.0), Point("auc", 1, 0, 3.0)])
    whole.end("succeeded")
    failed.save({"noise": encode(values()["noise"])})
    failed.end("failed", ExceptionInfo("ValueError", "too bad", "Traceback …"))
    given_up.save({"tuple": encode(values()["tuple"])}, commit=True)
    fence(storage, given_up.head.run, "abandoned")
    head: dict[str, Any] = {"holdall": 1, "write_id": "w" * 16, "time": "2026-11-23T09:00:00+00:00"}
    for slot, run in enumerate((failed.head.run, whole.head.run)):
        alias = AliasRecord(log="alias", event="set", slot=slot, namespace=NAMESPACE, flow=FLOW, alias="Best", run=run,
                            who="ana", note=f"note {slot}", **head)  # fmt: skip
        storage.create(slot_key(alias_prefix(NAMESPACE, FLOW, "Best"), slot), [seal(alias)])
    storage.create(slot_key("gc/", 0), [seal(GcRecord(log="gc", event="condemn", slot=0, packs=(GONE,), **head))])
    storage.create(slot_key("gc/", 1), [seal(GcRecord(log="gc", event="done", slot=1, **head))])
    repository.close()
    return {
        "namespace": NAMESPACE,
        "flow": FLOW,
        "alias": {"Best": [failed.head.run, whole.head.run]},
        "runs": {
            whole.head.run: {"status": "succeeded", "artifacts": {n: describe(v) for n, v in values().items()}},
            failed.head.run: {"status": "failed", "artifacts": {"noise": describe(values()["noise"])}},
            given_up.head.run: {"status": "failed", "artifacts": {"tuple": describe(values()["tuple"])}},
        },
    }


def fence(storage: Storage, run: str, event: str = "fence") -> None:
    """Take the next slot of a run, as a collector does."""
    prefix = run_prefix(NAMESPACE, FLOW, run)
    slot = len(list(storage.list(prefix)))
    record = RunRecord(holdall=1, log="run", event=event, slot=slot, write_id="c" * 16, time="2026-11-23T09:00:00+00:00",
                       namespace=NAMESPACE, flow=FLOW, run=run)  # fmt: skip
    storage.create(slot_key(prefix, slot), [seal(record)])


def main() -> None:
    """Write the store and what it loads to; refuse to replace those of a version that is there."""
    storage = MemoryStorage()
    with tempfile.TemporaryDirectory() as home:
        expected = make(storage, Path(home))
    with zipfile.ZipFile(FOLDER / f"version{FORMAT_VERSION}.zip", "x", zipfile.ZIP_DEFLATED) as archive:
        for info in storage.list():
            archive.writestr(zipfile.ZipInfo(info.key, (2026, 11, 23, 8, 0, 0)), bytes(storage.get(info.key)))
    path = FOLDER / f"version{FORMAT_VERSION}.json"
    path.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
