"""What metaflow.S3 gives for the same calls: recorded from metaflow 2.19 against moto, and true of `S3` here.

The differences that are meant are tests of their own at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.transfer._bucket_server import BEGINNING, BucketServer

from holdall_store.errors import InvalidNameError, ObjectNotFoundError, UnsupportedTypeError
from holdall_store.transfer.s3 import S3, RangeInfo, S3GetObject, S3PutObject

MakeS3 = Callable[..., S3]
KEYS = ["a/0.txt", "a/b/1.txt", "a/c/2.txt", "f/4.txt", "f", "empty", "sp ace+%41.txt"]


@pytest.fixture(autouse=True)
def objects(bucket: BucketServer) -> None:
    """Store the objects that the table was recorded with: each holds its own key."""
    for key in KEYS:
        bucket.store(f"root/{key}", b"" if key == "empty" else key.encode(), content_type="binary/octet-stream")


def told(found: Any) -> list[tuple[Any, ...]]:
    """Return what the table has of each result."""
    return [(each.key, each.url, each.exists, each.downloaded, each.size) for each in found]


ROOT = "s3://bucket/root"
TABLE: dict[str, tuple[Callable[[S3], Any], list[tuple[Any, ...]]]] = {
    "list_paths": (
        lambda s3: s3.list_paths(["a", "f"]),
        [
            ("0.txt", f"{ROOT}/a/0.txt", True, False, 7),
            ("b", f"{ROOT}/a/b/", False, False, None),
            ("c", f"{ROOT}/a/c/", False, False, None),
            ("4.txt", f"{ROOT}/f/4.txt", True, False, 7),
        ],
    ),
    "list_recursive": (
        lambda s3: s3.list_recursive(["a"]),
        [
            ("0.txt", f"{ROOT}/a/0.txt", True, False, 7),
            ("b/1.txt", f"{ROOT}/a/b/1.txt", True, False, 9),
            ("c/2.txt", f"{ROOT}/a/c/2.txt", True, False, 9),
        ],
    ),
    "get_recursive": (
        lambda s3: s3.get_recursive(["a"]),
        [
            ("0.txt", f"{ROOT}/a/0.txt", True, True, 7),
            ("b/1.txt", f"{ROOT}/a/b/1.txt", True, True, 9),
            ("c/2.txt", f"{ROOT}/a/c/2.txt", True, True, 9),
        ],
    ),
    "get": (lambda s3: [s3.get("a/0.txt")], [("a/0.txt", f"{ROOT}/a/0.txt", True, True, 7)]),
    "get a part": (
        lambda s3: [s3.get(S3GetObject("a/0.txt", 1, 3)), *s3.get_many([S3GetObject("a/0.txt", None, -3)])],
        [("a/0.txt", f"{ROOT}/a/0.txt", True, True, 3)] * 2,
    ),
    "get beyond the end": (
        lambda s3: [s3.get(S3GetObject("a/0.txt", 5, 300))],
        [("a/0.txt", f"{ROOT}/a/0.txt", True, True, 2)],
    ),
    "get an empty one": (
        lambda s3: [s3.get("empty"), *s3.get_many(["empty"])],
        [("empty", f"{ROOT}/empty", True, True, 0)] * 2,
    ),
    "get what is missing": (
        lambda s3: [s3.get("no", return_missing=True), *s3.get_many(["no", "f"], return_missing=True)],
        [("no", f"{ROOT}/no", False, False, None)] * 2 + [("f", f"{ROOT}/f", True, True, 1)],
    ),
    "info": (
        lambda s3: [s3.info("f"), s3.info("no", return_missing=True), *s3.info_many(["f"])],
        [
            ("f", f"{ROOT}/f", True, False, 1),
            ("no", f"{ROOT}/no", False, False, None),
            ("f", f"{ROOT}/f", True, False, 1),
        ],
    ),
    "twice the same": (lambda s3: s3.get_many(["f", "f"]), [("f", f"{ROOT}/f", True, True, 1)] * 2),
    "odd letters": (
        lambda s3: [s3.get("sp ace+%41.txt")],
        [("sp ace+%41.txt", f"{ROOT}/sp ace+%41.txt", True, True, 14)],
    ),
}


@pytest.mark.parametrize("call", TABLE)
def test_results_are_metaflows(s3: S3, call: str) -> None:
    """Keys, URLs and what is there are the same."""
    act, expected = TABLE[call]

    assert told(act(s3)) == expected


def test_what_is_told_of_a_result_is_metaflows(s3: S3) -> None:
    """Type, time, range, prefix and text of a whole object and of a part."""
    whole, part = s3.get("a/0.txt", return_info=True), s3.get(S3GetObject("a/0.txt", 2, 3))

    assert (whole.content_type, whole.metadata, whole.last_modified) == ("binary/octet-stream", None, float(BEGINNING))
    assert (whole.range_info, part.range_info) == (RangeInfo(7, 0, 7), RangeInfo(7, 2, 3))
    assert (whole.prefix, whole.text, part.text) == (ROOT, "a/0.txt", "0.t")
    assert (whole.encryption, whole.has_info) == (None, True)


def test_puts_are_metaflows(s3: S3, tmp_path: Path) -> None:
    """Results are URLs, and pairs of those that were uploaded; what is there stays without ``overwrite``."""
    (tmp_path / "file").write_bytes(b"from a file")

    assert s3.put("p/x", "text", content_type="text/x", metadata={"a": "é"}) == f"{ROOT}/p/x"
    assert (s3.info("p/x").content_type, s3.info("p/x").metadata) == ("text/x", {"a": "é"})
    assert s3.put("p/x", "other", overwrite=False) == f"{ROOT}/p/x"
    assert s3.put_many([("p/x", "a"), ("p/y", b"b"), S3PutObject("p/z", value="c")], overwrite=False) == [
        ("p/y", f"{ROOT}/p/y"),
        ("p/z", f"{ROOT}/p/z"),
    ]
    assert s3.put_files([("p/f", tmp_path / "file"), S3PutObject("p/g", path=str(tmp_path / "file"))]) == [
        ("p/f", f"{ROOT}/p/f"),
        ("p/g", f"{ROOT}/p/g"),
    ]
    assert s3.get("p/x").text == "text"


def test_whole_urls_are_metaflows(make_s3: MakeS3) -> None:
    """Without a root, URLs go in and come out; keys that are none are refused, and so are URLs below a root."""
    s3 = make_s3(None)

    (found,) = s3.get_many([f"{ROOT}/f"])
    assert (found.key, found.url, found.prefix) == (f"{ROOT}/f", f"{ROOT}/f", None)
    assert [each.key for each in s3.list_paths([f"{ROOT}/a"])] == ["0.txt", "b", "c"]
    assert s3.put_many([(f"{ROOT}/q", "1")]) == [(f"{ROOT}/q", f"{ROOT}/q")]
    for act in (lambda: s3.get("f"), lambda: s3.get_all(), lambda: make_s3().get(f"{ROOT}/f")):
        with pytest.raises(InvalidNameError):
            act()


def test_errors_are_known_by_what_they_are(s3: S3) -> None:
    """Where Metaflow has errors of its own there are ours, each the builtin that one would expect, too."""
    with pytest.raises(LookupError):  # MetaflowS3NotFound
        s3.get("no")
    with pytest.raises(ObjectNotFoundError):
        s3.get_many(["f", "no"])
    with pytest.raises(ValueError, match="7 bytes"):  # MetaflowS3InvalidRange
        s3.get(S3GetObject("a/0.txt", 500, 300))
    with pytest.raises(TypeError):  # MetaflowS3InvalidObject
        s3.put("p/q", 12)
    assert issubclass(UnsupportedTypeError, TypeError)


def test_files_go_with_the_s3(make_s3: MakeS3, tmp_path: Path) -> None:
    """The paths of results stay until the ``with`` block ends, also when the results themselves are gone."""
    with make_s3(tmproot=tmp_path) as s3:
        paths = [found.path for found in s3.get_many(["f", "a/0.txt"])]
        assert [Path(path or "").read_text() for path in paths] == ["f", "a/0.txt"]

    assert list(tmp_path.iterdir()) == []


def test_difference_a_prefix_is_a_folder(s3: S3, bucket: BucketServer) -> None:
    """`get_recursive` of ``a`` has nothing of ``ab/3.txt``, which Metaflow's gives under the key ``/3.txt``."""
    bucket.store("root/ab/3.txt", b"")

    assert [found.key for found in s3.get_recursive(["a"])] == [found.key for found in s3.list_recursive(["a"])]


def test_difference_leading_slashes_are_refused(s3: S3) -> None:
    """Metaflow drops them, so that what it lists below ``root//`` it cannot read; here results can be read as they are."""
    with pytest.raises(InvalidNameError, match="leave it out"):
        s3.get("/a/0.txt")


def test_difference_listed_objects_can_be_given_back(s3: S3) -> None:
    """Their keys are relative to the prefix, as in Metaflow; the objects themselves say where they are."""
    assert [found.text for found in s3.get_many(s3.list_recursive(["a"]))] == ["a/0.txt", "a/b/1.txt", "a/c/2.txt"]


def test_difference_metadata_are_headers(s3: S3, bucket: BucketServer) -> None:
    """They are stored as every other tool stores them: text, with names in lower case."""
    s3.put("k", "1", metadata={"Rows": "3"})

    assert bucket.log[-1].headers["x-amz-meta-rows"] == "3"
    assert s3.info("k").metadata == {"rows": "3"}
