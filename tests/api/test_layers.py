"""The layers of the house: import-linter keeps them, and would see them broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("datastore", "client")

BREACHES = {
    "the engine imports the face": ("datastore/holdall_store/_breach.py", "import holdall\n"),
    "a low layer imports a high one": (
        "datastore/holdall_store/storage/_breach.py",
        "import holdall_store.repository\n",
    ),
    "neighbours import each other": ("datastore/holdall_store/format/_breach.py", "import holdall_store.storage\n"),
    "the product imports its test doubles": ("datastore/holdall_store/config.py", "import holdall_store.testing\n"),
    "the format knows a storage library": ("datastore/holdall_store/format/_breach.py", "import obstore\n"),
    "a planner reads bytes": ("datastore/holdall_store/transfer/_plan.py", "import holdall_store.storage\n"),
    "a package stands in no layer": ("datastore/holdall_store/homeless/__init__.py", ""),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of the checkout at `root`."""
    return subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(root / part) for part in ROOTS)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_contract_is_kept() -> None:
    """No module imports anything above itself."""
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_seen(breach: str, tmp_path: Path) -> None:
    """An import against the layers fails the check."""
    path, code = BREACHES[breach]
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for part in ROOTS:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / path
    target.parent.mkdir(exist_ok=True)
    target.write_text((target.read_text() if target.exists() else "") + "\n" + code)

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stdout + result.stderr
