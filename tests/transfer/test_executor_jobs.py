"""Jobs: their order, their budget, their failures, their end; in threads, forks and event loops."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from queue import Empty
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tests._descriptors import open_descriptors
from tests.storage._s3 import Cut, Reply, S3Server, Stall, failure
from tests.storage._s3 import Request as Asked
from tests.transfer._raw import RawServer, answer, get, key_of, make_executor

from holdall_store.errors import AccessDeniedError, ObjectNotFoundError, StorageError
from holdall_store.transfer import _poll, _retries
from holdall_store.transfer._exchange import Request, Response
from holdall_store.transfer.executor import HttpExecutor

Steps = Generator[Sequence[Request], Sequence[Response], Any]


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    """Run one server for the tests here."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Give the server with a hundred objects, whose bytes say which they are."""
    monkeypatch.setattr(_retries, "DELAY_FIRST", 0.01)
    monkeypatch.setattr(_retries, "DELAY_MAX", 0.02)
    running.reset()
    for number in range(100):
        running.buckets["bucket"][f"k{number}"] = content(number)
    return running


@pytest.fixture
def executor(server: S3Server) -> Iterator[HttpExecutor]:
    """Give an executor of few requests at once in two loops."""
    with make_executor(server.url, concurrency=6, loops=2) as made:
        yield made


def content(number: int) -> bytes:
    """Return the bytes of one object."""
    return bytes([number]) * (number * 37 % 500)


def own_threads() -> set[threading.Thread]:
    """Return the threads of executors; other tests in this process may have left some."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("holdall-transfer")}


def settles(condition: Callable[[], bool]) -> bool:
    """Tell whether `condition` comes true while the server's own threads find out that a client is gone."""
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def several(numbers: list[int], rounds: int = 1) -> Steps:
    """Read some objects at once, as often as told."""
    total = b""
    for _ in range(rounds):
        responses = yield [Request("GET", "bucket", f"k{number}") for number in numbers]
        total += b"".join(bytes(response.body) for response in responses)
    return total


@given(
    st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=30),
    st.integers(0, 2),
    st.sampled_from((0, 1, 300, 1000, 1 << 20)),
    st.booleans(),
    st.sampled_from((None, 0, 1, 400)),
    st.sampled_from((1, 2, 7)),
)
@settings(max_examples=40)
def test_every_result_comes_once(
    server: S3Server,
    jobs: list[list[int]],
    rounds: int,
    bytes_max: int,
    ordered: bool,
    weight: int | None,
    concurrency: int,
) -> None:
    """Whatever the jobs, the budget, the weights and the order: nothing is lost, doubled, moved or stuck."""
    weigh = None if weight is None else lambda _: weight
    with make_executor(server.url, concurrency=concurrency, loops=2) as executor:
        made = (several(numbers, rounds) for numbers in jobs)
        found = list(executor.run(made, ordered=ordered, bytes_max=bytes_max, weigh=weigh))
    wanted = [b"".join(map(content, numbers)) * rounds for numbers in jobs]
    assert (found if ordered else sorted(found)) == (wanted if ordered else sorted(wanted))


@pytest.mark.parametrize("ordered", [True, False])
def test_the_budget_bounds_what_is_held(ordered: bool) -> None:
    """While a consumer takes its time, what was read and not consumed stays near the budget."""
    size, budget = 10_000, 50_000
    read: set[int] = set()

    def keep(number: int) -> Steps:
        (response,) = yield [Request("GET", "bucket", f"k{number}")]
        read.add(number)
        return bytes(response.body)

    body = bytes(size)
    with RawServer(lambda c, h, n: c.sendall(answer(body)) is None) as server:
        with make_executor(server.url, concurrency=8) as executor:
            most = 0
            for consumed, _ in enumerate(executor.run(map(keep, range(200)), ordered=ordered, bytes_max=budget)):
                if consumed < 40:
                    time.sleep(0.005)  # time to read too much, for an executor that would
                most = max(most, len(read) - consumed)
        assert len(read) == 200
    # The budget, one beyond it, the one that is being consumed, and those that were begun when nobody knew the size.
    assert most <= budget // size + 2 + 8


