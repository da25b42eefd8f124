"""Work in threads: results in order, within a budget, stopped by the first failure, and never stuck."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from holdall_store.transfer import Background, run_all, run_ordered


def own_threads() -> list[threading.Thread]:
    """Return the threads that were started for work."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("holdall-work-")]


@given(
    st.lists(st.lists(st.integers(0, 50), max_size=6), max_size=12),
    st.sampled_from((1, 7, 60, 1000)),
    st.sampled_from((1, 2, 3, 8)),
)
@settings(max_examples=60)
def test_results_come_in_the_order_of_the_jobs(jobs: list[list[int]], bytes_max: int, threads: int) -> None:
    """Whatever the weights, the budget (even one byte) and the number of threads: nothing is lost, moved or stuck."""
    results = run_ordered(
        range(len(jobs)),
        lambda job: (((job, place), weight) for place, weight in enumerate(jobs[job])),
        bytes_max=bytes_max,
        threads=threads,
    )

    assert list(results) == [(job, place) for job, weights in enumerate(jobs) for place in range(len(weights))]
    assert own_threads() == []


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_first_failure_in_the_order_of_the_jobs_is_raised(threads: int) -> None:
    """All results before it come first; what fails later, though perhaps sooner, is not told; the threads are gone."""

    def work(job: int) -> Iterator[tuple[int, int]]:
        yield job, 1
        if job in (3, 4, 7):
            raise ValueError(f"job {job}")

    got = []
    with pytest.raises(ValueError, match="job 3"):
        for result in run_ordered(range(10), work, bytes_max=100, threads=threads):
            got.append(result)  # noqa: PERF402 - what came before the failure counts
    assert got == [0, 1, 2, 3]
    assert own_threads() == []


@pytest.mark.parametrize("weight", [0, 1, 50])
def test_closing_early_stops_the_work_and_joins_the_threads(weight: int) -> None:
    """A consumer that has seen enough waits for nobody who waits for room."""
    asked = []

    def work(job: int) -> Iterator[tuple[int, int]]:
        for number in range(10_000):
            asked.append(job)
            yield number, weight

    results = run_ordered(range(100), work, bytes_max=60, threads=3)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    results.close()  # type: ignore[attr-defined]
    assert own_threads() == []
    assert len(set(asked)) <= 4 or weight == 0  # what weighs nothing may run ahead


def test_the_budget_holds_for_all_jobs_together() -> None:
    """However many jobs are done while the first is slow, no more than the budget waits, and a share beside it."""
    lock = threading.Lock()
    alive, most = 0, 0
    first_may_go = threading.Event()
    others_are_full = threading.Semaphore(0)

    def work(job: int) -> Iterator[tuple[int, int]]:
        nonlocal alive, most
        if job == 0:
            first_may_go.wait(30)
        for _ in range(10):
            with lock:
                alive += 10
                most = max(most, alive)
                if alive >= 100:
                    others_are_full.release()
            yield job, 10

    def release() -> None:
        others_are_full.acquire(timeout=30)
        first_may_go.set()

    opener = threading.Thread(target=release)
    opener.start()
    seen = []
    for result in run_ordered(range(40), work, bytes_max=100, threads=4):
        seen.append(result)
        with lock:
            alive -= 10
    opener.join()

    assert seen == [job for job in range(40) for _ in range(10)]
    # What each worker holds in its hand is made before it is weighed.
    assert most <= 100 + 100 // 4 + 4 * 10 + 10


def test_one_thread_is_the_calling_one() -> None:
    """With one thread nothing runs elsewhere, and nothing runs ahead."""
    seen: list[object] = []

    def work(job: int) -> Iterator[tuple[int, int]]:
        seen.append(threading.current_thread())
        yield job, 1

    results = run_ordered(range(3), work, bytes_max=1, threads=1)
    assert next(results) == 0
    assert seen == [threading.current_thread()]
    assert list(results) == [1, 2]


def test_all_jobs_run_and_the_first_failure_is_raised() -> None:
    """`run_all` calls the work once for each job, whatever the number of threads, and passes its failure on."""
    for threads in (1, 4):
        done: list[int] = []
        run_all(range(30), done.append, threads=threads)
        assert sorted(done) == list(range(30))
        with pytest.raises(ZeroDivisionError):
            run_all([1, 0, 2], lambda job: done.append(1 // job), threads=threads)
    assert own_threads() == []


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_background_work_is_done_when_it_was_waited_for(threads: int) -> None:
    """Every job is done once, whatever the number of threads; with one, it is the caller's, who waits."""
    done: list[tuple[int, str]] = []
    background = Background(range(40), lambda job: done.append((job, threading.current_thread().name)), threads=threads)
    background.wait()

    assert sorted(job for job, _ in done) == list(range(40))
    assert threads > 1 or {name for _, name in done} == {threading.current_thread().name}
    assert own_threads() == []


def test_background_work_goes_on_while_nobody_waits() -> None:
    """Work is under way before it is waited for."""
    begun = threading.Event()
    background = Background([1], lambda _job: begun.set(), threads=2)
    assert begun.wait(timeout=60)
    background.wait()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_first_failure_of_background_work_is_raised(threads: int) -> None:
    """Of several failures the first in the order of the jobs is told, every job before it is done, and the rest rests."""
    done: list[int] = []
    together = threading.Barrier(min(threads, 2))

    def work(job: int) -> None:
        if job in (3, 4) and threads > 1:
            together.wait(timeout=60)  # both have begun before either fails
        if job >= 3:
            raise ValueError(f"job {job}")
        done.append(job)

    background = Background(range(1000), work, threads=threads)
    with pytest.raises(ValueError, match="^job 3$"):
        background.wait()
    assert sorted(done) == [0, 1, 2]
    assert own_threads() == []
