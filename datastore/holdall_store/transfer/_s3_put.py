"""Uploading: small objects in one request, large ones in parts that travel at the same time."""

from __future__ import annotations

import errno
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from holdall_store.errors import StorageError
from holdall_store.storage import Buffer
from holdall_store.transfer._exchange import Executor, Job, Request, Response
from holdall_store.transfer._plan import MULTIPART_BYTES, Span, part_bytes, split
from holdall_store.transfer._s3_aborts import OpenUpload, abort_uploads
from holdall_store.transfer._s3_checksums import crc32_header, digest, md5_etag, multipart_etag
from holdall_store.transfer._s3_list import SentPart, parts_job, uploads_job
from holdall_store.transfer._s3_names import Place
from holdall_store.transfer._s3_options import Headers
from holdall_store.transfer._s3_sources import Source, StreamSource
from holdall_store.transfer._s3_xml import escape_xml, is_failure, parse_xml, raise_failure

__all__ = ["PutItem", "PutResult", "Uploader", "run_one"]

CREATE_TRIES_MAX: Final = 4
"""So often an object is created whose creation was not answered, and which then was not there."""

BEGUN_TOGETHER: Final = 32
"""Uploads in parts that are begun at the same time, so that a thousand files do not wait a thousand times."""

STREAM_AHEAD_BYTES: Final = 1 << 20
"""Streams are read before their upload begins, and some hundred uploads are prepared ahead."""

BATCH_ITEMS_MAX: Final = 10_000
"""Of objects that are made on the way; so many small ones keep the connections busy for a while."""

STREAM_BATCH_BYTES: Final = 256 << 20
"""So much of a long stream is read before it is sent."""

_CRC: Final = "x-amz-checksum-crc32"
_ABSENT: Final = ("if-none-match", "*")
_STORED: Final = frozenset({200})
_STORED_OR_THERE: Final = frozenset({200, 412})
_LOOKED: Final = frozenset({200, 404})
_COMPLETED: Final = frozenset({200, 404, 412})

_Begun = tuple[str, dict[int, SentPart]]
_NOT_BEGUN: Final[_Begun] = ("", {})

Steps = Generator[Sequence[Request], Sequence[Response], Any]


class PutItem(NamedTuple):
    """One object to upload: ``create`` are the headers that describe it, ``customer`` those of a customer's key."""

    number: int
    place: Place
    source: Source | StreamSource
    create: Headers = ()
    customer: Headers = ()


class PutResult(NamedTuple):
    """An object that was uploaded."""

    number: int
    place: Place
    size: int
    etag: str
    version: str | None


def run_one(executor: Executor, job: Job[Any], bytes_max: int) -> Any:
    """Run one job, and return its result."""
    (result,) = executor.run([job], ordered=True, bytes_max=bytes_max)
    return result


class _Upload:
    """An upload in parts that is under way."""

    def __init__(self, item: PutItem, ident: str) -> None:
        self.item = item
        self.ident = ident
        self.size = 0
        self.parts: dict[int, tuple[str, str]] = {}
        """The ETag and the checksum of each part that is there, by its number."""
        self.lock = threading.Lock()
        self.left = 1
        """Parts that are not there yet, and one for whoever may still add some."""

    def add(self, size: int) -> None:
        """Take note that one more part will come."""
        with self.lock:
            self.left += 1
            self.size += size

    def done(self) -> bool:
        """Take note that one of them came; tell whether it was the last."""
        with self.lock:
            self.left -= 1
            return self.left == 0


