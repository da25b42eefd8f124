"""Save a thousand small values in one run."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, disk_usage, fsync_file, main

CLAIM = Claim(
    "small_values",
    "Save 1 000 small values in one run, durable",
    {
        "files": Target("files in the store", "<=", 4, "files"),
        "one_call": Target("time, one call of run.save", "<=", 0.05, "s"),
        "many_calls": Target("time, one call for each value", "<=", 0.05, "s"),
    },
)


def make_values(count: int) -> dict[str, Any]:
    """Return what people keep beside a model: numbers, words, short lists, settings."""
    kinds = (
        lambda n: n,
        lambda n: n / 7,
        lambda n: f"a note about step {n}",
        lambda n: [n, n + 1, n + 2],
        lambda n: {"depth": n % 9, "rate": 0.1 / (n + 1), "kind": "tree"},
    )
    return {f"value{number:04d}": kinds[number % len(kinds)](number) for number in range(count)}


def save_holdall(store: str, count: int, calls: bool) -> dict[str, Any]:
    """Save all in one call or in many; all of the run is timed, with what holdall imports late."""
    import holdall

    values = make_values(count)
    client = holdall.Client(store)
    with Stopwatch() as watch, holdall.run("values", client=client) as run:
        if calls:
            for name, value in values.items():
                run.save({name: value})
        else:
            run.save(values)
    if client.flow("values").latest_run.data["value0003"] != values["value0003"]:
        raise RuntimeError("What was saved is not what is there.")
    with Stopwatch() as second, holdall.run("values", client=client) as run:
        run.save(values)
    return watch.sample(second_seconds=second.seconds)


def save_pickles(folder: str, count: int) -> dict[str, Any]:
    """Write a file for each value, and fsync each."""
    values = make_values(count)
    with Stopwatch() as watch:
        for name, value in values.items():
            with open(os.path.join(folder, f"{name}.pickle"), "wb") as file:
                pickle.dump(value, file, protocol=5)
                file.flush()
                os.fsync(file.fileno())
        fsync_file(os.path.join(folder, "value0000.pickle"))
    return watch.sample(**disk_usage(Path(folder)))


def save_one_file(folder: str, count: int) -> dict[str, Any]:
    """Write all values as one file of JSON, and fsync it."""
    values = make_values(count)
    path = os.path.join(folder, "values.json")
    with Stopwatch() as watch:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(values, file)
        fsync_file(path)
    return watch.sample()


def run(bench: Bench) -> None:
    """Measure the claim."""
    count = bench.size("values", 1000, 1000)
    usage: list[dict[str, int]] = []

    def ours(calls: bool) -> dict[str, Any]:
        store = bench.path("store")
        sample = bench.child(save_holdall, store=store, count=count, calls=calls)
        usage.append(disk_usage(store))
        return sample

    def peer(function: Any) -> dict[str, Any]:
        folder = bench.path("files")
        folder.mkdir()
        return bench.child(function, folder=folder, count=count)

    samples = bench.rounds(
        {
            "one": lambda _: ours(False),
            "many": lambda _: ours(True),
            "pickles": lambda _: peer(save_pickles),
            "json": lambda _: peer(save_one_file),
        }
    )
    one = bench.record("holdall, one call", column(samples["one"]), role="ours")
    many = bench.record("holdall, a call for each value", column(samples["many"]), role="ours")
    bench.record("holdall, one call, second run of the process", column(samples["one"], "second_seconds"), role="ours")
    bench.record("a pickle + fsync for each value", column(samples["pickles"]), role="peer")
    bench.record("one file of JSON + fsync", column(samples["json"]), role="limit")
    files = bench.record("files in the store after two runs", [each["files"] for each in usage], "files", role="ours")
    bench.record("bytes in the store after two runs", [each["bytes"] for each in usage], "B", role="ours")
    bench.record("files of the pickles", column(samples["pickles"], "files"), "files", role="peer")
    bench.judge("files", files - 1)  # each of the two runs left one record
    bench.judge("one_call", one)
    bench.judge("many_calls", many)
    bench.note("The whole run is timed in a new process, with the libraries that the first save imports.")


if __name__ == "__main__":
    main(CLAIM, run)
