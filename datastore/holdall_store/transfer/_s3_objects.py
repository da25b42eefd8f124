"""What `S3` gives back: objects with their bytes, in memory or in a temporary file, and what the server says of them."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from holdall_store.errors import StorageError

__all__ = [
    "RangeInfo",
    "S3GetObject",
    "S3Object",
    "S3PutObject",
    "TempFolder",
    "http_time",
    "keep_headers",
    "listed_object",
]


class S3GetObject(NamedTuple):
    """A part of an object: `length` bytes from `offset`, or to its end; a negative length is so many at its end."""

    key: str
    offset: int | None = None
    length: int | None = None


class S3PutObject(NamedTuple):
    """An object to upload, from `value` or from the file at `path`, and how; `encryption` as in `S3`."""

    key: str
    value: Any = None
    path: str | os.PathLike[str] | None = None
    content_type: str | None = None
    encryption: str | None = None
    metadata: Mapping[str, str] | None = None


class RangeInfo(NamedTuple):
    """Which bytes were downloaded, and of how many."""

    total_size: int
    request_offset: int = 0
    request_length: int = -1


_METADATA: Final = "x-amz-meta-"
_METAFLOW: Final = "metaflow-user-attributes"
"""Metaflow keeps all user metadata as JSON under this one name."""

_MONTHS: Final = {
    name: index + 1
    for index, name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"))
}


def http_time(text: str | None) -> float | None:
    """Return the seconds since the epoch that a date of HTTP means, or ``None`` if it means none."""
    parts = (text or "").split()
    if len(parts) != 6 or parts[2] not in _MONTHS:
        return None
    from datetime import UTC, datetime

    try:
        hour, minute, second = (int(each) for each in parts[4].split(":"))
        day = datetime(int(parts[3]), _MONTHS[parts[2]], int(parts[1]), hour, minute, second, tzinfo=UTC)
        return day.timestamp()
    except ValueError:
        return None


class TempFolder:
    """A folder for temporary files, made with the first of them, and removed by `close` or with the process.

    A process that was forked begins one of its own and leaves its parent's alone.
    """

    def __init__(self, root: str | os.PathLike[str] | None) -> None:
        self._root = None if root is None else os.fspath(root)
        self._lock = threading.Lock()
        self._path: str | None = None
        self._process = 0
        self._count = 0
        self._remove: weakref.finalize[..., Any] | None = None

    def new_path(self) -> str:
        """Return a path in the folder that was never given before."""
        with self._lock:
            process = os.getpid()
            if self._path is None or self._process != process:
                try:
                    self._path = tempfile.mkdtemp(prefix="holdall.s3.", dir=self._root)
                except OSError as error:
                    where = "the system's temporary folder" if self._root is None else f"tmproot={self._root!r}"
                    raise StorageError(
                        error.errno,
                        f"Cannot make a folder for temporary files in {where}: {error.strerror}. Give as tmproot= one "
                        "that is there and may be written.",
                    ) from error
                self._process = process
                self._remove = weakref.finalize(self, _remove_tree, self._path, process)
            self._count += 1
            return os.path.join(self._path, f"{self._count:08d}")

    @property
    def is_own(self) -> bool:
        """Whether the folder belongs to this process, and not to one that it was forked from."""
        return self._process == os.getpid()

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        with self._lock:
            if self._remove is not None:
                self._remove()
            self._path = None


_UNPICKLED: Final = TempFolder(None)
"""For objects that came from another process, whose `S3` is there."""


def _remove_tree(path: str, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)


class S3Object:
    """An object or a prefix of S3, and its bytes if they were downloaded.

    `path`, `blob` and `text` are ``None`` where they were not. The bytes are in memory, or in a temporary file if they
    are many; `path` writes those in memory into one when it is first asked for. Temporary files live as long as the
    `S3` that made them is not closed.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_exposed",
        "_headers",
        "_modified",
        "_path",
        "_size",
        "_temp",
        "bucket",
        "key",
        "object_key",
        "prefix",
        "range_info",
        "version_id",
    )

    def __init__(
        self,
        key: str,
        bucket: str,
        object_key: str,
        prefix: str | None,
        size: int | None,
        headers: Mapping[str, str] | None = None,
        data: memoryview | bytes | None = None,
        temp: TempFolder | None = None,
        range_info: RangeInfo | None = None,
    ) -> None:
        self.key = key
        self.bucket = bucket
        self.object_key = object_key
        self.prefix = prefix
        self.range_info = range_info
        self.version_id = None if headers is None else headers.get("x-amz-version-id")
        self._headers = headers
        self._modified: float | None = None
        self._size = size
        self._data = data
        self._temp = temp
        self._path: str | None = None
        self._exposed = False

    @property
    def url(self) -> str:
        """The address, as ``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.object_key}"

    @property
    def exists(self) -> bool:
        """Whether this is an object: not a mere prefix, nor missing."""
        return self._size is not None

    @property
    def downloaded(self) -> bool:
        """Whether the bytes are here."""
        return self._data is not None or self._path is not None

    @property
    def in_memory(self) -> bool:
        """Whether the bytes are in memory, and not in a file."""
        return self._data is not None

    @property
    def size(self) -> int | None:
        """Bytes that were downloaded, or else of the whole object."""
        return self._size

    @property
    def buffer(self) -> memoryview | None:
        """The bytes without a copy; those in a file are mapped, read-only."""
        if self._data is None and self._path is not None:
            with open(self._path, "rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._size else b"")
        return memoryview(self._data) if self._data is not None else None

    @property
    def blob(self) -> bytes | None:
        """The bytes."""
        if self._data is None:
            if self._path is None:
                return None
            with open(self._path, "rb") as file:
                return file.read()
        if not isinstance(self._data, bytes):  # kept, so that there is no second copy the next time
            self._data = bytes(self._data)
        return self._data

    @property
    def text(self) -> str | None:
        """The bytes as UTF-8; what is none shows as replacement characters."""
        blob = self.blob
        return None if blob is None else blob.decode("utf-8", errors="replace")

    @property
    def path(self) -> str | None:
        """The path of a temporary file with the bytes, which goes when the `S3` is closed."""
        if self._path is None and self._data is not None:
            self.spill()
        self._exposed = True
        return self._path

    def spill(self) -> None:
        """Move the bytes from memory into a temporary file."""
        if self._path is not None or self._data is None:
            return
        temp = self._temp = self._temp or _UNPICKLED
        path = temp.new_path()
        try:
            with open(path, "xb") as file:
                file.write(self._data)
        except OSError as error:
            if os.path.exists(path):
                os.unlink(path)
            raise StorageError(error.errno, f"Cannot write {path!r}, for {self.url!r}: {error.strerror}.") from error
        self._path, self._data = path, None

    def keep_file(self, path: str) -> None:
        """Take the file at `path`, which is temporary, for the bytes."""
        self._path = path

    @property
    def has_info(self) -> bool:
        """Whether `etag`, `content_type`, `metadata` and `last_modified` are known."""
        return self._headers is not None

    @property
    def headers(self) -> dict[str, str]:
        """What the server says of the object, as headers of HTTP with their names in lower case."""
        return dict(self._headers or {})

    @property
    def etag(self) -> str | None:
        """The entity tag, without its quotes."""
        found = None if self._headers is None else self._headers.get("etag")
        return None if found is None else found.strip('"')

    @property
    def content_type(self) -> str | None:
        """The type of the content, such as ``text/csv``."""
        return None if self._headers is None else self._headers.get("content-type")

    @property
    def encryption(self) -> str | None:
        """How the server encrypts: ``AES256``, ``aws:kms``, ``SSE-C``, or ``None``."""
        if self._headers is None:
            return None
        if "x-amz-server-side-encryption-customer-algorithm" in self._headers:
            return "SSE-C"
        return self._headers.get("x-amz-server-side-encryption")

    @property
    def last_modified(self) -> float | None:
        """When the object was written, in seconds since the epoch."""
        if self._modified is None and self._headers is not None:
            self._modified = http_time(self._headers.get("last-modified"))
        return self._modified

    @property
    def metadata(self) -> dict[str, str] | None:
        """User metadata, texts by name, or ``None`` if there is none.

        Metaflow keeps its own as JSON in the one header ``metaflow-user-attributes``. What that holds is given in the
        place of all others, and what is no text in it (``1``, ``true``, a list) as its JSON.
        """
        if self._headers is None:
            return None
        found = {
            name[len(_METADATA) :]: decode_metadata(value)
            for name, value in self._headers.items()
            if name.startswith(_METADATA)
        }
        if _METAFLOW in found:
            import json

            try:
                attributes = json.loads(found[_METAFLOW])
            except ValueError:
                return found
            if isinstance(attributes, dict):
                return {name: each if isinstance(each, str) else json.dumps(each) for name, each in attributes.items()}
        return found or None

    def __del__(self) -> None:
        # A file that nobody saw goes with the object; one whose path was told stays until the S3 is closed.
        if self._path is not None and not self._exposed and self._temp is not None and self._temp.is_own:
            try:
                os.unlink(self._path)
            except OSError:
                pass

    def __repr__(self) -> str:
        if self.downloaded:
            return f"<S3Object {self.url} ({self._size} bytes, local)>"
        if self.exists:
            return f"<S3Object {self.url} ({self._size} bytes, in S3)>"
        return f"<S3Object {self.url} (no such object)>"

    def __reduce__(self) -> tuple[Any, ...]:
        headers = None if self._headers is None else dict(self._headers)
        state = (self.key, self.bucket, self.object_key, self.prefix, self._size, headers, self.blob)
        return _restore, (*state, self.range_info, self._modified, self.version_id)


def _restore(*state: Any) -> S3Object:
    *most, range_info, modified, version_id = state
    found = S3Object(*most)
    found.range_info, found.version_id = range_info, version_id
    found._modified = modified  # noqa: SLF001
    return found


_KEPT: Final = frozenset(
    {"etag", "content-type", "last-modified", "x-amz-version-id", "x-amz-server-side-encryption"}
    | {"x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-aws-kms-key-id"}
    | {f"x-amz-checksum-{name}" for name in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256", "type")}
)


_LAYOUTS: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}
"""The names of an answer's headers, and those among them that are kept: answers to one kind of request have the same."""

