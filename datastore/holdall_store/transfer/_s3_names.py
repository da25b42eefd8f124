"""What callers call objects: keys below a root, or whole URLs; never both."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable
from typing import Any, Final, NamedTuple

from holdall_store.errors import InvalidNameError, UnsupportedTypeError

__all__ = ["KEY_BYTES_MAX", "Names", "Place", "as_many", "as_pair", "is_url", "join_root", "local_path", "split_url"]

KEY_BYTES_MAX: Final = 1024
"""S3, Google's and all others allow no more."""

_SCHEMES: Final = ("s3://", "s3a://", "s3n://")


class Place(NamedTuple):
    """Where an object is, and what the caller calls it."""

    bucket: str
    key: str
    name: str


def as_many(things: Any, what: str = "Keys") -> Iterable[Any]:
    """Return `things`; refused is a lone one, whose letters or fields would be taken for many."""
    if isinstance(things, str | bytes | bytearray | memoryview) or hasattr(things, "_fields"):
        raise UnsupportedTypeError(f"{what} come as a list: write [{things!r:.80}].")
    if isinstance(things, AsyncIterable):
        raise UnsupportedTypeError(
            f"{what} come from an ordinary iterable, not from an {type(things).__name__}: collect them first, as in "
            "[each async for each in …]."
        )
    if not isinstance(things, Iterable):
        raise UnsupportedTypeError(f"{what} come as a list, not as {type(things).__name__}: {things!r:.80}.")
    return things


def as_pair(given: Any, what: str) -> tuple[Any, Any]:
    """Return the two things that `given` consists of; two letters are no pair."""
    if isinstance(given, tuple | list) and len(given) == 2:
        return given[0], given[1]
    raise UnsupportedTypeError(f"Give pairs of {what}, not {given!r:.80}.")


def split_url(url: str) -> tuple[str, str]:
    """Return the bucket and the key that a ``s3://`` URL names; what follows the bucket's slash is taken as it stands."""
    scheme = next((each for each in _SCHEMES if url[:6].lower().startswith(each)), None)
    if scheme is None:
        raise InvalidNameError(f"{url!r:.200} is no S3 URL: write s3://bucket/key.")
    bucket, _, key = url[len(scheme) :].partition("/")
    if not bucket or "@" in bucket or ":" in bucket:  # what stands before an @ may be a password
        shown = "A URL" if "@" in bucket else f"{url!r:.200}"
        raise InvalidNameError(f"{shown} names no bucket: write s3://bucket/key, and no user or password.")
    return bucket, key


def is_url(text: object) -> bool:
    """Tell whether `text` is meant as the URL of a bucket or object."""
    return isinstance(text, str) and text[:6].lower().startswith(_SCHEMES)


def join_root(url: str | None, bucket: str | None, prefix: str | None, s3root: str | None, run: object) -> str | None:
    """Return the URL of the root that the arguments of `S3` name together, or ``None`` for whole URLs everywhere."""
    texts: tuple[tuple[str, object], ...] = (("url", url), ("bucket", bucket), ("prefix", prefix), ("s3root", s3root))
    for name, given in texts:
        if given is not None and not isinstance(given, str):
            example = {"bucket": "'my-bucket'", "prefix": "'images'"}.get(name, "'s3://bucket/prefix'")
            raise UnsupportedTypeError(f"{name}= takes a text such as {example}, not {given!r:.80}.")
    if url is not None and s3root is not None and url != s3root:
        raise InvalidNameError("Give the root once: url and s3root mean the same.")
    root = url if url is not None else s3root
    if root is not None and bucket is not None:
        raise InvalidNameError(f"Give either the root {root!r:.200} or bucket={bucket!r:.80}.")
    if root is None and bucket is not None:
        root = f"s3://{bucket}"
    if root is None:
        if prefix is not None or run is not None:
            raise InvalidNameError(
                "prefix= and run= need a bucket: give bucket='…', or the root as s3://bucket/prefix."
            )
        return None
    split_url(root)
    parts = [root.rstrip("/"), (prefix or "").strip("/"), _run_prefix(run) if run is not None else ""]
    return "/".join(part for part in parts if part)


