"""Objects in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from holdall_store.errors import AccessDeniedError, AlreadyExistsError, IntegrityError, StorageError
from holdall_store.storage._contract import Buffer, ObjectInfo, Storage, StorageTraits
from holdall_store.storage._keys import check_key, check_prefix, is_segment
from holdall_store.storage._object_config import ObjectConfig
from holdall_store.storage._object_errors import Answer, explain, read_answer
from holdall_store.storage._object_library import load_library, make_store
from holdall_store.storage._parts import as_bytes, check_range

__all__ = ["ObjectStorage"]

PACK_BYTES: Final = 32 << 20
"""One request each: large enough to be cheap, small enough that several are held in memory and sent at once."""

LIST_PAGE: Final = 1000
"""As many keys as S3 gives in one answer."""

CONCURRENCY: Final = 32
"""Requests at once: at 90 MB/s each, as S3 gives them, they fill a link of 20 Gbit/s."""

DELETE_BATCH: Final = 1000
"""As many keys as S3 deletes in one request."""

DEADLINE: Final = 120.0
"""Seconds for which a request is tried again."""

REQUEST_TIMEOUT: Final = 90.0
"""Seconds for one request: a pack of 64 MiB at 1 MB/s."""

UNREACHABLE_DEADLINE: Final = 10.0
"""Seconds for which a server is called that nobody answers for, or not in HTTP: most often its URL is wrong."""

DELAY_FIRST: Final = 0.1
DELAY_MAX: Final = 5.0

PROBE_NAME: Final = ".holdall-probe"
"""Its name begins with a dot, so it is nobody's object. It stays, so that the next process needs one request only."""

_T = TypeVar("_T")
_Keys = list[str]  # named here, because inside the class `list` is a method
_Infos = list[ObjectInfo]
_Answers = list[Answer]


