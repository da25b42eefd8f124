"""Save what the store holds already, on one core."""

from __future__ import annotations

import os
from typing import Any

from benchmarks._harness import Bench, Claim, Stopwatch, Target, column, main
from benchmarks._models import make_model

CLAIM = Claim(
    "dedup_speed",
    "Chunk, hash and find data that the store holds already, on one core",
    {
        "same": Target("bytes that are the same, in a new process", ">=", 1.5, "GB/s"),
        "shifted": Target("bytes that moved by 1 000, in a new process", ">=", 1.5, "GB/s"),
    },
)

SHIFT = 1000


def _content(mebibytes: int) -> bytearray:
    import numpy as np

    model = make_model(mebibytes)
    return bytearray(np.concatenate([array.ravel() for array in model.values()]).data.cast("B"))


def save_first(store: str, mebibytes: int) -> dict[str, Any]:
    """Fill the store: the model's arrays, and their bytes as one opaque value."""
    import holdall

    with holdall.run("data", client=holdall.Client(store)) as run:
        run.save(model=make_model(mebibytes), content=bytes(_content(mebibytes)))
    return {}


def _pin() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _speeds(mebibytes: int, watch: Stopwatch) -> dict[str, float]:
    gigabytes = (mebibytes << 20) / 1e9
    return {"speed": gigabytes / watch.seconds, "cpu_speed": gigabytes / watch.cpu_seconds}


def save_same(store: str, mebibytes: int) -> dict[str, Any]:
    """Save the same arrays again on one core."""
    _pin()
    import holdall

    model = make_model(mebibytes)
    with holdall.run("data", client=holdall.Client(store)) as run:
        run.save(warm=bytes(100_000))  # imports and the first look at the store are not what is measured
        with Stopwatch() as watch:
            saved = run.save(model=model)
    return watch.sample(new=saved["model"].stored, **_speeds(mebibytes, watch))


def save_shifted(store: str, mebibytes: int) -> dict[str, Any]:
    """Save the same bytes behind some that are new: every cut has to be found at another place."""
    _pin()
    import holdall

    content = bytes(SHIFT) + bytes(_content(mebibytes))
    with holdall.run("data", client=holdall.Client(store)) as run:
        run.save(warm=bytes(100_000))
        with Stopwatch() as watch:
            saved = run.save(content=content)
    return watch.sample(new=saved["content"].stored, **_speeds(mebibytes, watch))


def limits(mebibytes: int) -> dict[str, Any]:
    """Time the parts alone: to hash pieces of 64 KiB, and to look for cuts."""
    _pin()
    from blake3 import blake3

    from holdall_store.format.chunker import OPAQUE, first_cut

    view = memoryview(_content(mebibytes))
    with Stopwatch() as digest:
        for start in range(0, len(view), 1 << 16):
            blake3(view[start : start + (1 << 16)]).digest()
    cutter = OPAQUE.cutter()
    position = 0
    with Stopwatch() as cuts:
        while position < len(view):
            position += first_cut(cutter, OPAQUE, view[position : position + OPAQUE.max_bytes], 1)
    return {"blake3": len(view) / digest.seconds / 1e9, "cuts": len(view) / cuts.seconds / 1e9}


def run(bench: Bench) -> None:
    """Measure the claim."""
    size = bench.size("MiB", 256, 8)
    store = bench.path("store")
    bench.child(save_first, store=store, mebibytes=size)
    samples = bench.rounds(
        {
            "same": bench.contender(save_same, store=store, mebibytes=size),
            "shifted": bench.contender(save_shifted, store=store, mebibytes=size),
            "limits": bench.contender(limits, mebibytes=size),
        }
    )
    same = bench.record("the same arrays", column(samples["same"], "speed"), "GB/s", role="ours")
    shifted = bench.record("the same bytes, moved by 1 000", column(samples["shifted"], "speed"), "GB/s", role="ours")
    bench.record("the same arrays, by processor time", column(samples["same"], "cpu_speed"), "GB/s", role="ours")
    bench.record("moved by 1 000, by processor time", column(samples["shifted"], "cpu_speed"), "GB/s", role="ours")
    bench.record("BLAKE3 of pieces of 64 KiB", column(samples["limits"], "blake3"), "GB/s", role="limit")
    bench.record("FastCDC, looking for cuts", column(samples["limits"], "cuts"), "GB/s", role="limit")
    bench.record("new bytes, the same arrays", column(samples["same"], "new"), "B", role="ours")
    bench.record("new bytes, moved by 1 000", column(samples["shifted"][:1], "new"), "B", role="ours")
    bench.judge("same", same)
    bench.judge("shifted", shifted)
    bench.note("run.save is timed, from the object to the durable record, in a process held to one core.")


if __name__ == "__main__":
    main(CLAIM, run)