def test_jobs_are_pulled_lazily(executor: HttpExecutor) -> None:
    """A million jobs are not begun for a consumer who takes three."""
    pulled = 0

    def endless() -> Iterator[Steps]:
        nonlocal pulled
        while True:
            pulled += 1
            yield several([1])

    results = executor.run(endless(), bytes_max=1 << 20)
    assert [next(results) for _ in range(3)] == [content(1)] * 3
    results.close()  # type: ignore[attr-defined]
    assert pulled < 1000


@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_failure_stops_the_rest(server: S3Server, executor: HttpExecutor, ordered: bool) -> None:
    """What failed is named, every job is closed, and no request follows."""
    closed: list[int] = []

    def job(number: int) -> Steps:
        try:
            for _ in range(1000):
                yield [Request("GET", "bucket", "missing" if number == 7 else "k1")]
        finally:
            closed.append(number)

    with pytest.raises(ObjectNotFoundError, match="'missing'"):
        list(executor.run((job(number) for number in range(20)), ordered=ordered, bytes_max=1))
    asked = len(server.log)
    assert sorted(closed) == sorted(set(closed))
    assert 7 in closed
    # The connections are closed; what was already on its way may still be counted.
    assert list(executor.run([several([2])], bytes_max=1)) == [content(2)]
    assert len(server.log) <= asked + 20


def test_work_ends_when_its_time_is_over() -> None:
    """What is not done by then is stopped; where there is time enough, all results come."""
    over = threading.Event()

    def script(connection: socket.socket, head: bytes, number: int) -> bool:
        if key_of(head) == "never":
            over.wait(20)
        connection.sendall(answer(b"x"))
        return True

    with RawServer(script) as server, make_executor(server.url) as executor:
        assert list(executor.run([get("never"), get("never")], bytes_max=1 << 20, seconds_max=0.05)) == []
        over.set()
        assert list(executor.run([get("k"), get("k")], bytes_max=1 << 20, seconds_max=60)) == [b"x"] * 2


def test_what_a_caller_raises_is_no_end(executor: HttpExecutor) -> None:
    """An iterator of jobs that raises what queues do when they are empty ends nothing in silence."""

    def jobs() -> Iterator[Any]:
        yield get("k1")
        raise Empty

    with pytest.raises(Empty):
        list(executor.run(jobs(), bytes_max=1 << 20))


def test_a_job_can_undo_what_it_began(server: S3Server, executor: HttpExecutor) -> None:
    """The failure of one request is raised in the job once the others have ended; the job may go on with more."""

    def job() -> Steps:
        try:
            yield [Request("GET", "bucket", key) for key in ("k1", "missing", "k2", "k3")]
        except ObjectNotFoundError:
            (response,) = yield [Request("DELETE", "bucket", "k9")]
            return response.status

    assert list(executor.run([job()], bytes_max=1)) == [200]
    assert "k9" not in server.buckets["bucket"]


def test_mistakes_of_jobs_are_raised(executor: HttpExecutor) -> None:
    """An error in a job, in the iterable of jobs, in a weight or in a judgement is what the consumer gets."""

    def wrong() -> Steps:
        yield [Request("GET", "bucket", "k1")]
        raise KeyError("mine")

    def jobs() -> Iterator[Steps]:
        yield several([1])
        raise OverflowError("mine")

    def judged() -> Steps:
        yield [Request("GET", "bucket", "k1", retry_if=lambda response: 1 / 0 > 1)]

    with pytest.raises(KeyError, match="mine"):
        list(executor.run([wrong()], bytes_max=1))
    with pytest.raises(OverflowError, match="mine"):
        list(executor.run(jobs(), bytes_max=1))
    with pytest.raises(TypeError):
        list(executor.run([several([1])], bytes_max=1, weigh=lambda result: len(result) + "x"))  # type: ignore[operator]
    with pytest.raises(ZeroDivisionError):
        list(executor.run([judged()], bytes_max=1))
    assert list(executor.run([several([3])], bytes_max=1)) == [content(3)]


