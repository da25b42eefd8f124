"""The executor against servers that answer byte by byte, wrongly, late, or not at all."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from tests.transfer._raw import RawServer, answer, get, key_of, make_executor, reset

from holdall_store.errors import IntegrityError, StorageError
from holdall_store.transfer import _retries, _watch
from holdall_store.transfer._exchange import FileTarget, Request, Response

BODY = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for the pauses between tries."""
    monkeypatch.setattr(_retries, "DELAY_FIRST", 0.01)
    monkeypatch.setattr(_retries, "DELAY_MAX", 0.02)


def byte_by_byte(data: bytes) -> list[bytes]:
    """Return the bytes of `data`, each alone."""
    return [data[place : place + 1] for place in range(len(data))]


@pytest.mark.parametrize(
    "sent",
    [
        answer(BODY[:300]),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(BODY[:300]),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100;x\r\n"
        + BODY[:256]
        + b"\r\n2c\r\n"
        + BODY[256:300]
        + b"\r\n0\r\nT: x\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + BODY[:300],
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 300\r\n\r\n" + BODY[:300],
    ],
    ids=["length", "interim", "chunks", "until-close", "close"],
)
@pytest.mark.parametrize("place", ["answer", "memory", "file"])
def test_one_byte_at_a_time(sent: bytes, place: str, tmp_path: Path) -> None:
    """However small the pieces, the bytes arrive where they were asked for, twice in a row."""

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        for piece in byte_by_byte(sent):
            connection.sendall(piece)
        return b"1.0" not in sent and b"close" not in sent

    memory = bytearray(300)
    with RawServer(script) as server, make_executor(server.url) as executor, open(tmp_path / "f", "w+b") as file:
        for _ in range(2):
            target = {"answer": None, "memory": memoryview(memory), "file": FileTarget(file.fileno(), 7)}[place]
            (body,) = executor.run([get("k", target=target, bytes_expected=300)], bytes_max=1 << 20)
        written = os.pread(file.fileno(), 1000, 7)
    assert {"answer": body, "memory": bytes(memory), "file": written}[place] == BODY[:300]


def first_wrong(wrong: bytes, *, with_reset: bool = False) -> object:
    """Return a script that answers wrongly twice and closes the connection, and then well."""

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        if number < 2:
            connection.sendall(wrong)
            if with_reset:
                reset(connection)
            return False
        connection.sendall(answer(BODY))
        return True

    return script


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10240",
        answer(BODY)[:-1],
        answer(BODY) + b"x",
        answer(BODY[:-1]),
        answer(BODY + b"x"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        answer(b"", "503 Slow Down", "Retry-After: 0"),
        answer(b"<Error><Code>SlowDown</Code></Error>", "503 Slow Down"),
        answer(b"x" * 100_000, "500 Oops"),
        answer(b"<Error><Code>RequestTimeout</Code></Error>", "400 Bad Request"),
    ],
    ids=range(14),
)
@pytest.mark.parametrize("with_reset", [False, True])
def test_wrong_answers_are_tried_again(wrong: bytes, with_reset: bool) -> None:
    """What is torn, longer or shorter than it says, garbage, or a refusal that passes: the third time it is right."""
    memory = bytearray(len(BODY))
    with RawServer(first_wrong(wrong, with_reset=with_reset)) as server, make_executor(server.url) as executor:  # type: ignore[arg-type]
        (body,) = executor.run([get("k", target=memoryview(memory))], bytes_max=1 << 20)
        assert len(server.heads) == 3
    assert (body, bytes(memory)) == (b"", BODY)


def test_a_length_that_is_never_right_is_an_error() -> None:
    """A server that always gives another length is not asked forever."""
    with RawServer(lambda c, h, n: c.sendall(answer(BODY)) is None) as server, make_executor(server.url) as executor:
        with pytest.raises(IntegrityError, match=r"'the key'.*10240 bytes instead of 5"):
            list(executor.run([get("the key", target=memoryview(bytearray(5)))], bytes_max=1 << 20))
        assert len(server.heads) == _retries.MISMATCHES_MAX + 1


@pytest.mark.parametrize("chunks", [False, True])
def test_answers_are_bounded(chunks: bool) -> None:
    """A body larger than the request allows is refused, whether its length is told or not."""
    sent = answer(BODY)
    if chunks:
        sent = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2800\r\n" + BODY + b"\r\n0\r\n\r\n"
    with RawServer(lambda c, h, n: c.sendall(sent) is None) as server, make_executor(server.url) as executor:
        with pytest.raises(StorageError, match="10000"):
            list(executor.run([get("k", bytes_max=10_000)], bytes_max=1 << 20))
        assert len(server.heads) == 1


def test_stalls_are_given_up_and_tried_again() -> None:
    """No byte for a while, at the head or in the middle of a body: another connection gets it."""

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        if number == 0:
            return connection.recv(1) != b""
        if number == 1:
            connection.sendall(answer(BODY)[:5000])
            return connection.recv(1) != b""
        connection.sendall(answer(BODY))
        return True

    with RawServer(script) as server, make_executor(server.url, stall_timeout=0.2) as executor:
        memory = bytearray(len(BODY))
        list(executor.run([get("k", target=memoryview(memory))], bytes_max=1 << 20))
        # At least those two: on a busy machine an answer may stand still without meaning to.
        assert executor.statistics()["stalls"] >= 2
    assert memory == BODY


