"""Bulk transfer over a network that fails: right bytes or a clear error, nothing by half, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.engine._engine import stretch
from tests.faults._on_the_way import FINAL, HARMLESS, LYING, PASSING, REGION, SILENT
from tests.faults._verbs import FILES, KIB, OBJECTS, READS, VERBS, files_in
from tests.storage._flaky import Exchange, Fault, FlakyProxy, Schedule
from tests.storage._flaky_faults import FlipByte, Reset, Say, Stall, Truncate, always, mixed, once_each, only, storm
from tests.transfer._bucket_server import BucketServer

from holdall_store.errors import HoldallError, IntegrityError, ObjectNotFoundError, StorageError
from holdall_store.transfer import (
    _plan,
    _retries,
    _s3_copy,
    _s3_files,
    _s3_get,
    _s3_put,
    _s3_session,
    _s3_sources,
    _watch,
)
from holdall_store.transfer._s3_files import is_partial_name
from holdall_store.transfer.aio import AsyncS3
from holdall_store.transfer.executor import HttpExecutor
from holdall_store.transfer.s3 import S3

ALL = HARMLESS | PASSING | SILENT
MIXTURE = [fault for name, fault in (PASSING | HARMLESS).items() if name != "request timeout"]
"""Without the one whose reason is in the body, which the answer to a HEAD has none of."""

STALL_TIMEOUT = 0.25


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and write in parts from 64 KiB on, wait for nothing long, and begin with few requests."""
    for module in (_plan, _s3_get, _s3_files):
        if hasattr(module, "FIRST_BYTES"):
            monkeypatch.setattr(module, "FIRST_BYTES", 64 * KIB)
    for module in (_plan, _s3_put, _s3_sources):
        monkeypatch.setattr(module, "MULTIPART_BYTES", 64 * KIB)
    for module in (_plan, _s3_copy):
        if hasattr(module, "COPY_BYTES_MAX"):
            monkeypatch.setattr(module, "COPY_BYTES_MAX", 64 * KIB)
    monkeypatch.setattr(_plan, "PART_BYTES_MIN", 64 * KIB)
    monkeypatch.setattr(_plan, "COPY_PART_BYTES_MIN", 64 * KIB)
    monkeypatch.setattr(_plan, "MIB", KIB)
    monkeypatch.setattr(_retries, "DELAY_FIRST", 0.002)
    monkeypatch.setattr(_retries, "DELAY_MAX", 0.02)
    monkeypatch.setattr(
        _s3_session, "HttpExecutor", functools.partial(HttpExecutor, stall_timeout=STALL_TIMEOUT, loops=1)
    )


@pytest.fixture(scope="module")
def running() -> Iterator[BucketServer]:
    """Run a server for the tests here."""
    server = BucketServer()
    yield server
    server.close()


@pytest.fixture
def proxy(running: BucketServer) -> Iterator[FlakyProxy]:
    """Run a proxy before the server."""
    with FlakyProxy(running.url) as made:
        yield made


def fill(server: BucketServer) -> None:
    """Leave the objects in an empty bucket."""
    server.reset()
    for key, data in OBJECTS.items():
        server.store(f"root/{key}", data)


def options_for(proxy: FlakyProxy) -> dict[str, str]:
    """Return where the proxy is, and credentials."""
    return {"endpoint_url": proxy.url, "key": "access", "secret": "a-secret-key", "region": "us-east-1"}


@contextlib.contextmanager
def session(proxy: FlakyProxy, tmp_path: Path, **options: Any) -> Iterator[S3]:
    """Give an `S3`; when it is closed, its threads, connections and temporary files are gone."""
    tmproot = tmp_path / "tmp"
    tmproot.mkdir(exist_ok=True)
    before = set(threading.enumerate())
    options = {"deadline": 20, "concurrency": 8, "tmproot": tmproot, **options}
    with S3("s3://bucket/root", storage_options=options_for(proxy), **options) as s3:
        yield s3
    assert {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("holdall")} == set()
    assert proxy.wait_until_left()
    assert list(tmproot.iterdir()) == []


def play(
    verb: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path, schedule: Schedule, **options: Any
) -> None:
    """Use a verb while the network fails."""
    fill(running)
    folder = tmp_path / verb
    folder.mkdir()
    with session(proxy, tmp_path, **options) as s3:
        proxy.reset(schedule)
        VERBS[verb](s3, running, folder)


def assert_whole(running: BucketServer, folder: Path) -> None:
    """Assert that what can be seen of objects and files is whole."""
    known = {*OBJECTS.values(), *FILES.values(), b"other"}
    assert {running.content(key) for key in running.keys("bucket")} <= known
    assert {data for name, data in files_in(folder).items() if not is_partial_name(name.rpartition("/")[2])} <= known


