"""Folders of this machine: what is in them, and what may be written into them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from holdall_store.config import logger
from holdall_store.errors import InvalidNameError, NotFoundError, StorageError
from holdall_store.transfer._plan import Entry, clashes, part_bytes, path_problem, split
from holdall_store.transfer._s3_checksums import digest, multipart_etag
from holdall_store.transfer._s3_files import is_partial_name

__all__ = ["Folder", "MissingFolderError", "local_etag", "scan_folder"]


class MissingFolderError(NotFoundError, FileNotFoundError):
    """A folder that was to be read is not there."""


def scan_folder(root: str, *, follow: bool = True) -> Iterator[Entry]:
    """Yield every file below `root`, hidden ones too, sorted by path.

    Links to folders are followed if `follow`, and one that leads back to where it came from is not. What is no file is left out, and so are
    links to nothing and the unfinished files of downloads; the log tells.
    """
    try:
        status = os.stat(root)
    except OSError as error:
        raise MissingFolderError(errno.ENOENT, f"There is no folder {root!r}.") from error
    if not stat.S_ISDIR(status.st_mode):
        raise StorageError(errno.ENOTDIR, f"{root!r} is no folder: put_files() uploads single files.")
    yield from _scan(root, "", ((status.st_dev, status.st_ino),), follow)


def _scan(folder: str, prefix: str, above: tuple[tuple[int, int], ...], follow: bool) -> Iterator[Entry]:
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
            logger().warning("left out %r: %s", child.path, error.strerror)
            continue
        if stat.S_ISDIR(status.st_mode):
            ident = (status.st_dev, status.st_ino)
            if child.is_symlink() and not follow:
                logger().warning("left out %r: it is a link to a folder", child.path)
                continue
            if ident in above:
                logger().warning("left out %r: it leads back to a folder that it lies in", child.path)
                continue
            yield from _scan(child.path, f"{path}/", (*above, ident), follow)
        elif not stat.S_ISREG(status.st_mode):
            logger().warning("left out %r: it is no file", child.path)
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


class Folder:
    """A folder that objects are written into; nothing is ever written outside of it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._known: set[str] = set()

    def check(self, paths: list[str], url: str) -> None:
        """Refuse paths that cannot be files of this folder together, before anything is written."""
        for path in paths:
            if problem := path_problem(path):
                raise InvalidNameError(f"{url}/{path:.300} cannot become a file in {self.root!r}: {problem}.")
        for one, other in clashes(paths, folds_case=self._folds_case()):
            raise InvalidNameError(
                f"{url}/{one:.200} and {url}/{other:.200} cannot both become files in {self.root!r}: one is a folder of "
                "the other, or they differ in case alone."
            )

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
                    raise InvalidNameError(f"{at!r} is a link: what is downloaded stays in {self.root!r}.")
                if not os.path.isdir(at):
                    os.mkdir(at)
        except OSError as error:
            raise StorageError(error.errno, f"Cannot make the folder {at!r}: {error.strerror}.") from error
