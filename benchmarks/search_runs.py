"""Find runs among many by a filter over their metrics."""

from __future__ import annotations

import os
from typing import Any

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, main
from benchmarks.latest_run import FLOW, NAMESPACE, make_store, records

CLAIM = Claim(
    "search_runs",
    "flow.runs(where=…) over 100 000 runs",
    {
        "warm": Target("a search of all runs, in a new process that remembers them", "<=", 1, "s"),
        "limited": Target("the newest 20 that match, in a new process", "<=", 1, "s"),
        "requests": Target(
            "requests of a warm search on a sorted listing, for every thousand runs", "<=", 2, "requests"
        ),
        "memory": Target("memory that a warm search adds to the process", "<=", 100, "MB"),
    },
)

WHERE = "metrics.auc > 0.5 and metrics.loss < 0.2 and status == 'failed'"


def search_local(store: str, where: str = WHERE, limit: int = 0) -> dict[str, Any]:
    """Search in a new process; what holdall imports late is in the time."""
    import holdall

    flow = holdall.Client(store, namespace=NAMESPACE).flow(FLOW)
    with Stopwatch() as watch:
        found = list(flow.runs(where=where, limit=limit or None))
    return watch.sample(found=len(found))


def search_sorted(count: int) -> dict[str, Any]:
    """Count what is asked of a storage that lists in order, as object stores do: cold, and warm."""
    import holdall
    from holdall_store.repository import Repository
    from holdall_store.storage import MemoryStorage, Storage, StorageTraits
    from holdall_store.testing import CountingStorage

    class Far(CountingStorage):
        """A storage to which several requests at once pay."""

        @property
        def traits(self) -> StorageTraits:
            return StorageTraits(pack_bytes=1 << 26, concurrency=64)

    inner: Storage = MemoryStorage()
    storage = Far(inner)
    Repository(storage).create()
    for key, raw in records(count):
        storage.create(key, [raw])
    told: dict[str, Any] = {}
    for name in ("cold", "warm"):
        flow = holdall.Client(storage, namespace=NAMESPACE).flow(FLOW)
        storage.reset()
        with Stopwatch() as watch:
            flow.runs(where=WHERE).count()
        # A listing of an object store comes in pages of a thousand.
        pages = sum(-(-keys // 1000) for verb, keys in storage.keys.items() if verb.startswith("list"))
        listings = sum(calls for verb, calls in storage.calls.items() if verb.startswith("list"))
        told[name] = {"gets": storage.calls["get"], "listings": max(pages, listings), "seconds": watch.seconds}
    return told


def run(bench: Bench) -> None:
    """Measure the claim."""
    count = bench.size("runs", 100_000, 1000)
    store = bench.path("store")
    bench.child(make_store, store=store, count=count)
    cold = bench.child(search_local, store=store)
    bench.record(f"cold: {count} runs read for the first time, local disk", cold["seconds"], role="ours")
    samples = bench.rounds(
        {
            "all": bench.contender(search_local, store=store),
            "limited": bench.contender(search_local, store=store, where="metrics.auc > 0.5", limit=20),
        }
    )
    warm = bench.record(f"warm: {count} runs, local disk", column(samples["all"]), role="ours")
    limited = bench.record("warm: the newest 20 that match", column(samples["limited"]), role="ours")
    peak = bench.record("memory", [value / 1e6 for value in column(samples["all"], "peak_bytes")], "MB", role="ours")
    bench.judge("warm", warm)
    bench.judge("limited", limited)
    bench.judge("memory", peak)
    counted = bench.child(search_sorted, count=count)
    for name, told in counted.items():
        bench.record(f"{name}, sorted listing", told["listings"], "listings", role="ours")
        bench.record(f"{name}, sorted listing", told["gets"], "reads", role="ours")
        bench.record(f"{name}, in memory", told["seconds"], role="ours")
    requests = counted["warm"]["listings"] + counted["warm"]["gets"]
    bench.judge("requests", (requests - 3) / max(count / 1000, 1))
    size = sum(os.path.getsize(path) for path in (bench.folder / "home" / "cache" / "runs").glob("*.sqlite*"))
    bench.record("what is remembered, for each run", size / count / 2, "bytes")
    bench.note("Two stores are remembered by then: the one on the disk, and the one in memory.")


if __name__ == "__main__":
    main(CLAIM, run)
