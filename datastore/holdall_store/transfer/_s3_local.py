"""Folders of this machine: what is in them, and what may be written into them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from holdall_store.errors import InvalidNameError, NotFoundError, StorageError
from holdall_store.transfer._paths import check_plain, nearest_path
from holdall_store.transfer._plan import Entry, clashes, part_bytes, path_problem, split
from holdall_store.transfer._s3_checksums import digest, multipart_etag
from holdall_store.transfer._s3_leftovers import is_partial_name

__all__ = ["Folder", "MissingFolderError", "Room", "local_etag", "scan_folder"]

NAMED_MAX: Final = 5
"""An error names so many files, and counts the others."""


class MissingFolderError(FileNotFoundError, NotFoundError):
    """A folder that was to be read is not there."""


def scan_folder(root: str, *, follow: bool = True) -> Iterator[Entry]:
    """Yield every file below `root`, hidden ones too, sorted by path; the unfinished files of downloads are left out.

    If `follow`, links are what they lead to, and in the end it is a `StorageError` if there was anything that is no
    file: a device, a FIFO, a socket, a link to nothing or back to where it came from. Otherwise that is left out, and
    so are links to folders.
    """
    try:
        status = os.stat(root)
    except OSError as error:
        raise MissingFolderError(
            errno.ENOENT, f"There is no folder {root!r}.{nearest_path(root, folders=True)}"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise StorageError(errno.ENOTDIR, f"{root!r} is no folder: put_files() uploads single files.")
    unfit: list[str] = []
    yield from _scan(root, "", ((status.st_dev, status.st_ino),), follow, unfit)
    if unfit and follow:
        more = f", and {len(unfit) - NAMED_MAX} more" if len(unfit) > NAMED_MAX else ""
        raise StorageError(
            errno.EINVAL,
            f"Not all that is in {root!r} can be sent: {', '.join(unfit[:NAMED_MAX])}{more}. Remove that, or send the "
            "others with put_files().",
        )


def _scan(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...], follow: bool, unfit: list[str]
) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as found:
            children = sorted(found, key=lambda child: child.name)
    except OSError as error:
        raise StorageError(error.errno, f"Cannot read the folder {folder!r}: {error.strerror}.") from error
    for child in children:
        path = prefix + child.name
        try:
            status = child.stat()
        except OSError as error:
            what = "a link to nothing" if error.errno == errno.ENOENT else error.strerror
            unfit.append(f"{child.path!r} ({what})")
            continue
        if stat.S_ISDIR(status.st_mode):
            ident = (status.st_dev, status.st_ino)
            if child.is_symlink() and not follow:
                continue
            if ident in above:
                unfit.append(f"{child.path!r} (a link back to a folder that it lies in)")
                continue
            yield from _scan(child.path, f"{path}/", (*above, ident), follow, unfit)
        elif not stat.S_ISREG(status.st_mode):
            unfit.append(f"{child.path!r} (no plain file)")
        elif not is_partial_name(child.name):
            yield Entry(path, status.st_size, status.st_mtime)


def local_etag(path: str, etag: str, size: int) -> str:
    """Return the ETag that the file would have if it was uploaded as the object with `etag` was, as far as one can tell."""
    parts = etag.partition("-")[2]
    with open(path, "rb") as file:
        if not parts:
            return digest("md5", iter(lambda: file.read(1 << 20), b"")).hex()
        digests = []
        for span in split(0, size, part_bytes(size)):
            data = file.read(span.length)
            digests.append(digest("md5", (data,)))
        return multipart_etag(digests)


class Room(NamedTuple):
    """What is deleted before files are written: files where folders go, and folders where files go."""

    files: list[str]
    folders: list[str]


class Folder:
    """A folder that objects are written into; nothing is ever written outside of it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._known: set[str] = set()

    def check(self, paths: list[str], url: str) -> None:
        """Refuse paths that cannot be files of this folder together, before anything is written."""
        for path in paths:
            if problem := path_problem(path):
                raise InvalidNameError(f"{f'{url}/{path}'!r:.300} cannot become a file in {self.root!r}: {problem}.")
        for one, other in clashes(paths, folds_case=self._folds_case()):
            raise InvalidNameError(
                f"{f'{url}/{one}'!r:.200} and {f'{url}/{other}'!r:.200} cannot both become files in {self.root!r}: one is a folder of "
                "the other, or they differ in case alone."
            )

    def check_room(self, paths: Iterable[str], doomed: Collection[str] = frozenset()) -> Room:
        """Refuse, before anything is written, what is here already and cannot be replaced by the files `paths`.

        `doomed` are files that are deleted in any case. Return what of them has to go first.
        """
        room, known = Room([], []), {"": self._root_is_there()}
        for path in paths:
            if not self._is_there(os.path.dirname(path), known, doomed, room):
                continue
            at = self._at(path)
            status = _look(at)
            if status is None or stat.S_ISLNK(status.st_mode):
                continue
            if stat.S_ISDIR(status.st_mode):
                self._check_doomed(path, doomed)
                room.folders.append(path)
            else:
                check_plain(at, status)
        return room

    def make_room(self, room: Room, doomed: Collection[str]) -> set[str]:
        """Delete what `check_room` found to be in the way, and return the files that are gone."""
        gone: set[str] = set()
        for path in room.files:
            gone.add(self.delete(path))
        for path in room.folders:
            for folder, _, names in os.walk(self._at(path), topdown=False):
                for name in names:
                    inside = os.path.relpath(os.path.join(folder, name), self.root)
                    if inside in doomed or is_partial_name(name):
                        gone.add(self.delete(inside))
                try:
                    os.rmdir(folder)
                except OSError as error:
                    raise StorageError(error.errno, f"Cannot delete {folder!r}: {error.strerror}.") from error
        return gone

    def delete(self, path: str) -> str:
        """Delete a file, and return its path."""
        try:
            os.unlink(self._at(path))
        except OSError as error:
            raise StorageError(error.errno, f"Cannot delete {self._at(path)!r}: {error.strerror}.") from error
        return path

    def _at(self, path: str) -> str:
        return os.path.join(self.root, *path.split("/"))

    def _root_is_there(self) -> bool:
        if os.path.isdir(self.root):
            return True
        if os.path.lexists(self.root):
            raise StorageError(errno.ENOTDIR, f"Cannot write into {self.root!r}: it is no folder.")
        return False

    def _is_there(self, folder: str, known: dict[str, bool], doomed: Collection[str], room: Room) -> bool:
        """Tell whether a folder that files go into is there; note the file that is there instead, if it is doomed."""
        if folder in known:
            return known[folder]
        there = False
        if self._is_there(os.path.dirname(folder), known, doomed, room):
            at = self._at(folder)
            status = _look(at)
            if status is not None and stat.S_ISDIR(status.st_mode):
                there = True
            elif status is not None and folder in doomed:
                room.files.append(folder)
            elif status is not None and stat.S_ISLNK(status.st_mode):
                raise _is_link(at, self.root)
            elif status is not None:
                raise StorageError(
                    errno.ENOTDIR,
                    f"Cannot make the folder {at!r}: a file has that name. Remove it, or let sync(delete=True) do so.",
                )
        known[folder] = there
        return there

    def _check_doomed(self, path: str, doomed: Collection[str]) -> None:
        """Refuse a folder in the place of a file, unless all that is in it is deleted."""
        for folder, folders, names in os.walk(self._at(path)):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in (*names, *links):
                inside = os.path.join(folder, name)
                if os.path.relpath(inside, self.root) not in doomed and not is_partial_name(name):
                    raise StorageError(
                        errno.EISDIR,
                        f"Cannot write {self._at(path)!r}: it is a folder, and {inside!r} is in it. Remove it, or let "
                        "sync(delete=True) remove the files in it.",
                    )
        if not doomed:
            raise StorageError(errno.EISDIR, f"Cannot write {self._at(path)!r}: it is a folder. Remove it.")

    def _folds_case(self) -> bool:
        """Tell whether names that differ in case alone are the same here."""
        at = os.path.abspath(self.root)
        while not os.path.isdir(at):
            at = os.path.dirname(at)
        name = os.path.basename(at)
        other = os.path.join(os.path.dirname(at), name.swapcase())
        if other == at:
            return False
        try:
            return os.path.samefile(at, other)
        except OSError:
            return False

    def place(self, path: str) -> str:
        """Return where the file `path` goes; its folder is made, and no link leads out of here."""
        folder = os.path.dirname(path)
        if folder not in self._known:
            self._make(folder)
            self._known.add(folder)
        return os.path.join(self.root, *path.split("/"))

    def _make(self, folder: str) -> None:
        at = self.root
        try:
            os.makedirs(at, exist_ok=True)
            for segment in filter(None, folder.split("/")):
                at = os.path.join(at, segment)
                if os.path.islink(at):
                    raise _is_link(at, self.root)
                if not os.path.isdir(at):
                    os.mkdir(at)
        except OSError as error:
            raise StorageError(error.errno, f"Cannot make the folder {at!r}: {error.strerror}.") from error


def _is_link(at: str, root: str) -> InvalidNameError:
    return InvalidNameError(f"{at!r} is a link: what is downloaded stays in {root!r}.")


def _look(at: str) -> os.stat_result | None:
    try:
        return os.lstat(at)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(error.errno, f"Cannot write {at!r}: {error.strerror}.") from error
