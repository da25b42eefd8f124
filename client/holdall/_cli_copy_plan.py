"""What ``holdall cp`` is to do: which file or object goes where. Nothing is written while it is planned."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from holdall._cli_s3 import named
from holdall._cli_s3_names import Link, MissingSourceError, Url, is_s3
from holdall.store import InvalidNameError, NotFoundError
from holdall_store.transfer._paths import nearest_path
from holdall_store.transfer._s3_local import Folder, scan_folder
from holdall_store.transfer.s3 import S3Object

__all__ = ["Move", "plan"]


class Move(NamedTuple):
    """One thing to do, or done: ``upload``, ``download``, ``copy``, ``write``, ``save``, ``delete`` or ``skip``."""

    action: str
    source: str
    target: str
    size: int | None
    found: S3Object | None = None
    shown: str = ""
    reason: str = ""
    below: bool = False
    """Whether the target is in a folder, none of whose links is followed."""

    def text(self) -> str:
        """Return it as a line for people."""
        if self.action == "delete":
            return f"delete: {self.target}"
        if self.action == "skip":
            return f"skip: {self.target} is there"
        return f"{self.action}: {self.shown or self.source} to {self.target}"

    def json(self, *, dry_run: bool) -> dict[str, Any]:
        """Return it as programs get it."""
        return {
            "action": self.action,
            "source": self.shown or self.source or None,
            "target": self.target,
            "bytes": self.size,
            **({"reason": self.reason} if self.reason else {}),
            "done": not dry_run and self.action != "skip",
        }


def plan(link: Link, sources: list[str], exported: list[Move], options: argparse.Namespace) -> list[Move]:
    """Return what is to be done for `sources`, which are paths and URLs, and for artifacts that were `exported`."""
    target: str = options.target
    many = len(options.sources) > 1
    moves: list[Move] = []
    if is_s3(target):
        url = Url.parse(target, raw=True)
        for move in exported:
            moves += _uploads(move.source, Url.parse(move.target, raw=True), move.shown)
        for source in sources:
            moves += _to_bucket(link, source, url, many, options)
    else:
        for source in sources:
            moves += _to_disk(link, Url.parse(source, raw=options.raw), target, many, options)
    _check_distinct(moves)
    if not options.dry_run and not is_s3(target):
        _make_folders(moves, target)
    return moves


def _to_bucket(link: Link, source: str, target: Url, many: bool, options: argparse.Namespace) -> Iterator[Move]:
    if is_s3(source):
        yield from _copies(link, Url.parse(source, raw=options.raw), target, many, options)
        return
    path = os.path.expanduser(source)
    if not os.path.exists(path):
        raise MissingSourceError(f"There is no file or folder {source!r}.{nearest_path(path)}")
    if not os.path.isdir(path):
        yield from _uploads(path, _end(target, os.path.basename(path), many))
    elif options.recursive:
        name = os.path.basename(os.path.abspath(path))
        yield from _uploads(path, _many(target, many).join(name) if many else target)
    else:
        raise InvalidNameError(f"{source!r} is a folder: add -r.")


def _uploads(path: str, target: Url, shown: str = "") -> Iterator[Move]:
    """Yield the uploads of a file, or of all that is in a folder."""
    if not os.path.isdir(path):
        yield Move("upload", path, str(target), os.path.getsize(path), shown=shown)
        return
    for entry in scan_folder(path):
        source = os.path.join(path, *entry.path.split("/"))
        label = f"{shown}/{entry.path}" if shown else ""
        yield Move("upload", source, str(target.join(entry.path)), entry.size, shown=label)


def _copies(link: Link, source: Url, target: Url, many: bool, options: argparse.Namespace) -> Iterator[Move]:
    for found, name in _found(link, source, many, options):
        if name is None:
            end = _end(target, source.name, many)
        else:
            end = (_many(target, many or source.is_pattern)).join(name)
        if end.bucket == found.bucket and end.key == found.object_key:
            raise InvalidNameError(f"{found.url} cannot be copied onto itself.")
        yield Move("copy", found.url, str(end), found.size, found)


def _to_disk(link: Link, source: Url, target: str, many: bool, options: argparse.Namespace) -> Iterator[Move]:
    root = os.path.expanduser(target)
    into = target.endswith("/") or os.path.isdir(root)
    if (many or source.is_pattern) and not into:
        raise InvalidNameError(f"Several objects go into a folder, and {target!r} is none: end it with a slash.")
    found = list(_found(link, source, many, options))
    if len(found) == 1 and found[0][1] is None:
        (each, _), name = found[0], source.name
        if into:
            _check_folder(root, [name], str(source).rpartition("/")[0], options)
            yield Move("download", each.url, os.path.join(root, name), each.size, each, below=True)
        else:
            yield Move("download", each.url, root, each.size, each)
        return
    names = [name or "" for _, name in found]
    _check_folder(root, names, f"s3://{source.bucket}/{source.base}".rstrip("/"), options)
    for (each, _), name in zip(found, names, strict=True):
        yield Move("download", each.url, os.path.join(root, *name.split("/")), each.size, each, below=True)


def _check_folder(root: str, names: list[str], url: str, options: argparse.Namespace) -> None:
    """Refuse names that cannot be files, and what is there and cannot be replaced by files."""
    folder = Folder(root)
    folder.check(names, url)
    if options.if_absent:
        names = [name for name in names if not os.path.lexists(os.path.join(root, name))]
    folder.check_room(names)


def _found(link: Link, source: Url, many: bool, options: argparse.Namespace) -> Iterator[tuple[S3Object, str | None]]:
    """Yield the objects that `source` means, and their names below the target; ``None`` for one that is meant alone."""
    if source.is_pattern:
        found = list(link.below(source))
        if not found:
            raise NotFoundError(f"Nothing in the bucket {source.bucket!r} matches {source.key!r}.")
        for each in found:
            yield each, each.object_key[len(source.base) :]
        return
    if options.recursive:
        folder = source.folder
        above = f"{source.name}/" if many and source.name else ""
        any_found = False
        for each in link.below(folder):
            any_found = True
            yield each, above + each.object_key[len(folder.key) :]
        if any_found:
            return
        if source.is_folder:
            raise NotFoundError(f"There is nothing in {folder}.")
    if source.is_folder:
        raise InvalidNameError(f"{source} is a folder: add -r.")
    for each in named(link, source):
        yield each, None


def _end(target: Url, name: str, many: bool) -> Url:
    """Return where one thing called `name` goes."""
    if target.is_folder:
        return target.join(name)
    return _many(target, many).join(name) if many else target


def _many(target: Url, many: bool) -> Url:
    if many and not target.is_folder:
        raise InvalidNameError(f"Several SRC go into a folder, and {target} is none: end it with a slash.")
    return target


def _check_distinct(moves: list[Move]) -> None:
    ends: dict[str, Move] = {}
    for move in moves:
        other = ends.setdefault(move.target, move)
        if other is not move:
            raise InvalidNameError(f"{other.source} and {move.source} would both become {move.target}.")


def _make_folders(moves: list[Move], target: str) -> None:
    """Make the folders that files go into; no link below the target is followed."""
    root = os.path.expanduser(target)
    if len(moves) == 1 and moves[0].target == root:
        os.makedirs(os.path.dirname(root) or ".", exist_ok=True)
        return
    folder = Folder(root)
    for move in moves:
        folder.place(os.path.relpath(move.target, root).replace(os.sep, "/"))