class Uploader:
    """Uploads many objects; those that have to be in parts are in the same stream of jobs as all others."""

    def __init__(self, executor: Executor, *, overwrite: bool, resume: bool, bytes_max: int) -> None:
        self._executor = executor
        self._overwrite = overwrite
        self._resume = resume
        self._bytes_max = bytes_max
        self._open: dict[int, _Upload] = {}

    def run(self, items: Iterable[PutItem], *, made_on_the_way: bool = False) -> Iterator[PutResult]:
        """Upload `items`, and yield those that are there now because of it, as they come.

        The executor asks for jobs far ahead. With `made_on_the_way`, their bytes are nobody's but ours, and so no more
        than the budget of them is asked for before they are sent.
        """
        if not made_on_the_way:
            yield from self._run(items)
            return
        for batch in self._batches(items):
            yield from self._run(batch)

    def _batches(self, items: Iterable[PutItem]) -> Iterator[list[PutItem]]:
        batch: list[PutItem] = []
        waiting = 0
        for item in items:
            batch.append(item)
            source = item.source
            waiting += source.size if not isinstance(source, StreamSource) and source.in_memory else 0
            if waiting >= self._bytes_max or len(batch) >= BATCH_ITEMS_MAX:
                yield batch
                batch, waiting = [], 0
        yield batch

    def _run(self, items: Iterable[PutItem]) -> Iterator[PutResult]:
        try:
            for result in self._executor.run(
                self._jobs(items), ordered=False, bytes_max=self._bytes_max, weigh=_weigh_nothing
            ):
                if result is not None:
                    self._open.pop(result.number, None)
                    yield result
        finally:
            self._give_up()

    def _jobs(self, items: Iterable[PutItem]) -> Iterator[Job[PutResult | None]]:
        large: list[PutItem] = []
        for item in items:
            if isinstance(item.source, StreamSource):
                yield self._stream_job(item, item.source)
            elif item.source.size <= MULTIPART_BYTES:
                yield self._put(item, item.source)
            else:
                large.append(item)
                if len(large) == BEGUN_TOGETHER:
                    yield from self._part_jobs(large)
                    large = []
        yield from self._part_jobs(large)

    def _stream_job(self, item: PutItem, stream: StreamSource) -> Job[PutResult | None]:
        """Return the job that uploads a stream, or, if that is long, one that has done so: what is read must not pile up."""
        parts = stream.parts()
        first = next(parts)
        second = next(parts, None)
        if second is None:
            job = self._put(item, first)
            return job if first.size <= STREAM_AHEAD_BYTES else _done(self._run_one(job))
        (upload,) = self._begin([item])
        if upload is None:
            return _done(None)
        batch: list[Job[PutResult | None]] = []
        waiting = 0
        for number, part in enumerate(_chain(first, second, parts), 1):
            upload.add(part.size)
            batch.append(self._part(upload, number, part, Span(0, part.size)))
            waiting += part.size
            if waiting >= min(self._bytes_max, STREAM_BATCH_BYTES):
                self._run_all(batch)
                batch, waiting = [], 0
        self._run_all(batch)
        return self._finish(upload)

    def _run_one(self, job: Job[Any]) -> Any:
        return run_one(self._executor, job, self._bytes_max)

    def _run_all(self, jobs: list[Job[Any]]) -> list[Any]:
        return list(self._executor.run(jobs, ordered=True, bytes_max=self._bytes_max, weigh=_weigh_nothing))

    def _part_jobs(self, items: list[PutItem]) -> Iterator[Job[PutResult | None]]:
        begun = [self._find_begun(item) if self._resume else _NOT_BEGUN for item in items]
        uploads = self._begin(items, [ident for ident, _ in begun])
        for item, upload, (_, there) in zip(items, uploads, begun, strict=True):
            source = item.source
            if upload is None or isinstance(source, StreamSource):
                continue
            for number, span in enumerate(split(0, source.size, part_bytes(source.size)), 1):
                upload.add(span.length)
                yield self._part(upload, number, source, span, there.get(number))
            yield self._finish(upload)

    def _find_begun(self, item: PutItem) -> _Begun:
        place = item.place
        url = f"s3://{place.bucket}/{place.key}"
        ident = self._run_one(uploads_job(place.bucket, place.key, url))
        return (ident, self._run_one(parts_job(place.bucket, place.key, ident, url))) if ident else _NOT_BEGUN

    def _begin(self, items: list[PutItem], idents: list[str] | None = None) -> list[_Upload | None]:
        """Return uploads in parts, begun or found; ``None`` where there is an object that is not to be overwritten."""
        idents = list(idents or [""] * len(items))
        missing = [place for place, ident in enumerate(idents) if not ident]
        for place, ident in zip(missing, self._run_all([self._create(items[place]) for place in missing]), strict=True):
            idents[place] = ident
        uploads = [_Upload(item, ident) if ident else None for item, ident in zip(items, idents, strict=True)]
        self._open.update({upload.item.number: upload for upload in uploads if upload is not None})
        return uploads

    def _create(self, item: PutItem) -> Job[str]:
        bucket, key, _ = item.place
        if not self._overwrite:  # S3 itself looks only when all the parts are there
            (response,) = yield (Request("HEAD", bucket, key, (), item.customer, accept=_LOOKED),)
            if response.status == 200:
                return ""
        headers = (*item.create, ("x-amz-checksum-algorithm", "CRC32"))
        (response,) = yield (
            Request("POST", bucket, key, (("uploads", ""),), headers, accept=_STORED, retry_if=is_failure),
        )
        ident = parse_xml(response.body, f"s3://{bucket}/{key}").texts().get("UploadId", "")
        if not ident:
            raise StorageError(f"The server begins an upload of s3://{bucket}/{key} and gives it no id.")
        return ident

    def _part(
        self, upload: _Upload, number: int, source: Source, span: Span, there: SentPart | None = None
    ) -> Job[PutResult | None]:
        bucket, key, _ = upload.item.place
        data = source.read(span)  # a file is read here, in the loop's thread: so few parts are in memory at once
        if there is not None and _is_same(data, there):
            upload.parts[number] = there.etag, there.checksum
        else:
            query = (("partNumber", str(number)), ("uploadId", upload.ident))
            headers = (*upload.item.customer, (_CRC, crc32_header((data,))))
            (response,) = yield (Request("PUT", bucket, key, query, headers, (data,), accept=_STORED),)
            # A server that does not say the checksum back does not know what that is.
            upload.parts[number] = response.headers.get("etag", ""), response.headers.get(_CRC, "")
        if upload.done():
            return (yield from self._complete(upload))
        return None

    def _finish(self, upload: _Upload) -> Job[PutResult | None]:
        """Complete an upload whose parts were all there before it was known that there are no more."""
        if upload.done():
            return (yield from self._complete(upload))
        return None

    def _complete(self, upload: _Upload) -> Job[PutResult | None]:
        item = upload.item
        bucket, key, _ = item.place
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape_xml(etag)}</ETag>"
            + (f"<ChecksumCRC32>{escape_xml(checksum)}</ChecksumCRC32>" if checksum else "")
            + "</Part>"
            for number, (etag, checksum) in sorted(upload.parts.items())
        )
        body = (
            '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{listed}</CompleteMultipartUpload>"
        ).encode()
        headers = (("content-type", "application/xml"), *item.customer)
        if not self._overwrite:
            headers = (*headers, _ABSENT)
        query = (("uploadId", upload.ident),)
        (response,) = yield (
            Request("POST", bucket, key, query, headers, (body,), accept=_COMPLETED, retry_if=is_failure),
        )
        if response.status == 200:
            told = parse_xml(response.body, f"s3://{bucket}/{key}").texts()
            version = response.headers.get("x-amz-version-id")
            return PutResult(item.number, item.place, upload.size, told.get("ETag", "").strip('"'), version)
        found = yield from self._look_for(upload)
        if found is None and response.status == 404:
            raise_failure(response, "create", f"s3://{bucket}/{key}")
        return found

    def _look_for(self, upload: _Upload) -> Job[PutResult | None]:
        """Return the result if the object is there and is what was uploaded: then an earlier answer was lost."""
        item = upload.item
        bucket, key, _ = item.place
        (response,) = yield (Request("HEAD", bucket, key, (), item.customer, accept=_LOOKED),)
        etag = response.headers.get("etag", "").strip('"')
        tags = [upload.parts[number][0].strip('"') for number in sorted(upload.parts)]
        try:
            expected = multipart_etag(bytes.fromhex(tag) for tag in tags)
        except ValueError:
            return None
        if response.status != 200 or etag != expected:
            return None
        return PutResult(item.number, item.place, upload.size, etag, response.headers.get("x-amz-version-id"))

    def _put(self, item: PutItem, source: Source) -> Job[PutResult | None]:
        checksum = crc32_header((source.read(Span(0, source.size)),)) if source.in_memory else ""
        return self._put_whole(item, source, checksum)

    def _put_whole(self, item: PutItem, source: Source, checksum: str) -> Job[PutResult | None]:
        bucket, key, _ = item.place
        data = source.read(Span(0, source.size))
        crc = (_CRC, checksum or crc32_header((data,)))
        body = (data,) if len(data) else ()
        if self._overwrite:
            (response,) = yield (Request("PUT", bucket, key, (), (*item.create, crc), body, accept=_STORED),)
        else:
            request = Request(
                "PUT",
                bucket,
                key,
                (),
                (*item.create, crc, _ABSENT),
                body,
                accept=_STORED_OR_THERE,
                replayable=False,
            )
            response = yield from self._create_object(item, request, data)
            if response is None:
                return None
        headers = response.headers
        etag = headers.get("etag", "").strip('"')
        return PutResult(item.number, item.place, len(data), etag, headers.get("x-amz-version-id"))

    def _create_object(self, item: PutItem, request: Request, data: Buffer) -> Steps:
        """Create an object if it is absent; ``None`` if it was there. After a lost answer one looks whose it is."""
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
                    return response
                if lost is None:
                    return None
            headers = (*item.customer, ("x-amz-checksum-mode", "ENABLED"))
            (found,) = yield (Request("HEAD", request.bucket, request.key, (), headers, accept=_LOOKED),)
            if found.status == 200:
                return found if _is_of(found, data, lost) else None
        raise lost if lost is not None else StorageError(f"Cannot create s3://{request.bucket}/{request.key}.")

    def _give_up(self) -> None:
        """Remove the parts of uploads that will not be completed, unless they are to be gone on with another time."""
        left = [] if self._resume else [*self._open.values()]
        self._open.clear()
        abort_uploads(self._executor, [OpenUpload(*each.item.place[:2], each.ident) for each in left])


def _is_same(data: Buffer, there: SentPart) -> bool:
    """Tell whether a part that was sent before is this one."""
    return there.size == len(data) and there.etag.strip('"') == digest("md5", (data,)).hex()


def _is_of(found: Response, data: Buffer, lost: StorageError) -> bool:
    """Tell whether an object has these bytes; the error is raised if that cannot be known."""
    headers = found.headers
    if headers.get("content-length") != str(len(data)):
        return False
    if etag := md5_etag(headers):
        return etag == digest("md5", (data,)).hex()
    if told := headers.get(_CRC):
        return told == crc32_header((data,))
    raise lost


def _done(result: PutResult | None) -> Job[PutResult | None]:
    """Return a job that has nothing left to do."""
    yield ()
    return result


def _chain(first: Any, second: Any, rest: Iterable[Any]) -> Iterator[Any]:
    yield first
    yield second
    yield from rest


def _weigh_nothing(result: object) -> int:  # noqa: ARG001 - nothing of what was sent is kept
    return 0
