"""A bucket with files of tables in it, and holes that cannot be taken for data."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.tables._lake import Lake
from tests.transfer._bucket_server import BucketServer

from holdall_store.tables import _footer, _sparse


@pytest.fixture(autouse=True)
def holes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill what was not fetched with ones: whatever is decoded of it makes no sense, where zeros might."""
    monkeypatch.setattr(_sparse, "HOLE", b"\xff")


@pytest.fixture(autouse=True)
def no_footers() -> None:
    """Forget the footers that other tests read."""
    _footer._cache.clear()


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[BucketServer]:
    """Start a server for the tests of a module."""
    server = BucketServer()
    yield server
    server.close()


@pytest.fixture
def lake(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Give an empty bucket; the AWS settings of whoever runs the tests are hidden."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    bucket_server.reset()
    return Lake(bucket_server)
