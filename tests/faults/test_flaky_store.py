"""A store in a bucket, with a network that fails: what was saved is there, whole, and nothing is there by half."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engine._engine import repository, stretch
from tests.faults._ledger import SCENARIOS, Ledger, prepare
from tests.faults._on_the_way import FINAL, HARMLESS, LYING, PASSING, SILENT
from tests.storage._flaky import FlakyProxy, Schedule
from tests.storage._flaky_faults import FlipByte, Say, always, mixed, once_each, only, storm

import holdall
from holdall import Client, HoldallError
from holdall_store.errors import AccessDeniedError, IntegrityError, NotFoundError, StorageError
from holdall_store.storage import Storage
from holdall_store.storage._object import ObjectStorage

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

NAMESPACE = "user:ana"
TIMEOUT = 0.25
ALL = HARMLESS | PASSING | SILENT
VALUES = {"big": stretch(1, 150_000), "small": {"depth": 3}, "list": [f"item {n}" for n in range(3000)]}


@pytest.fixture
def proxy(bucket: Bucket) -> Iterator[FlakyProxy]:
    """Run a proxy before the server."""
    with FlakyProxy(bucket.server.url) as running:
        yield running


def prefix_of(storage: Storage) -> str:
    """Return where in the bucket a storage is."""
    return storage.url.removeprefix("s3://bucket/")


def both(bucket: Bucket, proxy: FlakyProxy) -> tuple[ObjectStorage, ObjectStorage]:
    """Return an empty storage as seen on the way that fails, and as seen on another."""
    direct = bucket.empty()
    flaky = bucket.at(prefix_of(direct), endpoint_url=proxy.url, deadline=20, request_timeout=TIMEOUT)
    return flaky, direct


def play(
    name: str, flaky: ObjectStorage, direct: ObjectStorage, home: Path, proxy: FlakyProxy, schedule: Schedule
) -> Ledger:
    """Play a scenario while the network fails."""
    ledger = prepare(name, direct, home)
    proxy.reset(schedule)
    store = repository(flaky, home)
    SCENARIOS[name](store, ledger, 1)
    store.close()
    proxy.schedule = lambda exchange: None
    return ledger


CASES = [(fault, name) for fault in PASSING for name in ("second save", "small values")]
CASES += [(fault, "second save") for fault in HARMLESS | SILENT]


@pytest.mark.parametrize(("fault", "name"), CASES)
def test_saves_while_every_request_fails_once(
    name: str, fault: str, bucket: Bucket, proxy: FlakyProxy, tmp_path: Path
) -> None:
    """Each save returns as if nothing had happened, and is there once."""
    flaky, direct = both(bucket, proxy)
    share = 0.3 if fault in SILENT else 1
    ledger = play(name, flaky, direct, tmp_path, proxy, once_each(ALL[fault], share=share))

    assert ledger.errors == []
    assert proxy.struck
    ledger.check(direct, tmp_path / "after")


def fill(storage: Storage) -> None:
    """Leave a run with an alias."""
    client = Client(storage, namespace=NAMESPACE)
    with holdall.run("flow", client=client) as run:
        run.save(VALUES)
    holdall.alias("flow", "best", client=client)


def look(storage: Storage) -> None:
    """Use every verb of reading, with new eyes."""
    client = Client(storage, namespace=NAMESPACE, trust=True)
    assert {name: client.load(f"flow/{name}") for name in VALUES} == VALUES
    assert client.load("flow/big:best") == VALUES["big"]
    assert [found.status for found in client.flow("flow").runs()] == ["succeeded"]
    assert {artifact.name for artifact in client.flow("flow").latest_run} == set(VALUES)


@pytest.mark.parametrize("fault", ALL)
def test_reads_while_every_request_fails_once(fault: str, bucket: Bucket, proxy: FlakyProxy) -> None:
    """Everything is found, listed and loaded as it is."""
    flaky, direct = both(bucket, proxy)
    fill(direct)
    share = 0.3 if fault in SILENT else 1
    proxy.reset(once_each(ALL[fault], share=share))
    look(flaky)
    assert proxy.struck


@pytest.mark.parametrize("fault", HARMLESS | PASSING | LYING)
def test_bulk_reads_while_every_request_fails_once(
    fault: str, bucket: Bucket, proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large objects, which come through the executor, are whole; where an answer lied, that may be an error."""
    monkeypatch.setattr("holdall_store.transfer._ranges.EXECUTOR_BYTES_MIN", 1)
    for bound in ("AHEAD_BYTES_MAX", "WHOLE_BYTES_MAX", "REMOTE_GAP_BYTES", "REMOTE_JOB_BYTES_MIN"):
        monkeypatch.setattr(f"holdall_store.repository._plan.{bound}", 0)  # many requests, though it is little
    monkeypatch.setattr("holdall_store.transfer._retries.DELAY_FIRST", 0.002)
    flaky, direct = both(bucket, proxy)
    data = stretch(7, 2 << 20)
    holdall.save(data, "flow/large", client=Client(direct, namespace=NAMESPACE))
    proxy.reset(only(once_each((ALL | LYING)[fault]), "GET", containing="/packs/"))
    try:
        assert Client(flaky, namespace=NAMESPACE).load("flow/large") == data
    except (IntegrityError, StorageError):
        assert fault in LYING
    assert len(proxy.struck) > (0 if fault in LYING else 10)
    proxy.schedule = lambda exchange: None
    assert Client(flaky, namespace=NAMESPACE).load("flow/large") == data


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_once(seed: int, bucket: Bucket, proxy: FlakyProxy) -> None:
    """Any mixture of faults, some of them twice for the same request."""
    flaky, direct = both(bucket, proxy)
    # The reason of a 400 is in its body, and the answer to a HEAD has none.
    faults = [fault for name, fault in (PASSING | HARMLESS).items() if name != "request timeout"]
    proxy.reset(mixed(*faults, share=0.7, seed=seed))
    fill(flaky)
    look(flaky)
    proxy.schedule = lambda exchange: None
    look(direct)
    assert len(proxy.struck) > 5


