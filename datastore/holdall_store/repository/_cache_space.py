"""How much room the caches take, and which of it is given up first."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from holdall_store.config import Settings

__all__ = [
    "COMPLETE_MARK",
    "FILES_FOLDER",
    "INCOMING_FOLDER",
    "REMOTE_FOLDER",
    "CacheUsage",
    "cache_usage",
    "clear_cache",
    "is_private",
    "trim_cache",
]

REMOTE_FOLDER: Final = "remote"
"""What was read from remote stores."""

FILES_FOLDER: Final = "files"
"""Copies of file and directory artifacts, each in a folder of its own."""

INCOMING_FOLDER: Final = ".incoming"
"""Files that are being written, in the folder of remote stores: one that is whole gets its name by a rename."""

COMPLETE_MARK: Final = ".complete"
"""The file in the folder of a copy whose time says when the copy was used last."""

TRIMMED_SHARE: Final = 0.9
"""What is left when room had to be made, so that not every file that comes is a reason to look through all."""

ABANDONED_SECONDS: Final = 3600.0
"""A file that nobody wrote to for an hour was left behind by a process that died."""

_TEMPORARY: Final = ".tmp-"


class CacheUsage(NamedTuple):
    """Bytes on the disk, and files."""

    bytes: int
    files: int


class _Entry(NamedTuple):
    """What is given up as one: a file, or the folder of a copy."""

    used: float
    bytes: int
    files: int
    path: Path


def is_private(folder: Path) -> bool:
    """Tell whether `folder` is there and its user's alone: what lies in any other may be anybody's."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not others


def cache_usage(settings: Settings) -> CacheUsage:
    """Return how much room the caches take."""
    entries = [*_remote(settings), *_copies(settings)]
    return CacheUsage(sum(entry.bytes for entry in entries), sum(entry.files for entry in entries))


def clear_cache(settings: Settings) -> CacheUsage:
    """Delete what the caches hold, and return how much that was. What is mapped stays readable where it is used."""
    before = cache_usage(settings)
    for name in (REMOTE_FOLDER, FILES_FOLDER):
        _remove(settings.cache_folder() / name)
    after = cache_usage(settings)
    return CacheUsage(before.bytes - after.bytes, before.files - after.files)


def trim_cache(settings: Settings, *, keep: Path | None = None, now: float | None = None) -> int:
    """Delete what was used longest ago until the rest fits the bound, and return the bytes that are left.

    Neither `keep` is deleted, nor what others are writing. What cannot be deleted is left.
    """
    moment = time.time() if now is None else now
    _sweep(settings, moment)
    bound = settings.cache_bound()
    entries = sorted([*_remote(settings), *_copies(settings)])
    total = sum(entry.bytes for entry in entries)
    if total <= bound:
        return total
    for entry in entries:
        if total <= bound * TRIMMED_SHARE:
            break
        if entry.path != keep:
            _remove(entry.path)
            total -= entry.bytes
    return total


def _remote(settings: Settings) -> Iterator[_Entry]:
    root = settings.cache_folder() / REMOTE_FOLDER
    for folder, folders, names in os.walk(root):
        if INCOMING_FOLDER in folders:
            folders.remove(INCOMING_FOLDER)
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):  # deleted by another process
                found = path.lstat()
                yield _Entry(found.st_mtime, found.st_blocks * 512, 1, path)


def _copies(settings: Settings) -> Iterator[_Entry]:
    with contextlib.suppress(OSError):
        for folder in (settings.cache_folder() / FILES_FOLDER).iterdir():
            if folder.name.startswith(_TEMPORARY) or not folder.is_dir():
                continue
            with contextlib.suppress(OSError):  # being removed by another process
                files = [os.lstat(os.path.join(base, name)) for base, _, names in os.walk(folder) for name in names]
                used = (folder / COMPLETE_MARK).stat().st_mtime
                yield _Entry(used, sum(found.st_blocks * 512 for found in files), len(files), folder)


def _sweep(settings: Settings, now: float) -> None:
    """Remove what processes left behind that died while they wrote it."""
    folder = settings.cache_folder()
    abandoned = [folder / REMOTE_FOLDER / INCOMING_FOLDER / "*", folder / FILES_FOLDER / f"{_TEMPORARY}*"]
    for pattern in abandoned:
        with contextlib.suppress(OSError):
            for path in pattern.parent.glob(pattern.name):
                with contextlib.suppress(OSError):
                    if now - path.lstat().st_mtime > ABANDONED_SECONDS:
                        _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            for folder, _, _ in os.walk(path):
                os.chmod(folder, 0o700)  # a copy of a directory that was saved read-only
            import shutil  # seldom, and it imports every compression there is

            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
