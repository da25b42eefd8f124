"""What objects may be called, and what is refused; roots in all the ways that they can be given."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.transfer.conftest import OPTIONS

from holdall_store.errors import AccessDeniedError, InvalidNameError, UnsupportedTypeError
from holdall_store.transfer.s3 import S3, S3GetObject

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer

MakeS3 = Callable[..., S3]
RUN = SimpleNamespace(flow="Train", id="20261123")
METAFLOW_RUN = SimpleNamespace(parent=SimpleNamespace(id="Train"), id="20261123")


@pytest.mark.parametrize(
    ("arguments", "root"),
    [
        ({}, None),
        ({"url": "s3://b"}, "s3://b"),
        ({"url": "s3://b/p/q/"}, "s3://b/p/q"),
        ({"url": "S3A://b/p"}, "S3A://b/p"),
        ({"s3root": "s3://b/p"}, "s3://b/p"),
        ({"bucket": "b"}, "s3://b"),
        ({"bucket": "b", "prefix": "/p/"}, "s3://b/p"),
        ({"url": "s3://b/p", "prefix": "q"}, "s3://b/p/q"),
        ({"bucket": "b", "prefix": "p", "run": "Train/7"}, "s3://b/p/Train/7"),
        ({"url": "s3://b/p", "run": RUN}, "s3://b/p/Train/20261123"),
        ({"s3root": "s3://b/p", "run": METAFLOW_RUN}, "s3://b/p/Train/20261123"),
    ],
)
def test_roots(arguments: dict[str, Any], root: str | None) -> None:
    """A root is given as a URL, as a bucket and a prefix, and with the run that it is for."""
    assert S3(**arguments).url == root


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://b/p"},
        {"url": "b/p"},
        {"url": ""},
        {"url": "s3://"},
        {"url": "s3://user:password@b/p"},
        {"url": "s3://b", "s3root": "s3://c"},
        {"url": "s3://b", "bucket": "c"},
        {"prefix": "p"},
        {"run": "Train/7"},
        {"url": "s3://b", "run": "Train"},
        {"url": "s3://b", "run": object()},
        {"url": "s3://b", "memory": "much"},
        {"url": "s3://b", "memory": 0},
        {"url": "s3://b", "concurrency": 0},
        {"url": "s3://b", "deadline": -1},
        {"url": "s3://b", "storage_options": {"regoin": "x"}},
    ],
)
def test_roots_that_cannot_be(arguments: dict[str, Any]) -> None:
    """Contradictions and mistakes are errors at once, and show no password."""
    with pytest.raises(InvalidNameError) as caught:
        S3(**arguments)

    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("key", ["s3://bucket/root/k", "S3://bucket/k", "/k", "x" * 1020, "\ud800", "", None])
def test_keys_below_a_root_that_cannot_be(make_s3: MakeS3, bucket: BucketServer, key: Any) -> None:
    """URLs, leading slashes, what is too long or no text, and the root of a bucket are refused before any request."""
    with pytest.raises(InvalidNameError):
        (make_s3("s3://bucket") if not key else make_s3()).get(key)

    assert bucket.log == []


@pytest.mark.parametrize(
    "key", ["k", "bucket/k", "http://bucket/k", "s3://bucket", "s3://bucket/", "s3:///k", "", None]
)
def test_urls_that_cannot_be(make_s3: MakeS3, bucket: BucketServer, key: Any) -> None:
    """Without a root only whole URLs of objects will do."""
    with pytest.raises(InvalidNameError):
        make_s3(None).get(key)

    assert bucket.log == []


@pytest.mark.parametrize("key", [12, b"k", object(), ("k", 1)])
def test_keys_of_other_types(s3: S3, key: Any) -> None:
    """A key is text, and anything else is told so."""
    with pytest.raises(UnsupportedTypeError):
        s3.get(key)
    with pytest.raises(UnsupportedTypeError):
        s3.get(S3GetObject("k", "1"))  # type: ignore[arg-type]
    with pytest.raises(UnsupportedTypeError, match="list"):
        s3.list_recursive("prefix")
    with pytest.raises(UnsupportedTypeError, match="pairs"):
        s3.put_many(["k"])  # type: ignore[list-item]


def test_whole_urls(make_s3: MakeS3, bucket: BucketServer) -> None:
    """Without a root the key of a result is its URL, and there is no prefix; objects may lie in several buckets."""
    s3 = make_s3(None)

    assert s3.put_many([("s3://bucket/a", "1"), ("s3://other/b c", "2")]) == [
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://other/b c", "s3://other/b c"),
    ]
    found = s3.get_many(["s3://bucket/a", "s3://other/b c"])
    assert [(each.key, each.url, each.prefix, each.text) for each in found] == [
        ("s3://bucket/a", "s3://bucket/a", None, "1"),
        ("s3://other/b c", "s3://other/b c", None, "2"),
    ]
    assert [each.key for each in s3.list_recursive(["s3://bucket", "s3://other/"])] == ["a", "b c"]
    assert s3.delete_many(["s3://bucket/a", "s3://other/b c"]) == 2
    with pytest.raises(InvalidNameError, match="root"):
        s3.get_all()
    with pytest.raises(InvalidNameError, match="root"):
        s3.list_paths()


def test_the_root_itself_may_be_an_object(make_s3: MakeS3, bucket: BucketServer) -> None:
    """Without a key it is the object that has the name of the root, as in Metaflow."""
    bucket.store("root/one", b"1")

    assert make_s3("s3://bucket/root/one").get().text == "1"
    assert make_s3("s3://bucket/root/one").info().size == 1


def test_nothing_secret_is_told(make_s3: MakeS3, bucket: BucketServer) -> None:
    """Neither a repr nor an error nor a pickle has a key in it, whichever kind it is."""
    s3 = make_s3(customer_key=b"K" * 32, storage_options={"token": "a-token-of-the-tests"})
    secrets = [OPTIONS["secret"], "a-token-of-the-tests", "KKKK", "S0tLS"]
    bucket.names.clear()

    with pytest.raises(OSError) as caught:
        s3.get("k")
    told = [repr(s3), str(s3), repr(s3._session), repr(caught.value), repr(s3.statistics()), repr(pickle.dumps(s3))]

    assert [text for text in told for secret in secrets if secret in text] == []


def test_an_s3_goes_to_other_processes(make_s3: MakeS3, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives with its root and options, uses the credentials of that place, and misses a customer's key loudly."""
    bucket.store("root/k", b"1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "there")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-there")

    arrived = pickle.loads(pickle.dumps(make_s3(memory="1MB", encryption="AES256")))
    keyed = pickle.loads(pickle.dumps(make_s3(customer_key=bytes(32))))

    with arrived:
        assert (arrived.url, arrived.get("k").text, arrived._session.memory) == ("s3://bucket/root", "1", 1 << 20)
    assert "Credential=there/" in bucket.log[-1].headers["authorization"]
    with pytest.raises(InvalidNameError, match="customer's key"):
        keyed.get("k")


def test_a_closed_s3_says_so(s3: S3) -> None:
    """Nothing can be done with it any more, and closing it twice is allowed."""
    s3.close()
    s3.close()

    with pytest.raises(OSError, match="closed"):
        s3.get("k")


def test_what_the_server_refuses_is_told_by_its_name(s3: S3, make_s3: MakeS3, bucket: BucketServer) -> None:
    """A bucket that is not there and what one may not do are told as what they are, in every kind of verb."""
    bucket.names.clear()
    for act in (
        lambda: s3.get("k"),
        lambda: s3.list_recursive(),
        lambda: s3.put("k", "1"),
        lambda: s3.delete_many(["a", "b"]),
    ):
        with pytest.raises(OSError, match="no such bucket"):
            act()
    assert not issubclass(AccessDeniedError, LookupError)
