"""Several processes that create the same keys: each key has exactly one creator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.storage._moto import MotoServer

from holdall_store.storage import open_storage

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

REAL = os.environ.get("HOLDALL_TEST_S3_URL")
KEYS = 40
PROCESSES = 3

CREATOR = """
import json, sys
from holdall_store.errors import AlreadyExistsError
from holdall_store.storage import open_storage
url, options, me, keys = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
storage = open_storage(url, options)
list(storage.list())
print("ready", flush=True)
sys.stdin.readline()
won = []
for number in range(keys):
    try:
        # Larger than one segment, so that the requests overlap.
        storage.create(f"log/{number:08d}", [me.encode() * 50_000])
    except AlreadyExistsError:
        continue
    won.append(number)
print(json.dumps(won), flush=True)
"""


@pytest.fixture(params=["server", "moto"] if REAL is None else ["server", "moto", "real"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Give a URL below which nothing lies and its options: on each server here, and where the environment names one."""
    if request.param == "server":
        bucket: Bucket = request.getfixturevalue("bucket")
        yield bucket.empty().url, bucket.options
    elif request.param == "moto":
        server = MotoServer()
        name = f"bucket-{uuid.uuid4().hex}"
        server.make_bucket(name)
        yield f"s3://{name}/s", {"key": "k", "secret": "s", "endpoint_url": server.url, "region": "us-east-1"}
        server.close()
    else:
        assert REAL is not None
        url = f"{REAL}/test-{uuid.uuid4().hex}"
        yield url, None
        storage = open_storage(url)
        storage.delete([info.key for info in storage.list()])


def test_of_several_processes_that_create_a_key_exactly_one_wins(place: tuple[str, dict[str, Any] | None]) -> None:
    """The winner's bytes are there, whole, and all others were told that there already is an object."""
    url, options = place
    names = "abc"[:PROCESSES]
    creators = [
        subprocess.Popen(
            [sys.executable, "-c", CREATOR, url, json.dumps(options), name, str(KEYS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in names
    ]  # fmt: skip
    for creator in creators:
        assert creator.stdout is not None
        assert creator.stdout.readline() == "ready\n"
    for creator in creators:
        assert creator.stdin is not None
        creator.stdin.write("go\n")
        creator.stdin.flush()
    won = {name: json.loads(creator.communicate()[0]) for name, creator in zip(names, creators, strict=True)}
    assert [creator.returncode for creator in creators] == [0] * PROCESSES

    assert sorted(number for numbers in won.values() for number in numbers) == list(range(KEYS))
    storage = open_storage(url, options)
    for name, numbers in won.items():
        for number in numbers:
            assert bytes(storage.get(f"log/{number:08d}")) == name.encode() * 50_000