_LAYOUTS_MAX: Final = 256


def keep_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what is told of an object: many objects are kept, and a third of their headers is about the exchange."""
    names = tuple(headers)
    kept = _LAYOUTS.get(names)
    if kept is None:
        kept = tuple(name for name in names if name in _KEPT or name.startswith(_METADATA))
        if len(_LAYOUTS) < _LAYOUTS_MAX:
            _LAYOUTS[names] = kept
    return {name: headers[name] for name in kept}


def listed_object(
    key: str, bucket: str, object_key: str, prefix: str | None, size: int | None, etag: str, modified: float | None
) -> S3Object:
    """Return the object that a listing tells of."""
    found = S3Object(key, bucket, object_key, prefix, size, {"etag": etag} if etag else None)
    found._modified = modified  # noqa: SLF001
    return found


def decode_metadata(value: str) -> str:
    """Return a value of user metadata as it was given: RFC 2047 is how S3 itself shows what is not ASCII."""
    if "=?" in value:
        from email.errors import HeaderParseError
        from email.header import decode_header, make_header

        try:
            return str(make_header(decode_header(value)))
        except (HeaderParseError, LookupError, ValueError):
            return value
    try:
        return value.encode("latin-1").decode() if not value.isascii() else value
    except UnicodeError:
        return value
