"""A server that nobody answers for: how long it is called depends on whether it ever did."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.storage._s3 import Cut
from tests.transfer._bucket_server import BucketServer
from tests.transfer.conftest import OPTIONS

from holdall_store.errors import StorageError
from holdall_store.transfer import executor
from holdall_store.transfer.s3 import S3


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """Give a server that may be stopped; one that nobody answers for is not called twice."""
    monkeypatch.setattr(executor, "UNREACHABLE_DEADLINE", 0.0)
    made = BucketServer()
    yield made
    made.close()


def stop(server: BucketServer) -> None:
    """Stop a server, and let the connections to it break."""
    server.close()
    server.fault = lambda request: Cut(after=False)


def test_a_restart_is_waited_for(server: BucketServer) -> None:
    """A server that did answer is called until the deadline: a restart ends no verb."""
    server.store("root/k", b"1")
    found: list[Any] = []
    with S3("s3://bucket/root", storage_options={"endpoint_url": server.url, **OPTIONS}) as s3:
        assert s3.get("k").blob == b"1"
        stop(server)
        reader = threading.Thread(target=lambda: found.append(s3.get("k").blob))
        reader.start()
        while s3.statistics().get("unreachable", 0) < 2 and reader.is_alive():
            time.sleep(0.01)
        server.fault = lambda request: None
        server.restart()
        reader.join()

    assert found == [b"1"]


def test_a_server_that_never_answered_is_given_up(server: BucketServer) -> None:
    """Most often its name is wrong."""
    server.close()
    with S3("s3://bucket/root", storage_options={"endpoint_url": server.url, **OPTIONS}) as s3:
        with pytest.raises(StorageError, match=r"127\.0\.0\.1") as caught:
            s3.get("k")
        counts = s3.statistics()
    server.restart()

    assert caught.value.errno == errno.ECONNREFUSED
    assert (counts["unreachable"], counts["retries"]) == (1, 0)
