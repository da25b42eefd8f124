"""Processes that are killed, that fork, and that all save at once."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.engine._engine import begin, latest, read, repository, stretch, value

from holdall import Client, run
from holdall_store.storage import open_storage


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a store is, for this process and for others."""

    url: str
    options: dict[str, Any] | None = None

    @property
    def words(self) -> list[str]:
        """What a program is told of it."""
        return [self.url, json.dumps(self.options)]

    def client(self) -> Client:
        """Return a client that knows nothing yet."""
        return Client(self.url, namespace="user:ana", storage_options=self.options)


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a place on a disk, and one in a bucket."""
    if request.param == "disk":
        return Place(str(tmp_path / "s"))
    bucket = request.getfixturevalue("bucket")
    return Place(bucket.empty().url, bucket.options)


COMMON = """
import json, os, sys, threading
from blake3 import blake3
import holdall
from holdall_store.errors import RunStateError
store, options = sys.argv[1], json.loads(sys.argv[2])

def open_client():
    return holdall.Client(store, namespace="user:ana", storage_options=options)

def stretch(seed, size):
    return blake3(seed.to_bytes(8, "little")).digest(length=size)

def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""

NURSERY = (
    COMMON
    + """
def work(round_):
    # What is told is durable: a large value when its save has returned, a small one when its run has ended.
    client = open_client()
    for number in range(10**6):
        with holdall.run("flow", client=client) as run:
            for part in range(3):
                size = (number * 7919 + part * 104729) % 300_000 + 5000
                saved = run.save({"p%d" % part: stretch(round_, 100_000) + stretch(number, size)})
                tell(saved["p%d" % part].reference, round_, number, size)
            small = run.save(small=b"%d" % number)["small"].reference
        tell(small, "small", number)

open_client()
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            work(int(line))
        finally:
            os._exit(1)
    tell("pid", pid)
    tell("dead", os.waitpid(pid, 0)[1])
"""
)


def told_value(words: list[str]) -> bytes:
    """Return what a line of the nursery says was saved."""
    if words[1] == "small":
        return words[2].encode()
    round_, number, size = map(int, words[1:])
    return stretch(round_, 100_000) + stretch(number, size)


def test_processes_that_are_killed_lose_nothing_that_they_reported(place: Place) -> None:
    """Again and again kill -9 at some moment of a save: all that was durable loads, bit by bit, and the next process goes on."""
    chosen = random.Random(5)
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, *place.words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    client = place.client()
    told: list[list[str]] = []
    try:
        for round_ in range(12 if place.options is None else 8):
            nursery.stdin.write(f"{round_}\n")
            nursery.stdin.flush()
            left, pid = chosen.randrange(1, 12), 0
            fresh: list[list[str]] = []
            for line in nursery.stdout:
                words = line.split()
                if words[0] == "dead":
                    assert int(words[1]) == signal.SIGKILL
                    break
                if words[0] == "pid":
                    pid = int(words[1])
                else:
                    fresh.append(words)
                if len(fresh) >= left and pid > 0:
                    # Anywhere in the next save: the pause only scatters the moments.
                    threading.Event().wait(chosen.random() * 0.02)
                    os.kill(pid, signal.SIGKILL)
                    pid = -1
            assert len(fresh) >= left
            for words in fresh:
                assert client.load(words[0]) == told_value(words)
            told += fresh
    finally:
        nursery.kill()
        nursery.communicate()

    fresh_client = place.client()
    for words in told:
        assert fresh_client.load(words[0]) == told_value(words)
    runs = list(fresh_client.flow("flow").runs())
    assert {found.status for found in runs} <= {"running", "died", "succeeded"}
    for found in runs:
        for artifact in found:
            assert artifact.load()


