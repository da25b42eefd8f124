"""Writing with `S3`: what is stored, in how many requests, who wins, and what is left after a failure."""

from __future__ import annotations

import io
import itertools
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.storage._s3 import Cut, Reply, Request, Stall, failure
from tests.transfer._bucket_server import BucketServer, md5

from holdall_store.errors import (
    AccessDeniedError,
    InvalidNameError,
    NotFoundError,
    StorageError,
    UnsupportedTypeError,
)
from holdall_store.storage.buckets import ObjectConfig
from holdall_store.transfer import _plan, _s3_copy, _s3_put, _s3_sources
from holdall_store.transfer.s3 import S3, S3PutObject

MIB = 1 << 20
MakeS3 = Callable[..., S3]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make uploads in parts cheap: above 64 KiB, in parts of 16 KiB."""
    monkeypatch.setattr(_s3_put, "MULTIPART_BYTES", 64 << 10)
    monkeypatch.setattr(_s3_sources, "MULTIPART_BYTES", 64 << 10)
    monkeypatch.setattr(_plan, "PART_BYTES_MIN", 16 << 10)
    monkeypatch.setattr(_plan, "MIB", 1 << 10)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("text", b"text"),
        ("ü", "ü".encode()),
        (b"bytes", b"bytes"),
        (bytearray(b"array"), b"array"),
        (memoryview(b"0123456789")[::2], b"02468"),
        (io.BytesIO(b"stream"), b"stream"),
        (b"", b""),
        ("", b""),
    ],
)
def test_values_are_stored_as_bytes(s3: S3, bucket: BucketServer, value: Any, stored: bytes) -> None:
    """Text is stored as UTF-8, buffers and files as they are, in one request that the server checks."""
    assert s3.put("k", value) == "s3://bucket/root/k"

    assert bucket.content("root/k") == stored
    assert [request.method for request in bucket.log] == ["PUT"]
    assert "x-amz-checksum-crc32" in bucket.log[0].headers


def test_a_file_is_read_from_its_beginning_and_left_open(s3: S3, bucket: BucketServer) -> None:
    """Metaflow's users write into a buffer and put it as it stands."""
    stream = io.BytesIO()
    stream.write(b"written")
    raw = io.BufferedReader(io.BytesIO(b"buffered"))

    s3.put_many([("a", stream), ("b", raw)])

    assert (bucket.content("root/a"), bucket.content("root/b")) == (b"written", b"buffered")
    assert not raw.closed


@pytest.mark.parametrize("value", [12, None, object(), io.StringIO("text"), ["a"]])
def test_other_values_are_refused(s3: S3, bucket: BucketServer, value: Any) -> None:
    """What is neither text nor bytes is an error that names the key, and nothing is sent."""
    with pytest.raises(UnsupportedTypeError, match="the-key"):
        s3.put("the-key", value)

    assert bucket.log == []


def test_what_is_said_of_an_object_comes_back(s3: S3) -> None:
    """Type and metadata are stored, also with letters that headers cannot hold."""
    metadata = {"Rows": "3", "note": "naïve ☂", "empty": "", "space": " x "}

    s3.put("k", "1", content_type="text/csv", metadata=metadata)
    s3.put_many([S3PutObject("m", value="1", content_type="text/x", metadata={"a": "b"}), ("n", "2")])

    found = s3.info("k")
    assert (found.content_type, found.metadata) == (
        "text/csv",
        {"rows": "3", "note": "naïve ☂", "empty": "", "space": " x "},
    )
    assert [(each.content_type, each.metadata) for each in s3.info_many(["m", "n"])] == [
        ("text/x", {"a": "b"}),
        (None, None),
    ]