@pytest.mark.parametrize("fault", ["slow down", "429", "500 after", "reset after"])
def test_a_storm(fault: str, bucket: Bucket, proxy: FlakyProxy) -> None:
    """Nine of ten requests fail for a while: all arrives, once."""
    flaky, direct = both(bucket, proxy)
    proxy.reset(storm(PASSING[fault], count=100))
    fill(flaky)
    look(flaky)
    look(direct)
    assert len(proxy.struck) >= 60


@pytest.mark.parametrize("fault", LYING)
def test_reads_that_get_other_bytes(fault: str, bucket: Bucket, proxy: FlakyProxy) -> None:
    """Each load gives the right value or an error that says what is damaged; the next one is right."""
    flaky, direct = both(bucket, proxy)
    fill(direct)
    failed = 0
    for name, expected in VALUES.items():
        proxy.reset(only(once_each(LYING[fault]), "GET", containing="/bucket/"))
        try:
            assert Client(flaky, namespace=NAMESPACE, trust=True).load(f"flow/{name}") == expected
        except HoldallError as error:
            failed += 1
            assert isinstance(error, IntegrityError | StorageError | NotFoundError)
        assert proxy.struck
    assert failed == len(VALUES) or fault != "flipped"
    proxy.schedule = lambda exchange: None
    look(flaky)


@pytest.mark.parametrize("name", ["first save", "second save"])
def test_uploads_that_are_changed_on_the_way(name: str, bucket: Bucket, proxy: FlakyProxy, tmp_path: Path) -> None:
    """The server sees by the signature that it got other bytes, and the upload is repeated."""
    flaky, direct = both(bucket, proxy)
    ledger = play(name, flaky, direct, tmp_path, proxy, only(once_each(FlipByte(request=True)), "PUT"))

    assert ledger.errors == []
    assert len(proxy.struck) > 2
    ledger.check(direct, tmp_path / "after")


@pytest.mark.parametrize("fault", FINAL)
def test_what_does_not_pass(fault: str, bucket: Bucket, proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verb raises at once, says why, leaks no secret; afterwards all is as it was, and the next run works."""
    monkeypatch.setattr("holdall_store.storage._object.UNREACHABLE_DEADLINE", 0)
    struck, said = FINAL[fault]
    flaky, direct = both(bucket, proxy)
    fill(direct)
    before = bucket.objects(direct)
    proxy.reset(always(struck))
    client = Client(flaky, namespace=NAMESPACE, trust=True)
    for use in (
        lambda: holdall.save(VALUES["big"], "flow/again", client=client),
        lambda: holdall.save(1, "flow/again", client=client),
        lambda: holdall.alias("flow", "worst", client=client),
        lambda: client.load("flow/big"),
        lambda: list(client.flow("flow").runs()),
    ):
        requests = len(proxy.log)
        with pytest.raises((AccessDeniedError, StorageError), match=said) as caught:
            use()
        assert len(proxy.log) - requests <= 3
        assert not any(secret in str(caught.value) for secret in ("a-secret-key", "an-access-key"))
    assert bucket.objects(direct) == before
    proxy.schedule = lambda exchange: None
    holdall.save(VALUES["big"], "other/again", client=client)
    assert Client(direct, namespace=NAMESPACE).load("other/again") == VALUES["big"]
    look(direct)


@pytest.mark.parametrize("forwarded", [False, True])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_network_ends_at_any_request(
    name: str, forwarded: bool, bucket: Bucket, proxy: FlakyProxy, tmp_path: Path
) -> None:
    """From one request on nothing answers any more: an error; what returned before is there, nothing by half."""
    before = bucket.empty()
    known = prepare(name, before, tmp_path)
    lying = bucket.objects(before)

    def play(home: Path, schedule: Schedule) -> tuple[ObjectStorage, Ledger]:
        direct, ledger = bucket.holding(lying), known.copy()
        proxy.reset(schedule)
        flaky = bucket.at(prefix_of(direct), endpoint_url=proxy.url, deadline=0, request_timeout=10)
        try:
            store = repository(flaky, home)
            SCENARIOS[name](store, ledger, 1)
            store.close()
        except HoldallError as error:
            ledger.errors.append(error)
        proxy.schedule = lambda exchange: None
        return direct, ledger

    assert play(tmp_path / "whole", lambda exchange: None)[1].errors == []
    count = len(proxy.log)
    assert count > 3
    fault = Say(500, "InternalError", forwarded=forwarded)
    for number in range(count):
        home = tmp_path / str(number)
        direct, ledger = play(home, lambda exchange, number=number: fault if exchange.number >= number else None)  # type: ignore[misc]

        assert ledger.errors
        ledger.check(direct, home / "after")
