"""What all verbs of `S3` share: the root, the executor, temporary files, budgets and counts."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from holdall_store.config import check_flags
from holdall_store.errors import InvalidNameError, StorageError, UnsupportedTypeError
from holdall_store.storage import without_secrets
from holdall_store.storage.buckets import ObjectConfig, make_config
from holdall_store.transfer._engine import CLOSED
from holdall_store.transfer._exchange import Job
from holdall_store.transfer._s3_get import Reader, Wanted
from holdall_store.transfer._s3_list import Listed, Listing, list_job
from holdall_store.transfer._s3_names import Names, Place, as_many, join_root
from holdall_store.transfer._s3_objects import S3GetObject, S3Object, TempFolder
from holdall_store.transfer._s3_options import Encryption, default_memory, make_encryption, parse_size
from holdall_store.transfer.executor import HttpExecutor

__all__ = ["Progress", "Session"]

BYTES_AHEAD: Final = 256 << 20
"""What is under way for a verb that keeps nothing, such as an upload, holds at most this."""

ADDRESS_FREE: Final = "s3://bucket"
"""Where no root was given, requests name their buckets themselves; the configuration wants one all the same."""

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Progress:
    """How far a verb has come; totals are ``None`` while they are not known."""

    verb: str
    objects: int = 0
    bytes: int = 0
    objects_total: int | None = None
    bytes_total: int | None = None
    seconds: float = 0.0
    done: bool = False


Reporter = Callable[[Progress], object]


class Session:
    """The state of an `S3`, and how its verbs reach the service."""

    def __init__(
        self,
        root: str | None,
        storage_options: Mapping[str, Any] | None,
        encryption: Encryption,
        *,
        concurrency: int | None,
        memory: int | str | None,
        tmproot: str | os.PathLike[str] | None,
        deadline: float | None,
        verify: bool | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.names = Names(root)
        self.storage_options = dict(storage_options or {})
        self.config: ObjectConfig = make_config(
            f"s3://{self.names.bucket}" if root else ADDRESS_FREE, self.storage_options
        )
        if not root:
            self.config = replace(self.config, bucket="")
        self.encryption = encryption
        self.concurrency = _check_number(concurrency, "concurrency")
        self.memory = default_memory() if memory is None else parse_size(memory, "memory")
        self.tmproot = None if tmproot is None else os.fspath(tmproot)
        self.deadline = _check_number(deadline, "deadline")
        self.verify = verify
        self.temp = TempFolder(tmproot)
        self.buckets: set[str] = set()
        """Those that are known to be there."""
        self.clock = clock
        self.seconds = 0.0
        self.objects = 0
        self._lock = threading.Lock()
        self._executor: HttpExecutor | None = None
        self._closed = False
        self._started_in = 0

    def state(self) -> dict[str, Any]:
        """Return what another process needs to do the same; secrets stay here."""
        return {
            "root": self.names.root,
            "storage_options": without_secrets(self.storage_options),
            "encryption": self.encryption,
            "concurrency": self.concurrency,
            "memory": self.memory,
            "tmproot": self.tmproot,
            "deadline": self.deadline,
            "verify": self.verify,
        }

    @property
    def executor(self) -> HttpExecutor:
        """The executor, which is made with the first verb; in a forked process it goes on with threads of its own."""
        if self._executor is None:
            with self._lock:
                self.check_open()
                if self._executor is None:
                    options: dict[str, Any] = {"concurrency": self.concurrency, "deadline": self.deadline}
                    given = {name: value for name, value in options.items() if value is not None}
                    self._executor = HttpExecutor(self.config, **given)
        return self._executor

    def check_open(self) -> None:
        """Raise `StorageError` if it is closed."""
        if self._closed:
            raise StorageError(CLOSED)

    @property
    def is_started(self) -> bool:
        """Whether a verb would begin at once in this process."""
        return self._started_in == os.getpid()

    def start(self) -> None:
        """Find credentials and start the threads."""
        self.executor.stream((), bytes_max=1).close()
        self._started_in = os.getpid()

    @property
    def bytes_ahead(self) -> int:
        """The budget of what is under way for verbs that keep nothing."""
        return min(self.memory, BYTES_AHEAD)

    def close(self) -> None:
        """End everything and remove the temporary files."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()
        self.temp.close()

    def reader(self, *, missing_ok: bool = False) -> Reader:
        """Return how objects are read."""
        check_flags(return_missing=missing_ok)
        return Reader(
            self.encryption.read, self.temp, self.memory, self.verify, missing_ok=missing_ok, buckets=self.buckets
        )

    def run(
        self,
        jobs: Iterable[Job[_Result]],
        *,
        ordered: bool = True,
        bytes_max: int | None = None,
        weigh: Callable[[_Result], int] | None = None,
    ) -> Iterator[_Result]:
        """Run jobs."""
        return self.executor.run(jobs, ordered=ordered, bytes_max=bytes_max or self.bytes_ahead, weigh=weigh)

    def run_one(self, job: Job[_Result]) -> _Result:
        """Run one job, and return its result."""
        for result in self.run((job,)):
            return result
        raise AssertionError("a job ended without a result")

    def wanted(self, key: object, version: str | None = None) -> Wanted:
        """Return what to read for what a caller names: a key, a part of one, or an object of a listing."""
        names = self.names
        if type(key) is str:  # as most are
            return Wanted(names.place(key), names.root, None, None, version)
        if isinstance(key, S3Object):
            place = Place(key.bucket, key.object_key, key.key)
            size = key.size if key.exists and not key.downloaded and key.version_id is None else None
            quoted = f'"{key.etag}"' if key.etag and size is not None else ""
            return Wanted(place, key.prefix, None, None, version or key.version_id, size, quoted)
        if isinstance(key, S3GetObject):
            offset, length = _check_span(key)
            return Wanted(names.place(key.key), names.root, offset, length, version)
        return Wanted(names.place(key), names.root, None, None, version)

    def whole(self, key: object, version: str | None, what: str) -> Wanted:
        """Return what a caller names where only a whole object, and not the root, will do."""
        if key is None:
            raise InvalidNameError(f"Without a key nothing is {what}.")
        wanted = self.wanted(key, version)
        if wanted.offset is not None or wanted.length is not None:
            raise UnsupportedTypeError(f"Whole objects are {what}, and no parts of them: {wanted.url}.")
        return wanted

    def listings(self, prefixes: object, delimiter: str = "") -> list[Listing]:
        """Return what to list for the prefixes that a caller names; ``None`` is the root."""
        found = []
        for prefix in [None] if prefixes is None else as_many(prefixes, "Prefixes"):
            if isinstance(prefix, S3Object):  # a folder of a listing
                place = Place(prefix.bucket, prefix.object_key.rstrip("/") + "/", prefix.key)
            else:
                place = self.names.prefix(prefix)
            found.append(Listing(place.bucket, place.key, f"s3://{place.bucket}/{place.key}".rstrip("/"), delimiter))
        return found

    def list_all(self, listings: Iterable[Listing]) -> Iterator[tuple[Listing, list[Listed]]]:
        """Yield all that is in each of the listings, which are made at the same time."""
        listings = list(listings)
        return zip(listings, self.run([list_job(each) for each in listings]), strict=True)

    @contextlib.contextmanager
    def timed(self) -> Generator[None, None, None]:
        """Count the time of a verb."""
        begun = self.clock()
        try:
            yield
        finally:
            self.seconds += self.clock() - begun

    def statistics(self) -> dict[str, Any]:
        """Return counts since this was made."""
        executor = self._executor
        counts: dict[str, Any] = {"requests": 0, "retries": 0, "bytes_in": 0, "bytes_out": 0}
        if executor is not None:
            counts |= executor.statistics()
        moved = counts["bytes_in"] + counts["bytes_out"]
        return {
            **counts,
            "objects": self.objects,
            "seconds": round(self.seconds, 6),
            "bytes_per_second": moved / self.seconds if self.seconds else 0.0,
            "peak_memory_bytes": _peak_memory(),
        }