def test_answers_that_are_failures_though_they_say_200(server: S3Server, executor: HttpExecutor) -> None:
    """A request may say of an answer that it has to be tried again."""
    left = [2]

    def fault(asked: Asked) -> Reply | None:
        left[0] -= 1
        return Reply(200, b"<Error>") if left[0] >= 0 else None

    server.fault = fault
    request = Request("GET", "bucket", "k5", retry_if=lambda response: bytes(response.body) == b"<Error>")

    def job() -> Steps:
        (response,) = yield [request]
        return bytes(response.body)

    assert list(executor.run([job()], bytes_max=1)) == [content(5)]
    assert executor.statistics()["retries"] == 2


def test_accepted_answers_are_given(server: S3Server, executor: HttpExecutor) -> None:
    """What a request accepts is given to its job with its body, though a target was named; the target stays as it is."""
    memory = bytearray(b"untouched")

    def job() -> Steps:
        target = memoryview(memory)
        (response,) = yield [Request("GET", "bucket", "missing", target=target, accept=frozenset({200, 404}))]
        return response.status, b"NoSuchKey" in bytes(response.body)

    assert list(executor.run([job()], bytes_max=1)) == [(404, True)]
    assert memory == b"untouched"


def test_a_storm_passes(server: S3Server, executor: HttpExecutor) -> None:
    """Nine of ten requests fail for a while, in many ways; every byte comes right."""
    count = [0]

    def fault(asked: Asked) -> Reply | Cut | None:
        count[0] += 1
        if count[0] > 400 or count[0] % 10 == 0:
            return None
        faults = (failure(503, "SlowDown"), Cut(False), Cut(True), Reply(500), Reply(200, b"torn", torn=9), Reply(429))
        return faults[count[0] % len(faults)]

    server.fault = fault
    found = list(executor.run((several([number, 99 - number]) for number in range(50)), bytes_max=1 << 20))
    assert found == [content(number) + content(99 - number) for number in range(50)]
    assert executor.statistics()["retries"] > 100


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", ["close", "drop", "interrupt", "executor"])
def test_stopping_early_leaves_nothing(server: S3Server, how: str) -> None:
    """An iterator that is closed, dropped or interrupted ends its work at once; no thread and no socket stays."""
    gc.collect()
    before, threads = open_descriptors(), own_threads()
    begun: list[int] = []
    closed: list[int] = []

    def job(number: int) -> Steps:
        begun.append(number)
        try:
            while True:
                yield [Request("GET", "bucket", "k1"), Request("GET", "bucket", "k2")]
        finally:
            closed.append(number)

    executor = make_executor(server.url, concurrency=6, loops=2)
    results: Any = executor.run([several([4]), *map(job, range(10))], bytes_max=1 << 20)
    assert next(results) == content(4)
    if how == "close":
        results.close()
    elif how == "drop":
        del results
    elif how == "interrupt":
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            next(results)
    else:
        threading.Timer(0.05, executor.close).start()
        with pytest.raises(StorageError, match="closed"):
            next(results)
    assert sorted(closed) == sorted(begun)
    if how != "executor":
        assert list(executor.run([several([1])], bytes_max=1)) == [content(1)]
    executor.close()
    executor.close()
    assert own_threads() <= threads
    assert settles(lambda: open_descriptors() <= before)
    with pytest.raises(StorageError, match="closed"):
        list(executor.run([several([1])], bytes_max=1))


def test_an_executor_that_is_forgotten_ends_its_threads(server: S3Server) -> None:
    """Nothing needs to be closed by hand."""
    gc.collect()
    threads = own_threads()
    executor = make_executor(server.url)
    assert list(executor.run([several([1])], bytes_max=1)) == [content(1)]
    assert own_threads() > threads
    del executor
    gc.collect()
    assert own_threads() <= threads


