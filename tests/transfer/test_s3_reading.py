"""Reading with `S3`: what comes back, in how many requests, and what is refused."""

from __future__ import annotations

import itertools
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.storage._s3 import Reply, Request
from tests.transfer._bucket_server import BucketServer, crc32

from holdall_store.errors import ConflictError, IntegrityError, InvalidNameError, ObjectNotFoundError, StorageError
from holdall_store.transfer.s3 import S3, RangeInfo, S3GetObject, S3Object

MIB = 1 << 20
MakeS3 = Callable[..., S3]

ODD_KEYS = [
    "a b",
    "a+b",
    "a%41b",
    "ü/ñ",
    "a//b",
    "../up",
    ".hidden",
    "a?b#c",
    "a&b=c",
    "x'\"y",
    "tab\there",
    "日本/語.txt",
]


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that differ from place to place."""
    block = b"".join((seed * 7919 + index).to_bytes(4, "big") for index in range(4096))
    return (block * (size // len(block) + 1))[:size]


def test_an_object_comes_with_all_that_is_told_of_it(s3: S3, bucket: BucketServer) -> None:
    """Bytes, text, type, metadata, time, version and place are there after one request."""
    bucket.store("root/a/b.txt", "naïve".encode(), content_type="text/plain", x_amz_meta_rows="3")

    found = s3.get("a/b.txt")

    assert (found.key, found.url, found.prefix) == ("a/b.txt", "s3://bucket/root/a/b.txt", "s3://bucket/root")
    assert (found.blob, found.text, found.size) == ("naïve".encode(), "naïve", 6)
    assert (found.exists, found.downloaded, found.has_info) == (True, True, True)
    assert (found.content_type, found.metadata, found.last_modified) == ("text/plain", {"rows": "3"}, 1795420800.0)
    assert found.range_info == RangeInfo(6, 0, 6)
    assert found.etag is not None
    assert len(found.etag) == 32
    assert found.version_id == "v1"
    assert bytes(found.buffer or b"") == found.blob
    assert found.path is not None
    assert Path(found.path).read_bytes() == found.blob
    assert repr(found) == "<S3Object s3://bucket/root/a/b.txt (6 bytes, local)>"
    assert len(bucket.log) == 1


def test_metaflows_metadata_are_read(s3: S3, bucket: BucketServer) -> None:
    """User metadata that Metaflow wrote, as JSON under one name, come back as it gave them."""
    bucket.store("root/k", b"", **{"x_amz_meta_metaflow-user-attributes": json.dumps({"Rows": "3"})})

    assert s3.info("k").metadata == {"Rows": "3"}


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_are_what_they_are(s3: S3, key: str) -> None:
    """Spaces, signs, dots and letters of all languages mean themselves, in every verb."""
    s3.put(key, b"1")

    assert s3.get(key).blob == b"1"
    assert s3.info(key).size == 1
    assert [found.key for found in s3.list_recursive()] == [key]
    assert [found.blob for found in s3.get_many(s3.list_recursive())] == [b"1"]
    assert s3.copy(key, "copy") == "s3://bucket/root/copy"
    assert s3.delete_many([key, "copy"]) == 2
    assert s3.list_recursive() == []


def test_many_small_objects_are_one_request_each(s3: S3, bucket: BucketServer) -> None:
    """`get_many` of n small objects is n requests, `info_many` n too, and both keep the order."""
    keys = [f"k{number}" for number in range(60)]
    for key in keys:
        bucket.store(f"root/{key}", key.encode())

    found = s3.get_many(reversed(keys))

    assert [each.text for each in found] == keys[::-1]
    assert (bucket.asked("GET"), bucket.asked("HEAD")) == (60, 0)
    assert [each.size for each in s3.info_many(keys)] == [len(key) for key in keys]
    assert (bucket.asked("GET"), bucket.asked("HEAD")) == (60, 60)


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 2), (1, 1), (8 * MIB, 1), (8 * MIB + 1, 2), (16 * MIB, 2), (20 * MIB, 3)]
)
def test_large_objects_are_read_in_ranges(s3: S3, bucket: BucketServer, size: int, requests: int) -> None:
    """The first request tells the size, and the rest comes in ranges of 8 MiB."""
    data = noise(size)
    bucket.store("root/k", data)

    found = s3.get("k")

    assert found.blob == data
    assert len(bucket.log) == requests


def test_listed_objects_need_no_look(s3: S3, bucket: BucketServer) -> None:
    """Whose size a listing told is read in the fewest requests: empty objects too, and large ones without a first try."""
    bucket.store("root/empty", b"")
    bucket.store("root/large", noise(17 * MIB))

    found = s3.get_all()

    assert [len(each.blob or b"") for each in found] == [0, 17 * MIB]
    assert len(bucket.log) == 1 + 1 + 3


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 3, (0, 3)),
        (5, 300, (5, 10)),
        (2, None, (2, 10)),
        (None, 4, (0, 4)),
        (None, -3, (7, 10)),
        (None, -99, (0, 10)),
        (4, 0, (4, 4)),
    ],
)
def test_parts_of_objects(
    s3: S3, bucket: BucketServer, offset: int | None, length: int | None, expected: tuple[int, int]
) -> None:
    """Ranges, open ends and suffixes give those bytes, and say which they are."""
    bucket.store("root/k", b"0123456789")
    begin, end = expected

    found = s3.get(S3GetObject("k", offset, length))

    assert found.blob == b"0123456789"[begin:end]
    assert (found.size, found.range_info) == (end - begin, RangeInfo(10, begin, end - begin))


@pytest.mark.parametrize(("offset", "length"), [(3, 20 * MIB), (9 * MIB, None), (None, -10 * MIB)])
def test_large_parts_are_read_in_ranges(s3: S3, bucket: BucketServer, offset: int | None, length: int | None) -> None:
    """A part that is larger than one request is put together from several."""
    data = noise(25 * MIB)
    bucket.store("root/k", data)
    expected = data[length:] if offset is None else data[offset : None if length is None else offset + length]

    assert s3.get(S3GetObject("k", offset, length)).blob == expected


def test_a_part_beyond_the_end_is_refused(s3: S3, bucket: BucketServer) -> None:
    """A part with no byte of the object in it is an error that names its size; so is a negative offset."""
    bucket.store("root/k", b"0123456789")

    with pytest.raises(InvalidNameError, match="has 10 bytes"):
        s3.get(S3GetObject("k", 500, 3))
    with pytest.raises(InvalidNameError, match="negative"):
        s3.get(S3GetObject("k", -3))


def test_a_server_that_knows_no_ranges(s3: S3, bucket: BucketServer) -> None:
    """Whole objects where parts were asked for are cut here."""
    bucket.store("root/k", b"0123456789")
    bucket.knows_ranges = False

    assert s3.get("k").blob == b"0123456789"
    assert s3.get(S3GetObject("k", 2, 3)).blob == b"234"


def test_what_is_missing(s3: S3, bucket: BucketServer) -> None:
    """It raises with its name, or comes back as what does not exist."""
    bucket.store("root/k", b"1")

    with pytest.raises(ObjectNotFoundError, match="root/no"):
        s3.get_many(["k", "no"])
    found = s3.get_many(["k", "no"], return_missing=True)
    assert [(each.key, each.exists, each.downloaded, each.size) for each in found] == [
        ("k", True, True, 1),
        ("no", False, False, None),
    ]
    assert (found[1].blob, found[1].text, found[1].path, found[1].metadata) == (None, None, None, None)
    assert [each.exists for each in s3.info_many(["no", "k"], return_missing=True)] == [False, True]
    with pytest.raises(ObjectNotFoundError):
        s3.info("no")


def test_an_object_that_is_replaced_while_it_is_read(s3: S3, bucket: BucketServer) -> None:
    """It is read anew, and never mixed; one that changes all the time is given up."""
    old, new = noise(20 * MIB, 1), noise(20 * MIB, 2)
    bucket.store("root/k", old)
    changes = iter([new])

    def replace(request: Request) -> None:
        data = next(changes, None) if request.headers.get("if-match") else None
        if data is not None:
            bucket.store("root/k", data)

    bucket.fault = replace
    assert s3.get("k").blob == new

    changes = (noise(20 * MIB, seed) for seed in itertools.count(3))
    with pytest.raises(ConflictError, match="replaced while it was read"):
        s3.get("k")


def test_damage_is_seen(s3: S3, make_s3: MakeS3, bucket: BucketServer) -> None:
    """Bytes that have another checksum than the server tells are an error; an MD5 counts where all is verified."""
    bucket.store("root/crc", b"damaged", x_amz_checksum_crc32=crc32(b"as it was"))
    bucket.store("root/md5", b"as it was").data = b"damaged"
    bucket.store("root/large", noise(9 * MIB)).data = noise(9 * MIB, 2)

    with pytest.raises(IntegrityError, match="crc32"):
        s3.get_recursive(None)
    assert s3.get("md5").blob == b"damaged"
    thorough = make_s3(verify=True)
    for key in ("md5", "large"):
        with pytest.raises(IntegrityError, match="md5"):
            thorough.get(key)
    assert make_s3(verify=False).get("crc").blob == b"damaged"


def test_beyond_the_memory_budget_results_are_in_files(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """`get_many` keeps in memory what the budget allows; the rest is in files, which go with the S3."""
    for number in range(8):
        bucket.store(f"root/{number}", bytes([number]) * MIB)
    s3 = make_s3(memory="3MB", tmproot=tmp_path)

    found = s3.get_many([str(number) for number in range(8)])

    assert [each.in_memory for each in found] == [True] * 3 + [False] * 5
    assert [each.blob for each in found] == [bytes([number]) * MIB for number in range(8)]
    assert all(each.path and Path(each.path).is_relative_to(tmp_path) for each in found)
    (folder,) = tmp_path.iterdir()
    s3.close()
    assert not folder.exists()


def test_one_object_above_the_budget_goes_through_a_file(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """It is never in memory as a whole; what nobody saw of its file goes with it."""
    data = noise(20 * MIB)
    bucket.store("root/k", data)
    s3 = make_s3(memory=MIB, tmproot=tmp_path)

    found = s3.get("k")

    assert not found.in_memory
    assert bytes(found.buffer or b"") == data
    assert len(list(tmp_path.rglob("0*"))) == 1
    del found
    assert list(tmp_path.rglob("0*")) == []


def test_a_failed_large_read_leaves_no_file(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """What was begun in a file is removed when a range cannot be had."""
    bucket.store("root/k", noise(20 * MIB))
    bucket.fault = lambda request: Reply(403) if request.headers.get("if-match") else None
    s3 = make_s3(memory=MIB, tmproot=tmp_path)

    with pytest.raises(PermissionError):
        s3.get("k")

    assert list(tmp_path.rglob("0*")) == []


def test_iter_many_takes_keys_without_an_end(s3: S3, bucket: BucketServer) -> None:
    """Keys are asked for as they are needed, and the first results are there although there is no last one."""
    for number in range(10):
        bucket.store(f"root/{number}", str(number).encode())
    asked = itertools.count()
    keys = (str(next(asked) % 10) for _ in itertools.repeat(None))

    stream = s3.iter_many(keys, ordered=True)
    first = [found.text for found in itertools.islice(stream, 25)]
    stream.close()  # type: ignore[attr-defined]

    assert first == [str(number % 10) for number in range(25)]
    assert next(asked) < 2000


def test_iter_many_gives_everything_once(s3: S3, bucket: BucketServer) -> None:
    """As they arrive, each key's object comes once; missing ones too where that is asked for."""
    keys = [f"k{number}" for number in range(40)]
    for key in keys[:39]:
        bucket.store(f"root/{key}", key.encode())

    found = {each.key: each.text for each in s3.iter_many(keys, return_missing=True)}

    assert found == {key: key for key in keys[:39]} | {"k39": None}


