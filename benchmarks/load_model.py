"""Load a model in a new process."""

from __future__ import annotations

import os
from typing import Any

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, main
from benchmarks._models import make_model

CLAIM = Claim(
    "load_model",
    "Load a 256 MiB float32 model of 64 arrays in a new process, from a warm page cache, every byte verified",
    {
        "verified": Target("holdall.load, against joblib.load without mmap", "<=", 0.5, "×"),
        "unverified": Target("holdall.load(verify=False)", "<=", 0.03, "s"),
    },
)


def save_all(folder: str, mebibytes: int) -> dict[str, Any]:
    """Write the model in every form that is to be loaded."""
    import pickle

    import joblib
    import numpy as np

    import holdall

    model = make_model(mebibytes)
    with holdall.run("model", client=holdall.Client(os.path.join(folder, "store"))) as run:
        run.save(model=model)
    joblib.dump(model, os.path.join(folder, "model.joblib"))
    with open(os.path.join(folder, "model.pickle"), "wb") as file:
        pickle.dump(model, file, protocol=5)
    np.save(os.path.join(folder, "model.npy"), np.concatenate([array.ravel() for array in model.values()]))
    np.savez(os.path.join(folder, "model.npz"), **model)
    return {}


def _use(loaded: Any) -> float:
    """Read every byte of what was loaded, as a user will."""
    import numpy as np

    arrays = loaded.values() if isinstance(loaded, dict) else [loaded]
    return float(sum(np.asarray(array).sum(dtype=np.float64) for array in arrays))


def load_holdall(folder: str, verify: bool) -> dict[str, Any]:
    """Load through the face; what only a load imports is in the time."""
    import numpy as np

    import holdall

    np.zeros(1)
    client = holdall.Client(os.path.join(folder, "store"))
    with Stopwatch() as watch:
        loaded = holdall.load("model/model", client=client, verify=verify)
    with Stopwatch() as again:
        holdall.load("model/model", client=client, verify=verify)
    with Stopwatch() as use:
        total = _use(loaded)
    return watch.sample(used_seconds=watch.seconds + use.seconds, total=total, again_seconds=again.seconds)


def load_peer(folder: str, kind: str) -> dict[str, Any]:
    """Load with a peer whose modules are imported already."""
    import pickle

    import joblib
    import numpy as np

    path = os.path.join(folder, f"model.{kind}")
    with Stopwatch() as watch:
        if kind == "joblib":
            loaded: Any = joblib.load(path)
        elif kind == "pickle":
            with open(path, "rb") as file:
                loaded = pickle.load(file)
        elif kind == "npz":
            with np.load(path) as archive:
                loaded = {name: archive[name] for name in archive.files}
        else:
            loaded = np.load(path)
    with Stopwatch() as use:
        total = _use(loaded)
    return watch.sample(used_seconds=watch.seconds + use.seconds, total=total)


def limits(folder: str) -> dict[str, Any]:
    """Time what no load can do without: to read the file from the page cache; and to hash it, if it is verified."""
    from blake3 import blake3

    path = os.path.join(folder, "model.npy")
    target = bytearray(os.path.getsize(path))
    with Stopwatch() as read, open(path, "rb", buffering=0) as file:
        file.readinto(target)
    with Stopwatch() as digest:
        blake3(target, max_threads=blake3.AUTO).digest()
    return {"read": read.seconds, "blake3": digest.seconds}


def run(bench: Bench) -> None:
    """Measure the claim."""
    size = bench.size("MiB", 256, 8)
    folder = bench.path("files")
    folder.mkdir()
    bench.child(save_all, folder=folder, mebibytes=size)
    kinds = {
        "joblib": "joblib.load",
        "pickle": "pickle.load",
        "npy": "np.load of one array",
        "npz": "np.load of an npz",
    }
    samples = bench.rounds(
        {
            "holdall": bench.contender(load_holdall, folder=folder, verify=True),
            "unverified": bench.contender(load_holdall, folder=folder, verify=False),
            **{kind: bench.contender(load_peer, folder=folder, kind=kind) for kind in kinds},
            "limits": bench.contender(limits, folder=folder),
        }
    )
    totals = {round(sample["total"], 3) for name in ("holdall", "unverified", "joblib") for sample in samples[name]}
    if len(totals) != 1:
        raise RuntimeError(f"What was loaded is not the same: {totals}")

    ours = bench.record("holdall.load, every byte verified", column(samples["holdall"]), role="ours")
    unverified = bench.record("holdall.load(verify=False)", column(samples["unverified"]), role="ours")
    bench.record("holdall.load, a second time", column(samples["holdall"], "again_seconds"), role="ours")
    joblib = bench.record("joblib.load, no mmap", column(samples["joblib"]), role="peer")
    for kind in ("pickle", "npy", "npz"):
        bench.record(kinds[kind], column(samples[kind]), role="peer")
    bench.record("holdall.load, then the sum of all", column(samples["holdall"], "used_seconds"), role="ours")
    bench.record(
        "holdall.load(verify=False), then the sum of all", column(samples["unverified"], "used_seconds"), role="ours"
    )
    bench.record("joblib.load, then the sum of all", column(samples["joblib"], "used_seconds"), role="peer")
    bench.record("read of the same bytes from the page cache", column(samples["limits"], "read"), role="limit")
    bench.record("BLAKE3 of the same bytes, all cores", column(samples["limits"], "blake3"), role="limit")
    bench.record(
        "peak memory of holdall.load",
        [v / (1 << 20) for v in column(samples["holdall"], "peak_bytes")],
        "MiB",
        role="ours",
    )
    bench.record(
        "peak memory of joblib.load",
        [v / (1 << 20) for v in column(samples["joblib"], "peak_bytes")],
        "MiB",
        role="peer",
    )
    bench.judge("verified", ours / joblib)
    bench.judge("unverified", unverified)
    bench.note(
        "Only the load is timed: numpy, joblib and holdall are imported before; what holdall imports late is in it."
    )
    bench.note("Arrays of holdall are maps of the store: their memory is page cache, which other processes share.")


if __name__ == "__main__":
    main(CLAIM, run)
