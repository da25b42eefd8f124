"""A collector, one step at a time, by the letter of the protocol; and a storage that lets others act between calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from holdall_store.format import GC_PREFIX, GcRecord, RunRecord, seal, slot_key, unseal
from holdall_store.storage import Buffer, ObjectInfo, Storage
from holdall_store.testing import WrappedStorage

Gate = Callable[[str, str], None]


class Gated(WrappedStorage):
    """Calls ``gate(verb, key)`` before each request; listings are taken at once."""

    def __init__(self, inner: Storage, gate: Gate) -> None:
        super().__init__(inner)
        self.gate = gate

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        data = [bytes(part) for part in parts]
        self.gate("create", key)
        return self.inner.create(key, data)

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        self.gate("get", key)
        return self.inner.get(key, start, length)

    def head(self, key: str) -> ObjectInfo:
        self.gate("head", key)
        return self.inner.head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        self.gate("list", prefix)
        return iter([*self.inner.list(prefix, after)])


class Collector:
    """The six steps of a collection; each method is one of them, or a part of one."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.listed: set[str] = set()
        self.candidates: set[str] = set()
        self.spared: set[str] = set()

    @property
    def steps(self) -> Sequence[Callable[[], None]]:
        """All steps in their order."""
        return self.mark, self.condemn, self.fence, self.mark_again, self.delete_and_done

    def mark(self) -> None:
        """1, both parts at once."""
        self.list_packs()
        self.read_logs()

    def list_packs(self) -> None:
        """1: list the packs."""
        self.listed = {info.key.removeprefix("packs/") for info in self.storage.list("packs/")}

    def read_logs(self) -> None:
        """Then read all logs: a pack is a candidate that no record refers to and no open log owns."""
        referred = self.referred()
        writers = tuple(f"{log[-1].writer or log[0].writer}-" for log in self.open_logs().values())
        self.candidates = {name for name in self.listed - referred if not name.startswith(writers)}

    def condemn(self) -> None:
        """2: say so."""
        self._append(event="condemn", packs=tuple(sorted(self.candidates)))

    def fence(self) -> None:
        """3: take the next slot of every open log."""
        for prefix, log in self.open_logs().items():
            self.add(prefix, log, "fence")

    def mark_again(self) -> None:
        """4: what was committed meanwhile is spared."""
        self.spared = self.candidates & self.referred()

    def delete_and_done(self) -> None:
        """5 and 6: delete the rest, and say what was spared."""
        self.storage.delete([f"packs/{name}" for name in self.candidates - self.spared])
        self._append(event="done", spared=tuple(sorted(self.spared)))

    def abandon(self) -> None:
        """Give up all open logs, as when nothing was heard of them for long."""
        for prefix, log in self.open_logs().items():
            self.add(prefix, log, "abandoned")

    def add(self, prefix: str, log: Sequence[RunRecord], event: str) -> None:
        """Create the next slot of a log."""
        last = log[-1]
        record = RunRecord(holdall=1, log="run", event=event, slot=last.slot + 1, write_id="collector", time=last.time,
                           namespace=last.namespace, flow=last.flow, run=last.run)  # fmt: skip
        self.storage.create(slot_key(prefix, record.slot), [seal(record)])

    def referred(self) -> set[str]:
        """Return the packs that any record refers to."""
        return {ref.name for log in self._logs().values() for record in log for ref in record.packs}

    def open_logs(self) -> dict[str, list[RunRecord]]:
        """Return the logs that have not ended, by their prefixes."""
        return {prefix: log for prefix, log in self._logs().items() if log[-1].event not in ("end", "abandoned")}

    def _logs(self) -> dict[str, list[RunRecord]]:
        logs: dict[str, list[RunRecord]] = {}
        for info in self.storage.list("runs/"):
            prefix = info.key.rpartition("/")[0] + "/"
            logs.setdefault(prefix, []).append(unseal(self.storage.get(info.key), RunRecord, info.key))
        return logs

    def _append(self, event: str, packs: tuple[str, ...] = (), spared: tuple[str, ...] = ()) -> None:
        number = len(list(self.storage.list(GC_PREFIX)))
        record = GcRecord(holdall=1, log="gc", event=event, slot=number, write_id="collector", time="", packs=packs,
                          spared=spared)  # fmt: skip
        self.storage.create(slot_key(GC_PREFIX, number), [seal(record)])
