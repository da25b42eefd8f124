"""Every test has a home of its own, and none sees the caller's settings."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from tests.storage._bucket import Bucket
from tests.storage._s3 import S3Server

from holdall_store.storage import MemoryStorage, Storage

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("ci")


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hide every ``HOLDALL_*`` variable and return the temporary folder that ``HOLDALL_HOME`` names."""
    for name in list(os.environ):
        if name.startswith("HOLDALL_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOLDALL_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_power_cuts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests in this process not wait for the disk, but those of storages: what a power cut leaves, none can see.

    A test that counts calls of ``fsync``, or lets them fail, puts its own in its place.
    """
    if request.path.parent.name != "storage":
        monkeypatch.setattr(os, "fsync", _look_at)


def _look_at(file: int) -> None:
    os.fstat(file)  # what is no open file is an error all the same


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the test's temporary folder the working directory, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Run one server that speaks S3 for all tests of this process."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Return the server's bucket, where no pause is long; the AWS settings of whoever runs the tests are hidden."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("holdall_store.storage._object.DELAY_FIRST", 0.002)
    monkeypatch.setattr("holdall_store.storage._object.DELAY_MAX", 0.02)
    s3_server.fault = lambda request: None
    s3_server.log.clear()
    return Bucket(s3_server)


@pytest.fixture(params=["memory", "bucket"])
def empty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Storage]:
    """Return what makes empty storages: in memory, and in a bucket.

    Nothing is read ahead in the background, so that the requests have the same numbers every time.
    """
    monkeypatch.setattr("holdall_store.repository.Repository._prepare", lambda self: None)
    if request.param == "memory":
        return MemoryStorage
    made: Callable[[], Storage] = request.getfixturevalue("bucket").empty
    return made


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt this process and its children.

    Whoever runs the tests may ignore it, and a notebook that was executed in this process leaves a handler behind.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