@pytest.mark.parametrize("fault", HARMLESS | PASSING)
def test_every_verb_while_every_request_fails_once(
    fault: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path
) -> None:
    """Every verb does what it should, with more requests."""
    schedule = once_each(ALL[fault])
    if fault == "request timeout":  # its reason is in the body, and the answer to a HEAD has none
        schedule = only(schedule, "GET", "PUT", "POST", "DELETE")
    for verb in VERBS:
        play(verb, running, proxy, tmp_path, schedule)
        assert len(proxy.struck) > 1 or (fault, verb) == ("request timeout", "info"), verb


@pytest.mark.parametrize("fault", SILENT)
def test_every_verb_while_requests_get_no_answer(
    fault: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands still is called off and asked for again."""
    monkeypatch.setattr(_watch, "LOOK_EVERY", 0.05)
    # To the answer to a write more time is given: half of the deadline.
    for verb in (*READS, "put", "put_files", "copy", "delete"):
        play(verb, running, proxy, tmp_path, once_each(ALL[fault], share=0.12), deadline=2)


@pytest.mark.parametrize("seed", range(3))
def test_every_verb_with_any_mixture_of_faults(
    seed: int, running: BucketServer, proxy: FlakyProxy, tmp_path: Path
) -> None:
    """The same, with faults that come one after the other for the same request."""
    for number, verb in enumerate(VERBS):
        play(verb, running, proxy, tmp_path, mixed(*MIXTURE, attempts=3, share=0.7, seed=seed * 100 + number))
        assert proxy.struck, verb


@pytest.mark.parametrize("fault", ["slow down", "429", "500", "slow down after"])
def test_every_verb_in_a_storm(fault: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """Nine of ten requests fail for a while: everything is done all the same, and then the pace recovers."""
    for verb in VERBS:
        play(verb, running, proxy, tmp_path, storm(PASSING[fault], count=40))
        assert len(proxy.struck) > 10, verb


def completes_or_copies(exchange: Exchange) -> bool:
    """Tell whether S3 may say 200 before it knows whether it succeeds."""
    completes = exchange.method == "POST" and "uploadId" in exchange.target
    return completes or "x-amz-copy-source" in exchange.headers


@pytest.mark.parametrize("forwarded", [False, True])
def test_success_that_is_an_error(forwarded: bool, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """An error in an answer with status 200, after a completion or a copy, is seen, and the request repeated."""
    fault = Say(200, "InternalError", forwarded=forwarded)
    struck = once_each(fault)
    for verb in ("put", "put_if_absent", "put_many", "put_files", "copy", "upload", "sync"):
        play(verb, running, proxy, tmp_path, lambda one: struck(one) if completes_or_copies(one) else None)
        assert proxy.struck, verb


@pytest.mark.parametrize("fault", FINAL)
def test_every_verb_when_nothing_helps(fault: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """An error of ours that says why, after few requests, without secrets; nothing is changed, nothing left behind."""
    struck, _ = FINAL[fault]
    for verb in VERBS:
        with pytest.raises(HoldallError) as caught:
            play(verb, running, proxy, tmp_path, always(struck), deadline=0.15)
        assert "a-secret-key" not in str(caught.value)
        assert len(proxy.log) <= 40 or fault == "not HTTP"
        assert running.keys() == sorted(f"root/{key}" for key in OBJECTS)
        assert_whole(running, tmp_path / verb)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Say(301, "PermanentRedirect", (REGION,)), "another region"),
        (Say(400, "ExpiredToken"), "expired"),
        (Say(403, "RequestTimeTooSkewed", (("Date", "Mon, 23 Nov 2037 08:00:00 GMT"),)), "clock"),
        (Say(403, "AccessDenied"), "403"),
    ],
)
def test_reasons_are_told(said: Fault, reason: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """Each refusal is told with its way out."""
    fill(running)
    with session(proxy, tmp_path) as s3:
        proxy.reset(always(said))
        for use in (lambda: s3.get("a"), lambda: s3.put("a", b""), lambda: s3.list_paths(), lambda: s3.delete("a")):
            with pytest.raises(HoldallError, match=reason):
                use()


@pytest.mark.parametrize(
    "said",
    [
        Say(301, "PermanentRedirect", (REGION,)),
        Say(307, "TemporaryRedirect", (REGION,)),
        Say(403, "RequestTimeTooSkewed", (("Date", "Mon, 23 Nov 2037 08:00:00 GMT"),)),
    ],
)
def test_what_the_server_tells_is_learnt(said: Fault, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """Another region, another clock: told once, it is right from then on."""
    for verb in VERBS:
        play(verb, running, proxy, tmp_path, storm(said, count=1, share=1), concurrency=1)
        assert len(proxy.struck) == 1


@pytest.mark.parametrize("fault", LYING)
def test_reads_that_get_other_bytes(fault: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """Where all is verified, objects come back whole and right, or it is an error that names the object."""
    schedule = only(once_each(LYING[fault]), "GET", containing="bucket/root")
    failed = []
    for verb in ("get", "get_many", "iter_many", "get_recursive", "get_files", "download"):
        try:
            play(verb, running, proxy, tmp_path, schedule, verify=True)
        except (IntegrityError, StorageError) as error:
            failed.append(verb)
            assert "root/" in str(error)
        assert proxy.struck
        assert_whole(running, tmp_path / verb)
    assert failed or fault == "more bytes than promised"


def test_uploads_that_are_changed_on_the_way(running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """The server sees by the checksum that it got other bytes, and they are sent again."""
    for verb in ("put", "put_if_absent", "put_many", "put_files", "upload", "sync"):
        play(verb, running, proxy, tmp_path, only(once_each(FlipByte(request=True)), "PUT"))
        assert proxy.struck


@pytest.mark.parametrize(
    "fault", [Say(503, "SlowDown"), Say(500, "InternalError", forwarded=True), Reset(forwarded=True)]
)
@pytest.mark.parametrize(
    "verb", ["get_many", "get_files", "download", "put_many", "put_files", "copy", "delete", "sync"]
)
def test_the_network_ends_in_the_middle(
    verb: str, fault: Fault, running: BucketServer, proxy: FlakyProxy, tmp_path: Path
) -> None:
    """From some request on nothing succeeds: an error in time, and nothing that can be seen is there by half."""
    for number in (0, 2, 5, 8):

        def schedule(exchange: Exchange, number: int = number) -> Fault | None:
            return fault if exchange.number >= number else None

        folder = tmp_path / str(number)
        folder.mkdir()
        failed = False
        try:
            play(verb, running, proxy, folder, schedule, deadline=0.1)
        except StorageError:
            failed = True
        assert failed or not proxy.struck
        assert_whole(running, folder / verb)


@pytest.mark.parametrize("verb", ["get", "get_many", "iter_many", "get_files", "list", "put", "copy", "delete"])
def test_nothing_but_silence(
    verb: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no answer ever comes, the deadline ends it."""
    monkeypatch.setattr(_watch, "LOOK_EVERY", 0.05)
    with pytest.raises(StorageError, match="in time|within"):
        play(verb, running, proxy, tmp_path, always(Stall()), deadline=0.4)
    assert len(proxy.log) < 100


@pytest.mark.parametrize("verb", ["get", "get_files", "list", "put", "copy", "delete"])
def test_nobody_answers(verb: str, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """Where no connection is to be had, that is what is said."""
    proxy.refuse(600)
    with pytest.raises(StorageError, match="nobody answers there|no answer within"):
        play(verb, running, proxy, tmp_path, always(Stall()), deadline=0.3)
    assert proxy.log == []


@pytest.mark.parametrize("seed", range(2))
def test_the_asynchronous_twin(seed: int, running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """In an event loop it is the same."""
    fill(running)
    proxy.reset(mixed(*MIXTURE, attempts=3, share=0.7, seed=seed))
    before = set(threading.enumerate())

    async def use() -> None:
        async with AsyncS3("s3://bucket/root", storage_options=options_for(proxy), deadline=20, concurrency=8) as s3:
            assert [found.blob for found in await s3.get_many(OBJECTS)] == [*OBJECTS.values()]
            assert {found.key: found.blob async for found in s3.iter_many(OBJECTS)} == OBJECTS
            assert (await s3.info("large")).size == len(OBJECTS["large"])
            assert {found.key for found in await s3.list_recursive()} == OBJECTS.keys()
            await s3.put_many(FILES.items())
            await s3.copy("large", "copied")
            await s3.delete_many(["a", "empty"])

    asyncio.run(use())
    assert {key: running.content(f"root/{key}") for key in FILES} == FILES
    assert running.content("root/copied") == OBJECTS["large"]
    assert running.content("root/a") is None
    assert proxy.struck
    assert {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("holdall")} == set()
    assert proxy.wait_until_left()


def test_the_first_failure_ends_the_rest(running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """One object of many that is missing is named, and no more than what was under way is read."""
    fill(running)
    for number in range(500):
        running.store(f"root/many/{number:03d}", b"x" * 1000)
    keys = [f"many/{number:03d}" if number != 20 else "many/absent" for number in range(500)]
    with session(proxy, tmp_path) as s3:
        proxy.reset(storm(Say(503, "SlowDown"), count=20, share=0.5))
        with pytest.raises(ObjectNotFoundError, match="many/absent"):
            s3.get_many(keys)
    assert len(proxy.log) < 200


def test_memory_is_bounded_while_much_fails(running: BucketServer, proxy: FlakyProxy, tmp_path: Path) -> None:
    """What is under way, waits, or is tried again holds no more than the budget."""
    running.reset()
    data = stretch(9, 64 * KIB - 1)
    for number in range(150):
        running.store(f"root/{number:03d}", data)
    running.log.clear()
    with session(proxy, tmp_path, memory=512 * KIB) as s3:
        proxy.reset(mixed(Truncate(), Reset(forwarded=True), Say(503, "SlowDown"), share=0.5))
        tracemalloc.start()
        count = 0
        for found in s3.iter_many(f"{number:03d}" for number in range(150)):
            assert found.blob == data
            count += 1
            running.log.clear()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 150
    # The server and the proxy are in this process, too, and hold each answer under way a few times.
    assert peak < 8 << 20
