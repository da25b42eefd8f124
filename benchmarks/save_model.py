"""Save a model, and save it again with one array changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, disk_usage, fsync_file, main
from benchmarks._models import change_one, make_model, model_bytes

CLAIM = Claim(
    "save_model",
    "Save a 256 MiB float32 model of 64 arrays into a fresh store, durable, and again with one array changed",
    {
        "first": Target("first save, against np.save of the same bytes + fsync", "<=", 1.1, "×"),
        "memory": Target("peak memory above the model", "<=", 64, "MiB"),
        "again_same": Target("second save in the same process, against the first", "<=", 0.4, "×"),
        "again_new": Target("second save in a new process, against the first", "<=", 0.4, "×"),
        "new_bytes": Target("new bytes of the second save, against the changed array", "<=", 1.02, "×"),
    },
)


def save_holdall(store: str, mebibytes: int) -> dict[str, Any]:
    """Save into a fresh store, then again with one array changed; all that holdall imports late is in the first time."""
    import holdall

    model = make_model(mebibytes)
    client = holdall.Client(store)
    with Stopwatch() as whole, holdall.run("model", client=client) as run, Stopwatch() as save:
        run.save(model=model)
    before = disk_usage(Path(store) / "packs")["bytes"]
    name = change_one(model, 31, seed=2)
    with Stopwatch() as again, holdall.run("model", client=client) as run:
        run.save(model=model)
    added = disk_usage(Path(store) / "packs")["bytes"] - before
    return whole.sample(
        save_seconds=save.seconds,
        peak_bytes=max(save.peak_bytes, whole.peak_bytes),
        again_seconds=again.seconds,
        again_peak_bytes=again.peak_bytes,
        again_share=added / model[name].nbytes,
        files=disk_usage(Path(store))["files"],
    )


def save_again_holdall(store: str, mebibytes: int) -> dict[str, Any]:
    """Save into a store that holds the model already, in a process that has just begun."""
    import holdall

    model = make_model(mebibytes)
    change_one(model, 31, seed=2)
    name = change_one(model, 7, seed=3)
    before = disk_usage(Path(store) / "packs")["bytes"]
    client = holdall.Client(store)
    with Stopwatch() as watch, holdall.run("model", client=client) as run:
        run.save(model=model)
    added = disk_usage(Path(store) / "packs")["bytes"] - before
    return watch.sample(share=added / model[name].nbytes)


def save_numpy(folder: str, mebibytes: int) -> dict[str, Any]:
    """Write the same bytes as one array with np.save, and fsync."""
    import numpy as np

    whole = np.concatenate([array.ravel() for array in make_model(mebibytes).values()])
    path = os.path.join(folder, "model.npy")
    with Stopwatch() as watch:
        with open(path, "wb") as file:
            np.save(file, whole)
            file.flush()
            os.fsync(file.fileno())
        fsync_file(path)
    return watch.sample()


def save_joblib(folder: str, mebibytes: int) -> dict[str, Any]:
    """Write the model with joblib.dump, and fsync."""
    import joblib

    model = make_model(mebibytes)
    path = os.path.join(folder, "model.joblib")
    with Stopwatch() as watch:
        joblib.dump(model, path)
        fsync_file(path)
    return watch.sample()


def save_pickle(folder: str, mebibytes: int) -> dict[str, Any]:
    """Write the model with pickle, protocol 5, and fsync."""
    import pickle

    model = make_model(mebibytes)
    path = os.path.join(folder, "model.pickle")
    with Stopwatch() as watch:
        with open(path, "wb") as file:
            pickle.dump(model, file, protocol=5)
        fsync_file(path)
    return watch.sample()


def limits(folder: str, mebibytes: int) -> dict[str, Any]:
    """Time what no save can do without: to write the bytes, to hash them, and to copy them once."""
    import numpy as np
    from blake3 import blake3

    whole = np.concatenate([array.ravel() for array in make_model(mebibytes).values()])
    view = whole.data.cast("B")
    with Stopwatch() as write:
        descriptor = os.open(os.path.join(folder, "raw"), os.O_CREAT | os.O_WRONLY, 0o644)
        for start in range(0, len(view), 4 << 20):
            os.write(descriptor, view[start : start + (4 << 20)])
        os.fsync(descriptor)
        os.close(descriptor)
    with Stopwatch() as digest:
        blake3(view, max_threads=blake3.AUTO).digest()
    target = np.ones_like(whole)
    with Stopwatch() as copy:
        np.copyto(target, whole)
    return {"write": write.seconds, "blake3": digest.seconds, "memcpy": copy.seconds, "bytes": model_bytes({"": whole})}


def run(bench: Bench) -> None:
    """Measure the claim."""
    size = bench.size("MiB", 256, 8)
    again: list[dict[str, Any]] = []

    def ours(_number: int) -> dict[str, Any]:
        store = bench.path("store")
        first = bench.child(save_holdall, store=store, mebibytes=size)
        again.append(bench.child(save_again_holdall, store=store, mebibytes=size))
        shutil.rmtree(store)
        return first

    def writer(function: Any) -> Any:
        def write(_number: int) -> dict[str, Any]:
            folder = bench.path("files")
            folder.mkdir()
            sample = bench.child(function, folder=folder, mebibytes=size)
            shutil.rmtree(folder)
            return sample

        return write

    peers = {"numpy": save_numpy, "joblib": save_joblib, "pickle": save_pickle, "limits": limits}
    samples = bench.rounds({"holdall": ours, **{name: writer(function) for name, function in peers.items()}})

    first = bench.record("holdall, first save: the whole run", column(samples["holdall"]), role="ours")
    bench.record("holdall, first save: run.save alone", column(samples["holdall"], "save_seconds"), role="ours")
    same = bench.record(
        "holdall, one array changed, same process", column(samples["holdall"], "again_seconds"), role="ours"
    )
    new = bench.record("holdall, one array changed, new process", column(again), role="ours")
    numpy = bench.record("np.save of the same bytes + fsync", column(samples["numpy"]), role="peer")
    bench.record("joblib.dump + fsync", column(samples["joblib"]), role="peer")
    bench.record("pickle.dump, protocol 5, + fsync", column(samples["pickle"]), role="peer")
    bench.record("write + fsync of the same bytes", column(samples["limits"], "write"), role="limit")
    bench.record("BLAKE3 of the same bytes, all cores", column(samples["limits"], "blake3"), role="limit")
    bench.record("memcpy of the same bytes", column(samples["limits"], "memcpy"), role="limit")
    bench.record("processor time of the first save", column(samples["holdall"], "cpu_seconds"), role="ours")
    memory = [value / (1 << 20) for value in column(samples["holdall"], "peak_bytes")]
    memory_again = [value / (1 << 20) for value in column(again, "peak_bytes")]
    bench.record("peak memory above the model, first save", memory, "MiB", role="ours")
    bench.record("peak memory above the model, save in a new process", memory_again, "MiB", role="ours")
    bench.record("files in the store after both saves", column(samples["holdall"], "files"), "files", role="ours")
    bench.judge("first", first / numpy)
    bench.judge("memory", max(memory + memory_again))
    bench.judge("again_same", same / first)
    bench.judge("again_new", new / first)
    bench.judge("new_bytes", max(column(samples["holdall"], "again_share") + column(again, "share")))
    bench.note(
        "The whole run is timed, with the libraries that the first save of a process imports, and the run's end."
    )


if __name__ == "__main__":
    main(CLAIM, run)
