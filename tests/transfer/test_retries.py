"""What is made of failures, and how many requests there are at once: decided without a socket."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from holdall_store.errors import AccessDeniedError, AlreadyExistsError, ConflictError, ObjectNotFoundError, StorageError
from holdall_store.storage.buckets import Answer, explain, read_reply
from holdall_store.transfer._exchange import Request
from holdall_store.transfer._latency import LIMIT_MAX, LIMIT_MIN, SAMPLES_MIN, Limiter, Recent
from holdall_store.transfer._retries import (
    DELAY_FIRST,
    DELAY_MAX,
    RETRY_AFTER_MAX,
    Step,
    Tries,
    action_of,
    clock_offset,
    decide,
    final_error,
    region_of,
)

DATE = {"date": "Mon, 23 Nov 2026 08:00:00 GMT"}
EIGHT = 1_795_420_800.0


def body(code: str) -> str:
    """Return an error in S3's form."""
    return f"<Error><Code>{code}</Code><Message>said the server</Message></Error>"


@pytest.mark.parametrize(
    ("status", "code", "step"),
    [
        (500, "InternalError", "again"),
        (503, "SlowDown", "again"),
        (429, "", "again"),
        (408, "", "again"),
        (400, "RequestTimeout", "again"),
        (409, "OperationAborted", "again"),
        (404, "NoSuchKey", "fail"),
        (404, "NoSuchBucket", "fail"),
        (403, "AccessDenied", "fail"),
        (412, "PreconditionFailed", "fail"),
        (416, "InvalidRange", "fail"),
        (501, "NotImplemented", "fail"),
        (400, "ExpiredToken", "renew"),
    ],
)
def test_what_is_tried_again(status: int, code: str, step: Step) -> None:
    """What passes is tried again, an expired token is renewed once, and the rest is told."""
    answer = read_reply(status, body(code) if code else "")
    tries = Tries()
    assert decide(answer, tries, replayable=True) == step
    if step == "renew":
        assert decide(answer, tries, replayable=True) == "fail"


def test_what_must_not_happen_twice() -> None:
    """What cannot be replayed is tried again only where nothing was done."""
    lost = Answer("again", None, "", "the connection broke")
    refused = Answer("again", None, "", "nobody answers", unreachable=True)
    assert decide(lost, Tries(), replayable=False) == "fail"
    assert decide(read_reply(500, ""), Tries(), replayable=False) == "fail"
    assert decide(read_reply(503, body("SlowDown")), Tries(), replayable=False) == "again"
    assert decide(refused, Tries(), replayable=False) == "again"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from((None, "3", "99999999", "soon")))
def test_pauses_double_and_are_bounded(randoms: list[float], retry_after: str | None) -> None:
    """Each pause is a random part of a delay that doubles; what the server asks for is added, within reason."""
    tries = Tries()
    for count, random in enumerate(randoms):
        asked = {"3": 3.0, "99999999": RETRY_AFTER_MAX}.get(retry_after or "", 0.0)
        assert tries.pause(lambda: random, retry_after) == pytest.approx(
            random * min(DELAY_FIRST * 2**count, DELAY_MAX) + asked
        )


def test_regions_are_read() -> None:
    """From the header, or from the body where the server says so there; never from a success or another error."""
    assert region_of(301, {"x-amz-bucket-region": "eu-west-1"}, "") == "eu-west-1"
    assert region_of(400, {"x-amz-bucket-region": "eu-west-1"}, "") == "eu-west-1"
    malformed = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-x</Region></Error>"
    assert region_of(400, {}, malformed) == "eu-x"
    assert region_of(403, {"x-amz-bucket-region": "eu-west-1"}, body("AccessDenied")) is None
    assert region_of(200, {"x-amz-bucket-region": "eu-west-1"}, "") is None
    assert region_of(301, {}, "<Region>no region!</Region>") is None


def test_clocks_are_read() -> None:
    """A refusal because of the clock tells the right time; one without a reason does if the clock is far off."""
    assert clock_offset(403, "RequestTimeTooSkewed", DATE, EIGHT - 1000) == 1000
    assert clock_offset(403, "", DATE, EIGHT - 1000) == 1000
    assert clock_offset(403, "", DATE, EIGHT - 10) is None
    assert clock_offset(403, "AccessDenied", DATE, 0.0) is None
    assert clock_offset(403, "RequestTimeTooSkewed", {"date": "yesterday"}, 0.0) is None


