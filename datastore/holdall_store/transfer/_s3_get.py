"""Reading objects: small ones in one request, large ones in ranges that run at the same time."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from holdall_store.errors import ConflictError, IntegrityError, InvalidNameError, ObjectNotFoundError, StorageError
from holdall_store.transfer._exchange import FileTarget, Job, Request, Response
from holdall_store.transfer._plan import FIRST_BYTES, Span, parse_content_range, range_bytes, split
from holdall_store.transfer._s3_checksums import check_body
from holdall_store.transfer._s3_missing import bucket_job, is_missing_bucket
from holdall_store.transfer._s3_names import Place
from holdall_store.transfer._s3_objects import RangeInfo, S3Object, TempFolder, keep_headers
from holdall_store.transfer._s3_options import Headers
from holdall_store.transfer._s3_xml import raise_failure

__all__ = ["RESTARTS_MAX", "Reader", "Wanted", "allocate", "get_job", "head_job", "read_file_parts"]

RESTARTS_MAX: Final = 3
"""An object that is replaced while it is read is read anew so often; one that changes faster cannot be read whole."""

FILE_READ_BYTES: Final = 1 << 20

_MISSING_OK: Final = frozenset({200, 206, 404, 412, 416})
_FOUND: Final = frozenset({200, 206, 412, 416})
_RANGE: Final = frozenset({206, 412, 416})
_HEAD: Final = frozenset({200})
_HEAD_MISSING_OK: Final = frozenset({200, 404})

Steps = Generator[Sequence[Request], Sequence[Response], Any]


class Wanted:
    """What to read of one object: all of it, or a part; ``size`` and ``etag`` where a listing told them."""

    __slots__ = ("etag", "length", "offset", "place", "prefix", "size", "version")

    def __init__(
        self,
        place: Place,
        prefix: str | None,
        offset: int | None = None,
        length: int | None = None,
        version: str | None = None,
        size: int | None = None,
        etag: str = "",
    ) -> None:
        self.place = place
        self.prefix = prefix
        self.offset = offset
        self.length = length
        self.version = version
        self.size = size
        self.etag = etag

    @property
    def query(self) -> Headers:
        """The version, as a query."""
        return (("versionId", self.version),) if self.version else ()

    @property
    def url(self) -> str:
        """The address, for people: what cannot be printed is escaped."""
        text = f"s3://{self.place.bucket}/{self.place.key}"
        return text if text.isprintable() else repr(text)[1:-1]

    def __str__(self) -> str:
        return self.url


class Reader:
    """How objects are read: with which headers, how much of them in memory, and what is checked."""

    __slots__ = ("_first", "buckets", "headers", "held", "look_headers", "memory", "missing_ok", "temp", "verify")

    def __init__(
        self,
        headers: Headers,
        temp: TempFolder,
        memory: int,
        verify: bool | None,
        *,
        missing_ok: bool = False,
        buckets: set[str] | None = None,
    ) -> None:
        told = (*headers, ("x-amz-checksum-mode", "ENABLED"))
        # To be told the checksum takes the right to decrypt, which to look at an object does not.
        self.look_headers = told if verify is True else headers
        self.headers = headers = told if verify is not False else headers
        self._first = (*headers, ("range", Span(0, FIRST_BYTES).header))
        self.temp = temp
        self.memory = memory
        self.verify = verify
        self.missing_ok = missing_ok
        self.buckets = buckets
        """Buckets that are known to be there; ``None`` if it does not matter whether one is."""
        self.held = 0
        """Bytes of results that the caller keeps."""

    def ranged(self, header: str, etag: str = "") -> Headers:
        """Return the headers of a request for a range, of the object with `etag` and no other."""
        match = (("if-match", etag),) if etag else ()
        return (*self.headers, ("range", header), *match)

    def first(self, wanted: Wanted) -> Request:
        """Return the first request for `wanted`."""
        place, size = wanted.place, wanted.size
        if self.wants_all(wanted):
            headers = self._first if size is None or size > FIRST_BYTES else self.headers
        elif wanted.length is not None and wanted.length < 0:
            headers = self.ranged(f"bytes={wanted.length}")
        else:
            begin = wanted.offset or 0
            step = FIRST_BYTES if wanted.length is None else min(wanted.length, FIRST_BYTES)
            headers = self.ranged(Span(begin, begin + step).header)
        accept = _MISSING_OK if self.missing_ok else _FOUND
        return Request("GET", place.bucket, place.key, wanted.query, headers, accept=accept)

    @staticmethod
    def wants_all(wanted: Wanted) -> bool:
        """Tell whether a whole object is wanted."""
        return wanted.offset is None and wanted.length is None

    def check(self, headers: Mapping[str, str], body: memoryview, wanted: Wanted) -> None:
        """Raise `IntegrityError` if `body`, which is the whole object, is not what the server says that it is."""
        if self.verify is not False:
            check_body(headers, (body,), wanted, thorough=self.verify is True)

    def keeps_in_memory(self, size: int) -> bool:
        """Tell whether `size` bytes more may be kept in memory."""
        return self.held + size <= self.memory

    def make(
        self, wanted: Wanted, headers: Mapping[str, str], data: memoryview | None, span: Span, total: int
    ) -> S3Object:
        """Return the object that was read."""
        size = span.end - span.begin
        info = RangeInfo(total, span.begin, size)
        bucket, key, name = wanted.place
        return S3Object(name, bucket, key, wanted.prefix, size, keep_headers(headers), data, self.temp, info)

    def missing(self, wanted: Wanted) -> S3Object:
        """Return what is given back for an object that does not exist."""
        place = wanted.place
        return S3Object(place.name, place.bucket, place.key, wanted.prefix, None)

    def look_for_bucket(self, wanted: Wanted) -> Job[None]:
        """Raise `StorageError` if the object is missing because its bucket is."""
        if self.buckets is not None:
            yield from bucket_job(wanted.place, self.buckets)


def get_job(reader: Reader, wanted: Wanted) -> Job[S3Object]:
    """Read an object, or a part of one."""
    found: S3Object | None
    length, torn = wanted.length, 0
    if length == 0 or (length is not None and length < -FIRST_BYTES) or _is_known_large(wanted):
        return (yield from _get_sized(reader, wanted))
    for _ in range(RESTARTS_MAX):
        (response,) = yield (reader.first(wanted),)
        status = response.status
        if status == 206:
            body = response.body
            size = len(body)
            # What is true of most objects is found out without parsing.
            if response.headers.get("content-range") == f"bytes 0-{size - 1}/{size}" and reader.wants_all(wanted):
                if reader.verify is not False:
                    reader.check(response.headers, body, wanted)
                return reader.make(wanted, response.headers, body, Span(0, size), size)
            told = parse_content_range(response.headers.get("content-range", ""))
            if told is not None and told[0].length != size:  # torn by something that made the length fit
                torn += 1
                found = None
            else:
                found = yield from _go_on(reader, wanted, response, told)
        elif status == 200:
            found = _cut(reader, wanted, response)
        elif status == 404:
            return (yield from _miss(reader, wanted, response))
        elif status == 416:
            found = yield from _get_by_size(reader, wanted)
        else:
            found = None
        if found is not None:
            return found
        wanted.size, wanted.etag = None, ""  # what a listing told is no longer so
    if torn == RESTARTS_MAX:
        raise IntegrityError(
            f"The server sends fewer or more bytes of {wanted.url} than it says that it does, {torn} times in a row."
        )
    raise _changed(wanted)


def _get_sized(reader: Reader, wanted: Wanted) -> Job[S3Object]:
    """Read what the first bytes are not asked for, because its size has to be known, or is."""
    found: S3Object | None
    for _ in range(RESTARTS_MAX):
        found = yield from _get_by_size(reader, wanted)
        if found is not None:
            return found
        wanted.size, wanted.etag = None, ""  # what a listing told is no longer so
    raise _changed(wanted)


def _miss(reader: Reader, wanted: Wanted, response: Response) -> Job[S3Object]:
    """Return what is given back for an object that does not exist, if its bucket does."""
    if is_missing_bucket(response):
        raise_failure(response, "read", wanted.url)
    if not response.body:  # as something between here and there answers
        yield from reader.look_for_bucket(wanted)
    return reader.missing(wanted)


def _is_known_large(wanted: Wanted) -> bool:
    size = wanted.size
    return size is not None and size > FIRST_BYTES and wanted.offset is None and wanted.length is None


def _changed(wanted: Wanted) -> ConflictError:
    return ConflictError(
        f"{wanted.url} was replaced while it was read, {RESTARTS_MAX} times in a row: try again when it is at rest."
    )


def _cut(reader: Reader, wanted: Wanted, response: Response) -> S3Object:
    """Return what was asked for out of a whole object, which a server that knows no ranges sends."""
    body, total = response.body, len(response.body)
    reader.check(response.headers, body, wanted)
    span = _resolve(wanted, total)
    return reader.make(wanted, response.headers, body[span.begin : span.end], span, total)


def _resolve(wanted: Wanted, total: int) -> Span:
    """Return the bytes that are wanted of an object of `total` bytes."""
    offset, length = wanted.offset or 0, wanted.length
    if wanted.offset is None and length is None:
        return Span(0, total)
    if length is not None and length < 0:
        offset, length = max(total + length, 0), None
    if offset < 0 or offset > total or (offset == total and length != 0):
        raise InvalidNameError(f"{wanted.url} has {total} bytes: there are none from {offset}.")
    return Span(offset, total if length is None else min(offset + length, total))


def _get_by_size(reader: Reader, wanted: Wanted) -> Steps:
    """Read what is wanted when its size is told by a listing, or by a HEAD."""
    if _is_known_large(wanted) and wanted.etag and wanted.size is not None:
        total, headers = wanted.size, {"etag": wanted.etag}
    else:
        response = yield from _head(reader, wanted)
        if response.status == 404:
            return reader.missing(wanted)
        headers, total = response.headers, _length(response, wanted)
    span = _resolve(wanted, total)
    if span.length == 0:
        return reader.make(wanted, headers, memoryview(b""), span, total)
    found = yield from _fetch(reader, wanted, headers, memoryview(b""), span, total)
    return found


def _go_on(reader: Reader, wanted: Wanted, response: Response, told: tuple[Span, int] | None) -> Steps:
    """Read what the first answer lacks, which says what it holds."""
    if told is None:
        raise StorageError(f"The server's answer for {wanted.url} does not say which bytes it holds.")
    got, total = told
    span = _resolve(wanted, total)
    if got.begin != span.begin:
        raise StorageError(f"The server sent other bytes of {wanted.url} than it was asked for.")
    if got.end >= span.end:
        return reader.make(wanted, response.headers, response.body[: span.length], span, total)
    found = yield from _fetch(reader, wanted, response.headers, response.body, span, total)
    return found


def _fetch(
    reader: Reader, wanted: Wanted, headers: Mapping[str, str], got: memoryview, span: Span, total: int
) -> Steps:
    """Read a span in parallel ranges, after what is there already; ``None`` if the object was replaced meanwhile."""
    if reader.keeps_in_memory(span.length):
        view = anonymous_memory(span.length)
        view[: len(got)] = got
        answer = yield from _ranges(reader, wanted, headers, span, len(got), total, lambda at, end: view[at:end])
        if answer is None:
            return None
        if span.length == total:
            yield from _verify_whole(reader, wanted, answer, [view])
        return reader.make(wanted, answer, view, span, total)
    path = reader.temp.new_path()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(error.errno, f"Cannot make {path!r}, for {wanted.url}: {error.strerror}.") from error
    done = None
    try:
        allocate(descriptor, span.length, path, wanted)
        _write_all(descriptor, got)
        answer = yield from _ranges(
            reader, wanted, headers, span, len(got), total, lambda at, _: FileTarget(descriptor, at)
        )
        if answer is not None:
            if span.length == total:
                yield from _verify_whole(reader, wanted, answer, read_file_parts(descriptor, total))
            done = reader.make(wanted, answer, None, span, total)
            done.keep_file(path)
        return done
    finally:
        os.close(descriptor)
        if done is None:
            os.unlink(path)


def _ranges(
    reader: Reader, wanted: Wanted, headers: Mapping[str, str], span: Span, skip: int, total: int, target: Any
) -> Steps:
    """Read the ranges after `skip` bytes of `span` into their targets; return the headers, or ``None`` if it changed."""
    etag = headers.get("etag", "")
    place = wanted.place
    spans = split(span.begin + skip, span.end, range_bytes(span.length))
    responses = yield [
        Request(
            "GET",
            place.bucket,
            place.key,
            wanted.query,
            reader.ranged(each.header, etag),
            target=target(each.begin - span.begin, each.end - span.begin),
            bytes_expected=each.length,
            accept=_RANGE,
        )
        for each in spans
    ]
    for each, response in zip(spans, responses, strict=True):
        if response.status != 206 or response.headers.get("etag", "") != etag:
            return None
        if parse_content_range(response.headers.get("content-range", "")) != (each, total):
            return None
    return headers if "last-modified" in headers else responses[0].headers


def _verify_whole(reader: Reader, wanted: Wanted, headers: Mapping[str, str], parts: Any) -> Steps:
    """Compare a large object with its checksum, which no answer for a range tells, if all is to be checked."""
    if reader.verify is True:
        response = yield from _head(reader, wanted)
        if response.headers.get("etag") == headers.get("etag"):
            check_body(response.headers, parts, wanted, thorough=True)


def _head(reader: Reader, wanted: Wanted) -> Steps:
    place = wanted.place
    accept = _HEAD_MISSING_OK if reader.missing_ok else _HEAD
    request = Request("HEAD", place.bucket, place.key, wanted.query, reader.look_headers, accept=accept)
    try:
        (response,) = yield (request,)
    except ObjectNotFoundError:
        yield from reader.look_for_bucket(wanted)
        raise
    if response.status == 404:
        yield from reader.look_for_bucket(wanted)
    return response


def head_job(reader: Reader, wanted: Wanted) -> Job[S3Object]:
    """Look at an object."""
    response = yield from _head(reader, wanted)
    if response.status == 404:
        return reader.missing(wanted)
    place = wanted.place
    size = _length(response, wanted)
    return S3Object(place.name, place.bucket, place.key, wanted.prefix, size, keep_headers(response.headers))


def _length(response: Response, wanted: Wanted) -> int:
    told = response.headers.get("content-length", "")
    if not told.isdecimal():
        raise StorageError(f"The server does not tell the size of {wanted.url}.")
    return int(told)


def anonymous_memory(size: int) -> memoryview:
    """Return zeroed memory of this process alone: by default a map would be shared with what is forked.

    It is asked for in huge pages, all of which will be filled: in small ones, getting the pages takes longer than
    receiving what they are for.
    """
    data = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is not None:
        with contextlib.suppress(OSError):  # a kernel without them has all the same what it takes
            data.madvise(advice)
    return memoryview(data)


def allocate(descriptor: int, size: int, path: str, wanted: Wanted) -> None:
    """Make room in the file at `path` for `size` bytes, so that a full disk is an error now and not after most of them came."""
    import errno

    try:
        os.posix_fallocate(descriptor, 0, size)
    except AttributeError:
        os.ftruncate(descriptor, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise StorageError(
                error.errno, f"Cannot make room for {size} bytes in {path!r}, for {wanted.url}: {error.strerror}."
            ) from error
        os.ftruncate(descriptor, size)


def read_file_parts(descriptor: int, size: int) -> Generator[bytes, None, None]:
    """Yield the bytes of a file, a piece at a time."""
    for at in range(0, size, FILE_READ_BYTES):
        yield os.pread(descriptor, min(FILE_READ_BYTES, size - at), at)


def _write_all(descriptor: int, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], done)
