"""A server of S3 for the tests of the command line, reached as the environment says."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.transfer._bucket_server import BucketServer

from holdall_store.transfer import _s3_writing


@pytest.fixture(scope="module")
def s3_for_commands() -> Iterator[BucketServer]:
    """Start a server for the tests of a module."""
    made = BucketServer()
    yield made
    made.close()


@pytest.fixture
def commands_bucket(s3_for_commands: BucketServer, monkeypatch: pytest.MonkeyPatch) -> BucketServer:
    """Give the server, empty; the environment says where it is."""
    s3_for_commands.reset()
    monkeypatch.setattr(_s3_writing, "_conditions", {})
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_for_commands.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return s3_for_commands