def _run_prefix(run: Any) -> str:
    """Return the ``flow/run`` of a run: holdall's, Metaflow's, or its path in so many words."""
    flow: Any
    ident: Any
    if isinstance(run, str):
        flow, _, ident = run.partition("/")
    else:
        flow, ident = getattr(run, "flow", None), getattr(run, "id", None)
        if not isinstance(flow, str):
            flow = getattr(getattr(run, "parent", None), "id", None)
    if not (isinstance(flow, str) and isinstance(ident, str) and flow and ident) or "/" in ident:
        raise InvalidNameError(
            f"{type(run).__name__} is no run: give one of holdall or Metaflow, or its path 'flow/run id'."
        )
    return f"{flow}/{ident}"


class Names:
    """Turns names into places, and places into names, for one root or for none."""

    __slots__ = ("_begin", "bucket", "key", "root")

    def __init__(self, root: str | None) -> None:
        self.root = root
        self.bucket = self.key = ""
        if root is not None:
            self.bucket, self.key = split_url(root)
        self._begin = f"{self.key}/" if self.key else ""

    def place(self, name: object) -> Place:
        """Return where the object is that the caller calls `name`; ``None`` is the root itself."""
        if name is None:
            return self._root_place()
        if name == "":
            raise InvalidNameError("The empty key names no object. The root itself is what get() reads without a key.")
        if not isinstance(name, str):
            raise UnsupportedTypeError(f"A key is a str, not {type(name).__name__}: {name!r:.80}.")
        if self.root is None:
            if not is_url(name):
                raise InvalidNameError(
                    f"{name!r:.200} is no S3 URL. Write s3://bucket/key, or give the root once: S3('s3://bucket/prefix')."
                )
            bucket, key = split_url(name)
            if not key:
                raise InvalidNameError(f"{name!r:.200} names a bucket and no object in it: write s3://bucket/key.")
            return Place(bucket, _check(key), name)
        if name[:2] in ("s3", "S3") and is_url(name):
            raise InvalidNameError(
                f"{name!r:.200} is a URL, and keys are relative to {self.root}. Use S3() without a root for whole URLs."
            )
        if name[0] == "/":
            raise InvalidNameError(
                f"The key {name!r:.200} begins with a slash: keys are relative to {self.root}, so leave it out."
            )
        return Place(self.bucket, _check(self._begin + name), name)

    def prefix(self, name: object) -> Place:
        """Return the folder that the caller calls `name`: its key ends with a slash, or is empty for a whole bucket."""
        if name is not None and not isinstance(name, str):
            raise UnsupportedTypeError(f"A prefix is a str, not {type(name).__name__}: {name!r:.80}.")
        if self.root is None:
            if not name:
                raise InvalidNameError("Without a root there is no prefix to list: write s3://bucket/prefix.")
            bucket, key = split_url(name)
            return Place(bucket, _folder(key), name)
        if not name:
            return Place(self.bucket, self._begin, "")
        place = self.place(name)
        return Place(self.bucket, _folder(place.key), name)

    def checked(self, place: Place) -> Place:
        """Return `place` if its key can be one."""
        _check(place.key)
        return place

    def _root_place(self) -> Place:
        if self.root is None or not self.key:
            raise InvalidNameError("Without a key it is the root itself, and here that is no object.")
        return Place(self.bucket, self.key, "")


def _folder(key: str) -> str:
    return key if not key or key.endswith("/") else key + "/"


def _check(key: str) -> str:
    if len(key) > KEY_BYTES_MAX // 4 or not key.isascii():
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise InvalidNameError(f"{key!r:.200} is no key: it holds half a character (a lone surrogate).") from None
        if size > KEY_BYTES_MAX:
            raise InvalidNameError(f"{key!r:.200}… is no key: it has {size} bytes, and at most {KEY_BYTES_MAX} do.")
    return key


def local_path(path: object) -> str:
    """Return `path` as text, and refuse what is no path or a URL."""
    if is_url(path) or (isinstance(path, str) and "://" in path):
        raise InvalidNameError(f"{path!r:.200} is a URL where a path of this machine is wanted.")
    if not isinstance(path, str | os.PathLike):
        raise UnsupportedTypeError(f"A path is a str or os.PathLike, not {type(path).__name__}.")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidNameError(f"{text!r:.200} is no path.")
    return os.path.expanduser(text)
