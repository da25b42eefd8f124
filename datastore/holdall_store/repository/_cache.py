"""The local cache of one remote storage: files that may vanish at any time, and are never believed unseen.

Nothing here raises for a reason of its own. A cache that cannot be used, because its disk is full or its folder is not
the user's alone, is a cache that holds nothing.

Any number of processes use one folder without locks: a file is written under a name of its own and renamed when it is
whole, what it holds is a function of its name, and what is deleted while somebody maps it stays readable there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from blake3 import blake3

from holdall_store.config import Settings, logger
from holdall_store.errors import HoldallError
from holdall_store.repository._cache_space import INCOMING_FOLDER, REMOTE_FOLDER, is_private, trim_cache
from holdall_store.storage import Buffer, LocalStorage, Storage

__all__ = ["Cache", "CacheFile", "make_cache"]

SLACK_SHARE: Final = 16
"""One looks whether room has to be made when a sixteenth of the bound was written, on the average: that takes time where
there are many files, and processes that write little need not know of each other."""

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class CacheFile:
    """A file on its way into the cache; whatever fails raises the system's `OSError`."""

    def __init__(self, folder: Path, size: int) -> None:
        self.path = folder / os.urandom(12).hex()
        self._file = os.open(self.path, _NEW, 0o600)
        try:
            _reserve(self._file, size)
        except BaseException:
            self.discard()
            raise

    def write(self, position: int, data: Buffer) -> None:
        """Write `data` at `position`; several threads may do so at once."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, position)
            position += written
            view = view[written:]

    def publish(self, path: Path) -> None:
        """Give the file its name. If another process was faster, its file is replaced by the same bytes."""
        _make_private(path.parent)
        os.rename(self.path, path)

    def discard(self) -> None:
        """Remove what was not published, and close the file. Calling it twice is allowed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            _unlink(self.path)


class Cache:
    """What is kept of one storage: records under their keys, and files of data under hashes of what they hold.

    `place` tells the storage from all others. Records are kept apart for each place, since one store may claim to be
    another; data are found by what they hash to, so stores share them.
    """

    def __init__(self, settings: Settings, place: str, chance: Callable[[], float] | None = None) -> None:
        self.settings = settings
        self.root = settings.cache_folder() / REMOTE_FOLDER
        self.records = LocalStorage(self.root / "records" / blake3(place.encode()).hexdigest(length=16))
        self.data = LocalStorage(self.root / "data")
        self._chance = chance or _chance

    @property
    def bound(self) -> int:
        """The bytes that all caches together may take."""
        return self.settings.cache_bound()

    def usable(self) -> bool:
        """Tell whether what lies in the cache may be believed to be this user's own work."""
        return is_private(self.root)

    def record(self, key: str) -> bytes | None:
        """Return the record that is kept under `key`, as it was read: whoever takes it checks its seal."""
        if not self.usable():
            return None
        try:
            raw = bytes(self.records.get(key))
        except HoldallError as error:
            logger().debug("Not in the cache: %s", error)
            return None
        self._touch(self.records.path / key)
        return raw

    def keep_record(self, key: str, raw: Buffer) -> None:
        """Keep a record that was read and is whole."""

        def fill(file: CacheFile) -> None:
            file.write(0, raw)

        self.keep(self.records.path / key, len(raw), fill)

    def drop_record(self, key: str) -> None:
        """Remove a record that is damaged."""
        self._drop(self.records.path / key)

    def data_path(self, name: str) -> Path:
        """Return where the data called `name`, a hexadecimal hash, lie."""
        return self.data.path / data_key(name)

    def use_data(self, name: str) -> bool:
        """Tell whether there may be data called `name`, and note that they are used."""
        return self.usable() and self._touch(self.data_path(name))

    def drop_data(self, name: str) -> None:
        """Remove data that are damaged."""
        self._drop(self.data_path(name))

    def keep(self, path: Path, size: int, fill: Callable[[CacheFile], None]) -> bool:
        """Let `fill` write a file of `size` bytes and keep it at `path`; return whether it is there now.

        Where the system will not, or where the file is larger than the whole cache may be, nothing is kept. What else
        `fill` raises passes through.
        """
        if size > self.bound:
            return False
        try:
            incoming = self.root / INCOMING_FOLDER
            _make_root(self.root)
            _make_private(incoming)
            if not self.usable():
                logger().debug("Nothing is kept in %s: others may write there.", self.root)
                return False
            file = CacheFile(incoming, size)
        except OSError as error:
            self._explain(path, error)
            return False
        try:
            fill(file)
            file.publish(path)
        except HoldallError:
            raise  # some are OSErrors, and none of these is the cache's
        except OSError as error:
            self._explain(path, error)
            return False
        finally:
            file.discard()
        self._make_room(size, path)
        return True

    def _make_room(self, size: int, keep: Path) -> None:
        """Delete what was used longest ago, but not `keep`, if `size` bytes more are likely to be a reason to."""
        if size * SLACK_SHARE >= self.bound * self._chance():
            trim_cache(self.settings, keep=keep)

    def _touch(self, path: Path) -> bool:
        """Note that a file is used now; return whether it is there."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except OSError:  # a disk that may only be read has nothing to delete either
            return True
        return True

    def _drop(self, path: Path) -> None:
        logger().debug("Dropped from the cache, because it is damaged: %s", path)
        _unlink(path)

    def _explain(self, path: Path, error: OSError) -> None:
        logger().debug("Not kept in the cache: %s (%s)", path, error)


def data_key(name: str) -> str:
    """Return the key of data called `name`: in many folders, because one of all would be slow to list."""
    return f"{name[:2]}/{name}"


def _make_root(root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    _make_private(root)


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the user alone."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_private(folder.parent)
        _make_private(folder)


def _reserve(file: int, size: int) -> None:
    """Take the room on the disk before anything is fetched for it, where the system can."""
    if not size:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
        else:
            return
    os.ftruncate(file, size)


def _unlink(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


def _chance() -> float:
    """Return a number from 0 up to 1; the module for this takes longer to import than all else here."""
    return int.from_bytes(os.urandom(4), "little") / 2**32


def make_cache(storage: Storage, settings: Settings) -> Cache | None:
    """Return the cache of a storage, if it is one of which something is kept; offline there always is one."""
    place = storage.traits.cache_key
    wanted = settings.offline or settings.cache_bytes != 0
    return Cache(settings, place) if place and wanted else None
