"""The verbs of `S3`, each with what it must bring about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engine._engine import stretch

from holdall_store.errors import ObjectNotFoundError
from holdall_store.transfer.s3 import S3, S3GetObject

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer

KIB = 1 << 10
OBJECTS = {
    "a": stretch(1, 3000),
    "empty": b"",
    "large": stretch(2, 300 * KIB),
    "folder/b": stretch(3, 5000),
    "folder/deep/c": stretch(4, 70),
}
FILES = {"x": stretch(5, 4000), "sub/y": stretch(6, 200 * KIB), "sub/z": b""}

Verb = Callable[[S3, "BucketServer", Path], None]


def files_in(folder: Path) -> dict[str, bytes]:
    """Return what a folder shows."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def make_files(folder: Path) -> Path:
    """Make some files."""
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def get(s3: S3, server: BucketServer, folder: Path) -> None:
    """Read objects whole."""
    for key, data in OBJECTS.items():
        assert s3.get(key).blob == data
    assert s3.get("absent", return_missing=True).exists is False
    with pytest.raises(ObjectNotFoundError, match="absent"):
        s3.get("absent")


def get_parts(s3: S3, server: BucketServer, folder: Path) -> None:
    """Read parts of objects."""
    assert s3.get(S3GetObject("large", 1000, 5000)).blob == OBJECTS["large"][1000:6000]
    assert s3.get(S3GetObject("large", 1000, 200 * KIB)).blob == OBJECTS["large"][1000 : 1000 + 200 * KIB]
    assert s3.get(S3GetObject("a", length=-10)).blob == OBJECTS["a"][-10:]


def get_many(s3: S3, server: BucketServer, folder: Path) -> None:
    """Read many objects, some twice, one of which is not there."""
    keys = [*OBJECTS, "absent", *OBJECTS]
    found = s3.get_many(keys, return_missing=True)
    assert [each.blob if each.exists else None for each in found] == [OBJECTS.get(key) for key in keys]


def iter_many(s3: S3, server: BucketServer, folder: Path) -> None:
    """Read many objects as they come, and in order."""
    assert [each.blob for each in s3.iter_many(OBJECTS, ordered=True)] == [*OBJECTS.values()]
    assert {each.key: each.blob for each in s3.iter_many(OBJECTS)} == OBJECTS


def get_recursive(s3: S3, server: BucketServer, folder: Path) -> None:
    """Read folders."""
    assert {each.key: each.blob for each in s3.get_all()} == OBJECTS
    assert [each.blob for each in s3.get_recursive(["folder"])] == [OBJECTS["folder/b"], OBJECTS["folder/deep/c"]]


def get_files(s3: S3, server: BucketServer, folder: Path) -> None:
    """Read into files."""
    s3.get_files([(key, folder / key.replace("/", "-")) for key in OBJECTS])
    assert files_in(folder) == {key.replace("/", "-"): data for key, data in OBJECTS.items()}


def info(s3: S3, server: BucketServer, folder: Path) -> None:
    """Look at objects."""
    assert s3.info("large").size == len(OBJECTS["large"])
    assert [each.size for each in s3.info_many(OBJECTS)] == [len(data) for data in OBJECTS.values()]
    assert s3.info("absent", return_missing=True).exists is False


def list_(s3: S3, server: BucketServer, folder: Path) -> None:
    """List, page by page."""
    server.page_keys = 2
    expected = {key: len(data) for key, data in OBJECTS.items()}
    assert {each.key: each.size for each in s3.list_recursive()} == expected
    assert {each.key: each.size for each in s3.iter_recursive()} == expected
    assert {each.key.rstrip("/") for each in s3.list_paths()} == {"a", "empty", "large", "folder"}
    assert len(s3.list_versions()) == len(OBJECTS)


def put(s3: S3, server: BucketServer, folder: Path) -> None:
    """Put objects, one by one."""
    for number, data in enumerate(FILES.values()):
        s3.put(f"new{number}", data, metadata={"number": str(number)})
        assert server.content(f"root/new{number}") == data


def put_if_absent(s3: S3, server: BucketServer, folder: Path) -> None:
    """Put objects that are there or not."""
    for key, data in FILES.items():
        s3.put(f"new/{key}", data, overwrite=False)
        s3.put(f"new/{key}", b"other", overwrite=False)
        assert server.content(f"root/new/{key}") == data
    s3.put("a", b"other", overwrite=False)
    assert server.content("root/a") == OBJECTS["a"]


def put_many(s3: S3, server: BucketServer, folder: Path) -> None:
    """Put objects, many at once."""
    s3.put_many([(f"new/{key}", data) for key, data in FILES.items()])
    assert {key: server.content(f"root/new/{key}") for key in FILES} == FILES


def put_files(s3: S3, server: BucketServer, folder: Path) -> None:
    """Put files, also ones that could be gone on with."""
    make_files(folder)
    s3.put_files([(f"new/{name}", folder / name) for name in FILES])
    s3.put_files([(f"again/{name}", folder / name) for name in FILES], resume=True)
    assert {key: server.content(f"root/new/{key}") for key in FILES} == FILES
    assert {key: server.content(f"root/again/{key}") for key in FILES} == FILES


def copy(s3: S3, server: BucketServer, folder: Path) -> None:
    """Copy objects, one of them in parts."""
    s3.copy_many([(key, f"copy/{key}") for key in OBJECTS])
    assert {key: server.content(f"root/copy/{key}") for key in OBJECTS} == OBJECTS


def delete(s3: S3, server: BucketServer, folder: Path) -> None:
    """Delete one object, and many."""
    s3.delete("a")
    s3.delete_many(["empty", "folder/b", "absent"])
    assert server.keys() == ["root/folder/deep/c", "root/large"]


def download(s3: S3, server: BucketServer, folder: Path) -> None:
    """Read a folder into a folder."""
    s3.download(None, folder)
    assert files_in(folder) == OBJECTS


def upload(s3: S3, server: BucketServer, folder: Path) -> None:
    """Put a folder."""
    s3.upload(make_files(folder), "new")
    assert {key: server.content(f"root/new/{key}") for key in FILES} == FILES


def sync(s3: S3, server: BucketServer, folder: Path) -> None:
    """Make a folder, a prefix and a prefix of another bucket the same."""
    s3.sync(make_files(folder / "up"), "s3://bucket/root/up", delete=True)
    assert {key: server.content(f"root/up/{key}") for key in FILES} == FILES
    s3.sync("s3://bucket/root/up", folder / "down", delete=True)
    assert files_in(folder / "down") == FILES
    s3.sync("s3://bucket/root/up", "s3://other/there")
    assert {key: server.content(f"there/{key}", "other") for key in FILES} == FILES


READS: dict[str, Verb] = {
    "get": get, "get_parts": get_parts, "get_many": get_many, "iter_many": iter_many, "get_recursive": get_recursive,
    "get_files": get_files, "info": info, "list": list_, "download": download,
}  # fmt: skip
WRITES: dict[str, Verb] = {
    "put": put, "put_if_absent": put_if_absent, "put_many": put_many, "put_files": put_files, "copy": copy,
    "delete": delete, "upload": upload, "sync": sync,
}  # fmt: skip
VERBS = READS | WRITES