def test_many_threads_share_an_executor(executor: HttpExecutor) -> None:
    """Several runs at once, each with its own jobs, order and failure."""
    found: dict[int, object] = {}

    def consume(place: int) -> None:
        jobs: list[Any] = [several([number]) for number in range(place, 40)]
        if place == 3:
            jobs.append(get("missing"))
        try:
            found[place] = list(executor.run(jobs, bytes_max=1000))
        except ObjectNotFoundError as error:
            found[place] = error

    threads = [threading.Thread(target=consume, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(found.pop(3), ObjectNotFoundError)
    assert found == {place: [content(number) for number in range(place, 40)] for place in (0, 1, 2, 4, 5)}


def _in_child(executor: HttpExecutor, results: Any, queue: Any) -> None:
    try:
        next(results)
    except StorageError as error:
        queue.put(str(error))
    queue.put(list(executor.run([several([number]) for number in range(20)], bytes_max=1 << 20)))


def test_a_forked_child_has_connections_of_its_own(executor: HttpExecutor) -> None:
    """Both go on; an iterator that the child inherits says so, and the parent's goes on where it was."""
    results: Any = executor.run((several([number]) for number in range(30)), bytes_max=1 << 20)
    assert next(results) == content(0)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    children = [context.Process(target=_in_child, args=(executor, results, queue)) for _ in range(3)]
    for child in children:
        child.start()
    assert list(results) == [content(number) for number in range(1, 30)]
    said = [queue.get() for _ in range(6)]
    for child in children:
        child.join()
    assert sum("forked" in str(each) for each in said) == 3
    assert said.count([content(number) for number in range(20)]) == 3
    assert [child.exitcode for child in children] == [0, 0, 0]


def test_event_loops_consume_without_waiting(executor: HttpExecutor) -> None:
    """With a notification, results are had in a coroutine; the loop is never blocked."""

    async def consume() -> list[bytes]:
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        jobs = (several([number]) for number in range(50))

        def notify() -> None:
            loop.call_soon_threadsafe(changed.set)

        stream = executor.stream(jobs, bytes_max=1 << 20, notify=notify)
        found: list[bytes] = []
        while not stream.is_done:
            found += stream.poll()
            if not stream.is_done:
                await changed.wait()
                changed.clear()
        stream.close()
        return found

    assert asyncio.run(consume()) == [content(number) for number in range(50)]


def test_single_jobs_with_a_callback(server: S3Server, executor: HttpExecutor) -> None:
    """A result, a failure, and one that was called off."""
    done: list[tuple[object, object]] = []
    called = threading.Semaphore(0)

    def on_done(result: object, error: BaseException | None) -> None:
        done.append((result, error))
        called.release()

    executor.submit(several([3]), on_done)
    assert called.acquire(timeout=20)
    executor.submit(get("missing"), on_done)
    assert called.acquire(timeout=20)
    assert done[0] == (content(3), None)
    assert isinstance(done[1][1], ObjectNotFoundError)
    server.fault = lambda asked: Reply(503)
    executor.submit(several([3]), on_done)()
    server.fault = lambda asked: None
    assert list(executor.run([several([1])], bytes_max=1)) == [content(1)]
    assert len(done) == 2


def test_secrets_stay_at_home(executor: HttpExecutor) -> None:
    """Neither the repr nor a pickle holds a secret; who unpickles needs credentials of their own."""
    assert list(executor.run([several([1])], bytes_max=1)) == [content(1)]
    assert "a-secret-key" not in repr(executor)
    assert b"a-secret-key" not in pickle.dumps(executor)


def test_a_bucket_elsewhere_is_followed(server: S3Server, executor: HttpExecutor) -> None:
    """The server names the region once; the bucket's next requests are signed for it from the first try."""

    def fault(asked: Asked) -> Reply | None:
        if "/eu-west-7/s3/" in asked.headers["authorization"]:
            return None
        return Reply(400, b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-7</Region></Error>")

    server.fault = fault
    assert list(executor.run([several([1])], bytes_max=1)) == [content(1)]
    assert list(executor.run([several([2])], bytes_max=1)) == [content(2)]
    assert len(server.log) == 3


def test_a_wrong_clock_is_corrected(server: S3Server, executor: HttpExecutor) -> None:
    """The refusal says what time it is, and the next request is signed with that."""
    wanted = "20010203T0405"

    def fault(asked: Asked) -> Reply | None:
        if asked.headers["x-amz-date"].startswith(wanted):
            return None
        body = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
        return Reply(403, body, {"Date": "Sat, 03 Feb 2001 04:05:06 GMT"})

    server.fault = fault
    with RawServer(_skewed(wanted)) as raw, make_executor(raw.url, concurrency=1) as other:
        assert list(other.run([get("k"), get("k")], bytes_max=1)) == [b"right", b"right"]
        assert len(raw.heads) == 3


def _skewed(wanted: str) -> Callable[..., bool]:
    def script(connection: Any, head: bytes, number: int) -> bool:
        if f"x-amz-date: {wanted}".encode() in head:
            connection.sendall(answer(b"right"))
        else:
            body = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
            connection.sendall(answer(body, "403 Forbidden", "Date: Sat, 03 Feb 2001 04:05:06 GMT"))
        return key_of(head) == "k"

    return script


def test_given_keys_that_expired_are_an_error(server: S3Server, executor: HttpExecutor) -> None:
    """Keys that were given in so many words cannot be renewed: the error says what to do."""
    server.fault = lambda asked: failure(400, "ExpiredToken")
    with pytest.raises((AccessDeniedError, StorageError), match="sign in again"):
        list(executor.run([several([1])], bytes_max=1))


def test_a_chain_renews_expired_keys(server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Keys of a profile that the server calls expired are read anew, and the request succeeds with them."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    path = tmp_path / "credentials"
    profile = "[default]\naws_access_key_id = {}\naws_secret_access_key = s\n"
    path.write_text(profile.format("OLD"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def fault(asked: Asked) -> Reply | None:
        if "Credential=NEW/" in asked.headers["authorization"]:
            return None
        path.write_text(profile.format("NEW"))
        return failure(400, "ExpiredToken")

    server.fault = fault
    with make_executor(server.url, storage_options={"region": "us-east-1"}) as executor:
        assert list(executor.run([several([1, 2])], bytes_max=1)) == [content(1) + content(2)]


def test_anonymous_requests_are_not_signed(server: S3Server) -> None:
    """A public bucket needs no credentials, and gets none."""
    with make_executor(server.url, storage_options={"anon": True}) as executor:
        assert list(executor.run([several([1])], bytes_max=1)) == [content(1)]
    assert "authorization" not in server.log[0].headers


def test_without_epoll(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems that have no epoll are served by what the standard library finds, pauses for memory included."""
    monkeypatch.setattr("holdall_store.transfer._machine.make_poller", _poll._Selector)
    with make_executor(server.url, concurrency=6) as executor:
        found = list(executor.run((several([number]) for number in range(100)), bytes_max=600))
    assert found == [content(number) for number in range(100)]


def test_the_death_of_a_thread_is_told(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits forever for a thread that died of a mistake in here; the mistake is the cause."""

    def wrong(self: object) -> None:
        raise ZeroDivisionError("a mistake")

    server.fault = lambda asked: Stall()
    threads = own_threads()
    with make_executor(server.url, loops=2) as executor:
        results = executor.run([several([1])], bytes_max=1)
        monkeypatch.setattr("holdall_store.transfer._watch.Watch.look", wrong)
        for _ in range(2):
            with pytest.raises(StorageError, match="a mistake") as caught:
                next(results)
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            results = executor.run([several([1])], bytes_max=1)
    assert own_threads() <= threads
