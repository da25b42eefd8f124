"""Checksums: published values, pieces of any size, and what an answer tells."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from holdall_store.errors import IntegrityError
from holdall_store.transfer import _s3_checksums
from holdall_store.transfer._s3_checksums import check_body, digest, md5_etag, multipart_etag, told_checksum

CHECK = b"123456789"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("crc32", "cbf43926"),
        ("crc32c", "e3069283"),
        ("crc64nvme", "ae8b14860a799888"),
        ("sha1", hashlib.sha1(CHECK, usedforsecurity=False).hexdigest()),
        ("sha256", hashlib.sha256(CHECK).hexdigest()),
    ],
)
def test_published_values(name: str, expected: str) -> None:
    """Each algorithm gives the value that its catalogue lists for the digits."""
    assert digest(name, [CHECK]).hex() == expected
    assert digest(name, [CHECK[:4], CHECK[4:5], b"", CHECK[5:]]).hex() == expected


@settings(max_examples=30)
@given(st.sampled_from(["crc32c", "crc64nvme"]), st.integers(0, 3_000_000), st.integers(0, 255))
def test_lanes_change_nothing(name: str, size: int, seed: int) -> None:
    """Long buffers, which are worked on in lanes, have the checksum of their short pieces."""
    data = (bytes(range(seed, 256)) + bytes(range(seed))) * (size // 256 + 1)
    pieces = [data[at : at + 200_000] for at in range(0, len(data), 200_000)]

    assert digest(name, [data]) == digest(name, pieces)


def test_lanes_are_used() -> None:
    """A buffer of two megabytes is long."""
    assert _s3_checksums.LANES * _s3_checksums.LANE_BYTES_MIN < 2 << 20


def test_what_an_answer_tells() -> None:
    """The checksum of the whole counts; one of parts does not, nor one that takes long unless all is verified."""
    crc = b64encode(zlib.crc32(b"x").to_bytes(4, "big")).decode()
    nvme = b64encode(digest("crc64nvme", [b"x"])).decode()

    assert told_checksum({"x-amz-checksum-crc32": crc}, thorough=False) == (
        "crc32",
        zlib.crc32(b"x").to_bytes(4, "big"),
    )
    assert told_checksum({"x-amz-checksum-crc64nvme": nvme}, thorough=False) is None
    assert told_checksum({"x-amz-checksum-crc64nvme": nvme}, thorough=True) == (
        "crc64nvme",
        digest("crc64nvme", [b"x"]),
    )
    assert told_checksum({"x-amz-checksum-crc32": f"{crc}-3"}, thorough=True) is None
    assert told_checksum({"x-amz-checksum-crc32": crc, "x-amz-checksum-type": "COMPOSITE"}, thorough=True) is None
    assert told_checksum({"x-amz-checksum-crc32": "no base64!"}, thorough=True) is None
    assert told_checksum({}, thorough=True) is None


def test_which_etags_are_digests() -> None:
    """Those of objects that were uploaded whole, and not encrypted with a key."""
    etag = hashlib.md5(b"x", usedforsecurity=False).hexdigest()

    assert md5_etag({"etag": f'"{etag}"'}) == etag
    assert md5_etag({"etag": f'"{etag}"', "x-amz-server-side-encryption": "AES256"}) == etag
    assert md5_etag({"etag": f'"{etag}"', "x-amz-server-side-encryption": "aws:kms"}) == ""
    assert md5_etag({"etag": f'"{etag}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}) == ""
    assert md5_etag({"etag": f'"{etag}-2"'}) == md5_etag({"etag": '"1"'}) == md5_etag({}) == ""
    assert multipart_etag([bytes(16), bytes(16)]).endswith("-2")


def test_wrong_bytes_are_told() -> None:
    """The error names the place and the algorithm; right bytes pass."""
    etag = {"etag": '"' + hashlib.md5(b"x", usedforsecurity=False).hexdigest() + '"'}

    check_body(etag, [b"x"], "s3://b/k", thorough=True)
    check_body(etag, [b"y"], "s3://b/k", thorough=False)
    with pytest.raises(IntegrityError, match="s3://b/k has another md5"):
        check_body(etag, [b"y"], "s3://b/k", thorough=True)
