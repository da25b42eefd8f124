"""What is loaded, and when."""

from __future__ import annotations

import json
import subprocess
import sys


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has after `code`."""
    probe = f"import json, sys; {code}; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


def test_stores_do_not_load_the_executor() -> None:
    """Who saves to a local store pays nothing for the transfer from buckets."""
    loaded = loaded_by("import holdall_store.transfer")
    assert "holdall_store.transfer" in loaded
    assert loaded & {"holdall_store.transfer.executor", "holdall_store.storage.buckets", "ssl", "selectors"} == set()


def test_the_executor_loads_nothing_heavy() -> None:
    """Credentials, certificates and the other protocols are loaded by who needs them."""
    loaded = loaded_by("import holdall_store.transfer.executor")
    assert "holdall_store.transfer.executor" in loaded
    assert loaded & {"botocore", "obstore", "ssl", "asyncio", "numpy", "email"} == set()
