"""The example of bulk transfer runs from end to end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    """A folder goes up, all of it is read within a budget, and what is in S3 already is not sent again."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "bulk" / "bulk.py")],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    requests = [int(count) for count in re.findall(r"([0-9]+) requests", result.stdout)]
    up, read, nothing, one, again, down, _ = requests
    assert min(up, read, down) >= 200
    assert max(nothing, one, again) < 20
    assert list(tmp_path.iterdir()) == []
