"""A store that may only be read: reading works, saving is refused, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engine._engine import keys, stretch
from tests.storage._s3 import failure

import holdall
from holdall import AccessDeniedError, Client
from holdall_store.storage import LocalStorage, MemoryStorage, Storage
from holdall_store.testing import ReadOnlyStorage

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

NAMESPACE = "user:ana"
VALUES = {"big": stretch(1, 200_000), "small": [1, 2, 3]}


def fill(place: Path | Storage) -> None:
    """Leave a run in the store at `place`."""
    client = Client(place, namespace=NAMESPACE)
    with holdall.run("flow", client=client) as run:
        run.save(VALUES)
    client.close()


def test_a_store_that_may_only_be_read(empty: Callable[[], Storage]) -> None:
    """Everything loads; a save of a large and of a small value is refused, and the store is as it was."""
    storage = empty()
    fill(storage)
    before = keys(storage)
    client = Client(ReadOnlyStorage(storage), namespace=NAMESPACE)
    for value in VALUES.values():
        with pytest.raises(AccessDeniedError, match="may only be read"):
            holdall.save(value, "flow/new", client=client)
    with pytest.raises(AccessDeniedError), holdall.run("flow", client=client) as run:
        run.save(VALUES)

    assert {name: client.load(f"flow/{name}") for name in VALUES} == VALUES
    assert keys(storage) == before


def test_no_store_can_be_made_where_nothing_may_be_written() -> None:
    """The refusal is the storage's own, not that there is no store."""
    client = Client(ReadOnlyStorage(MemoryStorage()), namespace=NAMESPACE)
    with pytest.raises(AccessDeniedError, match=r"holdall\.json"):
        holdall.save(1, "flow/x", client=client)


@pytest.mark.parametrize("code", ["AccessDenied", "MethodNotAllowed", "AllAccessDisabled"])
def test_a_bucket_whose_server_lets_nobody_write(bucket: Bucket, code: str) -> None:
    """Everything loads; what is refused is told with its reason, at once, and the bucket is as it was."""
    storage = bucket.empty()
    fill(storage)
    before = bucket.objects(storage)
    bucket.server.fault = lambda request: failure(403, code, "not you") if request.method != "GET" else None
    client = Client(bucket.at(storage.url.removeprefix("s3://bucket/")), namespace=NAMESPACE)
    bucket.server.log.clear()
    for value in VALUES.values():
        with pytest.raises(AccessDeniedError, match=f"403, {code}, not you"):
            holdall.save(value, "flow/new", client=client)

    assert {name: client.load(f"flow/{name}") for name in VALUES} == VALUES
    assert bucket.objects(storage) == before
    assert len([request for request in bucket.server.log if request.method != "GET"]) == len(VALUES)


READER = """
import os, sys
import holdall
from blake3 import blake3
path = sys.argv[1]
client = holdall.Client(path, namespace="user:ana", trust=True)
assert client.load("flow/big") == blake3((1).to_bytes(8, "little")).digest(length=200_000)
assert client.load("flow/small") == [1, 2, 3]
assert client.flow("flow").latest_successful_run.status == "succeeded"
for value in (bytes(100_000), 1):
    try:
        holdall.save(value, "flow/new", client=client)
    except holdall.AccessDeniedError as error:
        assert "Cannot create" in str(error), error
        assert "HOLDALL_STORE" not in str(error), error
    else:
        raise AssertionError("it was saved")
try:
    holdall.save(1, "flow/new", client=holdall.Client(os.path.join(os.path.dirname(path), "other")))
except holdall.AccessDeniedError as error:
    assert "Cannot create 'holdall.json'" in str(error), error
    assert "set HOLDALL_STORE to a folder" in str(error), error
else:
    raise AssertionError("a store was made")
print("fine")
"""


def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    """Another user, who may read the folder and has no cache of their own, loads everything and can save nothing."""
    command = [sys.executable]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may write everywhere, and there is no setpriv")
        command = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        probe = subprocess.run([*command, "-c", "import holdall"], capture_output=True, check=False, cwd="/")
        if probe.returncode:
            pytest.skip("another user cannot run this Python")
    fill(tmp_path / "s")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    paths = [path for path in (tmp_path / "s").rglob("*") if path.is_dir()]
    for path in (*paths, tmp_path / "s"):
        path.chmod(0o555)
    before = keys(LocalStorage(tmp_path / "s"))
    done = subprocess.run(
        [*command, "-c", READER, str(tmp_path / "s")],
        env={**os.environ, "HOLDALL_HOME": str(home)}, capture_output=True, text=True, timeout=120, check=False, cwd="/",
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    assert keys(LocalStorage(tmp_path / "s")) == before
    assert list((tmp_path / "s").rglob(".tmp-*")) == []
    for path in (tmp_path / "s", *paths):
        path.chmod(0o755)
