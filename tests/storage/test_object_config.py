"""What URLs, options and the environment say of a bucket."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from holdall_store.config import CloudEnvironment, read_cloud_environment
from holdall_store.errors import InvalidNameError
from holdall_store.storage import open_storage
from holdall_store.storage._object_config import make_config


@pytest.mark.parametrize(
    ("url", "bucket", "prefix", "shown"),
    [
        ("s3://b", "b", "", "s3://b"),
        ("s3://b/", "b", "", "s3://b"),
        ("S3A://b/a/b//", "b", "a/b/", "s3a://b/a/b"),
        ("gs://b/é x", "b", "é x/", "gs://b/é x"),
        ("abfss://c@account.dfs.core.windows.net/p", "c", "p/", "abfss://c/p"),
    ],
)
def test_urls(url: str, bucket: str, prefix: str, shown: str) -> None:
    """A URL is a bucket and a prefix, and is shown without its ornaments."""
    config = make_config(url, environment=CloudEnvironment())
    assert (config.bucket, config.prefix, config.url) == (bucket, prefix, shown)


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///a",
        "s3://b/a//c",
        "s3://b/../c",
        "s3://b?x",
        "s3://b/a#b",
        "s3://b/\0\x1b",
        "s3://b/" + "k" * 200,
    ],
)
def test_what_is_no_bucket(url: str) -> None:
    """What names no bucket, or a prefix that no key can have, is refused."""
    with pytest.raises(InvalidNameError) as caught:
        open_storage(url)

    assert str(caught.value).isprintable()


def test_passwords_in_urls_are_not_repeated() -> None:
    """A URL with a password is refused, and the error does not show it."""
    for url, options in (("s3://me:secret@b/x", {}), ("s3://b", {"endpoint": "http://a:secret@h"})):
        with pytest.raises(InvalidNameError, match="password") as caught:
            open_storage(url, options)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"key": "K", "secret": "S", "token": "T", "endpoint_url": "http://h:1", "client_kwargs": {"region_name": "r"}},
        {"aws_access_key_id": "K", "aws_secret_access_key": "S", "aws_session_token": "T"}
        | {"aws_endpoint": "http://h:1", "aws_region": "r", "aws_allow_http": "true"},
        {"client_kwargs": {"aws_access_key_id": "K", "aws_secret_access_key": "S", "aws_session_token": "T"}}
        | {"endpoint_override": "http://h:1/", "AWS_DEFAULT_REGION": "r", "profile": None},
    ],
    ids=["fsspec", "polars", "boto3"],
)
def test_spellings(options: dict[str, Any]) -> None:
    """Options mean the same in all spellings; they win over the environment."""
    environment = CloudEnvironment(endpoint_url="http://other", region="other")
    config = make_config("s3://b", options, environment)
    assert (config.endpoint, config.region) == ("http://h:1", "r")
    assert dict(config.secrets) == {"access_key_id": "K", "secret_access_key": "S", "session_token": "T"}


def test_addressing_style_and_encryption() -> None:
    """What is passed on is passed on, and the style of addresses is a flag."""
    options = {"config_kwargs": {"s3": {"addressing_style": "virtual"}}, "server_side_encryption": "aws:kms"}
    config = make_config("s3://b", {**options, "requester_pays": True}, CloudEnvironment())
    assert config.virtual_hosted
    assert dict(config.settings) == {"server_side_encryption": "aws:kms", "request_payer": "true"}


def test_mistakes_are_named() -> None:
    """An option that is unknown, half a pair of keys, an endpoint that is none: each says what to write."""
    with pytest.raises(InvalidNameError, match="Did you mean 'endpoint_url'"):
        make_config("s3://b", {"endpoint_ulr": "x"})
    with pytest.raises(InvalidNameError, match="give both"):
        make_config("s3://b", {"key": "K"})
    with pytest.raises(InvalidNameError, match="http://host:port"):
        make_config("s3://b", {"endpoint_url": "localhost:9000"})
    with pytest.raises(InvalidNameError, match="for buckets"):
        open_storage("memory://x", {"key": "K"})
    with pytest.raises(InvalidNameError, match="for buckets"):
        open_storage("folder", {"key": "K"})


def test_the_environment() -> None:
    """The most specific endpoint wins, and an empty variable counts as not set."""
    env = {"AWS_ENDPOINT": "http://1", "AWS_ENDPOINT_URL": "http://2", "AWS_DEFAULT_REGION": "x", "AWS_REGION": ""}
    assert read_cloud_environment(env) == CloudEnvironment(endpoint_url="http://2", region="x")
    found = read_cloud_environment({**env, "AWS_ENDPOINT_URL_S3": "http://3", "AWS_SKIP_SIGNATURE": "true"})
    assert (found.endpoint_url, found.has_s3_endpoint, found.anonymous) == ("http://3", True, True)


def test_secrets_stay_at_home() -> None:
    """Neither the repr nor a pickle holds a secret."""
    config = make_config("az://c/p", {"account_name": "acc", "account_key": "very-secret"})
    assert "very-secret" not in repr(config)
    assert b"very-secret" not in pickle.dumps(config)
    assert dict(pickle.loads(pickle.dumps(config)).settings) == {"account_name": "acc"}
