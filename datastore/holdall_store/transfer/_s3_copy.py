"""Copying from object to object inside of the service."""

from __future__ import annotations

import errno
from typing import Final
from urllib.parse import quote

from holdall_store.errors import InvalidNameError, ObjectNotFoundError, StorageError
from holdall_store.transfer._exchange import Job, Request, Response
from holdall_store.transfer._plan import COPY_BYTES_MAX, Span, copy_part_bytes, split
from holdall_store.transfer._s3_aborts import OpenUpload, OpenUploads
from holdall_store.transfer._s3_checksums import multipart_etag
from holdall_store.transfer._s3_names import Place
from holdall_store.transfer._s3_options import Encryption, Headers
from holdall_store.transfer._s3_put import CREATE_TRIES_MAX
from holdall_store.transfer._s3_xml import escape_xml, is_failure, parse_xml, raise_failure

__all__ = ["CopyItem", "copy_job"]

_DONE: Final = frozenset({200})
_DONE_OR_THERE: Final = frozenset({200, 412})
_COMPLETED: Final = frozenset({200, 404})
_COMPLETED_OR_THERE: Final = frozenset({200, 404, 412})
_LOOKED: Final = frozenset({200, 404})
_TOO_LARGE: Final = ("EntityTooLarge", "InvalidRequest")
"""What a server says, with others of the same status, of an object that must be copied in parts."""

_ABSENT: Final = ("if-none-match", "*")

_DESCRIBING: Final = ("content-type", "content-encoding", "content-language", "content-disposition", "cache-control")


class CopyItem:
    """What to copy where; ``size`` where it is known."""

    __slots__ = ("encryption", "is_conditional", "overwrite", "size", "source", "target", "version")

    def __init__(
        self,
        source: Place,
        target: Place,
        encryption: Encryption,
        version: str | None = None,
        size: int | None = None,
        *,
        overwrite: bool = True,
        is_conditional: bool = False,
    ) -> None:
        if source[:2] == target[:2] and not version and not encryption.write:
            raise InvalidNameError(
                f"The source and the target of a copy are the same: {f's3://{source.bucket}/{source.key}'!r:.300}. S3 copies "
                "an object to itself only if that changes something: an older version, or the encryption. To change its "
                "type or metadata, get() it and put() it."
            )
        self.source = source
        self.target = target
        self.encryption = encryption
        self.version = version
        self.size = size
        self.overwrite = overwrite
        self.is_conditional = is_conditional
        """Whether the server is known to look itself whether there is an object; else one has to look before."""

    @property
    def condition(self) -> Headers:
        """The header by which the server makes a copy only where nothing is."""
        return (_ABSENT,) if self.is_conditional and not self.overwrite else ()

    @property
    def source_headers(self) -> Headers:
        """The headers that name what is copied."""
        source = quote(f"/{self.source.bucket}/{self.source.key}", safe="/-_.~")
        if self.version:
            source = f"{source}?versionId={quote(self.version, safe='')}"
        return (("x-amz-copy-source", source), *self.encryption.source)

    @property
    def url(self) -> str:
        """What is made, for people."""
        return f"s3://{self.target.bucket}/{self.target.key}"


def copy_job(item: CopyItem, uploads: OpenUploads) -> Job[str | None]:
    """Copy an object with its metadata, and return the ETag of the copy; `uploads` are told of one in parts.

    ``None`` is returned where the item does not overwrite, and there was an object.
    """
    if not item.overwrite and not item.is_conditional and (yield from _target(item)).status == 200:
        return None
    if item.size is None or item.size <= COPY_BYTES_MAX:
        try:
            return (yield from _copy_whole(item))
        except ObjectNotFoundError as error:
            source = item.source
            raise ObjectNotFoundError(
                f"There is no object {source.key!r} in s3://{source.bucket} to be copied to {item.url}."
            ) from error
        except StorageError as error:
            if not any(code in str(error) for code in _TOO_LARGE):
                raise
            found = yield from _look(item)
            if int(found.headers.get("content-length", "0")) <= COPY_BYTES_MAX:
                raise
    else:
        found = yield from _look(item)
    if item.condition and (yield from _target(item)).status == 200:
        return None  # S3 itself looks only when all the parts are there
    return (yield from _copy_in_parts(item, found, uploads))


