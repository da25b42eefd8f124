"""Jobs of `S3` alone, with recorded answers and no server: what they ask, and what they keep."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from holdall_store.errors import IntegrityError, StorageError
from holdall_store.transfer._exchange import Job, Request, Response
from holdall_store.transfer._s3_get import Reader, Wanted, get_job
from holdall_store.transfer._s3_list import Listing, list_job, uploads_job
from holdall_store.transfer._s3_names import Place
from holdall_store.transfer._s3_objects import TempFolder, http_time
from holdall_store.transfer._s3_options import Encryption, default_memory, parse_size
from holdall_store.transfer._s3_xml import escape_xml, fits_xml, parse_xml
from holdall_store.transfer.s3 import S3

MIB = 1 << 20
PLACE = Place("bucket", "key", "key")
Answer = Callable[[Request], Response]


def drive(job: Job[Any], answer: Answer) -> tuple[Any, list[list[Request]]]:
    """Run a job with answers from a function; return its result and the batches of requests."""
    batches: list[list[Request]] = []
    responses: Any = None
    while True:
        try:
            batch = list(job.send(responses))
        except StopIteration as stop:
            return stop.value, batches
        batches.append(batch)
        responses = [answer(request) for request in batch]


def reader(**options: Any) -> Reader:
    """Return how objects are read."""
    return Reader((), TempFolder(None), options.pop("memory", 1 << 30), options.pop("verify", None), **options)


def ranged(data: bytes, etag: str = '"e"', **headers: str) -> Answer:
    """Return a function that answers ranges of some bytes."""

    def answer(request: Request) -> Response:
        first, _, last = dict(request.headers)["range"].removeprefix("bytes=").partition("-")
        piece = data[int(first) : int(last) + 1]
        told = {"content-range": f"bytes {first}-{int(first) + len(piece) - 1}/{len(data)}", "etag": etag, **headers}
        if isinstance(request.target, memoryview):
            request.target[:] = piece
            return Response(206, told)
        return Response(206, told, memoryview(piece))

    return answer


def test_the_rest_of_a_large_object_is_one_batch_into_one_buffer() -> None:
    """All ranges but the first may run at once, each into its own part of the memory, for one version of the object."""
    data = bytes(range(251)) * (30 * MIB // 251)

    found, (first, rest) = drive(get_job(reader(), Wanted(PLACE, None)), ranged(data))

    assert found.blob == data
    assert dict(first[0].headers)["range"] == f"bytes=0-{8 * MIB - 1}"
    assert [dict(request.headers)["if-match"] for request in rest] == ['"e"'] * len(rest)
    targets = [request.target for request in rest if isinstance(request.target, memoryview)]
    assert sum(map(len, targets)) == len(data) - 8 * MIB
    assert [request.bytes_expected for request in rest] == list(map(len, targets))


@pytest.mark.parametrize(
    "response",
    [
        Response(206, {"content-range": "bytes 5-8/9", "etag": '"e"'}, memoryview(b"1234")),
        Response(206, {"content-range": "bytes 0-9/9", "etag": '"e"'}, memoryview(b"1234")),
        Response(206, {"etag": '"e"'}, memoryview(b"1234")),
        Response(206, {"content-range": "bytes 0-1/9", "etag": '"e"'}, memoryview(b"1234")),
    ],
)
def test_answers_that_contradict_themselves_are_refused(response: Response) -> None:
    """A server that sends other bytes than it was asked for, or does not say which, is not believed."""
    with pytest.raises((StorageError, IntegrityError), match="s3://bucket/key"):
        drive(get_job(reader(), Wanted(PLACE, None)), lambda request: response)


def test_a_job_that_is_closed_leaves_no_file(tmp_path: Any) -> None:
    """A large read into a file that is called off in the middle removes what it began."""
    job = get_job(Reader((), TempFolder(tmp_path), 10, None), Wanted(PLACE, None))
    (request,) = next(job)
    job.send([ranged(bytes(9 * MIB))(request)])
    assert len(list(tmp_path.rglob("0*"))) == 1

    job.close()

    assert list(tmp_path.rglob("0*")) == []


def test_listings_in_circles_end() -> None:
    """A server that gives the same page again and again is an error, and not for ever."""
    page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>"

    with pytest.raises(StorageError, match="for ever"):
        drive(list_job(Listing("bucket", "", "s3://bucket")), lambda request: Response(200, {}, memoryview(page)))


def test_the_newest_upload_of_exactly_that_key_is_found() -> None:
    """Others whose key only begins the same are not taken for it."""
    listed = "".join(
        f"<Upload><Key>{key}</Key><UploadId>{ident}</UploadId><Initiated>2026-11-2{day}</Initiated></Upload>"
        for key, ident, day in [("k", "old", 1), ("k", "new", 3), ("k2", "other", 9), ("k", "middle", 2)]
    )
    body = f"<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>".encode()

    found, _ = drive(uploads_job("bucket", "k", "s3://bucket/k"), lambda request: Response(200, {}, memoryview(body)))

    assert found == "new"


class Stub:
    """An executor that answers every request at once, in the caller's thread."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def run(self, jobs: Iterable[Job[Any]], **options: Any) -> Iterator[Any]:
        for job in jobs:
            yield drive(job, self.answer)[0]

    def statistics(self) -> Mapping[str, Any]:
        return {}

    def close(self) -> None:
        self.answer = ranged(b"")


def test_a_stream_of_keys_keeps_nothing() -> None:
    """However many keys there were, memory is what it was after the first thousand."""
    s3 = S3("s3://bucket/root", storage_options={"key": "k", "secret": "s"})
    s3._session._executor = Stub(ranged(bytes(1000)))  # type: ignore[assignment]
    stream = s3.iter_many(str(number) for number in itertools.count())
    tracemalloc.start()
    try:
        for _ in itertools.islice(stream, 1000):
            continue
        before = tracemalloc.get_traced_memory()[0]
        for _ in itertools.islice(stream, 4_000):
            continue
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert grown < 50_000


def test_sizes_and_times() -> None:
    """Sizes as people write them, and dates as HTTP does; neither guesses."""
    assert (parse_size("2GB", "memory"), parse_size("1.5 kib", "memory"), parse_size(7, "memory")) == (2 << 30, 1536, 7)
    assert http_time("Mon, 23 Nov 2026 08:00:00 GMT") == 1795420800.0
    assert [http_time(text) for text in ("", None, "yesterday", "Mon, 99 Nov 2026 08:00:00 GMT", "a b c d e f")] == [
        None
    ] * 5
    assert 1 << 20 <= default_memory() <= 2 << 30


def test_xml() -> None:
    """What is written is read back; what XML cannot say is known."""
    text = "a<b>&\"'\r\n\t ü日\x85"

    assert parse_xml(f"<a>{escape_xml(text)}</a>".encode(), "here").text == text
    assert fits_xml(text)
    assert not any(fits_xml(f"a{char}b") for char in "\0\x01\x1f\ufffe\uffff")


def test_a_customers_key_is_not_in_its_repr() -> None:
    """Nor is anything else that is derived from it."""
    assert repr(Encryption(customer_key=b"K" * 32)) == "Encryption(kind='', kms_key_id='', left_behind=False)"
