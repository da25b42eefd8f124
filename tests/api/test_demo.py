"""The demo runs from end to end, and what it shows is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import holdall

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_demo_runs(tmp_path: Path) -> None:
    """Three runs are kept, the second process and the notebook load the model, and equal columns are stored once."""
    folder = tmp_path / "demo"

    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "flights" / "demo.py"), "--folder", str(folder)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # beside other tests, threads that wait for each other are slow
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "To San Francisco" in result.stdout
    assert "risk of arriving late" in str(nbformat.read(folder / "notebook.ipynb", as_version=4))
    third, second, first = holdall.Client(str(folder / ".holdall"), namespace=None).flow("flights")
    assert third["train"].size == second["train"].size
    assert third["train"].stored == 0
    assert second["train"].stored < second["train"].size - first["train"].size
    assert third.metrics["auc"] > first.metrics["auc"]


def test_the_demo_keeps_off_other_folders(tmp_path: Path) -> None:
    """A folder that holds something else is left as it is."""
    (tmp_path / "thesis.txt").write_text("irreplaceable")

    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "flights" / "demo.py"), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "name another folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
