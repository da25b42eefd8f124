"""One thread, many connections: sends what there is to send, and decides what is made of each answer."""

from __future__ import annotations

import errno
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from holdall_store.errors import HoldallError, StorageError
from holdall_store.storage.buckets import Answer, read_reply
from holdall_store.transfer._body import ERROR_BYTES_MAX, WriteError, write_at
from holdall_store.transfer._connection import Connection
from holdall_store.transfer._endpoint import Host
from holdall_store.transfer._exchange import FileTarget, Response
from holdall_store.transfer._latency import Limiter
from holdall_store.transfer._machine import Machine
from holdall_store.transfer._opening import Broken
from holdall_store.transfer._retries import (
    CORRECTIONS_MAX,
    MISMATCHES_MAX,
    Policy,
    Tries,
    clock_offset,
    decide,
    final_error,
    is_throttled,
    length_error,
    region_of,
)
from holdall_store.transfer._run import Run, Trial
from holdall_store.transfer._site import Address, Site
from holdall_store.transfer._watch import LOOK_EVERY, Watch

if TYPE_CHECKING:
    from holdall_store.transfer._engine import Engine

__all__ = ["Loop"]

RATE_MIN: Final = 256 << 10
"""Bytes a second that a body is given time for, beyond the deadline, which counts for requests without one."""