def make_session(
    url: str | None,
    bucket: str | None,
    prefix: str | None,
    s3root: str | None,
    run: object,
    storage_options: Mapping[str, Any] | None,
    encryption: str | None,
    kms_key_id: str | None,
    customer_key: bytes | None,
    **limits: Any,
) -> Session:
    """Return a session for the arguments of `S3`."""
    root = join_root(url, bucket, prefix, s3root, run)
    return Session(root, storage_options, make_encryption(encryption, kms_key_id, customer_key), **limits)


def _check_number(number: Any, what: str) -> Any:
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | float) or number <= 0):
        raise InvalidNameError(f"{what}={number!r:.80} cannot be: give a positive number.")
    return number


def _check_span(key: S3GetObject) -> tuple[int | None, int | None]:
    for number in (key.offset, key.length):
        if number is not None and (isinstance(number, bool) or not hasattr(number, "__index__")):
            raise UnsupportedTypeError(f"Offset and length of {key.key!r:.200} are numbers of bytes: {number!r:.80}.")
    if key.offset is not None and key.offset < 0:
        raise InvalidNameError(
            f"The offset {key.offset} of {key.key!r:.200} is negative: the last bytes are S3GetObject(key, length=-n)."
        )
    return key.offset, key.length


def _peak_memory() -> int:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