class ObjectStorage(Storage):
    """Objects below a prefix of a bucket.

    An object is created with ``If-None-Match: *``, in one request. The first creation in a process looks whether the
    server honours that, unless it is a provider's own service; a server that does not is refused with
    `AccessDeniedError`, unless ``single_writer=True`` among the options promises that nobody else writes.

    What fails for a reason that passes is tried again for `deadline` seconds. `create` raises `AlreadyExistsError` only
    after it saw that something is there, which may be its own earlier try, whose answer was lost: the caller looks. It
    raises `StorageError` with ``errno.ETIMEDOUT`` where it could not find out; the object may then be there or not.

    A pickle holds where the bucket is, and no secrets.
    """

    def __init__(
        self, config: ObjectConfig, *, deadline: float = DEADLINE, request_timeout: float = REQUEST_TIMEOUT
    ) -> None:
        self._config = config
        self._deadline = deadline
        self._request_timeout = request_timeout
        self._store: Any = None
        self._process = 0
        self._probed = config.is_native or config.single_writer

    def __repr__(self) -> str:
        return f"ObjectStorage({self._where!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_store": None, "_process": 0}

    @property
    def config(self) -> ObjectConfig:
        """Where the bucket is, and how to reach it."""
        return self._config

    @property
    def url(self) -> str:
        return self._config.url

    @property
    def traits(self) -> StorageTraits:
        return StorageTraits(pack_bytes=PACK_BYTES, concurrency=CONCURRENCY, cache_key=self._config.place)

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        check_key(key)
        body: bytearray | memoryview
        if isinstance(parts, tuple) and len(parts) == 1:
            body = as_bytes(parts[0])  # nobody reuses it before this returns
        else:
            body = bytearray()
            for part in parts:
                body += as_bytes(part)
        self.check_create_if_absent()
        self._put(key, body)
        return len(body)

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        check_key(key)
        if start == 0 and length is None:
            return self._run("read", key, lambda lib, store: memoryview(lib.get(store, self._path(key)).bytes()))
        if length is None or length <= 0 or start < 0 or start + length >= 1 << 63:
            length = check_range(key, self.head(key).size, start, length)
            if length == 0:
                return memoryview(b"")
        return self._get_range(key, start, length)

    def map(self, key: str) -> memoryview | None:
        check_key(key)
        return None

    def head(self, key: str) -> ObjectInfo:
        check_key(key)
        return ObjectInfo(key, self._run("look at", key, lambda lib, store: lib.head(store, self._path(key))["size"]))

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        return self._list(prefix, after)

    def list_folders(self, prefix: str = "", after: str = "") -> Iterator[str]:
        check_prefix(prefix)
        return self._list_folders(prefix, after)

    def delete(self, keys: Iterable[str]) -> None:
        remaining = iter(keys)
        while batch := _Keys(islice(remaining, DELETE_BATCH)):
            for key in batch:
                check_key(key)
            self._run("delete", batch[0], partial(self._delete, batch))

    def prepare(self) -> None:
        self._client()

    def close(self) -> None:
        self._store = None

    def check_create_if_absent(self) -> None:
        """Raise `AccessDeniedError` where the server overwrites what is to be created only if it is absent.

        The same bytes are created twice under one name: a server that honours ``If-None-Match: *`` refuses the second
        time, or the first time already, because an earlier process left them there. What is known is not asked again.
        """
        if self._probed:
            return
        path = self._config.prefix + PROBE_NAME
        body = b"holdall looks here whether the server creates only what is absent\n"

        def put(lib: Any, store: Any) -> bool:
            try:
                lib.put(store, path, body, mode="create", use_multipart=False)
            except Exception as error:
                if read_answer(error).meaning == "exists":
                    return True
                raise
            return False

        try:
            honoured = self._run("create", PROBE_NAME, put) or self._run("create", PROBE_NAME, put)
        except StorageError as error:
            if error.errno != errno.EIO:
                raise
            raise self._unsuitable(f"it answers a conditional creation with an error ({error})") from None
        if not honoured:
            raise self._unsuitable("it ignores If-None-Match, so two writers would overwrite each other")
        self._probed = True

    def _unsuitable(self, reason: str) -> AccessDeniedError:
        return AccessDeniedError(
            errno.EPERM,
            f"Nothing can be written to {self._where}, because the server does not create objects only if they are "
            f"absent: {reason}. If nobody but this process will ever write at the same time, say so: "
            "storage_options={'single_writer': True}.",
        )

    @property
    def _where(self) -> str:
        """The URL, and the server where it is not the usual one."""
        endpoint = self._config.endpoint
        return self.url if endpoint is None else f"{self.url} at {endpoint}"

    def _path(self, key: str) -> str:
        return self._config.prefix + key

    def _client(self) -> tuple[Any, Any]:
        """Return the library and the client of this process; after a fork they are new."""
        library = load_library()
        if self._store is None or self._process != os.getpid():
            self._store = make_store(self._config, self._request_timeout)
            self._process = os.getpid()
        return library, self._store

    def _run(self, action: str, key: str, request: Callable[[Any, Any], _T]) -> _T:
        """Return what `request` returns, trying again what fails for a reason that passes."""
        for answers in self._tries(action, key):
            try:
                return request(*self._client())
            except Exception as error:  # noqa: BLE001 - all of them are looked at
                answers.append(_answer_of(error))
            if answers[-1].meaning != "again":
                raise explain(answers[-1], action, key, self._where)
        raise AssertionError("a loop that returns or raises ended")

    def _tries(self, action: str, key: str) -> Generator[_Answers, None, None]:
        """Yield a place for the answer of each try; raise when the time is over, and wait a random while in between."""
        begin = time.monotonic()
        delay = DELAY_FIRST
        while True:
            answers: _Answers = []
            yield answers
            answer = answers[-1]
            pause = random.uniform(delay / 4, delay)
            brief = answer.unreachable or answer.garbled
            limit = min(self._deadline, UNREACHABLE_DEADLINE) if brief else self._deadline
            if time.monotonic() + pause - begin > limit:
                raise explain(answer, action, key, self._where)
            time.sleep(pause)
            delay = min(delay * 2, DELAY_MAX)

    def _put(self, key: str, body: bytearray | memoryview) -> None:
        path = self._path(key)
        mode = "overwrite" if self._config.single_writer else "create"
        if self._config.single_writer and self._is_there(key):
            raise self._exists(key)
        for answers in self._tries("create", key):
            try:
                library, store = self._client()
                library.put(store, path, body, mode=mode, use_multipart=False)
                return
            except Exception as error:  # noqa: BLE001 - all of them are looked at
                answer = _answer_of(error)
            if answer.meaning == "exists":
                # Both a conflict, in which nothing was written, and an own earlier try look like this.
                if self._is_there(key):
                    raise self._exists(key)
                answer = Answer("again", 409, "", "a conflict with another request")
            if answer.meaning != "again":
                raise explain(answer, "create", key, self._where)
            answers.append(answer)

    def _exists(self, key: str) -> AlreadyExistsError:
        return AlreadyExistsError(errno.EEXIST, f"There already is an object {key!r} in {self._where}.")

    def _is_there(self, key: str) -> bool:
        def look(lib: Any, store: Any) -> bool:
            try:
                lib.head(store, self._path(key))
            except Exception as error:
                if read_answer(error).meaning == "missing":
                    return False
                raise
            return True

        return self._run("look at", key, look)

    def _get_range(self, key: str, start: int, length: int) -> memoryview:
        def read(lib: Any, store: Any) -> memoryview | None:
            try:
                data = memoryview(lib.get_range(store, self._path(key), start=start, length=length))
            except Exception as error:
                if read_answer(error).meaning == "beyond":
                    return None
                raise
            return data if len(data) == length else None

        data = self._run("read", key, read)
        if data is None:
            check_range(key, self.head(key).size, start, length)
            raise IntegrityError(f"{self._where} gave another range of {key!r} than {length} bytes from byte {start}.")
        return data

    def _delete(self, keys: _Keys, lib: Any, store: Any) -> None:
        paths = [self._path(key) for key in keys]
        try:
            lib.delete(store, paths)
        except Exception as error:
            if read_answer(error).meaning != "missing":
                raise
            for path in paths:  # a provider that deletes one by one stops at the first that is not there
                try:
                    lib.delete(store, path)
                except Exception as again:
                    if read_answer(again).meaning != "missing":
                        raise

    def _pages(self, prefix: str, after: str) -> Iterator[_Infos]:
        """Yield the objects with `prefix` after `after`, a page at a time; a page that fails is asked for again."""
        root = self._config.prefix
        cut = len(root)
        offset = max(root + after, root + prefix) if after else ""
        stream: Any = None

        def next_page(lib: Any, store: Any) -> Any:
            nonlocal stream
            if stream is None:
                stream = iter(lib.list(store, root + prefix or None, offset=offset or None, chunk_size=LIST_PAGE))
            try:
                return next(stream, None)
            except Exception:
                stream = None  # from the last key that was seen
                raise

        while (page := self._run("list", prefix, next_page)) is not None:
            found = [ObjectInfo(meta["path"][cut:], meta["size"]) for meta in page]
            # A provider may begin with the offset itself, or know no offsets at all.
            yield [info for info in found if info.key > after and _is_key(info.key)]
            if page:
                offset = page[-1]["path"]
                after = max(after, offset[cut:])

    def _list(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        for page in self._pages(prefix, after):
            yield from page

    def _list_folders(self, prefix: str, after: str) -> Iterator[str]:
        # A listing by folders gives all of them or none, and what is asked for most is the first. A plain listing is
        # lazy, and a folder that fills a page is left behind with the next request.
        cut = len(prefix)
        begin, last = (f"{prefix}{after}/\U0010ffff" if after else ""), ""
        while True:
            jump = False
            for page in self._pages(prefix, begin):
                for info in page:
                    segment, slash, _ = info.key[cut:].partition("/")
                    if slash and segment != last:
                        last = segment
                        yield segment
                if len(page) == LIST_PAGE and page[0].key[cut:].startswith(last + "/") and last:
                    begin, jump = f"{prefix}{last}/\U0010ffff", True
                    break
            if not jump:
                return


def _is_key(text: str) -> bool:
    return all(is_segment(segment) for segment in text.split("/"))


def _answer_of(error: Exception) -> Answer:
    """Return what a failure of the library means; what is an error of ours or a mistake of the program passes."""
    if type(error).__module__.partition(".")[0] in ("obstore", "pyo3_object_store") or isinstance(error, OSError):
        if isinstance(error, StorageError | AccessDeniedError | AlreadyExistsError):
            raise error
        return read_answer(error)
    raise error