def test_versions(s3: S3, bucket: BucketServer) -> None:
    """Old versions are listed, read and looked at; deletions are versions that do not exist."""
    bucket.store("root/k", b"old")
    bucket.store("root/k", b"newer")
    s3.delete("k")

    versions = s3.list_versions()

    assert [(each.version_id, each.exists, each.size) for each in versions] == [
        ("v3", False, None),
        ("v2", True, 5),
        ("v1", True, 3),
    ]
    assert s3.get("k", return_missing=True).exists is False
    assert s3.get("k", version_id="v1").blob == b"old"
    assert s3.info("k", version_id="v2").size == 5
    assert [each.blob for each in s3.get_many(versions[1:])] == [b"newer", b"old"]
    assert s3.delete_many(versions) == 3
    assert s3.list_versions() == []


def test_listings_of_many_pages(s3: S3, bucket: BucketServer) -> None:
    """A listing goes on until its end, page by page, with one request each."""
    bucket.page_keys = 7
    for number in range(30):
        bucket.store(f"root/a/{number:02}", b"")

    assert [found.key for found in s3.list_recursive(["a"])] == [f"{number:02}" for number in range(30)]
    assert len(bucket.log) == 5
    assert [found.key for found in itertools.islice(s3.iter_recursive(["a"]), 3)] == ["00", "01", "02"]
    assert len(bucket.log) == 6


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>',
        b"no xml",
        b"",
        b"<Other/>",
        '<?xml version="1.0" encoding="utf-16"?><ListBucketResult/>'.encode("utf-16"),
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>elsewhere</Key><Size>1</Size></Contents></ListBucketResult>",
    ],
)
def test_hostile_listings_are_refused(s3: S3, bucket: BucketServer, body: bytes) -> None:
    """Entities, other encodings, things that are no listing and listings without an end are errors."""
    bucket.fault = lambda request: Reply(200, body)

    with pytest.raises(StorageError, match="root"):
        s3.list_recursive()


