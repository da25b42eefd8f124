"""Signatures are those of the reference implementation, whatever the request."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import botocore.auth
import hypothesis.strategies as st
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given

from holdall_store.errors import InvalidNameError
from holdall_store.transfer._signing import (
    EMPTY_SHA256,
    UNSIGNED,
    WRITTEN_MAX,
    Signer,
    encode_head,
    encode_path,
    encode_query,
)

SECRET = "a-secret-key"
WORDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES = st.text("abc XYZ019-_.,;=/", max_size=16).map(str.strip)
NOW = datetime(2026, 11, 23, 8, 14, 2, tzinfo=UTC)


def reference(
    monkeypatch: pytest.MonkeyPatch, method: str, url: str, headers: dict[str, str], payload: str, token: str | None
) -> str:
    """Return the header that botocore signs a request with."""

    class Fixed(botocore.auth.S3SigV4Auth):  # type: ignore[misc]
        def payload(self, request: Any) -> str:
            return payload

    for name in ("get_current_datetime",):
        monkeypatch.setattr(botocore.auth, name, lambda remove_tzinfo=True: NOW.replace(tzinfo=None))
    request = AWSRequest(method, url, headers=dict(headers))
    Fixed(Credentials("AKID", SECRET, token), "s3", "eu-central-1").add_auth(request)
    return str(request.headers["Authorization"])


@given(
    st.sampled_from(("GET", "PUT", "HEAD", "POST", "DELETE")),
    WORDS,
    st.lists(st.tuples(WORDS.filter(bool), WORDS), max_size=4, unique_by=lambda pair: pair[0]),
    st.lists(st.tuples(st.sampled_from(("range", "x-amz-meta-a", "if-none-match", "zz")), VALUES), max_size=3)
    .map(dict)
    .map(lambda pairs: {name: value for name, value in pairs.items() if value}),
    st.sampled_from((EMPTY_SHA256, UNSIGNED, sha256(b"x").hexdigest())),
    st.sampled_from((None, "a/token+=")),
)
def test_signatures_are_those_of_botocore(
    method: str, key: str, query: list[tuple[str, str]], headers: dict[str, str], payload: str, token: str | None
) -> None:
    """Keys and queries of any characters, more headers or none, with a session's token or without."""
    path, text = "/bucket/" + encode_path(key), encode_query(tuple(query))
    signer = Signer("AKID", SECRET, token, "eu-central-1")

    head = signer.encode(method, path, text, "host:9", tuple(headers.items()), payload, NOW.timestamp()).decode()

    url = f"http://host:9{path}" + (f"?{text}" if text else "")
    with pytest.MonkeyPatch.context() as monkeypatch:
        wanted = reference(monkeypatch, method, url, headers, payload, token)
    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
    assert lines["authorization"] == wanted
    assert lines["x-amz-date"] == "20261123T081402Z"
    assert lines.get("x-amz-security-token") == token
    assert head.startswith(f"{method} {path}")
    assert head.endswith("\r\n\r\n")
    assert SECRET not in head


def test_days_and_regions_have_keys_of_their_own() -> None:
    """A signer goes on after midnight, and signs the same as a new one."""
    tomorrow = NOW.timestamp() + 86400

    def sign(signer: Signer, now: float) -> bytes:
        return signer.encode("GET", "/b/k", "", "h", (), EMPTY_SHA256, now)

    old = Signer("AKID", SECRET, None, "eu-central-1")
    first, second = sign(old, NOW.timestamp()), sign(old, tomorrow)
    assert first != second
    assert second == sign(Signer("AKID", SECRET, None, "eu-central-1"), tomorrow)
    assert second != sign(Signer("AKID", SECRET, None, "us-east-1"), tomorrow)


def test_what_is_remembered_signs_like_what_is_new() -> None:
    """Within a second and over seconds, with a few sets of headers again and again and with very many."""
    ranges = [(("range", f"bytes={number}-"),) for number in range(WRITTEN_MAX + 8)]
    signer = Signer("AKID", SECRET, None, "eu-central-1")
    for now in (NOW.timestamp(), NOW.timestamp() + 0.5, NOW.timestamp() + 1, NOW.timestamp()):
        for headers in (*ranges, *ranges[:8], (), ranges[-1]):
            for host in ("h", "other"):
                new = Signer("AKID", SECRET, None, "eu-central-1")
                expected = new.encode("GET", "/b/k", "", host, headers, EMPTY_SHA256, now)
                assert signer.encode("GET", "/b/k", "", host, headers, EMPTY_SHA256, now) == expected


def test_lines_cannot_be_smuggled_in() -> None:
    """A line break in a header is refused, signed or not; the repr holds no secret."""
    signer = Signer("AKID", SECRET, None, "r1")
    for pair in (("a", "b\r\nc: d"), ("a\r\nb", "c"), ("a", "b\0"), ("a:b", "c")):
        with pytest.raises(InvalidNameError, match="line break"):
            signer.encode("GET", "/", "", "h", (pair,), EMPTY_SHA256, 0.0)
        with pytest.raises(InvalidNameError, match="line break"):
            encode_head("GET", "/", "h", (pair,))
    assert SECRET not in repr(signer)


def test_paths_are_encoded_once() -> None:
    """Everything but unreserved characters and the slash; dots and double slashes are part of the key."""
    assert encode_path("a/../b//c.d~e_f-g") == "a/../b//c.d~e_f-g"
    assert encode_path("é +%&=?#") == "%C3%A9%20%2B%25%26%3D%3F%23"
    assert encode_query((("b", "2"), ("a", "ä/"), ("uploads", ""))) == "a=%C3%A4%2F&b=2&uploads="
