"""What arguments of the command line say of S3: URLs, patterns, and how to reach the service."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from holdall._s3 import S3
from holdall.store import InvalidNameError, NotFoundError
from holdall_store.transfer._s3_base import Done
from holdall_store.transfer._s3_list import Listing
from holdall_store.transfer.s3 import S3Object

__all__ = ["Link", "MissingSourceError", "Url", "check_scheme", "is_path", "is_s3", "open_link"]

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_S3: Final = frozenset({"s3", "s3a", "s3n"})
_STORES: Final = frozenset({"gs", "gcs", "az", "abfs", "abfss"})


class MissingSourceError(NotFoundError, FileNotFoundError):
    """There is neither a file nor an artifact of that name."""


class Url(NamedTuple):
    """A ``s3://`` URL; the part of its key before the first ``*`` is ``begin``, if it is a pattern."""

    bucket: str
    key: str
    begin: str
    is_pattern: bool

    @classmethod
    def parse(cls, text: str, *, raw: bool = False) -> Url:
        """Return what `text` says; with `raw`, an asterisk is nothing special."""
        bucket, _, key = text.partition("://")[2].partition("/")
        if not bucket or "@" in bucket or ":" in bucket or "*" in bucket:  # before an @ there may be a password
            shown = "A URL" if "@" in bucket else repr(text[:200])
            raise InvalidNameError(f"{shown} names no bucket: write s3://bucket/key.")
        begin, asterisk, _ = key.partition("*")
        if raw or not asterisk:
            return cls(bucket, key, key, False)
        return cls(bucket, key, begin, True)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_folder(self) -> bool:
        """Whether it means a folder in so many words: a bucket, or a slash at the end."""
        return not self.key or self.key.endswith("/")

    @property
    def name(self) -> str:
        """The last part of the key, without a slash."""
        return self.key.rstrip("/").rpartition("/")[2]

    @property
    def folder(self) -> Url:
        """The same as a folder."""
        return self if self.is_folder else Url(self.bucket, f"{self.key}/", f"{self.key}/", False)

    @property
    def base(self) -> str:
        """What the names of found objects are relative to: the folder that the pattern, or the key, begins in."""
        return self.begin[: self.begin.rfind("/") + 1]

    def join(self, name: str) -> Url:
        """Return the object `name` in this folder."""
        key = self.folder.key + name
        return Url(self.bucket, key, key, False)

    @property
    def is_one_level(self) -> bool:
        """Whether the pattern means names in one folder alone."""
        rest = self.key[len(self.begin) :].rstrip("/")
        return "/" not in rest and "**" not in rest

    def pattern(self) -> re.Pattern[str]:
        """Return what the keys match: ``*`` is any part of a name, ``**`` also of several."""
        parts = re.split(r"(\*\*/|\*+)", self.key)
        special = {"**/": "(?:.*/)?", "*": "[^/]*"}
        return re.compile(
            "".join(special.get(part, ".*") if "*" in part else re.escape(part) for part in parts), re.DOTALL
        )


class Link(S3):
    """Reaches any bucket, lists what begins with any text, and knows for its bar how many bytes there are to move."""

    bytes_expected: int | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._done = []

    @property
    def done(self) -> list[Done]:
        """All that was done, also by a verb that failed."""
        return self._done or []

    def _watched(self, verb: str, total: int | None, bytes_total: int | None = None) -> Any:
        return super()._watched(verb, total, bytes_total or self.bytes_expected)

    def get_files_below(self, keys_and_paths: Sequence[tuple[S3Object, str]]) -> None:
        """Read objects into files of a folder, whose links are replaced rather than followed."""
        self._get_files(keys_and_paths, follow=False)

    def beginning_with(self, bucket: str, key: str, *, recursive: bool) -> Iterator[S3Object]:
        """Yield all objects whose keys begin with `key`; or one level of them, and folders, which do not `exists`."""
        folder = key[: key.rfind("/") + 1]
        yield from self._pages(Listing(bucket, key, f"s3://{bucket}/{folder}".rstrip("/"), "" if recursive else "/"))

    def matching(self, url: Url) -> Iterator[S3Object]:
        """Yield what matches a pattern; folders, too, where it means names of one level."""
        matches = url.pattern().fullmatch
        for found in self.beginning_with(url.bucket, url.begin, recursive=not url.is_one_level):
            key = found.object_key
            if matches(key) or (not found.exists and matches(key.rstrip("/"))):
                yield found

    def below(self, url: Url) -> Iterator[S3Object]:
        """Yield all objects in the folder `url`, or all that match it; objects that stand for folders are none."""
        found = (
            self.matching(url) if url.is_pattern else self.beginning_with(url.bucket, url.folder.key, recursive=True)
        )
        return (each for each in found if each.exists and (each.size or not each.object_key.endswith("/")))


def open_link(options: argparse.Namespace, *, memory: int | None = None, bar: bool = True) -> Link:
    """Return a link to S3 as the options say; what they do not say, the environment does."""
    given = {"endpoint_url": options.endpoint_url, "profile": options.profile, "region": options.region}
    storage_options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.no_sign_request:
        storage_options["anon"] = True
    return Link(
        storage_options=storage_options,
        encryption=getattr(options, "sse", None),
        kms_key_id=getattr(options, "sse_kms_key_id", None),
        memory=memory,
        progress=None if bar and not options.quiet else False,
    )


def is_s3(text: str) -> bool:
    """Tell whether `text` is the URL of a bucket or an object; `InvalidNameError` for other URLs."""
    scheme = _SCHEME.match(text)
    if scheme is not None and scheme[1].lower() not in _S3:
        raise _unsupported(text, scheme[1].lower())
    return scheme is not None


def check_scheme(text: str) -> str:
    """Return `text`, which is the URL of a bucket or an object; `InvalidNameError` for anything else."""
    if not is_s3(text):
        raise InvalidNameError(f"{text!r:.200} is no s3:// URL.")
    return text


def is_path(text: str) -> bool:
    """Tell whether `text` means a path of this machine: it is written as one, or there is something."""
    return text in (".", "..", "~") or text.startswith(("/", "./", "../", "~/")) or os.path.lexists(text)


def _unsupported(text: str, scheme: str) -> InvalidNameError:
    shown = "This URL" if "@" in text else repr(text[:200])
    if scheme in _STORES:
        return InvalidNameError(
            f"{shown}: objects are copied from and to s3:// alone. A store in {scheme}:// is named by --store, and then "
            "by references."
        )
    if scheme == "file":
        return InvalidNameError(f"{shown}: write a file of this machine as a path.")
    return InvalidNameError(f"{shown}: {scheme}:// is not known; objects are in s3://bucket/key.")