WRITER = (
    COMMON
    + """
me = int(sys.argv[3])
tell("ready")
sys.stdin.readline()
client = open_client()
for number in range(4):
    with holdall.run("flow", client=client) as run:
        run.save(mine=stretch(me * 100 + number, 120_000), shared=stretch(1, 400_000), note=[me, number])
    holdall.save([me, number], f"flow/single{me}", client=client)
tell("done")
"""
)


def test_eight_processes_that_save_into_one_flow_lose_nothing(place: Place) -> None:
    """All at once, into a store that none of them finds there: every run is there, and every value is right."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *place.words, str(me)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for me in range(8)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.communicate()[0] == "done\n"
        assert writer.returncode == 0

    client = place.client()
    seen = set()
    for found in client.flow("flow").runs():
        assert found.status == "succeeded"
        if "note" in found:
            me, number = found["note"].load()
            seen.add((me, number))
            assert found["mine"].load() == stretch(me * 100 + number, 120_000)
            assert found["shared"].load() == stretch(1, 400_000)
    assert seen == {(me, number) for me in range(8) for number in range(4)}
    for me in range(8):
        assert client.load(f"flow/single{me}") == [me, 3]


FORKING = (
    COMMON
    + """
client = open_client()
with holdall.run("flow", client=client) as run:
    run.save(before=stretch(1, 200_000))
    # A thread is in the middle of a save when the process forks: its lock is never released in the child.
    held, go = threading.Event(), threading.Event()

    def hold():
        with run._writer._lock:
            held.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for use in (lambda: run.save(x=1), run.flush, lambda: run.log(loss=1.0), lambda: run["before"], run.end):
                try:
                    use()
                except RunStateError as error:
                    assert "child" in str(error), error
                else:
                    raise AssertionError("the parent's run was used")
            # On its own, through the same client: the store and its index are opened anew.
            holdall.save(stretch(1, 200_000), "own/a", client=client)
            with holdall.run("own", client=client) as mine:
                mine.save(b=stretch(2, 200_000))
            assert client.load("own/a") == stretch(1, 200_000)
            code = 0
        finally:
            os._exit(code)
    go.set()
    thread.join()
    assert os.waitpid(pid, 0)[1] == 0
    run.save(after=stretch(2, 200_000))
assert client.load("own/b") == client.load("flow/after") == stretch(2, 200_000)
tell("fine")
"""
)


def test_a_forked_child_saves_on_its_own_only(place: Place) -> None:
    """It gets an error, not a deadlock, from its parent's run; its own runs work; and so does the parent afterwards."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, *place.words],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def test_threads_share_a_run(tmp_path: Path, place: Place) -> None:
    """Saves, logs and reads of many threads on one run: all of them are there."""
    store = repository(open_storage(place.url, place.options), tmp_path)
    active = begin(store)
    errors: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for number in range(5):
                active.save({f"v{me}-{number}": value(stretch(me * 10 + number, 30_000 if number % 2 else 100))})
                active.view_pending()
                active.flush()
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    active.end("succeeded")

    assert errors == []
    expected = {(me, n): [stretch(me * 10 + n, 30_000 if n % 2 else 100)] for me in range(8) for n in range(5)}
    assert latest(store) == {f"v{me}-{n}": parts for (me, n), parts in expected.items()}
    view = next(store.catalog.newest("user:ana", "flow"))
    assert all(read(store, artifact) for artifact in view.artifacts.values())


def test_two_runs_of_one_client_at_once(place: Place) -> None:
    """Runs of several threads share a client and its index, and find each other's chunks or not: all load."""
    client = place.client()
    errors: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for number in range(3):
                with run(f"flow{me}", client=client) as active:
                    active.save(a=stretch(number, 150_000), b=stretch(me, 50_000))
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    for me in range(4):
        assert [found["a"].load() for found in client.flow(f"flow{me}").runs()] == [
            stretch(n, 150_000) for n in (2, 1, 0)
        ]
        assert client.load(f"flow{me}/b") == stretch(me, 50_000)
    client.close()