@pytest.mark.parametrize(
    "metadata", [{"a b": "1"}, {"a": 1}, {"a": "1", "A": "2"}, {"a": "x" * 3000}, {"a:b": "1"}, {"": "1"}]
)
def test_metadata_that_cannot_be_sent_are_refused(s3: S3, bucket: BucketServer, metadata: Any) -> None:
    """Names and values that S3 would refuse or change are refused before anything is sent."""
    with pytest.raises((InvalidNameError, UnsupportedTypeError)):
        s3.put("k", "1", metadata=metadata)
    with pytest.raises(InvalidNameError):
        s3.put("k", "1", content_type="text/x\r\nx-evil: 1")

    assert bucket.log == []


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"encryption": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        ({"encryption": "aws:kms"}, {"x-amz-server-side-encryption": "aws:kms"}),
        (
            {"kms_key_id": "arn:key"},
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "arn:key"},
        ),
    ],
)
def test_the_server_is_told_how_to_encrypt(
    make_s3: MakeS3, bucket: BucketServer, options: dict[str, Any], headers: dict[str, str]
) -> None:
    """Small and large uploads and copies say how; reads say nothing."""
    s3 = make_s3(**options)
    s3.put("k", "1")
    s3.put("l", bytes(65 * MIB))
    s3.copy("k", "c")

    assert s3.get("k").encryption == headers["x-amz-server-side-encryption"]
    making = [each for each in bucket.log if each.method in ("PUT", "POST")]
    told = [headers.items() <= request.headers.items() for request in making if not request.query.get("uploadId")]
    assert told == [True] * 3
    assert all("x-amz-server-side-encryption" not in each.headers for each in bucket.log if each not in making)


def test_a_customers_key_goes_with_every_request(make_s3: MakeS3, bucket: BucketServer, small_parts: None) -> None:
    """Put, parts, get, look and copy have it; without it the object cannot be read."""
    s3 = make_s3(customer_key=bytes(range(32)))
    s3.put("k", "1")
    s3.put("large", bytes(100 << 10))
    s3.copy("k", "c")

    assert (s3.get("k").text, s3.get("c").text, s3.info("large").size) == ("1", "1", 100 << 10)
    assert s3.info("k").encryption == "SSE-C"
    name = "x-amz-server-side-encryption-customer-key"
    unsaid = [each for each in bucket.log if each.headers.get(name) != b64encode(bytes(range(32))).decode()]
    assert unsaid == []
    with pytest.raises(StorageError, match="Server Side Encryption"):
        make_s3().get("k")


@pytest.mark.parametrize(
    "options",
    [
        {"encryption": "rot13"},
        {"customer_key": b"short"},
        {"customer_key": bytes(32), "encryption": "AES256"},
        {"encryption": "AES256", "kms_key_id": "k"},
    ],
)
def test_encryption_that_means_nothing_is_refused(make_s3: MakeS3, options: dict[str, Any]) -> None:
    """A mistake in how to encrypt is an error at once."""
    with pytest.raises(InvalidNameError):
        make_s3(**options)


def test_large_uploads_go_in_parts(s3: S3, bucket: BucketServer) -> None:
    """Above 64 MiB an upload is begun, its parts are sent, and it is completed: known numbers of requests."""
    data = bytes(range(256)) * 4096 * 70

    s3.put("k", data)

    assert bucket.content("root/k") == data
    assert [request.method for request in bucket.log].count("PUT") == 5
    assert len(bucket.log) == 7
    assert bucket.uploads == {}


def test_a_server_that_knows_no_checksums(s3: S3, bucket: BucketServer, small_parts: None) -> None:
    """It is not told again in the end what it never said."""
    bucket.keeps_checksums = False

    s3.put("k", bytes(100 << 10))

    assert bucket.content("root/k") == bytes(100 << 10)


