"""The flaky proxy itself: without faults it changes nothing, and each fault is what it says."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.storage._flaky import Fault, FlakyProxy
from tests.storage._flaky_faults import (
    Close,
    Duplicate,
    FlipByte,
    Garbage,
    Refuse,
    Reset,
    Say,
    SlowStart,
    Stall,
    Truncate,
    WrongLength,
    always,
    mixed,
    once_each,
    only,
    storm,
)

from holdall_store.testing import StorageContract

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

BODY = bytes(range(200)) * 50


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[FlakyProxy]:
    """Run a proxy before the server's bucket, in which one object lies."""
    bucket.server.buckets["bucket"]["object"] = BODY
    with FlakyProxy(bucket.server.url) as running:
        yield running


class TestThroughTheProxy(StorageContract):
    """The contract through a proxy that does nothing."""

    @pytest.fixture
    def storage(self, bucket: Bucket, proxy: FlakyProxy) -> object:
        return bucket.empty(endpoint_url=proxy.url)


def ask(
    proxy: FlakyProxy, method: str = "GET", key: str = "object", body: bytes | None = None, timeout: float = 60
) -> bytes:
    """Return the body of an answer, on a connection of its own."""
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=timeout)
    try:
        connection.request(method, f"/bucket/{key}", body)
        answer = connection.getresponse()
        return b"%d " % answer.status + answer.read() if answer.status != 200 else answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Reset(), ConnectionResetError),
        (Reset(forwarded=True), ConnectionResetError),
        (Close(), http.client.RemoteDisconnected),
        (Stall(), TimeoutError),
        (Stall(head=0.5), TimeoutError),
        (Stall(body=0.5), TimeoutError),
        (Truncate(), http.client.IncompleteRead),
        (WrongLength(5), TimeoutError),
        (Garbage(), http.client.BadStatusLine),
        (Refuse(), ConnectionResetError),
    ],
)
def test_exchanges_that_fail(proxy: FlakyProxy, fault: Fault, error: type[Exception]) -> None:
    """The first attempt fails as it should, the second gets the object, and all connections are left."""
    proxy.reset(once_each(fault))
    with pytest.raises(error):
        ask(proxy, timeout=0.3 if error is TimeoutError else 60)  # a busy machine may be late with any other
    while proxy.refusals:
        try:
            assert ask(proxy) == BODY
        except ConnectionRefusedError:
            continue
        break
    assert ask(proxy) == BODY
    assert [(exchange.attempt, struck) for exchange, struck in proxy.struck] == [(0, fault)]
    assert proxy.wait_until_left()


def test_exchanges_that_lie(proxy: FlakyProxy, bucket: Bucket) -> None:
    """What comes is what was told to come, and the server gets what it should get."""
    proxy.reset(always(Say(503, "SlowDown")))
    assert ask(proxy).startswith(b"503 <?xml") or b"<Code>SlowDown</Code>" in ask(proxy)
    proxy.reset(always(WrongLength(-5)))
    assert ask(proxy) == BODY[:-5]
    proxy.reset(always(SlowStart()))
    assert ask(proxy) == BODY
    proxy.reset(always(FlipByte()))
    assert [place for place, byte in enumerate(ask(proxy)) if byte != BODY[place]] == [len(BODY) // 2]
    proxy.reset(always(FlipByte(request=True)))
    ask(proxy, "PUT", "other", b"abc")
    assert bucket.server.buckets["bucket"]["other"] == b"aBc"
    bucket.server.log.clear()
    proxy.reset(always(Duplicate()))
    ask(proxy, "PUT", "other", b"abc")
    proxy.reset(always(Reset(forwarded=True)))
    with pytest.raises(ConnectionResetError):
        ask(proxy, "PUT", "more", b"abc")
    proxy.reset(always(Close()))
    with pytest.raises(http.client.RemoteDisconnected):
        ask(proxy, "PUT", "most", b"abc")
    assert [(request.method, request.key) for request in bucket.server.log] == [
        ("PUT", "other"), ("PUT", "other"), ("PUT", "more"),
    ]  # fmt: skip


def test_schedules_are_the_same_every_time(proxy: FlakyProxy) -> None:
    """Which requests are struck follows from the seed alone."""
    told = []
    for schedule in (
        storm(Say(503, "SlowDown"), count=20),
        mixed(Close(), Say(500, "InternalError")),
        only(always(Close()), "PUT"),
    ):
        for _ in range(2):
            proxy.reset(schedule)
            for number in range(30):
                try:
                    ask(proxy, key=f"object{number % 10}")
                except http.client.RemoteDisconnected:
                    continue
            told.append([(exchange.number, fault) for exchange, fault in proxy.struck])
    assert told[0] == told[1]
    assert 14 <= len(told[0]) < 20
    assert told[2] == told[3]
    assert {type(fault) for _, fault in told[2]} == {Close, Say}
    assert told[4:] == [[], []]


def test_nobody_listens_for_a_while(proxy: FlakyProxy) -> None:
    """While the proxy refuses, connections are refused, on a port that stays its own."""
    proxy.refuse(60)
    with pytest.raises(ConnectionRefusedError):
        for _ in range(1000):
            socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2])), timeout=5).close()
