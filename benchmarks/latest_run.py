"""Find the newest run among many."""

from __future__ import annotations

import datetime as dt
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, main

CLAIM = Claim(
    "latest_run",
    "latest_run and latest_successful_run among 100 000 runs, the newest three of which failed",
    {
        "latest": Target("latest_run on a local disk", "<=", 0.3, "s"),
        "successful": Target("latest_successful_run on a local disk", "<=", 0.3, "s"),
        "calls": Target("calls on a sorted listing, most runs over fewest", "<=", 1, "×"),
        "keys": Target("keys listed on a sorted listing, most runs over fewest", "<=", 1, "×"),
    },
)

NAMESPACE, FLOW = "user:bench", "nightly"
FAILED_NEWEST = 3
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def records(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the key and the bytes of the only record of each run, newest first, a minute apart."""
    from holdall_store.format import FORMAT_VERSION, RunRecord, make_run_id, run_prefix, seal, slot_key

    rng = random.Random(1)
    newest = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)
    for number in range(count):
        moment = newest - dt.timedelta(minutes=number)
        run_id = make_run_id(moment, "".join(rng.choices(ALPHABET, k=6)))
        time = moment.isoformat(timespec="microseconds")
        record = RunRecord(
            holdall=FORMAT_VERSION,
            log="run",
            event="end",
            slot=0,
            write_id="".join(rng.choices(ALPHABET, k=16)),
            time=time,
            started=time,
            namespace=NAMESPACE,
            flow=FLOW,
            run=run_id,
            status="failed" if number < FAILED_NEWEST else "succeeded",
            writer="".join(rng.choices(ALPHABET, k=16)),
            summary={"auc": 0.9, "loss": 0.1},
            complete=True,
        )
        yield slot_key(run_prefix(NAMESPACE, FLOW, run_id), 0), seal(record)


def make_store(store: str, count: int) -> dict[str, Any]:
    """Write the files of all runs by hand, without fsync."""
    from holdall_store.repository import Repository
    from holdall_store.storage import open_storage

    Repository(open_storage(store)).create()
    for key, raw in records(count):
        path = os.path.join(store, key)
        os.makedirs(os.path.dirname(path))
        with open(path, "xb") as file:
            file.write(raw)
    return {}


def look_local(store: str) -> dict[str, Any]:
    """Ask in a new process; what holdall imports late is in the time."""
    import holdall

    client = holdall.Client(store, namespace=NAMESPACE)
    with Stopwatch() as latest:
        first = client.flow(FLOW).latest_run
    with Stopwatch() as successful:
        second = client.flow(FLOW).latest_successful_run
    if (first.status, second.status) != ("failed", "succeeded"):
        raise RuntimeError(f"The newest runs are wrong: {first}, {second}")
    return {"latest": latest.seconds, "successful": successful.seconds, "peak_bytes": latest.peak_bytes}


def list_folder(folder: str) -> dict[str, Any]:
    """Time what a look at a folder that keeps no order costs: to read all names, and sort them."""
    with Stopwatch() as watch, os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    return watch.sample(names=len(names))


def look_sorted(count: int) -> dict[str, Any]:
    """Count what is asked of a storage that lists in order, as object stores do."""
    import holdall
    from holdall_store.repository import Repository
    from holdall_store.storage import MemoryStorage
    from holdall_store.testing import CountingStorage

    storage = CountingStorage(MemoryStorage())
    Repository(storage).create()
    for key, raw in records(count):
        storage.create(key, [raw])
    counts = {}
    for name in ("latest_run", "latest_successful_run"):
        client = holdall.Client(storage, namespace=NAMESPACE)
        storage.reset()
        with Stopwatch() as watch:
            getattr(client.flow(FLOW), name)
        counts[name] = {
            "calls": sum(storage.calls.values()),
            "keys": sum(storage.keys.values()),
            "by_verb": dict(storage.calls),
            "seconds": watch.seconds,
        }
    return counts


def run(bench: Bench) -> None:
    """Measure the claim."""
    count = bench.size("runs", 100_000, 1000)
    store = bench.path("store")
    bench.child(make_store, store=store, count=count)
    folder = next(Path(store, "runs").glob("*/*"))
    samples = bench.rounds(
        {
            "ours": bench.contender(look_local, store=store),
            "folder": bench.contender(list_folder, folder=folder),
        }
    )
    latest = bench.record(f"latest_run, {count} runs, local disk", column(samples["ours"], "latest"), role="ours")
    successful = bench.record(
        f"latest_successful_run, {count} runs, local disk", column(samples["ours"], "successful"), role="ours"
    )
    bench.record("reading and sorting the names in the folder", column(samples["folder"]), role="limit")
    bench.judge("latest", latest)
    bench.judge("successful", successful)

    steps = [100, 1000] if bench.quick else [100, 10_000, 100_000]
    counted = {step: bench.child(look_sorted, count=step) for step in steps}
    for step, counts in counted.items():
        for name in ("latest_run", "latest_successful_run"):
            verbs = ", ".join(f"{number} {verb}" for verb, number in sorted(counts[name]["by_verb"].items()))
            bench.record(f"{name}, {step} runs, sorted listing: {verbs}", counts[name]["calls"], "calls", role="ours")
            bench.record(f"{name}, {step} runs, sorted listing", counts[name]["keys"], "keys", role="ours")
            bench.record(f"{name}, {step} runs, in memory", counts[name]["seconds"], role="ours")
    for key in ("calls", "keys"):
        growth = [
            counted[steps[-1]][name][key] / counted[steps[0]][name][key]
            for name in ("latest_run", "latest_successful_run")
        ]
        bench.judge(key, max(growth))


if __name__ == "__main__":
    main(CLAIM, run)
