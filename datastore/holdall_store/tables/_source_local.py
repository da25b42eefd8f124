"""Files on a local disk: mapped, never copied."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from holdall_store.errors import AccessDeniedError, StorageError
from holdall_store.tables._source import Found, MappedSource, Tail, changed

__all__ = ["LocalSource"]


class LocalSource(MappedSource):
    """The local disk: keys are absolute paths. Symbolic links are followed."""

    @property
    def identity(self) -> str:
        return "file"

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalSource, ()

    def url(self, key: str) -> str:
        return key

    def list(self, prefix: str) -> Iterator[Found]:
        root = prefix.rstrip("/") or "/"
        try:
            found = sorted(_walk(root), key=lambda each: each.key)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            return
        except OSError as error:
            raise _explained(error, root) from error
        yield from found

    def tails(self, wanted: Sequence[tuple[Found, int]]) -> Iterator[Tail | None]:
        for found, length in wanted:
            yield self._tail(found, length)

    def _tail(self, found: Found, length: int) -> Tail | None:
        path = found.key
        try:
            with open(path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                now = Found(path, status.st_size, str(status.st_mtime_ns))
                _compare(found, now)
                begin = max(now.size - length, 0)
                data = os.pread(file.fileno(), now.size - begin, begin)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            return None
        except OSError as error:
            raise _explained(error, path) from error
        if len(data) != now.size - begin:
            raise changed(path, "it became shorter while it was read")
        return Tail(now, begin, memoryview(data))

    def map(self, found: Found) -> Any:
        import pyarrow as pa

        self.check(found)
        try:
            return pa.memory_map(found.key)
        except OSError as error:
            raise _explained(error, found.key) from error

    def arrow_filesystem(self) -> tuple[Any, Callable[[str], str]]:
        import pyarrow.fs as pafs

        return pafs.LocalFileSystem(), lambda key: key

    def check(self, found: Found) -> None:
        try:
            status = os.stat(found.key)
        except OSError as error:
            raise changed(found.key, f"it is gone: {error.strerror}") from error
        _compare(found, Found(found.key, status.st_size, str(status.st_mtime_ns)))


def _compare(seen: Found, now: Found) -> None:
    if seen.size not in (-1, now.size):
        raise changed(now.key, f"it had {seen.size} bytes and has {now.size}")
    if seen.version and seen.version != now.version:
        raise changed(now.key, "it was written to since")


def _walk(folder: str) -> Iterator[Found]:
    """Yield the files below a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path)
            elif entry.is_file():
                status = entry.stat()
                yield Found(entry.path, status.st_size, str(status.st_mtime_ns))


def _explained(error: OSError, path: str) -> StorageError | AccessDeniedError:
    kind = AccessDeniedError if error.errno in (errno.EACCES, errno.EPERM) else StorageError
    return kind(error.errno, f"Cannot read {path}: {error.strerror}.")