def _copy_whole(item: CopyItem) -> Job[str | None]:
    """Copy an object in one request, and return the ETag; after a lost answer to one with a condition, look whose it is."""
    bucket, key, _ = item.target
    headers = (*item.source_headers, *item.encryption.write, *item.condition)
    if not item.condition:
        (response,) = yield (Request("PUT", bucket, key, (), headers, accept=_DONE, retry_if=is_failure),)
        return _etag_in(response, item)
    request = Request("PUT", bucket, key, (), headers, accept=_DONE_OR_THERE, replayable=False, retry_if=is_failure)
    lost: StorageError | None = None
    for _ in range(CREATE_TRIES_MAX):
        try:
            (response,) = yield (request,)
        except StorageError as error:
            if error.errno != errno.ETIMEDOUT:
                raise
            lost = error
        else:
            if response.status == 200:
                return _etag_in(response, item)
            if lost is None:
                return None
        there = yield from _target(item)
        if there.status == 200:
            etag, copied = there.headers.get("etag", ""), (yield from _look(item)).headers.get("etag", "")
            return etag.strip('"') if etag == copied else None
    raise lost if lost is not None else StorageError(f"Cannot create {item.url}.")


def _etag_in(response: Response, item: CopyItem) -> str:
    return parse_xml(response.body, item.url).texts().get("ETag", "").strip('"')


def _target(item: CopyItem) -> Job[Response]:
    bucket, key, _ = item.target
    (response,) = yield (Request("HEAD", bucket, key, (), item.encryption.read, accept=_LOOKED),)
    return response


def _look(item: CopyItem) -> Job[Response]:
    query = (("versionId", item.version),) if item.version else ()
    source = item.source
    (response,) = yield (Request("HEAD", source.bucket, source.key, query, item.encryption.read, accept=_DONE),)
    return response


def _copy_in_parts(item: CopyItem, found: Response, uploads: OpenUploads) -> Job[str | None]:
    bucket, key, _ = item.target
    told = found.headers
    size, etag = int(told.get("content-length", "0")), told.get("etag", "")
    described = tuple(
        (name, value) for name, value in told.items() if name in _DESCRIBING or name[:11] == "x-amz-meta-"
    )
    (response,) = yield (
        Request(
            "POST",
            bucket,
            key,
            (("uploads", ""),),
            (*described, *item.encryption.write),
            accept=_DONE,
            retry_if=is_failure,
        ),
    )
    ident = parse_xml(response.body, item.url).texts().get("UploadId", "")
    begun = OpenUpload(bucket, key, ident)
    uploads.add(begun)
    upload = ("uploadId", ident)
    spans = split(0, size, copy_part_bytes(size))
    responses = yield [_part_request(item, upload, etag, number, span) for number, span in enumerate(spans, 1)]
    etags = [parse_xml(each.body, item.url).texts().get("ETag", "") for each in responses]
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape_xml(each)}</ETag></Part>"
        for number, each in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    headers = (*item.encryption.read, *item.condition)
    accept = _COMPLETED_OR_THERE if item.condition else _COMPLETED
    (response,) = yield (Request("POST", bucket, key, (upload,), headers, (body,), accept=accept, retry_if=is_failure),)
    if response.status != 200:
        copied = yield from _look_for_copy(item, etags, response)
        if copied is not None:
            uploads.remove(begun)
        return copied
    uploads.remove(begun)
    made = parse_xml(response.body, item.url).texts().get("ETag", "").strip('"')
    if not made:
        raise StorageError(f"The server does not say that {item.url} was made.")
    return made


def _look_for_copy(item: CopyItem, etags: list[str], said: Response) -> Job[str | None]:
    """Return the ETag of the copy if it is there, made of these parts: then an earlier answer was lost."""
    response = yield from _target(item)
    made = response.headers.get("etag", "").strip('"')
    try:
        expected = multipart_etag(bytes.fromhex(etag.strip('"')) for etag in etags)
    except ValueError:  # encrypted with a key, whose ETags are no digests
        expected = ""
    if response.status != 200 or made != expected:
        if said.status == 412:
            return None
        raise_failure(said, "create", item.url)
    return made


def _part_request(item: CopyItem, upload: tuple[str, str], etag: str, number: int, span: Span) -> Request:
    match = (("x-amz-copy-source-if-match", etag),) if etag else ()
    headers = (*item.source_headers, ("x-amz-copy-source-range", span.header), *match, *item.encryption.read)
    query = (("partNumber", str(number)), upload)
    return Request("PUT", item.target.bucket, item.target.key, query, headers, accept=_DONE, retry_if=is_failure)
