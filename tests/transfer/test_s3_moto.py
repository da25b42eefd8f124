"""`S3` against moto, which implements far more of S3 than the tests' own server, from another pen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.storage._moto import MotoServer

from holdall_store.transfer import _s3_writing
from holdall_store.transfer.s3 import S3, S3GetObject

MIB = 1 << 20


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    """Start moto with a bucket."""
    server = MotoServer()
    server.make_bucket("bulk")
    yield server
    server.close()


@pytest.fixture
def s3(moto: MotoServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[S3]:
    """Give an S3 with a root of its own."""
    monkeypatch.setattr(_s3_writing, "_conditions", {})
    options = {"endpoint_url": moto.url, "key": "k", "secret": "s", "region": "us-east-1"}
    with S3(f"s3://bulk/{request.node.name}", storage_options=options) as made:
        yield made


def test_objects(s3: S3) -> None:
    """Put, look, get, list, copy and delete, with odd names, metadata and empty objects."""
    keys = ["a", "b c+d%41", "ü/ñ", "empty", "x/y/z"]

    s3.put_many([(key, b"" if key == "empty" else key) for key in keys])
    s3.put("meta", "1", content_type="text/x", metadata={"note": "naïve ☂", "rows": "3"})

    assert [found.text for found in s3.get_many(keys)] == ["a", "b c+d%41", "ü/ñ", "", "x/y/z"]
    assert sorted(found.key for found in s3.list_recursive()) == sorted([*keys, "meta"])
    assert sorted(found.key for found in s3.list_paths() if not found.exists) == ["x", "ü"]
    found = s3.info("meta")
    assert (found.content_type, found.metadata) == ("text/x", {"note": "naïve ☂", "rows": "3"})
    s3.copy("b c+d%41", "copy ü+")
    assert s3.get("copy ü+").text == "b c+d%41"
    assert s3.delete_many(found.key for found in s3.list_recursive()) == 7
    assert s3.list_recursive() == []


def test_conditions(s3: S3) -> None:
    """What is there stays."""
    s3.put("a", "1")

    assert s3.put_many([("a", "2"), ("b", "2"), ("c", "2")], overwrite=False) == [
        ("b", f"{s3.url}/b"),
        ("c", f"{s3.url}/c"),
    ]
    assert s3.get("a").text == "1"


def test_large_objects(s3: S3, tmp_path: Path) -> None:
    """Parts up, ranges down, into memory and into files, and parts of them."""
    data = os.urandom(65 * MIB)
    (tmp_path / "file").write_bytes(data)

    s3.put_files([("large", tmp_path / "file")])

    assert s3.get("large").blob == data
    assert s3.get(S3GetObject("large", 3 * MIB, 20 * MIB)).blob == data[3 * MIB : 23 * MIB]
    s3.get_files([("large", tmp_path / "back")])
    assert (tmp_path / "back").read_bytes() == data
    assert s3.sync(tmp_path, f"{s3.url}/d", dry_run=True, checksum=True)[0].reason == "new"


def test_folders(s3: S3, tmp_path: Path) -> None:
    """Up, down, and nothing to do the second time."""
    source = tmp_path / "source"
    for name in ("a", "sub/b c", "sub/ü"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
        os.utime(source / name, (1, 1))

    assert len(s3.sync(source, f"{s3.url}/d")) == 3
    assert s3.sync(source, f"{s3.url}/d", checksum=True) == []
    assert len(s3.download("d", tmp_path / "t")) == 3
    assert (tmp_path / "t" / "sub" / "b c").read_text() == "sub/b c"
    assert len(s3.sync(f"{s3.url}/d", f"{s3.url}/e")) == 3