def test_streams_of_unknown_length(s3: S3, bucket: BucketServer, small_parts: None) -> None:
    """What can only be read once is uploaded whole, in parts if it is long."""

    class Pipe:
        def __init__(self, size: int) -> None:
            self.rest = io.BytesIO(bytes(range(256)) * (size // 256))

        def read(self, count: int) -> bytes:
            return self.rest.read(min(count, 10_000))

    sizes = [0, 256, 64 << 10, 200 << 10]

    s3.put_many([(f"k{size}", Pipe(size)) for size in sizes])

    assert [bucket.content(f"root/k{size}") for size in sizes] == [bytes(range(256)) * (size // 256) for size in sizes]


def test_files_are_uploaded(s3: S3, bucket: BucketServer, tmp_path: Path, small_parts: None) -> None:
    """Small and large files, with one request or in parts, and results in the order given."""
    files = {}
    for name, size in {"a": 0, "b": 10, "c": 100 << 10, "d": 64 << 10}.items():
        files[name] = bytes(range(256)) * (size // 256 + 1)
        (tmp_path / name).write_bytes(files[name])

    done = s3.put_files([(f"x/{name}", tmp_path / name) for name in files])

    assert done == [(f"x/{name}", f"s3://bucket/root/x/{name}") for name in files]
    assert {name: bucket.content(f"root/x/{name}") for name in files} == files
    with pytest.raises(FileNotFoundError, match="nowhere"):
        s3.put_files([("k", tmp_path / "nowhere")])
    with pytest.raises(NotFoundError):
        s3.put_files([("k", tmp_path / "nowhere")])
    with pytest.raises(StorageError, match="no plain file"):
        s3.put_files([("k", tmp_path)])


def test_a_file_that_changes_meanwhile_is_an_error(
    s3: S3, bucket: BucketServer, tmp_path: Path, small_parts: None
) -> None:
    """No mixture of old and new is stored, and no part is left."""
    path = tmp_path / "file"
    path.write_bytes(bytes(200 << 10))

    def touch(request: Request) -> None:
        if request.query.get("partNumber") == "1":
            path.write_bytes(b"other")

    bucket.fault = touch
    with pytest.raises(StorageError, match="changed while it was uploaded"):
        make = S3PutObject("k", path=path)
        s3._session.concurrency = 1
        s3.put_files([make])

    assert bucket.content("root/k") is None
    assert bucket.uploads == {}


def test_a_failed_upload_leaves_nothing(s3: S3, bucket: BucketServer, small_parts: None) -> None:
    """The parts of an upload that cannot be completed are removed."""
    bucket.fault = lambda request: Reply(403) if request.query.get("partNumber") == "3" else None

    with pytest.raises(AccessDeniedError):
        s3.put("k", bytes(100 << 10))

    assert (bucket.uploads, bucket.content("root/k")) == ({}, None)


def test_an_upload_goes_on_where_it_ended(
    make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, small_parts: None
) -> None:
    """With `resume`, parts that are there and hold the same bytes are not sent again; others are."""
    s3 = make_s3(concurrency=1)
    data = b"".join(number.to_bytes(4, "big") for number in range(30_000))
    (tmp_path / "file").write_bytes(data)
    bucket.fault = lambda request: Reply(403) if request.query.get("partNumber") == "6" else None
    with pytest.raises(AccessDeniedError):
        s3.put_files([("k", tmp_path / "file")], resume=True)
    (upload,) = bucket.uploads.values()
    assert sorted(upload.parts) == [1, 2, 3, 4, 5]
    upload.parts[2] = bytes(len(upload.parts[2]))
    bucket.fault = lambda request: None
    before = len(bucket.log)

    s3.put_files([("k", tmp_path / "file")], resume=True)

    assert bucket.content("root/k") == data
    sent = [request.query.get("partNumber") for request in bucket.log[before:] if request.method == "PUT"]
    assert sorted(filter(None, sent)) == ["2", "6", "7", "8"]
    assert bucket.uploads == {}


def test_an_answer_that_says_200_and_is_an_error_is_tried_again(
    s3: S3, bucket: BucketServer, small_parts: None
) -> None:
    """The completion of an upload and a copy may fail after the server has said 200."""
    errors = itertools.chain([failure(200, "InternalError")] * 2, itertools.repeat(None))

    def fail(request: Request) -> Any:
        completes = request.method == "POST" and "uploadId" in request.query
        return next(errors) if completes or "x-amz-copy-source" in request.headers else None

    bucket.fault = fail
    s3.put("k", bytes(100 << 10))
    s3.copy("k", "c")

    assert bucket.content("root/c") == bytes(100 << 10)


def test_a_lost_answer_to_a_completion_is_recognised(s3: S3, bucket: BucketServer, small_parts: None) -> None:
    """If the upload is gone and the object is there as it was sent, all is well."""
    cuts = iter([Cut(after=True)])
    bucket.fault = lambda request: (
        next(cuts, None) if request.method == "POST" and "uploadId" in request.query else None
    )

    assert s3.put("k", bytes(100 << 10)) == "s3://bucket/root/k"

    assert bucket.content("root/k") == bytes(100 << 10)


def test_a_completion_of_an_upload_that_is_gone_is_an_error(s3: S3, bucket: BucketServer, small_parts: None) -> None:
    """If the upload is gone and the object is another, that is said."""
    bucket.store("root/k", b"other")

    def forget(request: Request) -> None:
        if request.method == "POST" and "uploadId" in request.query:
            bucket.uploads.clear()

    bucket.fault = forget
    with pytest.raises(StorageError, match="NoSuchUpload"):
        s3.put("k", bytes(100 << 10))


def test_what_is_there_stays(s3: S3, bucket: BucketServer, small_parts: None) -> None:
    """Without `overwrite` only what is absent is uploaded, and told."""
    bucket.store("root/b", b"before")
    bucket.store("root/large", b"before")

    done = s3.put_many(
        [("a", "1"), ("b", "2"), ("c", "3"), ("large", bytes(100 << 10)), ("new", bytes(100 << 10))], overwrite=False
    )

    assert [key for key, _ in done] == ["a", "c", "new"]
    assert bucket.content("root/b") == bucket.content("root/large") == b"before"
    assert s3.put("b", "again", overwrite=False) == "s3://bucket/root/b"
    assert bucket.content("root/b") == b"before"
    assert bucket.uploads == {}


def test_of_several_creators_one_wins(s3: S3, bucket: BucketServer) -> None:
    """An object that appears between the look and the upload stays."""
    s3.put("first", "1", overwrite=False)

    def appear(request: Request) -> None:
        if request.key == "root/k" and request.method == "PUT":
            bucket.store("root/k", b"theirs")

    bucket.fault = appear
    assert s3.put_many([("k", "ours")], overwrite=False) == []
    assert bucket.content("root/k") == b"theirs"


def test_a_lost_answer_to_a_creation(s3: S3, bucket: BucketServer) -> None:
    """One looks whose the object is: ours if it has our bytes, else somebody was first; absent, it is made again."""
    s3.put("first", "1", overwrite=False)
    for after, theirs, expected in [(True, None, ["k"]), (False, None, ["k"]), (False, b"theirs", [])]:
        bucket.versions.pop(("bucket", "root/k"), None)
        cuts = iter([Cut(after=after)])

        def cut(request: Request, cuts: Any = cuts, theirs: bytes | None = theirs) -> Any:
            if request.method != "PUT" or (found := next(cuts, None)) is None:
                return None
            if theirs is not None:
                bucket.store("root/k", theirs)
            return found

        bucket.fault = cut

        assert [key for key, _ in s3.put_many([("k", "ours")], overwrite=False)] == expected
        assert bucket.content("root/k") == (theirs or b"ours")


def test_a_server_that_ignores_the_condition_is_refused(make_s3: MakeS3, bucket: BucketServer) -> None:
    """It is recognised before it overwrites anything; whoever writes alone may say so."""
    bucket.ignores_conditions = True
    bucket.store("root/there", b"before")

    with pytest.raises(AccessDeniedError, match="single_writer"):
        make_s3().put_many([("there", "1"), ("a", "2"), ("b", "3")], overwrite=False)
    done = make_s3(storage_options={"single_writer": True}).put_many([("there", "1"), ("c", "2")], overwrite=False)

    assert [key for key, _ in done] == ["c"]
    assert bucket.content("root/there") == b"before"
    assert bucket.content("root/b") is None


def test_what_a_server_can_is_asked_once(s3: S3, make_s3: MakeS3, bucket: BucketServer) -> None:
    """After the first creation each one is a single request, in every S3 of the process."""
    s3.put("a", "1", overwrite=False)
    assert len(bucket.log) == 3

    make_s3().put_many([("b", "1"), ("c", "1")], overwrite=False)

    assert len(bucket.log) == 5


def test_an_upload_that_was_changed_on_the_way(s3: S3, bucket: BucketServer) -> None:
    """A server that got other bytes refuses them, and they are sent again."""
    replies = iter([failure(400, "BadDigest", "The CRC32 you specified did not match")])
    bucket.fault = lambda request: next(replies, None)

    s3.put("k", "1")

    assert bucket.content("root/k") == b"1"
    assert len(bucket.log) == 2


def test_many_deletions_are_one_request(s3: S3, bucket: BucketServer) -> None:
    """A thousand go together; what is not there is no error."""
    keys = [f"k{number}" for number in range(1500)]
    for key in keys[:20]:
        bucket.store(f"root/{key}", b"")

    assert s3.delete_many(keys) == 1500

    assert bucket.keys() == []
    assert [request.method for request in bucket.log] == ["POST", "POST"]
    s3.delete("nothing")
    assert s3.delete_many([]) == 0


def test_deletions_that_xml_cannot_say(s3: S3, bucket: BucketServer) -> None:
    """Keys with control characters are deleted one by one, and so is all where the server knows no batches."""
    for key in ("a\x01b", "plain", "other"):
        bucket.store(f"root/{key}", b"")

    s3.delete_many(["a\x01b", "plain"])
    assert bucket.keys() == ["root/other"]
    bucket.deletes_in_batches = False
    bucket.store("root/last", b"")
    s3.delete_many(["other", "last"])
    assert bucket.keys() == []


def test_deletions_that_fail_one_by_one(s3: S3, bucket: BucketServer) -> None:
    """What the server had no time for is asked again; what it refuses is an error with the key's name."""

    def errors(code: str) -> Reply:
        told = f"<Error><Key>root/b</Key><Code>{code}</Code><Message>no</Message></Error>"
        return Reply(200, f"<DeleteResult>{told}</DeleteResult>".encode())

    replies = iter([errors("SlowDown")])
    bucket.fault = lambda request: next(replies, None)
    assert s3.delete_many(["a", "b"]) == 2
    assert [request.body.count(b"<Key>") for request in bucket.log if request.method == "POST"] == [2, 1]
    bucket.fault = lambda request: errors("AccessDenied")
    with pytest.raises(AccessDeniedError, match="root/b"):
        s3.delete_many(["a", "b"])


def test_copies(make_s3: MakeS3, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are copied with what is said of them, also from other buckets, old versions, and in parts."""
    bucket.store("k ü+", b"old", bucket="other", content_type="text/x", x_amz_meta_a="1")
    bucket.store("k ü+", b"new", bucket="other", content_type="text/y", x_amz_meta_a="2")
    s3 = make_s3()
    (newest, oldest) = make_s3(None).list_versions(["s3://other/"])

    assert s3.copy_many([(newest, "a"), (oldest, "b"), ("s3://other/k ü+", "c")]) == [
        "s3://bucket/root/a",
        "s3://bucket/root/b",
        "s3://bucket/root/c",
    ]
    assert [each.text for each in s3.get_many(["a", "b", "c"])] == ["new", "old", "new"]
    assert s3.info("b").metadata == {"a": "1"}

    monkeypatch.setattr(_s3_copy, "COPY_BYTES_MAX", 1000)
    monkeypatch.setattr(_s3_copy, "copy_part_bytes", lambda size: 400)
    bucket.store("root/large", bytes(range(250)) * 4 + b"x", content_type="text/x", x_amz_meta_a="1")
    bucket.fault = lambda request: (
        failure(400, "InvalidRequest", "too large")
        if "x-amz-copy-source" in request.headers and "partNumber" not in request.query
        else None
    )
    s3.copy("large", "copy")
    s3.copy_many([(found, "copy2") for found in s3.list_recursive() if found.key == "large"])

    for key in ("copy", "copy2"):
        found = s3.get(key)
        assert found.blob == bytes(range(250)) * 4 + b"x"
        assert (found.content_type, found.metadata, found.etag[-2:]) == ("text/x", {"a": "1"}, "-3")  # type: ignore[index]
    bucket.fault = lambda request: (
        failure(400, "InvalidRequest", "for another reason") if request.method == "PUT" else None
    )
    with pytest.raises(StorageError, match="another reason"):
        s3.copy("copy", "e")


def test_a_copy_that_is_called_off_leaves_nothing(
    make_s3: MakeS3, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of a copy are removed when it fails, and when another one's failure stops it on its way."""
    monkeypatch.setattr(_s3_copy, "COPY_BYTES_MAX", 1000)
    monkeypatch.setattr(_s3_copy, "copy_part_bytes", lambda size: 400)
    bucket.store("root/large", bytes(1001))
    bucket.store("root/small", b"1")
    bucket.fault = lambda request: Reply(403) if request.query.get("partNumber") == "2" else None
    s3 = make_s3()
    (large,) = [found for found in s3.list_recursive() if found.key == "large"]
    with pytest.raises(AccessDeniedError):
        s3.copy(large, "failed")
    assert bucket.uploads == {}

    begun = threading.Event()

    def fault(request: Request) -> Reply | Stall | None:
        if "partNumber" in request.query:
            begun.set()
            return Stall()
        if request.key == "root/refused":
            return Reply(403) if begun.is_set() else failure(503, "SlowDown")
        return None

    bucket.fault = fault
    with pytest.raises(AccessDeniedError):
        s3.copy_many([(large, "stopped"), ("small", "refused")])

    assert begun.is_set()
    assert bucket.uploads == {}
    assert bucket.keys() == ["root/large", "root/small"]


@pytest.mark.parametrize("native", [True, False])
def test_copies_that_replace_nothing(
    native: bool, make_s3: MakeS3, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there stays: Amazon looks itself, in the one request; elsewhere one looks first. Parts make no difference."""
    monkeypatch.setattr(ObjectConfig, "is_native", property(lambda self: native))
    bucket.store("root/a", b"1")
    bucket.store("root/taken", b"old")
    s3 = make_s3()

    assert s3.copy_many([("a", "new"), ("a", "taken")], overwrite=False) == ["s3://bucket/root/new"]
    assert (bucket.content("root/new"), bucket.content("root/taken")) == (b"1", b"old")
    assert bucket.asked("HEAD") == (0 if native else 2)
    assert [request.headers.get("if-none-match") for request in bucket.log if request.method == "PUT"] == (
        ["*", "*"] if native else [None]
    )

    monkeypatch.setattr(_s3_copy, "COPY_BYTES_MAX", 1000)
    monkeypatch.setattr(_s3_copy, "copy_part_bytes", lambda size: 400)
    bucket.store("root/large", bytes(1001))
    (large,) = [found for found in s3.list_recursive() if found.key == "large"]
    assert s3.copy_many([(large, "parts"), (large, "taken")], overwrite=False) == ["s3://bucket/root/parts"]
    assert (bucket.content("root/parts"), bucket.content("root/taken")) == (bytes(1001), b"old")
    assert bucket.uploads == {}


def test_copies_that_another_one_was_faster_with(
    make_s3: MakeS3, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever creates the object while it is copied has it: in one request, in parts, and where an answer was lost."""
    monkeypatch.setattr(ObjectConfig, "is_native", property(lambda self: True))
    bucket.store("root/a", b"1")
    s3 = make_s3()
    bucket.fault = lambda request: Cut(after=True) if request.method == "PUT" else None
    assert s3.copy_many([("a", "lost")], overwrite=False) == ["s3://bucket/root/lost"]
    assert bucket.content("root/lost") == b"1"

    def overtake(request: Request) -> Cut | None:
        if request.method == "PUT":
            bucket.store("root/late", b"of another")
            return Cut(after=False)
        return None

    bucket.fault = overtake
    assert s3.copy_many([("a", "late")], overwrite=False) == []

    monkeypatch.setattr(_s3_copy, "COPY_BYTES_MAX", 1000)
    bucket.store("root/large", bytes(1001))
    (large,) = [found for found in s3.list_recursive() if found.key == "large"]

    def overtake_parts(request: Request) -> None:
        if request.query.get("partNumber") == "1":
            bucket.store("root/parts", b"of another")

    bucket.fault = overtake_parts
    assert s3.copy_many([(large, "parts")], overwrite=False) == []
    assert (bucket.content("root/late"), bucket.content("root/parts")) == (b"of another", b"of another")
    assert bucket.uploads == {}


def test_every_upload_has_the_bytes_that_were_given(s3: S3, bucket: BucketServer) -> None:
    """Many uploads at once are not confused with each other."""
    objects = {f"k{number}": f"value {number}".encode() * number for number in range(200)}

    done = s3.put_many(objects.items())

    assert [key for key, _ in done] == list(objects)
    assert {key: md5(bucket.content(f"root/{key}") or b"") for key in objects} == {
        key: md5(value) for key, value in objects.items()
    }
    assert len(bucket.log) == 200


def test_objects_that_are_made_on_the_way_do_not_pile_up(make_s3: MakeS3, bucket: BucketServer) -> None:
    """What a generator makes is sent before much more of it is made: no more than the budget is in memory."""
    s3 = make_s3(memory="1MB")
    made = 0
    ahead: list[int] = []

    def objects() -> Any:
        nonlocal made
        for number in range(64):
            made += 1
            ahead.append(made - len(bucket.keys()))
            yield f"k{number:02}", bytes(256 << 10)

    done = s3.put_many(objects())

    assert [key for key, _ in done] == [f"k{number:02}" for number in range(64)]
    assert max(ahead) <= 5


def test_verbs_feed_verbs(s3: S3, bucket: BucketServer) -> None:
    """What one verb yields another one takes, through the same threads: a listing is read, changed and written."""
    bucket.page_keys = 10
    for number in range(35):
        bucket.store(f"root/in/{number:02}", str(number).encode())

    found = s3.iter_many(s3.iter_recursive(["in"]))
    done = s3.put_many((f"out/{each.key}", (each.text or "") * 2) for each in found)

    assert len(done) == 35
    assert bucket.content("root/out/07") == b"77"
    assert s3.delete_many(s3.iter_recursive(["in"])) == 35
