"""Files in any other storage: through its contract, with threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from holdall_store.errors import IntegrityError, ObjectNotFoundError
from holdall_store.storage import Storage, open_storage, without_secrets
from holdall_store.tables._plan import Span
from holdall_store.tables._source import FetchedSource, Fill, Found, Tail, changed
from holdall_store.transfer import run_ordered

__all__ = ["StorageSource"]

THREADS: Final = 16
"""Requests at once: enough to hide the latency of a network, and few enough for an SFTP server."""

FILLS_AT_ONCE: Final = 64
"""Fills whose ranges are requested together: the threads stay busy, and what was not asked for yet can be left out."""

_numbers = itertools.count()


class StorageSource(FetchedSource):
    """A storage behind the contract of `holdall_store.storage`: Google's, Azure's, any filesystem of fsspec's, memory.

    The contract tells no versions, so a file that is replaced by one of the same size is noticed only if its bytes make
    no sense together.
    """

    def __init__(self, root: str, storage_options: Mapping[str, Any] | None) -> None:
        self._root = root
        self._options = dict(storage_options or {})
        self._identity = f"{root}#{next(_numbers)}"
        self._lock = threading.Lock()
        self._opened: Storage | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return StorageSource, (self._root, without_secrets(self._options))

    @property
    def _storage(self) -> Storage:
        with self._lock:
            if self._opened is None:
                self._opened = open_storage(self._root, self._options or None)
            return self._opened

    @property
    def identity(self) -> str:
        # Two tables may reach the same name with other options: nothing is shared between them.
        return self._identity

    def url(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}"

    def list(self, prefix: str) -> Iterator[Found]:
        for info in self._storage.list(prefix):
            yield Found(info.key, info.size)

    def tails(self, wanted: Sequence[tuple[Found, int]]) -> Iterator[Tail | None]:
        def work(item: tuple[Found, int]) -> Iterator[tuple[Tail | None, int]]:
            yield self._tail(*item), 0

        return run_ordered(wanted, work, bytes_max=1, threads=min(THREADS, len(wanted)))

    def _tail(self, found: Found, length: int) -> Tail | None:
        storage = self._storage
        try:
            size = found.size if found.size >= 0 else storage.head(found.key).size
            begin = max(size - length, 0)
            data = storage.get(found.key, begin, size - begin) if size else memoryview(b"")
        except ObjectNotFoundError:
            if found.size >= 0:
                raise changed(self.url(found.key), "it is gone") from None
            return None
        except IntegrityError as error:
            raise changed(self.url(found.key), str(error)) from error
        return Tail(Found(found.key, size), begin, data)

    def fetch(self, fills: Iterable[Fill], *, bytes_max: int, ordered: bool = True) -> Iterator[Fill]:  # noqa: ARG002
        def work(item: tuple[Fill, Span | None]) -> Iterator[tuple[Fill | None, int]]:
            fill, span = item
            if span is not None:
                self._read(fill, span)
                yield None, span.length
            else:
                yield fill, 0

        waiting = iter(fills)
        while batch := [fill for fill, _ in zip(waiting, range(FILLS_AT_ONCE), strict=False)]:
            items: list[tuple[Fill, Span | None]] = []
            for fill in batch:
                items += [(fill, span) for span in fill.spans]
                items.append((fill, None))
            for done in run_ordered(items, work, bytes_max=bytes_max, threads=THREADS):
                if done is not None:
                    yield done

    def _read(self, fill: Fill, span: Span) -> None:
        import numpy as np

        url = self.url(fill.found.key)
        try:
            data = self._storage.get(fill.found.key, span.begin, span.length)
        except (ObjectNotFoundError, IntegrityError) as error:
            raise changed(url, str(error)) from error
        if len(data) != span.length:
            raise IntegrityError(f"{url}: {len(data)} bytes came for those from {span.begin} to {span.end}.")
        # A plain assignment to the view would keep the interpreter's lock for the whole copy.
        np.copyto(np.frombuffer(fill.target, np.uint8)[span.begin : span.end], np.frombuffer(data, np.uint8))
