"""Keys from the environment: they are used without the chain of AWS, where nothing else is asked for."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from holdall_store.config import AccessKeys, read_access_keys
from holdall_store.storage import _object_library
from holdall_store.storage.buckets import chained_credentials, make_config

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer

KEYS = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret"}

READ = """
import sys, holdall
with holdall.S3("s3://bucket/root") as s3:
    print(s3.get("k").text, "botocore" in sys.modules)
"""


@pytest.mark.parametrize(
    ("variables", "token"),
    [
        ({}, None),
        ({"AWS_SESSION_TOKEN": "t"}, "t"),
        ({"AWS_SECURITY_TOKEN": "old"}, "old"),
        ({"AWS_SESSION_TOKEN": "t", "AWS_SECURITY_TOKEN": "old"}, "t"),
        ({"AWS_SESSION_TOKEN": "", "AWS_PROFILE": ""}, None),
    ],
)
def test_keys_in_full(variables: dict[str, str], token: str | None) -> None:
    """Both of them, with the token of a session under its new name or the old one."""
    found = read_access_keys({**KEYS, **variables})

    assert found is not None
    assert found == AccessKeys("an-id", "a-secret", token)
    assert found.get_frozen_credentials() == found
    assert repr(found) == "AccessKeys()"


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_ACCESS_KEY_ID": ""},
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_PROFILE": "other"},
        {"AWS_DEFAULT_PROFILE": "other"},
        {"AWS_CREDENTIAL_EXPIRATION": "2026-11-23T08:00:00Z"},
    ],
)
def test_what_is_left_to_the_chain(variables: dict[str, str]) -> None:
    """Half of the keys, a profile, or keys that expire."""
    assert read_access_keys({**KEYS, **variables}) is None


def test_a_profile_that_is_asked_for_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment do not hide the profile that a caller names."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    asked: list[Any] = []
    monkeypatch.setattr(_object_library, "_ask_botocore", lambda config, _: asked.append(config.profile) or "chain")

    assert chained_credentials(make_config("s3://bucket")).access_key == "an-id"
    assert chained_credentials(make_config("s3://bucket", {"profile": "other"})) == "chain"
    assert asked == ["other"]
    assert b"a-secret" not in pickle.dumps(make_config("s3://bucket"))


def test_botocore_is_not_imported(bucket: BucketServer) -> None:
    """It takes a quarter of a second."""
    bucket.store("root/k", b"found")
    given = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ = {**given, **KEYS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": bucket.url}

    ran = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True, env=environ)

    assert ran.stdout.split() == ["found", "False"]
    assert "an-id" in bucket.log[0].headers["authorization"]
