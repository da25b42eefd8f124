"""Actors that share a store, one storage call at a time: a schedule says whose turn is next, and replays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random

from holdall_store.storage import Buffer, ObjectInfo, Storage
from holdall_store.testing import WrappedStorage

Actor = Callable[[Storage], object]
Choice = Callable[[Sequence[int], int], int]
"""Given the actors that can go on and who went last (-1: nobody), says who is next."""


class Killed(BaseException):
    """The actor died here."""


class _Turnstile(WrappedStorage):
    """Waits for its turn before each request that counts."""

    def __init__(self, inner: Storage, simulation: Simulation, number: int) -> None:
        super().__init__(inner)
        self._simulation = simulation
        self._number = number

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        data = [bytes(part) for part in parts]
        self._simulation.wait(self._number, "create", key)
        return self.inner.create(key, data)

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        self._simulation.wait(self._number, "get", key)
        return self.inner.get(key, start, length)

    def map(self, key: str) -> memoryview | None:
        self._simulation.wait(self._number, "get", key)
        return self.inner.map(key)

    def head(self, key: str) -> ObjectInfo:
        self._simulation.wait(self._number, "head", key)
        return self.inner.head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        self._simulation.wait(self._number, "list", prefix)
        return iter([*self.inner.list(prefix, after)])

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:  # each of them is a request of its own, as far as others can see
            self._simulation.wait(self._number, "delete", key)
            self.inner.delete([key])


class Simulation:
    """Runs actors to their ends, one request at a time; `trace` tells whose turn it was each time."""

    def __init__(
        self,
        storage: Storage,
        actors: Sequence[Actor],
        choose: Choice,
        *,
        counts: Callable[[str, str], bool] = lambda verb, key: True,
        kill: tuple[int, int] | None = None,
    ) -> None:
        self.trace: list[int] = []
        self.calls: list[tuple[int, str, str]] = []
        self.errors: dict[int, BaseException] = {}
        self._counts = counts
        self._kill = kill
        self._made = [0] * len(actors)
        self._choose = choose
        self._go = [threading.Semaphore(0) for _ in actors]
        self._stopped = threading.Semaphore(0)
        self._ready: set[int] = set()
        self._threads = [
            threading.Thread(target=self._act, args=(number, actor, storage), daemon=True)
            for number, actor in enumerate(actors)
        ]

    def run(self) -> Simulation:
        """Run until all actors have ended."""
        for thread in self._threads:
            thread.start()
            self._stopped.acquire()  # it waits for its first turn, or has ended
        last = -1
        while self._ready:
            last = self._choose(sorted(self._ready), last)
            self.trace.append(last)
            self._ready.discard(last)
            self._go[last].release()
            self._stopped.acquire()
        return self

    def wait(self, number: int, verb: str, key: str) -> None:
        """Let an actor wait for its turn."""
        if not self._counts(verb, key):
            return
        self._made[number] += 1
        self._ready.add(number)
        self._stopped.release()
        self._go[number].acquire()
        if self._kill == (number, self._made[number]):
            raise Killed
        self.calls.append((number, verb, key))

    def _act(self, number: int, actor: Actor, storage: Storage) -> None:
        try:
            actor(_Turnstile(storage, self, number))
        except BaseException as error:  # noqa: BLE001 - whoever runs the simulation looks
            self.errors[number] = error
        self._stopped.release()


def replay(trace: Sequence[int]) -> Choice:
    """Return the choice that makes the same schedule again."""
    turns = iter(trace)

    def choose(ready: Sequence[int], last: int) -> int:
        wanted = next(turns, None)
        return wanted if wanted is not None and wanted in ready else ready[0]

    return choose


def switching(first: int, at: Sequence[int]) -> Choice:
    """Return the choice by which `first` begins, and others take over at the turns `at` alone."""
    turn = -1

    def choose(ready: Sequence[int], last: int) -> int:
        nonlocal turn
        turn += 1
        current = first if last < 0 else last
        if turn in at or current not in ready:
            later = [number for number in ready if number > current]
            return (later or [number for number in ready if number != current] or list(ready))[0]
        return current

    return choose


def at_random(seed: int, changes: int = 3, length: int = 60) -> Choice:
    """Return a choice by random priorities that change a few times: probabilistic concurrency testing.

    Burckhardt and others, "A randomized scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010.
    """
    random = Random(seed)
    priorities: dict[int, float] = {}
    at = {random.randrange(length): -1.0 - number for number in range(changes)}
    turn = -1

    def choose(ready: Sequence[int], last: int) -> int:
        nonlocal turn
        turn += 1
        for number in ready:
            priorities.setdefault(number, random.random())
        if turn in at and last >= 0:
            priorities[last] = at[turn]
        return max(ready, key=lambda number: priorities[number])

    return choose