def test_files(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """Objects of any size become files, whole, in place of those that were there."""
    data = {"empty": b"", "small": b"1", "large": noise(20 * MIB)}
    for key, each in data.items():
        bucket.store(f"root/{key}", each)
    (tmp_path / "small").write_text("before")

    paths = s3.get_files([(key, tmp_path / key) for key in data])

    assert paths == [str(tmp_path / key) for key in data]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == data
    with pytest.raises(InvalidNameError, match="URL"):
        s3.get_files([("small", "s3://bucket/x")])
    with pytest.raises(StorageError, match="folder"):
        s3.get_files([("small", tmp_path)])


def test_an_interrupted_file_goes_on_where_it_was(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """Ranges that came are not fetched again while the object is the same; no half of a file has its name."""
    s3 = make_s3(concurrency=1)
    data = noise(40 * MIB)
    bucket.store("root/k", data)
    bucket.fault = lambda request: Reply(403) if request.headers.get("range", "").startswith("bytes=33554432") else None
    with pytest.raises(PermissionError):
        s3.get_files([("k", tmp_path / "file")])
    assert [path.name[:6] for path in tmp_path.iterdir()] == [".file."]
    before = len(bucket.log)
    bucket.fault = lambda request: None

    s3.get_files([("k", tmp_path / "file")])

    assert (tmp_path / "file").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert len(bucket.log) - before == 2


def test_an_interrupted_file_of_another_object_begins_anew(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """What came of a version that was replaced is never used."""
    bucket.store("root/k", noise(20 * MIB, 1))
    bucket.fault = lambda request: Reply(403) if request.headers.get("range", "").startswith("bytes=16777216") else None
    with pytest.raises(PermissionError):
        s3.get_files([("k", tmp_path / "file")])
    bucket.fault = lambda request: None
    bucket.store("root/k", noise(20 * MIB, 2))

    s3.get_files([("k", tmp_path / "file")])

    assert (tmp_path / "file").read_bytes() == noise(20 * MIB, 2)


def test_a_full_disk_is_an_error_early(
    s3: S3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for all of a file is made before its ranges are asked for."""

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    bucket.store("root/k", noise(20 * MIB))

    with pytest.raises(StorageError, match="No space left"):
        s3.get_files([("k", tmp_path / "file")])

    assert list(tmp_path.iterdir()) == []
    assert len(bucket.log) == 1


def test_objects_are_sent_to_other_processes(s3: S3, bucket: BucketServer) -> None:
    """An object that was read is pickled with its bytes, and is the same there."""
    bucket.store("root/k", b"bytes", content_type="text/x")

    found: S3Object = pickle.loads(pickle.dumps(s3.get("k")))

    assert (found.blob, found.key, found.content_type, found.size) == (b"bytes", "k", "text/x", 5)
    assert found.path is not None
    assert Path(found.path).read_bytes() == b"bytes"


def test_a_hundred_mebibytes_take_a_known_number_of_requests(s3: S3, bucket: BucketServer) -> None:
    """An object of 100 MiB is the first range and twelve more."""
    bucket.store("root/k", bytes(100 * MIB))

    assert s3.get("k").size == 100 * MIB
    assert len(bucket.log) == 13


def test_two_downloads_of_one_file_do_not_meet(
    make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes second writes into an unfinished file of its own, and both end with the whole file."""
    data = noise(20 * MIB)
    bucket.store("root/k", data)
    begun = iter([True])

    def interfere(request: Request) -> None:
        if request.headers.get("range", "").startswith("bytes=16777216") and next(begun, False):
            bucket._lock.release()
            make_s3().get_files([("k", tmp_path / "file")])
            bucket._lock.acquire()

    bucket.fault = interfere
    make_s3().get_files([("k", tmp_path / "file")])

    assert (tmp_path / "file").read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]


def test_folders_of_a_listing_are_prefixes(s3: S3, bucket: BucketServer) -> None:
    """What `list_paths` gives for a folder can be listed and read in turn."""
    bucket.store("root/a/b/c", b"1")
    (folder,) = s3.list_paths()
    (inner,) = s3.list_paths([folder])

    assert (folder.key, inner.key) == ("a", "b")
    assert [found.text for found in s3.get_recursive([inner])] == ["1"]