@pytest.mark.parametrize(
    ("request_", "action"),
    [
        (Request("GET", "b", "k"), "read"),
        (Request("GET", "b", "", (("list-type", "2"),)), "list"),
        (Request("HEAD", "b", "k"), "look at"),
        (Request("PUT", "b", "k"), "create"),
        (Request("POST", "b", "k", (("uploads", ""),)), "create"),
        (Request("DELETE", "b", "k"), "delete"),
        (Request("POST", "b", "", (("delete", ""),)), "delete"),
    ],
)
def test_what_requests_do(request_: Request, action: str) -> None:
    """Errors say what was tried."""
    assert action_of(request_) == action


@pytest.mark.parametrize(
    ("method", "status", "code", "kind", "said"),
    [
        ("GET", 404, "NoSuchKey", ObjectNotFoundError, "no object 'k'"),
        ("GET", 404, "NoSuchBucket", StorageError, "no such bucket"),
        ("GET", 403, "AccessDenied", AccessDeniedError, "s3:GetObject"),
        ("HEAD", 403, "", AccessDeniedError, "403, Forbidden"),
        ("PUT", 412, "PreconditionFailed", AlreadyExistsError, "already is an object 'k'"),
        ("GET", 412, "PreconditionFailed", ConflictError, "changed meanwhile"),
        ("PUT", 503, "SlowDown", StorageError, "last try took effect"),
        ("GET", 301, "", StorageError, "another region"),
    ],
)
def test_final_errors(method: str, status: int, code: str, kind: type[Exception], said: str) -> None:
    """Each failure has the error that a handler would look for, and names the key."""
    error = final_error(Request(method, "b", "k"), read_reply(status, body(code) if code else ""), "s3://b")
    assert type(error) is kind
    assert said in str(error)
    assert "'k'" in str(error)


def test_the_slow_are_known_after_some() -> None:
    """Nothing is concluded from few; of many, nineteen of twenty are below."""
    recent = Recent()
    for _ in range(SAMPLES_MIN - 1):
        recent.add(1.0)
    assert recent.slow() is None
    for number in range(1000):
        recent.add(number % 100)
    assert 93 <= (recent.slow() or 0) <= 96


def test_more_at_once_while_that_brings_more() -> None:
    """The limit grows with the work done, stays where it brings nothing, and halves when the server has enough."""
    limiter = Limiter()
    begin = limiter.limit
    limiter.measure(100.0, saturated=True, now=1)
    limiter.measure(200.0, saturated=True, now=2)
    grown = limiter.limit
    limiter.measure(205.0, saturated=True, now=3)
    limiter.measure(900.0, saturated=True, now=4)
    assert begin < grown == limiter.limit
    limiter.measure(900.0, saturated=True, now=20)
    assert grown < limiter.limit <= LIMIT_MAX
    before = limiter.limit
    limiter.refuse(30)
    limiter.refuse(30.5)
    assert limiter.limit == before // 2
    for second in range(60):
        limiter.refuse(40.0 + 2 * second)
    assert limiter.limit == LIMIT_MIN
    for second in range(20):
        limiter.measure(2.0**second, saturated=True, now=1000.0 + second)
    assert limiter.limit == LIMIT_MAX


def test_a_limit_that_was_asked_for_stays() -> None:
    """Neither success nor refusals change it; it is shared among loops."""
    limiter = Limiter(2, 10)
    limiter.refuse(1)
    limiter.measure(9e9, saturated=True, now=2)
    assert limiter.limit == 5
    assert Limiter(4, 2).limit == 1


def test_sentences_end_once() -> None:
    """A server's own words may end with a full stop; a bucket as a whole has no name in quotes."""
    told = str(
        explain(read_reply(403, "<Code>AccessDenied</Code><Message>Access Denied.</Message>"), "list", "", "s3://b")
    )

    assert told.startswith("[Errno 13] Cannot list s3://b: 403, AccessDenied, Access Denied. The credentials")
