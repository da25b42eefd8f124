"""Jobs under way: which request is next, what it all holds in memory, and who gets the results."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from holdall_store.transfer._exchange import FileTarget, Job, Request, Response
from holdall_store.transfer._retries import Tries

__all__ = ["Run", "Task", "Trial", "Workers"]

FILE_CHARGE: Final = 256 << 10
"""Bytes that a body on its way to a file holds: no more than passes through the buffer at once."""


class Workers(Protocol):
    """The loops, as a run sees them."""

    def wake(self) -> None:
        """Tell loops with nothing to do that there is something."""
        ...

    def call_off(self, trial: Trial) -> None:
        """End one request, in the loop that it is in."""
        ...

    def abort(self, run: Run) -> None:
        """End all requests of a run, in every loop, each of which then calls `Run.gone`."""
        ...


class Trial:
    """One request on its way to its final answer."""

    # Most requests change few of these, so they are the class's until then.
    done = False
    tries: Tries | None = None
    begun = 0.0
    deadline = 0.0
    """When no more tries are begun; 0 before the first."""
    paused = 0.0
    generation = 0
    loop: Any = None
    first: Any = None
    second: Any = None
    """The connection of a hedge."""

    def __init__(self, request: Request, task: Task, place: int, charge: int) -> None:
        self.request = request
        self.task = task
        self.place = place
        self.charge = charge

    @property
    def size(self) -> int:
        """The length that the body must have, if the request says so."""
        target = self.request.target
        if target is None or isinstance(target, FileTarget):
            return self.request.bytes_expected or 0
        return len(target)


class Task:
    """One job."""

    error: BaseException | None = None
    finished = False
    trials: Sequence[Trial] = ()
    left = 0
    held = 0
    """Bytes charged for it."""
    value: Any = None
    weight = 0

    def __init__(self, job: Job[Any], place: int, run: Run) -> None:
        self.job = job
        self.place = place
        self.run = run
        self.responses: list[Any] = []


class Run:
    """Jobs that share a budget, and fail together.

    Its methods are called by the loops and by the consumer. The lock guards the numbers and the queues; a job is
    resumed outside of it, by the loop that got the last of its answers.

    `deliver` gets finished tasks, or an empty list once the run has failed. It is called in a loop.
    """

    def __init__(
        self,
        workers: Workers,
        loops: int,
        deliver: Callable[[list[Task]], None],
        *,
        ordered: bool,
        bytes_max: int,
        weigh: Callable[[Any], int] | None = None,
    ) -> None:
        self.lock = threading.Lock()
        self.pending: deque[Task] = deque()
        self.error: BaseException | None = None
        self.stopped = False
        self.blocked = False
        """Whether something waits for room."""
        self.next_place = 0
        """The first result that the consumer has not had yet."""
        self.ended = threading.Event()
        self._workers = workers
        self._loops_left = loops
        self._deliver = deliver
        self._ordered = ordered
        self._bytes_max = bytes_max
        self._weigh = weigh
        self._used = 0
        self._waiting = 0
        self._guess = 0
        self._ready: deque[Trial] = deque()
        self._started: deque[Task] = deque()
        self._finished: deque[Task] = deque()
        self._paused: list[tuple[Trial, int, Callable[[], None]]] = []

    def take(self, loop: object) -> Trial | None:
        """Return a request for `loop` to send, or ``None`` while there is none or no room for it."""
        while True:
            with self.lock:
                if self.stopped:
                    return None
                if self._ready:
                    trial = self._take_ready()
                    if trial is None:
                        return None
                    if trial.done:
                        continue
                    trial.loop = loop
                    return trial
                if not self.pending:
                    return None
                if self._used >= self._bytes_max and not self._is_awaited(self.pending[0]):
                    self.blocked = True
                    return None
                task = self.pending.popleft()
                self._started.append(task)
            if (trial := self._step(task, (), loop=loop)) is not None:
                return trial

    def _take_ready(self) -> Trial | None:
        trial = self._ready[0]
        fits = trial.done or not self._used or self._used + trial.charge <= self._bytes_max
        if fits or trial.task is (awaited := self._awaited()):
            self._ready.popleft()
        else:
            chosen = next((other for other in self._ready if other.task is awaited and not other.done), None)
            if chosen is None:
                self.blocked = True
                return None
            self._ready.remove(chosen)
            trial = chosen
        if not trial.done:
            self._charge(trial, trial.charge)
        return trial

    def _charge(self, trial: Trial, count: int) -> None:
        self._used += count
        trial.task.held += count

    def _awaited(self) -> Task | None:
        """Return the job that goes on though there is no room, because nothing else can make any.

        In order it is the one whose result is next; as they come it is the oldest, while no result waits.
        """
        started = self._started
        while started and started[0].finished:
            started.popleft()
        if not started:
            return None
        oldest = started[0]
        if self._ordered:
            return oldest if oldest.place == self.next_place else None
        return None if self._waiting else oldest

    def _is_awaited(self, task: Task) -> bool:
        """Tell whether a job must begin though there is no room."""
        if self._ordered:
            return task.place == self.next_place
        return not self._waiting and self._awaited() is None

    def grow(self, trial: Trial, size: int, resume: Callable[[], None]) -> bool:
        """Make room for a body of which only now is known how large it is; else call `resume` when there is."""
        with self.lock:
            more = size - trial.charge
            if self._used and more > 0 and self._used + more > self._bytes_max and trial.task is not self._awaited():
                self._paused.append((trial, size, resume))
                self.blocked = True
                return False
            self._charge(trial, more)
            trial.charge = size
            return True

    def _step(
        self, task: Task, responses: Sequence[Response], error: BaseException | None = None, *, loop: object = None
    ) -> Trial | None:
        """Resume a job, and queue what it asks for; what `loop` can send at once is returned instead."""
        while True:
            try:
                if error is not None:
                    requests = task.job.throw(error)
                else:
                    requests = task.job.send(responses if task.trials else None)  # type: ignore[arg-type]
            except StopIteration as stop:
                self._finish(task, stop.value)
                return None
            except BaseException as failure:  # noqa: BLE001 - it is raised again in the consumer
                self.fail(failure, task)
                return None
            error, responses = None, ()
            count = len(requests)
            if count == 1:
                trials = [self._make(requests[0], task, 0)]
                break
            trials = [self._make(request, task, place) for place, request in enumerate(requests)]
            if trials:
                break
            task.trials = (None,)  # type: ignore[assignment]
        task.trials = trials
        task.error = None
        task.responses = [None] * count
        with self.lock:
            task.left = count
            if loop is not None and count == 1 and not self._ready and not self.stopped:
                trial = trials[0]
                charge = trial.charge
                if not self._used or self._used + charge <= self._bytes_max:
                    self._used += charge
                    task.held += charge
                    trial.loop = loop
                    return trial
            self._ready.extend(trials)
        if count > 1:
            self._workers.wake()
        return None

    def _make(self, request: Request, task: Task, place: int) -> Trial:
        target = request.target
        if target is None:
            charge = request.bytes_expected
            if charge is None:
                charge = self._guess if request.method == "GET" else 0
            if request.body:
                charge += sum(map(len, request.body))
        elif isinstance(target, FileTarget):
            charge = min(FILE_CHARGE, request.bytes_expected or 0)
        else:
            charge = len(target)
        return Trial(request, task, place, charge)

    def answered(self, trial: Trial, response: Response) -> None:
        """Take the final answer to a request."""
        trial.done = True
        task = trial.task
        target = trial.request.target
        if target is None:
            keep = len(response.body)
            if keep != self._guess:
                self._guess += (keep - self._guess) >> 3
        else:
            keep = 0 if isinstance(target, FileTarget) else trial.charge
        task.responses[trial.place] = response
        if keep != trial.charge or task.left > 1:  # the last one has nobody to share the job with
            with self.lock:
                self._charge(trial, keep - trial.charge)
                task.left = left = task.left - 1
        else:
            task.left = left = 0
        if not left:
            self._go_on(task)

    def failed(self, trial: Trial, error: BaseException) -> None:
        """Take the final failure of a request; the others of its batch are called off."""
        task = trial.task
        under_way = []
        with self.lock:
            if task.error is None:
                task.error = error
                for other in task.trials:
                    if other is trial or other.done:
                        continue
                    if other.loop is not None:
                        under_way.append(other)
                    else:
                        other.done = True
                        task.left -= 1
        for other in under_way:
            self._workers.call_off(other)
        self.drop(trial)

    def drop(self, trial: Trial) -> None:
        """Take note that there will be no answer to a request."""
        if trial.done:
            return
        trial.done = True
        task = trial.task
        with self.lock:
            self._charge(trial, -trial.charge)
            task.left -= 1
            left = task.left
        if not left:
            self._go_on(task)

    def _go_on(self, task: Task) -> None:
        if not self.stopped:
            self._step(task, task.responses, task.error)
        if self.blocked:
            self.poke()

    def _finish(self, task: Task, value: Any) -> None:
        try:
            weight = task.held if self._weigh is None else self._weigh(value)
        except Exception as error:  # noqa: BLE001 - it is raised again in the consumer
            self.fail(error, task)
            return
        task.value, task.weight = value, weight
        task.responses, task.trials = [], ()
        with self.lock:
            task.finished = True
            self._used += weight - task.held
            task.held = 0
            self._waiting += 1
            started = self._started
            while started and started[0].finished:
                started.popleft()
        self._finished.append(task)

    def fail(self, error: BaseException, task: Task | None = None) -> None:
        """End the run with `error`, unless it has one already."""
        if task is not None:
            task.finished = True
        with self.lock:
            if self.error is None and not self.stopped:
                self.error = error
        self.stop()
        self._deliver([])

    def flush(self) -> None:
        """Hand over what has finished."""
        finished = self._finished
        batch = []
        while finished:
            try:
                batch.append(finished.popleft())
            except IndexError:
                break  # another loop had it
        if batch:
            self._deliver(batch)

    @property
    def has_results(self) -> int:
        """How many finished jobs wait to be handed over."""
        return len(self._finished)

    def consume(self, task: Task) -> None:
        """Take note that the consumer has a result now."""
        task.value = None  # a job that takes long holds the list of those begun after it
        with self.lock:
            self._used -= task.weight
            self._waiting -= 1
            self.next_place += 1
        if self.blocked:
            self.poke()

    def add(self, tasks: list[Task]) -> None:
        """Queue more jobs."""
        with self.lock:
            self.pending.extend(tasks)
        self._workers.wake()

    def poke(self) -> None:
        """Let go on what waits for room, if there is some now."""
        resumed = []
        with self.lock:
            self.blocked = False
            waiting, self._paused = self._paused, []
            for trial, size, resume in waiting:
                if trial.done:
                    continue
                more = size - trial.charge
                if self._used + more <= self._bytes_max or not self._used or trial.task is self._awaited():
                    self._charge(trial, more)
                    trial.charge = size
                    resumed.append(resume)
                else:
                    self._paused.append((trial, size, resume))
                    self.blocked = True
        for resume in resumed:
            resume()
        self._workers.wake()

    def stop(self) -> None:
        """Begin to end everything; `ended` is set when nothing is left."""
        with self.lock:
            if self.stopped:
                return
            self.stopped = True
        self._workers.abort(self)

    def gone(self) -> None:
        """Take note that one more loop has nothing of this run; the last one closes the jobs."""
        with self.lock:
            self._loops_left -= 1
            if self._loops_left:
                return
        for task in self._unfinished():
            try:
                task.job.close()
            except Exception as error:  # noqa: BLE001 - the first failure is told, not what follows from it
                self.error = self.error or error
        self._ready.clear()
        self.pending.clear()
        self._started.clear()
        self._paused.clear()
        self.ended.set()

    def _unfinished(self) -> Iterator[Task]:
        yield from (task for task in self._started if not task.finished)
        yield from self.pending