class Loop(Machine):
    """Runs requests of all runs of its engine, until it is told to stop."""

    def __init__(self, engine: Engine, site: Site, policy: Policy, limiter: Limiter, index: int) -> None:
        super().__init__(engine, index)
        self.site = site
        self.policy = policy
        self.limiter = limiter
        self.active = 0
        self.hungry = True
        """Whether it would send more if it had more."""
        self.requests = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.counts: Counter[str] = Counter()
        self._idle: dict[Host, list[Connection]] = {}
        self._local: deque[Trial] = deque()
        self._watch = Watch(self)
        self.look_due = self.now + LOOK_EVERY

    def wake(self) -> None:
        """Look for work, if there is room for it. Any thread may call it."""
        if self.hungry:
            self.hungry = False
            self.call(self.fill)

    def look(self) -> None:
        """Look at everything."""
        self.look_due = self.now + LOOK_EVERY
        self._watch.look()

    def resume(self, trials: list[Trial]) -> None:
        """Send requests whose pause is over."""
        self._local.extend(trials)
        self.fill()

    # -- sending

    def fill(self) -> None:
        """Send as many requests as may be under way."""
        while self.active < self.limiter.limit:
            if self._local:
                trial = self._local.popleft()
                if trial.done:
                    continue
            else:
                self.hungry = True  # first, or what is added now would wake nobody
                found = self._take()
                if found is None:
                    return
                trial = found
            if not trial.deadline:
                size = trial.charge or trial.request.bytes_expected or 0
                trial.begun = self.now
                trial.deadline = self.now + self.policy.deadline + size / RATE_MIN
            self.active += 1
            self.start(trial, shadow=False)
        self.hungry = False

    def _take(self) -> Trial | None:
        runs = self._engine.runs
        for run in runs:
            trial = run.take(self)
            if trial is not None:
                if len(runs) > 1:
                    self._engine.rotate()
                return trial
        return None

    def start(self, trial: Trial, *, shadow: bool, fresh: bool = False) -> None:
        """Send a request over a connection that there is, or over a new one."""
        try:
            endpoint, head, trial.generation = self.site.write(trial.request)
        except HoldallError as error:
            self.active -= not shadow
            self._fail(trial, error)
            return
        idle = self._idle.get(endpoint.host)
        if idle is None:
            idle = self._idle[endpoint.host] = []
        if idle and not fresh and (trial.request.replayable or self.now - idle[-1].stamp < 1.0):
            connection = idle.pop()
            if shadow:
                trial.second = connection
            else:
                trial.first = connection
            connection.send(trial, head, shadow=shadow)
            return
        connection = Connection(self, endpoint.host)
        connection.pool = idle
        connection.trial, connection.shadow = trial, shadow
        connection.begun = connection.stamp = self.now
        self.connections.add(connection)
        if shadow:
            trial.second = connection
        else:
            trial.first = connection
        self.counts["connections"] += 1
        self.site.address(endpoint.host, self._callback(connection))

    def _callback(self, connection: Connection) -> Callable[[Address | None], None]:
        thread = threading.current_thread()

        def found(address: Address | None) -> None:
            if threading.current_thread() is thread:
                connection.connect(address)
            else:
                self.call(lambda: connection.connect(address))

        return found

    def ready(self, connection: Connection) -> None:
        """Use a connection that has opened."""
        self.site.reached.add(connection.host)
        trial = connection.trial
        if trial is None:
            connection.pool.append(connection)
            return
        try:
            _, head, trial.generation = self.site.write(trial.request)
        except HoldallError as error:
            self._release(trial, connection)
            self._fail(trial, error)
            return
        connection.send(trial, head, shadow=connection.shadow)

    # -- answers

    def answered(self, connection: Connection, trial: Trial, response: Response, *, reusable: bool) -> None:
        """Take an answer that has come whole."""
        connection.trial = None
        if reusable:
            connection.pool.append(connection)
        else:
            self._close(connection)
        request = trial.request
        self.requests += 1
        accepted = response.status in request.accept
        rival = trial.second if connection is trial.first else trial.first
        if rival is not None:
            if not accepted:
                self._leave_to(rival, trial)
                return
            self._close(rival)
        trial.first = trial.second = None
        self.active -= 1
        if accepted:
            if connection.shadow:
                self.counts["hedges_won"] += 1
                if request.target is not None and 200 <= response.status < 300:
                    response = self._copy(trial, response)
            self._watch.note(connection, trial, response)
            if request.retry_if is None or not self._is_failure(trial, response):
                if not trial.done:
                    trial.task.run.answered(trial, response)
                self.fill()
                return
            answer = Answer("again", response.status, "", "the answer says that it failed")
        else:
            answer = self._read(response)
        if not trial.done:
            self._consider(trial, answer, response)
        self.fill()

    def _leave_to(self, rival: Connection, trial: Trial) -> None:
        """Let the other one of two tries decide: this one was refused."""
        if rival.shadow:
            trial.first = None
        else:
            trial.second = None
        self.fill()

    def _is_failure(self, trial: Trial, response: Response) -> bool:
        judge = trial.request.retry_if
        try:
            return judge is not None and judge(response)
        except Exception as error:  # noqa: BLE001 - it is raised in the job
            self._fail(trial, error)
            return True

    def _copy(self, trial: Trial, response: Response) -> Response:
        """Put what the second try received where the first one would have."""
        target = trial.request.target
        if isinstance(target, FileTarget):
            try:
                write_at(target.descriptor, response.body, target.offset)
            except WriteError as error:
                self._fail(trial, self._explain(trial, _broken_file(error)))
        elif target is not None:
            target[:] = response.body
        return Response(response.status, response.headers)

    def _read(self, response: Response) -> Answer:
        text = bytes(response.body[:ERROR_BYTES_MAX]).decode(errors="replace")
        self.counts[f"status_{response.status}"] += 1
        return read_reply(response.status, text)

    def _consider(self, trial: Trial, answer: Answer, response: Response) -> None:
        """Make something of an answer that is no success."""
        request = trial.request
        tries = trial.tries = trial.tries or Tries()
        text = bytes(response.body).decode(errors="replace") if response.status not in request.accept else ""
        region = region_of(response.status, response.headers, text)
        if region is not None and tries.moved < CORRECTIONS_MAX:
            tries.moved += 1
            self.site.learn_region(request.bucket, region)
            self._retry(trial, answer, 0.0)
            return
        offset = clock_offset(response.status, answer.code, response.headers, self.site.now)
        if offset is not None and tries.skewed < CORRECTIONS_MAX:
            tries.skewed += 1
            self.site.learn_clock(offset)
            self._retry(trial, answer, 0.0)
            return
        if is_throttled(answer):
            self.counts["throttled"] += 1
            self.limiter.refuse(self.now)
        step = decide(answer, tries, replayable=request.replayable)
        if step == "renew" and self.site.credentials.renew(trial.generation):
            self._retry(trial, answer, 0.5)
        elif step == "again":
            self._retry(trial, answer, tries.pause(random.random, response.headers.get("retry-after")))
        else:
            self._fail(trial, self._explain(trial, answer))

    def broken(self, connection: Connection, broken: Broken) -> None:
        """Take note that a connection has failed, and save the request that it had, if it had one."""
        trial = connection.trial
        if trial is None:
            self._close(connection)
            return
        if broken.unreachable and connection.address is not None:
            self.site.avoid(connection.host, connection.address)
        rival = trial.second if connection is trial.first else trial.first
        self._release(trial, connection)
        if trial.done:
            self.fill()
            return
        if rival is not None:
            if not broken.final:
                return  # the other one goes on
            self._release(trial, rival)
        if connection.uses > 1 and not connection.heard and trial.request.replayable and not broken.length:
            # It was kept, and the server had closed it: nothing failed.
            self.counts["stale"] += 1
            self.active += 1
            self.start(trial, shadow=False, fresh=True)
            return
        self._save(trial, broken, brief=broken.unreachable and connection.host not in self.site.reached)
        self.fill()

    def _save(self, trial: Trial, broken: Broken, *, brief: bool) -> None:
        tries = trial.tries = trial.tries or Tries()
        self.counts["unreachable" if broken.unreachable else "broken"] += 1
        answer = Answer("again", None, "", broken.said, broken.unreachable)
        if broken.final:
            self._fail(trial, self._explain(trial, broken))
        elif broken.length and tries.mismatches >= MISMATCHES_MAX:
            self._fail(trial, length_error(trial.request, self.site.where(trial.request.bucket), broken.said))
        elif decide(answer, tries, replayable=trial.request.replayable) == "again":
            tries.mismatches += broken.length
            self._retry(trial, answer, tries.pause(random.random), brief=brief)
        else:
            self._fail(trial, self._explain(trial, answer))

    def _retry(self, trial: Trial, answer: Answer, pause: float, *, brief: bool = False) -> None:
        """Try again after a pause, unless the time is over, which it soon is if `brief`."""
        limit = trial.deadline
        if brief:
            limit = min(limit, trial.begun + self.policy.unreachable_deadline)
        if self.now + pause > limit:
            self._fail(trial, self._explain(trial, answer))
            return
        self.counts["retries"] += 1
        self.after(pause, trial)

    def _explain(self, trial: Trial, why: Answer | Broken) -> HoldallError:
        request = trial.request
        where = self.site.where(request.bucket)
        if isinstance(why, Answer):
            return final_error(request, why, where)
        if why.cause is not None:
            return StorageError(
                why.cause.errno, f"Cannot write what was read of {request.key!r} in {where}: {why.cause.strerror}."
            )
        return StorageError(errno.EIO, f"Cannot read {request.key!r} in {where}: {why.said}.")

    def _fail(self, trial: Trial, error: Exception) -> None:
        if not trial.done:
            self.counts["failures"] += 1
            trial.task.run.failed(trial, error)

    # -- connections

    def _close(self, connection: Connection) -> None:
        connection.trial = None
        self.connections.discard(connection)
        if connection in connection.pool:
            connection.pool.remove(connection)
        connection.close()

    def _release(self, trial: Trial, connection: Connection) -> None:
        """Take a request from a connection that is of no more use."""
        if connection is trial.second:
            trial.second = None
        else:
            trial.first = None
        if trial.first is None and trial.second is None:
            self.active -= 1
        self._close(connection)

    # -- calling off

    def call_off(self, trial: Trial) -> None:
        """End one request."""
        for connection in (trial.first, trial.second):
            if connection is not None:
                self._release(trial, connection)
        trial.task.run.drop(trial)
        self.fill()

    def abort(self, run: Run) -> None:
        """End all requests of a run."""
        for connection in list(self.connections):
            trial = connection.trial
            if trial is not None and trial.task.run is run:
                trial.done = True
                self._release(trial, connection)
        self._local = deque(trial for trial in self._local if trial.task.run is not run)
        self._forget(run)
        run.gone()
        self.fill()


def _broken_file(error: WriteError) -> Any:
    return Broken(str(error), final=True, cause=error.error)
