"""A server of S3 for the tests of bulk transfer, and an `S3` that reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.transfer._bucket_server import BucketServer

from holdall_store.transfer import _s3_writing
from holdall_store.transfer.s3 import S3

OPTIONS = {"key": "access", "secret": "a-secret-of-the-tests", "region": "us-east-1"}


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[BucketServer]:
    """Start a server for the tests of a module."""
    made = BucketServer()
    yield made
    made.close()


@pytest.fixture
def bucket(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> BucketServer:
    """Give the server, empty, and nothing known about it."""
    bucket_server.reset()
    monkeypatch.setattr(_s3_writing, "_conditions", {})
    return bucket_server


@pytest.fixture
def make_s3(bucket: BucketServer) -> Iterator[Callable[..., S3]]:
    """Make an `S3` for the server; all are closed in the end."""
    made: list[S3] = []

    def make(url: str | None = "s3://bucket/root", **options: Any) -> S3:
        storage_options = {"endpoint_url": bucket.url, **OPTIONS, **options.pop("storage_options", {})}
        made.append(S3(url, storage_options=storage_options, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def s3(make_s3: Callable[..., S3]) -> S3:
    """Give an `S3` whose root is ``s3://bucket/root``."""
    return make_s3()
