"""A log that is opened in the background: what must wait for it waits, and its failure is the save's."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from tests.engine._collector import Gated
from tests.engine._engine import begin, keys, latest, read, repository, save, stretch, value
from tests.engine.test_interleavings import SCHEDULES, play, start

from holdall_store.errors import StorageError
from holdall_store.repository import RunWriter, _run_writer
from holdall_store.storage import MemoryStorage

LARGE = _run_writer.BACKGROUND_BYTES_MIN


def opener(verb: str, key: str) -> bool:
    """Tell whether a request is made by the thread that opens the log."""
    return threading.current_thread().name == "holdall-open" and verb in ("create", "list") and bool(key)


def test_no_pack_is_visible_before_the_log_is_open(tmp_path: Path) -> None:
    """While the first slot is on its way, the pack is being written, and nobody sees it."""
    inner = MemoryStorage()
    seen: list[list[str]] = []
    written = threading.Event()

    def gate(verb: str, key: str) -> None:
        if verb == "create" and key.startswith("runs/") and key.endswith("00000000"):
            written.wait(0.2)  # the pack would be there by now
            seen.append([key for key in keys(inner) if key.startswith("packs/")])
        if verb == "create" and key.startswith("packs/"):
            seen.append([key for key in keys(inner) if key.startswith("runs/")])
            written.set()

    store = repository(Gated(inner, gate), tmp_path)
    run = begin(store)
    run.save({"large": value(stretch(1, 2 * LARGE))})
    run.end("succeeded")

    before_open, before_pack = seen
    assert before_open == []
    assert len(before_pack) == 1
    assert latest(repository(inner, tmp_path))["large"] == [stretch(1, 2 * LARGE)]


def test_the_log_is_opened_by_a_thread_of_its_own_for_what_is_large(tmp_path: Path) -> None:
    """A small save makes its requests one after the other; a large one finds and cuts chunks meanwhile."""
    for size, expected in ((LARGE // 2, False), (LARGE, True)):
        calls: list[bool] = []

        def gate(verb: str, key: str) -> None:
            calls.append(opener(verb, key))

        save(repository(Gated(MemoryStorage(), gate), tmp_path / str(size)), {"it": value(stretch(1, size))})
        assert any(calls) == expected


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_log_that_cannot_be_opened_fails_the_save(number: int, tmp_path: Path) -> None:
    """The caller gets the reason, nothing is visible, and the same run saves once the reason is gone."""
    inner = MemoryStorage()
    broken = True

    def gate(verb: str, key: str) -> None:
        if verb == "create" and key.startswith("runs/") and broken:
            raise StorageError(number, "said the disk")

    store = repository(Gated(inner, gate), tmp_path)
    run = begin(store)
    data = stretch(3, 2 * LARGE)
    with pytest.raises(OSError) as failure:
        run.save({"large": value(data)})

    assert failure.value.errno == number
    assert [key for key in keys(inner) if key != "holdall.json"] == []
    broken = False
    saved = run.save({"large": value(data)})
    run.end("succeeded")
    assert read(store, saved["large"]) == [data]
    assert latest(repository(inner, tmp_path))["large"] == [data]


def test_a_pack_that_cannot_be_written_leaves_an_open_log(tmp_path: Path) -> None:
    """The opening has ended before the error reaches the caller, and the run can go on."""
    inner = MemoryStorage()
    full = True

    def gate(verb: str, key: str) -> None:
        if verb == "create" and key.startswith("packs/") and full:
            raise StorageError(errno.ENOSPC, "full")

    store = repository(Gated(inner, gate), tmp_path)
    run = begin(store)
    with pytest.raises(StorageError):
        run.save({"large": value(stretch(1, 2 * LARGE))})

    assert [thread.name for thread in threading.enumerate() if thread.name == "holdall-open"] == []
    assert [key for key in keys(inner) if key.startswith("packs/")] == []
    full = False
    run.save({"large": value(stretch(1, 2 * LARGE))})
    run.end("succeeded")
    assert latest(repository(inner, tmp_path))["large"] == [stretch(1, 2 * LARGE)]


def test_chunks_of_others_are_found_while_the_log_is_opened(tmp_path: Path) -> None:
    """What another run stored is referred to, and nothing is stored twice."""
    inner = MemoryStorage()
    data = stretch(1, 2 * LARGE)
    save(repository(inner, tmp_path), {"it": value(data)})
    packs = [key for key in keys(inner) if key.startswith("packs/")]
    save(repository(inner, tmp_path, seed=1), {"it": value(data)}, "other")

    assert [key for key in keys(inner) if key.startswith("packs/")] == packs
    assert latest(repository(inner, tmp_path), "other")["it"] == [data]


def test_a_collector_between_two_threads_of_a_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order of the requests of both threads and of the collector's steps, what was committed is there."""
    monkeypatch.setattr(_run_writer, "BACKGROUND_BYTES_MIN", 0)
    base = start()

    def counts(verb: str, key: str) -> bool:
        return verb in ("create", "list")

    assert [schedule for schedule in SCHEDULES[::3] if not play(base, RunWriter, schedule, counts)] == []
