"""Run the main job from end to end: train, load in a second process and in a notebook, train again, compare."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
STORE = ".holdall"


def title(text: str) -> None:
    """Print the heading of a step."""
    print(f"\n── {text} " + "─" * max(0, 96 - len(text)), flush=True)


def script(environ: Mapping[str, str], name: str, *arguments: str) -> None:
    """Run one of the scripts in a process of its own."""
    print(f"$ python {' '.join([name, *arguments])}", flush=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, str(HERE / name), *arguments], env=dict(environ), check=True)
    print(f"({time.perf_counter() - start:.1f} s)", flush=True)


def notebook(environ: Mapping[str, str], target: Path, scratch: Path) -> None:
    """Execute the notebook, write it with its outputs to `target`, and print what its cells answered."""
    print("$ jupyter execute notebook.ipynb", flush=True)
    document = nbformat.read(HERE / "notebook.ipynb", as_version=4)
    client = NotebookClient(
        document,
        timeout=300,
        startup_timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
        # Sockets beside the connection file: no port is opened.
        config=Config(KernelManager={"transport": "ipc", "connection_file": str(scratch / "kernel.json")}),
    )
    client.execute(env=dict(environ))
    nbformat.write(document, target)
    for cell in document.cells:
        if cell.cell_type != "code":
            continue
        print(textwrap.indent(cell.source, "    "))
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            print(textwrap.indent(text.rstrip(), "  → "))


def environment(folder: Path, scratch: Path) -> dict[str, str]:
    """Return the caller's environment, but for the store and for what tools would write into the caller's home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDALL_")}
    (scratch / "ipython").mkdir()
    return {
        **kept,
        "HOLDALL_STORE": str(folder / STORE),
        "HOLDALL_HOME": str(scratch / "home"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait give way on a busy machine
        "PYTHONWARNINGS": "ignore",
    }


def begin_anew(folder: Path) -> None:
    """Empty the demo's folder, and make sure first that it is the demo's."""
    mark = folder / "demo.json"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        sys.exit(f"{folder} holds something that the demo did not write: name another folder with --folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.write_text(json.dumps({"made by": "examples/flights/demo.py"}) + "\n")


def main() -> None:
    """Run the demo, and say what to look at next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo-store"), help="where to keep the store (%(default)s)")
    folder: Path = parser.parse_args().folder.resolve()
    begin_anew(folder)
    with tempfile.TemporaryDirectory(prefix="holdall-") as scratch:
        environ = environment(folder, Path(scratch))
        os.environ.update(environ)
        main_job(environ, folder, Path(scratch))

    command = os.path.relpath(Path(sys.executable).parent / "holdall", folder)
    title("what to look at next")
    for what, why in {
        f"cd {os.path.relpath(folder)}": f"the store is the folder {STORE} in it",
        f"{command} ls flights": "the runs",
        f"{command} show flights": "the last of them",
        "notebook.ipynb": "the notebook, executed",
        "../examples/flights/train.py": "the script: four of its lines are holdall's",
        "../docs/index.md": "where to read on",
    }.items():
        print(f"{what:<36} {why}")


def main_job(environ: Mapping[str, str], folder: Path, scratch: Path) -> None:
    """Train, load elsewhere, train again, compare."""
    title("1  a plain script learns from 336 776 flights, and saves its model, training frame and metrics")
    script(environ, "train.py")
    title("2  another process loads last run's model and predicts")
    script(environ, "predict.py")
    title("3  so does a notebook")
    notebook(environ, folder / "notebook.ipynb", scratch)
    title("4  two more runs: six more columns to learn from, then a changed model on the same columns")
    script(environ, "train.py", "--weather")
    script(environ, "train.py", "--weather", "--trees", "80", "--learning-rate", "0.05")
    title("5  what was stored: what is equal is stored once")
    script(environ, "compare.py")


if __name__ == "__main__":
    main()
