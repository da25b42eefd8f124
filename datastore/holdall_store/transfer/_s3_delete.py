"""Deleting: up to a thousand objects in one request."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from holdall_store.storage.buckets import explain, read_reply
from holdall_store.transfer._exchange import Job, Request, Response
from holdall_store.transfer._s3_checksums import crc32_header
from holdall_store.transfer._s3_xml import escape_xml, fits_xml, is_failure, parse_xml, raise_failure

__all__ = ["DELETE_KEYS_MAX", "Doomed", "delete_job"]

DELETE_KEYS_MAX: Final = 1000
"""S3 takes no more keys in one request."""

ROUNDS_MAX: Final = 5
"""Keys that the server had no time for are asked again so often."""

_AGAIN: Final = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "OperationAborted"})
_DELETED: Final = frozenset({200, 204, 404})
_NO_BATCHES: Final = frozenset({405, 501})


class Doomed(NamedTuple):
    """An object, or one version of it, that is to be deleted."""

    key: str
    version: str = ""


def delete_job(bucket: str, doomed: Sequence[Doomed]) -> Job[int]:
    """Delete objects of one bucket, and return how many; one that is not there is no error."""
    left = [each for each in doomed if fits_xml(each.key)]
    alone = [each for each in doomed if not fits_xml(each.key)]
    if len(doomed) == 1:
        left, alone = [], list(doomed)
    for rounds_left in reversed(range(ROUNDS_MAX)):
        if not left:
            break
        (response,) = yield (_batch_request(bucket, left),)
        if response.status in _NO_BATCHES:
            alone += left
            break
        failed = _failures(response, bucket)
        final = next((told for told in failed if told.get("Code") not in _AGAIN or not rounds_left), None)
        if final is not None:
            _raise(bucket, final)
        left = [Doomed(told.get("Key", ""), told.get("VersionId", "")) for told in failed]
    if alone:
        responses = yield [_single_request(bucket, each) for each in alone]
        for each, response in zip(alone, responses, strict=True):
            if response.status == 404 and b"NoSuchBucket" in bytes(response.body):
                raise_failure(response, "delete", f"s3://{bucket}/{each.key}")
    return len(doomed)


def _single_request(bucket: str, doomed: Doomed) -> Request:
    query = (("versionId", doomed.version),) if doomed.version else ()
    return Request("DELETE", bucket, doomed.key, query, accept=_DELETED)


def _batch_request(bucket: str, doomed: Sequence[Doomed]) -> Request:
    listed = "".join(
        f"<Object><Key>{escape_xml(each.key)}</Key>"
        + (f"<VersionId>{escape_xml(each.version)}</VersionId>" if each.version else "")
        + "</Object>"
        for each in doomed
    )
    body = (
        '<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Quiet>true</Quiet>{listed}</Delete>"
    ).encode()
    md5 = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()  # S3 insists on one of the two
    headers = (
        ("content-type", "application/xml"),
        ("content-md5", md5),
        ("x-amz-checksum-crc32", crc32_header([body])),
    )
    accept = frozenset({200, *_NO_BATCHES})
    return Request(
        "POST", bucket, "", (("delete", ""),), headers, (body,), accept=accept, retry_if=is_failure_as_a_whole
    )


def _failures(response: Response, bucket: str) -> list[dict[str, str]]:
    if not response.body or is_failure_as_a_whole(response):
        raise_failure(response, "delete", f"s3://{bucket}/")
    root = parse_xml(response.body, f"s3://{bucket}")
    told = [child.texts() for name, child in root if name == "Error"]
    return [each for each in told if each.get("Code") not in ("NoSuchKey", "NoSuchVersion")]


def is_failure_as_a_whole(response: Response) -> bool:
    """Tell whether not the deletion of some keys, but the request itself failed."""
    return is_failure(response) and b"DeleteResult" not in bytes(response.body[:2048])


def _raise(bucket: str, told: dict[str, Any]) -> None:
    code, message = told.get("Code", ""), told.get("Message", "")
    answer = read_reply(200, f"<Code>{code}</Code><Message>{message}</Message>")
    raise explain(answer, "delete", told.get("Key", ""), f"s3://{bucket}")
