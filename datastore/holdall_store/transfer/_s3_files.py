"""Objects into files: each appears whole or not at all, and a large one that was interrupted goes on where it was."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Final, NamedTuple

from holdall_store.errors import ConflictError, StorageError
from holdall_store.transfer._exchange import FileTarget, Job, Request
from holdall_store.transfer._paths import keep_mode
from holdall_store.transfer._plan import FIRST_BYTES, Span, parse_content_range, range_bytes, split
from holdall_store.transfer._s3_checksums import check_body
from holdall_store.transfer._s3_get import RESTARTS_MAX, Reader, Wanted, allocate, head_job, read_file_parts
from holdall_store.transfer._s3_leftovers import (
    Leftovers,
    can_lock,
    is_partial_name,
    lock_alone,
    partial_path,
    target_mark,
)

__all__ = ["FetchItem", "Fetched", "fetch_files", "is_partial_name"]

_ANY: Final = frozenset({200, 206, 412, 416})
_RANGE: Final = frozenset({206, 404, 412, 416})


class FetchItem(NamedTuple):
    """An object and the file that it goes into, which gets the time ``modified``."""

    number: int
    wanted: Wanted
    path: str
    modified: float | None = None


class Fetched(NamedTuple):
    """A file that is there now; or, with ``large``, one that is yet to be read in ranges."""

    item: FetchItem
    size: int
    large: bool = False


def fetch_files(
    reader: Reader, run: Callable[..., Iterator[Any]], items: Iterable[FetchItem], tick: Callable[[int, int], None]
) -> Iterator[Fetched]:
    """Read objects into files, small ones first, and yield what is done."""
    leftovers = Leftovers()
    for done in _fetch_all(reader, run, items, tick):
        leftovers.remove(done.item.path)
        yield done


def _fetch_all(
    reader: Reader, run: Callable[..., Iterator[Any]], items: Iterable[FetchItem], tick: Callable[[int, int], None]
) -> Iterator[Fetched]:
    large: list[FetchItem] = []

    def small() -> Iterator[Job[Fetched]]:
        for item in items:
            size = item.wanted.size
            if size is not None and size > FIRST_BYTES:
                large.append(item)
            else:
                yield _small_job(reader, item)

    for done in run(small(), ordered=False, weigh=_weigh_nothing):
        if done.large:
            large.append(done.item)
        else:
            tick(1, done.size)
            yield done
    for _ in range(RESTARTS_MAX):
        if not large:
            return
        large = yield from _fetch_large(reader, run, large, tick)
    if large:
        raise ConflictError(
            f"{large[0].wanted.url} was replaced while it was read, {RESTARTS_MAX} times in a row: try again when it is "
            "at rest."
        )


def _small_job(reader: Reader, item: FetchItem) -> Job[Fetched]:
    """Read an object that is most likely small; of a large one keep what came."""
    wanted = item.wanted
    (response,) = yield (reader.first(wanted),)
    headers, body = response.headers, response.body
    told = parse_content_range(headers.get("content-range", "")) if response.status == 206 else None
    if response.status == 416:
        found = yield from head_job(reader, wanted)
        if found.size:
            raise StorageError(f"The server has {found.size} bytes of {wanted.url}, and none of them to give.")
        headers, body = found.headers, memoryview(b"")
    elif told is not None and told[1] > len(body):
        wanted.size, wanted.etag = told[1], headers.get("etag", "")
        partial = Partial(item)
        try:
            partial.write_first(body)
        finally:
            partial.leave()
        return Fetched(item, told[1], large=True)
    elif response.status not in (200, 206):
        raise ConflictError(f"{wanted.url} is not there any more as it was listed, or has no such bytes.")
    reader.check(headers, body, wanted)
    write_whole(item.path, body, item.modified)
    return Fetched(item, len(body))


def write_whole(path: str, data: memoryview, modified: float | None) -> None:
    """Write a file that nobody ever sees half of."""
    temporary, descriptor = _open_new(path)
    try:
        try:
            done = 0
            while done < len(data):
                done += os.write(descriptor, data[done:])
            if modified is not None:
                os.utime(descriptor, (modified, modified))
            keep_mode(descriptor, path)
            os.replace(temporary, path)  # before it is closed: only the lock says that somebody writes it
        finally:
            os.close(descriptor)
    except StorageError:
        _remove(temporary)
        raise
    except OSError as error:
        _remove(temporary)
        raise _file_error(error, path) from error
    except BaseException:
        _remove(temporary)
        raise


def _fetch_large(
    reader: Reader, run: Callable[..., Iterator[Any]], items: list[FetchItem], tick: Callable[[int, int], None]
) -> Generator[Fetched, None, list[FetchItem]]:
    """Read large objects in ranges; return those that were replaced meanwhile."""
    changed: list[FetchItem] = []
    opened: dict[int, Partial] = {}

    def jobs() -> Iterator[Job[tuple[Partial, int]]]:
        for item in items:
            if item.wanted.size is None:
                for found in run((head_job(reader, item.wanted),)):
                    item.wanted.size, item.wanted.etag = found.size, f'"{found.etag}"' if found.etag else ""
            partial = opened[item.number] = Partial(item)
            missing = partial.missing()
            tick(0, partial.size - sum(span.length for _, span in missing))
            partial.left = len(missing) + 1
            for number, span in missing:
                yield _range_job(reader, partial, number, span)
            yield _nothing(partial)

    try:
        for partial, count in run(jobs(), ordered=False, weigh=_weigh_nothing):
            partial.left -= 1
            tick(0, count)
            if partial.left:
                continue
            item = partial.item
            del opened[item.number]
            if partial.changed:
                partial.discard()
                item.wanted.size, item.wanted.etag = None, ""
                changed.append(item)
                continue
            _verify(reader, run, partial)
            partial.finish()
            tick(1, 0)
            yield Fetched(item, partial.size)
    finally:
        for partial in opened.values():
            partial.leave()
    return changed


def _nothing(partial: Partial) -> Job[tuple[Partial, int]]:
    yield ()
    return partial, 0


def _range_job(reader: Reader, partial: Partial, number: int, span: Span) -> Job[tuple[Partial, int]]:
    if partial.changed:
        return partial, 0
    wanted = partial.item.wanted
    place = wanted.place
    request = Request(
        "GET",
        place.bucket,
        place.key,
        wanted.query,
        reader.ranged(span.header, wanted.etag),
        target=FileTarget(partial.descriptor, span.begin),
        bytes_expected=span.length,
        accept=_RANGE,
    )
    (response,) = yield (request,)
    headers = response.headers
    told = parse_content_range(headers.get("content-range", ""))
    if response.status != 206 or headers.get("etag", "") != wanted.etag or told != (span, partial.size):
        partial.changed = True
        return partial, 0
    partial.mark(number)
    return partial, span.length


def _verify(reader: Reader, run: Callable[..., Iterator[Any]], partial: Partial) -> None:
    """Compare a large object with its checksum, if all is to be checked."""
    if reader.verify is not True:
        return
    wanted = partial.item.wanted
    for found in run((head_job(reader, wanted),)):
        if found.etag == wanted.etag.strip('"'):
            try:
                parts = read_file_parts(partial.descriptor, partial.size)
                check_body(found.headers, parts, wanted.url, thorough=True)
            except BaseException:
                partial.discard()
                raise


class Partial:
    """The unfinished file of a large object.

    Behind its bytes there is one more for each range, which tells whether that has come. Another try finds the file
    by its name, which depends on the object's ETag, and on when the machine was started: what a crash of the system
    tore is not gone on with. A lock keeps two processes from writing the same one; the second has one of its own.
    """

    def __init__(self, item: FetchItem) -> None:
        self.item = item
        self.size: int = item.wanted.size or 0
        self.changed = False
        self.left = 0
        self._step = range_bytes(self.size)
        self._count = -(-self.size // self._step) if self.size else 0
        self._resumable = bool(item.wanted.etag)
        ident = f"{item.wanted.url}\0{item.wanted.version}\0{item.wanted.etag}\0{self.size}\0{self._step}\0{_boot()}"
        digest = hashlib.sha256(ident.encode(errors="surrogatepass")).hexdigest()[:16]
        self._path = partial_path(item.path, f"{target_mark(item.path)}-{digest}")
        self.descriptor = self._lock() if self._resumable else -1
        if self.descriptor < 0:
            self._resumable = False
            self._path, self.descriptor = _open_new(item.path)
        if os.fstat(self.descriptor).st_size != self.size + self._count:
            self._begin()

    def _begin(self) -> None:
        try:
            os.ftruncate(self.descriptor, 0)
            allocate(self.descriptor, self.size + self._count, self.item.path, self.item.wanted)
            if os.fstat(self.descriptor).st_size != self.size + self._count:
                os.ftruncate(self.descriptor, self.size + self._count)
        except BaseException:
            self.discard()
            raise

    def _lock(self) -> int:
        """Return the file, opened and locked, or -1 if somebody else has it."""
        descriptor = _open(self._path, os.O_RDWR | os.O_CREAT, self.item.path)
        if lock_alone(descriptor, self._path):
            return descriptor
        if not can_lock(descriptor):  # so nobody will ever go on with it
            _remove(self._path)
        os.close(descriptor)
        return -1

    def missing(self) -> list[tuple[int, Span]]:
        """Return the ranges that have not come yet, with their numbers."""
        marks = os.pread(self.descriptor, self._count, self.size)
        spans = split(0, self.size, self._step)
        return [(number, span) for number, span in enumerate(spans) if marks[number : number + 1] != b"\1"]

    def mark(self, number: int) -> None:
        """Take note that a range is there."""
        if self._resumable:
            os.pwrite(self.descriptor, b"\1", self.size + number)

    def write_first(self, body: memoryview) -> None:
        """Keep the beginning of the object, as far as it fills ranges."""
        done = 0
        while done < len(body):
            done += os.pwrite(self.descriptor, body[done:], done)
        for number in range(min(len(body) // self._step, self._count)):
            self.mark(number)

    def finish(self) -> None:
        """Make it the file that it is for."""
        item = self.item
        try:
            os.ftruncate(self.descriptor, self.size)
            if item.modified is not None:
                os.utime(self.descriptor, (item.modified, item.modified))
            keep_mode(self.descriptor, item.path)
            os.replace(self._path, item.path)
        except StorageError:
            self.discard()
            raise
        except OSError as error:
            self.discard()
            raise _file_error(error, item.path) from error
        os.close(self.descriptor)
        self.descriptor = -1

    def leave(self) -> None:
        """Close it; another try may go on with it."""
        if self.descriptor >= 0:
            if not self._resumable:
                _remove(self._path)
            os.close(self.descriptor)
            self.descriptor = -1

    def discard(self) -> None:
        """Close and remove it."""
        _remove(self._path)
        self._resumable = False
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _open_new(path: str) -> tuple[str, int]:
    """Make a temporary file for `path` that nobody goes on with; return where it is, and a descriptor of it.

    If this process is killed, the next download to `path` removes it: that one knows it by its name, and by the lock
    that is gone. Where there are no locks, it has a name that nobody takes for one to be removed.
    """
    temporary = partial_path(path, f"{target_mark(path)}-{secrets.token_hex(8)}")
    descriptor = _open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, path)
    if lock_alone(descriptor, temporary):
        return temporary, descriptor
    os.close(descriptor)
    _remove(temporary)
    temporary = partial_path(path, secrets.token_hex(8))
    return temporary, _open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, path)


def _open(temporary: str, flags: int, path: str) -> int:
    if os.path.isdir(path):
        raise StorageError(errno.EISDIR, f"Cannot write {path!r}: it is a folder.")
    try:
        return os.open(temporary, flags | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise _file_error(error, path) from error


def _file_error(error: OSError, path: str) -> StorageError:
    return StorageError(error.errno, f"Cannot write {path!r}: {error.strerror}.")


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # gone already; or else the error that led here is the one to tell
        return


def _weigh_nothing(result: object) -> int:  # noqa: ARG001 - the bytes are in files
    return 0