def test_the_deadline_ends_it() -> None:
    """A server that never answers rightly leads to an error that says what happened, and names the key."""
    answered = answer(b"", "500 No")
    with (
        RawServer(lambda c, h, n: c.sendall(answered) is None) as server,
        make_executor(server.url, deadline=1) as executor,
    ):
        with pytest.raises(StorageError, match=r"read 'the key' in s3://bucket at .*500") as caught:
            list(executor.run([get("the key")], bytes_max=1))
        assert executor.statistics()["retries"] >= 1
    assert caught.value.errno == errno.ETIMEDOUT
    assert "a-secret-key" not in str(caught.value)


def test_nobody_there() -> None:
    """A port that nobody listens at, and a name that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://nobody.invalid:1"):
        with make_executor(url, deadline=0.2) as executor, pytest.raises(StorageError) as caught:
            list(executor.run((get(f"k{number}") for number in range(300)), bytes_max=1))
        assert caught.value.errno == errno.ECONNREFUSED


def test_kept_connections_that_were_closed_cost_nothing() -> None:
    """A server that closes after each answer without saying so: every request succeeds, and none counts as a retry."""
    closed = threading.Semaphore(0)

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        connection.sendall(answer(BODY))
        closed.release()
        return False

    with RawServer(script) as server, make_executor(server.url, concurrency=1) as executor:
        bodies = list(executor.run((get("k") for _ in range(20)), bytes_max=1 << 20))
        assert executor.statistics()["retries"] == 0
    assert bodies == [BODY] * 20


def test_a_slow_read_is_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer of many does not come: a second try gets it, and the first writes nothing afterwards."""
    monkeypatch.setattr(_watch, "HEDGE_FLOOR", 0.05)
    release = threading.Event()
    slow: list[int] = []

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        if key_of(head) == "slow" and not slow:
            slow.append(number)
            connection.sendall(answer(b"x" * len(BODY))[:6000])
            release.wait(20)
            connection.sendall(answer(b"x" * len(BODY))[6000:])
            return True
        connection.sendall(answer(BODY))
        return True

    memory = bytearray(len(BODY))
    with RawServer(script) as server, make_executor(server.url, stall_timeout=60) as executor:
        list(executor.run((get("k") for _ in range(200)), bytes_max=1 << 20))
        list(executor.run([get("slow", target=memoryview(memory))], bytes_max=1 << 20))
        release.set()
        list(executor.run((get("k") for _ in range(10)), bytes_max=1 << 20))
        statistics = executor.statistics()
    assert memory == BODY
    assert statistics["hedges_won"] >= 1  # on a busy machine others are slow too
    assert statistics["hedges"] <= 0.03 * 211


def test_uploads_are_sent_whole_and_again(tmp_path: Path) -> None:
    """Several buffers arrive one after the other, the second time too; an early refusal is heard while sending."""
    parts = (b"abc", bytearray(3_000_000), memoryview(b"xyz"))
    whole = b"".join(bytes(part) for part in parts)
    received: list[bytes] = []

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        assert f"content-length: {len(whole)}\r\n".encode() in head
        if number == 0:
            connection.sendall(answer(b"<Error><Code>SlowDown</Code></Error>", "503 Slow Down"))
            return False
        data = b""
        while len(data) < len(whole):
            data += connection.recv(1 << 20)
        received.append(data)
        connection.sendall(answer(b"", "200 OK", 'ETag: "1"'))
        return True

    def put() -> Generator[Sequence[Request], Sequence[Response], str]:
        (response,) = yield [Request("PUT", "bucket", "k", body=parts)]
        return response.headers["etag"]

    with RawServer(script) as server, make_executor(server.url) as executor:
        assert list(executor.run([put()], bytes_max=1)) == ['"1"']
    assert received == [whole]


def test_what_must_not_be_repeated_is_not() -> None:
    """A request that cannot be replayed fails when its answer is lost, and is tried again when it was refused."""
    answers = [answer(b"", "503 Slow Down"), answer(b"done"), b""]

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        connection.sendall(answers[number])
        return number == 1

    with RawServer(script) as server, make_executor(server.url) as executor:
        assert list(executor.run([get("k", replayable=False)], bytes_max=1)) == [b"done"]
        with pytest.raises(StorageError, match="connection broke"):
            list(executor.run([get("k", replayable=False)], bytes_max=1))
        assert len(server.heads) == 3


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """What the file says is raised with its number, at once."""
    path = tmp_path / "read-only"
    path.write_bytes(b"")
    with RawServer(lambda c, h, n: c.sendall(answer(BODY)) is None) as server, make_executor(server.url) as executor:
        with open(path, "rb") as file, pytest.raises(StorageError, match="Cannot write") as caught:
            target = FileTarget(file.fileno(), 0)
            list(executor.run([get("k", target=target, bytes_expected=len(BODY))], bytes_max=1))
        assert len(server.heads) == 1
    assert caught.value.errno == errno.EBADF


def test_a_proxy_for_http() -> None:
    """Requests go to the proxy by their whole address, with its password, which is in no error."""
    from holdall_store.config import NetworkEnvironment

    with RawServer(lambda c, h, n: c.sendall(answer(BODY)) is None) as server:
        network = NetworkEnvironment(http_proxy=server.url.replace("http://", "http://me:hidden@"))
        with make_executor("http://far.example", network=network) as executor:
            assert list(executor.run([get("k")], bytes_max=1)) == [BODY]
        assert server.heads[0].startswith(b"GET http://far.example/bucket/k HTTP/1.1\r\nhost: far.example\r\n")
        assert b"proxy-authorization: Basic bWU6aGlkZGVu\r\n" in server.heads[0]
