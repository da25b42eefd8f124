"""`import holdall` is quick because it imports nothing heavy; what a process loads is counted, not timed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = frozenset(
    {
        "IPython",
        "aiobotocore",
        "aiohttp",
        "asyncio",
        "boto3",
        "botocore",
        "cloudpickle",
        "fsspec",
        "lightgbm",
        "matplotlib",
        "multiprocessing",
        "numpy",
        "obstore",
        "pandas",
        "polars",
        "pyarrow",
        "requests",
        "s3fs",
        "scipy",
        "sklearn",
        "sqlite3",
        "torch",
        "unittest",
        "urllib3",
        "xgboost",
    }
)


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has after `code` and had not before."""
    probe = f"import json, sys; before = set(sys.modules); {code}; print(json.dumps(sorted(set(sys.modules) - before)))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(result.stdout)}


@pytest.mark.parametrize("package", ["holdall", "holdall_store"])
def test_nothing_heavy_is_imported(package: str) -> None:
    """Importing a package pulls in no library that only some of its users need."""
    loaded = loaded_by(f"import {package}")

    assert package in loaded
    assert loaded & HEAVY == set()


def test_a_heavy_import_would_be_seen() -> None:
    """The probe reports what an import pulls in, at any depth."""
    assert {"pandas", "numpy"} <= loaded_by("import pandas")
