"""The same model through Metaflow: a two-step flow on a local datastore, two versions, and a load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks._harness import ROOT, Bench, Claim, Skipped, Stopwatch, Target, column, main

CLAIM = Claim(
    "metaflow_compare",
    "Save two versions of a 256 MiB model and load it again, against a two-step flow of Metaflow on a local datastore",
    {
        "save": Target(
            "save two versions: Metaflow's time above a bare flow, over ours above a bare script", ">=", 20, "×"
        ),
        "load": Target("load in a new process: Metaflow's time over ours", ">=", 20, "×"),
    },
)

HERE = Path(__file__).parent
ROUNDS_MAX = 3
"""A flow of two versions takes half a minute."""


def find_metaflow(bench: Bench) -> str:
    """Return an interpreter that has Metaflow."""
    local = str(ROOT / ".venv-metaflow" / "bin" / "python")
    for python in (bench.metaflow_python, sys.executable, local):
        probe = "import metaflow, numpy"
        if python and os.path.exists(python):
            done = subprocess.run([python, "-c", probe], capture_output=True, cwd=bench.folder, check=False)
            if done.returncode == 0:
                return python
    raise Skipped(
        "Metaflow is not installed. Make an environment for it, since it wants another botocore: "
        "python -m venv .venv-metaflow && .venv-metaflow/bin/pip install metaflow numpy."
    )


def load_holdall(store: str) -> dict[str, Any]:
    """Load the newest model."""
    import numpy as np

    import holdall

    client = holdall.Client(store)
    with Stopwatch() as watch:
        model = holdall.load("ModelFlow/model", client=client)
    return watch.sample(total=float(sum(array.sum(dtype=np.float64) for array in model.values())))


def _environment(root: Path) -> dict[str, str]:
    return {
        "METAFLOW_DEFAULT_DATASTORE": "local",
        "METAFLOW_DEFAULT_METADATA": "local",
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(root),
        "METAFLOW_HOME": str(root / "home"),
        "METAFLOW_USER": "bench",
        "METAFLOW_DEFAULT_MONITOR": "nullSidecarMonitor",
        "METAFLOW_DEFAULT_EVENT_LOGGER": "nullSidecarLogger",
        "PYTHONPATH": str(HERE),
    }


def _timed(bench: Bench, command: list[str], environ: dict[str, str]) -> float:
    bench.settle()
    start = time.perf_counter()
    bench.execute(command, environ=environ)
    return time.perf_counter() - start


def _flow(bench: Bench, python: str, size: int) -> dict[str, Any]:
    """Run two versions with and without the model, and load the newest."""
    root = bench.path("metaflow")
    root.mkdir()
    environ = _environment(root)
    (root / "home").mkdir()

    def flow(version: int, keep: int) -> float:
        options = ["--mebibytes", str(size), "--version", str(version), "--keep", str(keep)]
        return _timed(bench, [python, str(HERE / "_metaflow_flow.py"), "--quiet", "run", *options], environ)

    bare = flow(1, 0) + flow(2, 0)
    kept = flow(1, 1) + flow(2, 1)
    output = bench.execute([python, str(HERE / "_metaflow_load.py")], environ=environ)
    loaded = json.loads(output.rpartition("\n")[2])
    stored = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    return {
        "kept": kept,
        "bare": bare,
        "saved": kept - bare,
        "load": loaded["seconds"],
        "total": loaded["total"],
        "stored": stored,
    }


def _script(bench: Bench, size: int) -> dict[str, Any]:
    """Do the same with a plain script."""
    store = bench.path("store")
    roots = [str(HERE), str(ROOT / "datastore"), str(ROOT / "client")]
    environ = {"PYTHONPATH": os.pathsep.join(roots)}

    def script(version: int, keep: int) -> float:
        command = [sys.executable, str(HERE / "_holdall_script.py"), str(store), str(size), str(version), str(keep)]
        return _timed(bench, command, environ)

    bare = script(1, 0) + script(2, 0)
    none = script(1, 2) + script(2, 2)
    kept = script(1, 1) + script(2, 1)
    stored = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    loaded = bench.child(load_holdall, store=store)
    return {
        "kept": kept,
        "bare": bare,
        "none": none,
        "saved": kept - none,
        "load": loaded["seconds"],
        "total": loaded["total"],
        "stored": stored,
    }


def run(bench: Bench) -> None:
    """Measure the claim."""
    python = find_metaflow(bench)
    size = bench.size("MiB", 256, 8)
    if not bench.quick:
        _flow(bench, python, 8)  # compiles what is to be imported
        _script(bench, 8)
    samples = bench.rounds(
        {"metaflow": lambda _: _flow(bench, python, size), "holdall": lambda _: _script(bench, size)},
        count=ROUNDS_MAX,
    )
    totals = {round(sample["total"], 3) for many in samples.values() for sample in many}
    if len(totals) != 1:
        raise RuntimeError(f"What was loaded is not the same: {totals}")
    flow, script = samples["metaflow"], samples["holdall"]
    bench.record("Metaflow: two flows with the model, whole commands", column(flow, "kept"), role="peer")
    bench.record("Metaflow: two flows that keep no model, whole commands", column(flow, "bare"), role="peer")
    theirs = bench.record("Metaflow: the difference, saving", column(flow, "saved"), role="peer")
    whole_ours = bench.record(
        "holdall: two scripts with the model, whole commands", column(script, "kept"), role="ours"
    )
    bench.record("holdall: two scripts with a run but no model, whole commands", column(script, "bare"), role="ours")
    bench.record("the same scripts without holdall, whole commands", column(script, "none"), role="limit")
    ours = bench.record("holdall: with the model less without holdall, saving", column(script, "saved"), role="ours")
    their_load = bench.record("Metaflow: latest_successful_run.data.model", column(flow, "load"), role="peer")
    our_load = bench.record("holdall.load", column(script, "load"), role="ours")
    bench.record("Metaflow: bytes stored", column(flow, "stored"), "B", role="peer")
    bench.record("holdall: bytes stored", column(script, "stored"), "B", role="ours")
    whole_theirs = sorted(column(flow, "kept"))[len(flow) // 2]
    bench.record("whole commands, Metaflow's time over ours", whole_theirs / whole_ours, "×")
    bench.judge("save", theirs / max(ours, 1e-9))
    bench.judge("load", their_load / our_load)
    versions = bench.execute([python, "-c", "import metaflow; print(metaflow.__version__)"])
    bench.note(
        f"Metaflow {versions}, local datastore and metadata, no monitor; the model is one artifact of the first step."
    )
    bench.note(
        "Metaflow's bare flow makes the same model and keeps it not; ours is compared with a script without holdall."
    )


if __name__ == "__main__":
    main(CLAIM, run)
