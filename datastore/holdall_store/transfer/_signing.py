"""AWS Signature Version 4 in headers, for S3, without a socket or a clock."""

from __future__ import annotations

import hmac
import re
import time
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from holdall_store.errors import InvalidNameError

__all__ = ["EMPTY_SHA256", "UNSIGNED", "Signer", "encode_head", "encode_path", "encode_query"]

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
EMPTY_SHA256: Final = sha256(b"").hexdigest()

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.~-]*")
_BREAK: Final = re.compile(r"[\r\n\0]")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")

WRITTEN_MAX: Final = 256
"""Sets of headers that are remembered within a second: most requests of a call have the same, and some are each unique."""

_BLOCK_BYTES: Final = 64
"""Of SHA-256; a shorter key is filled up with zeros (RFC 2104)."""

Headers = tuple[tuple[str, str], ...]


def encode_path(path: str) -> str:
    """Return `path` percent-encoded once, as S3 wants it: every byte but the unreserved ones and the slash."""
    return path if _PLAIN.fullmatch(path) else quote(path, safe="/-_.~")


def encode_query(query: Headers) -> str:
    """Return `query` encoded, in the order that is signed."""
    if not query:
        return ""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    return "&".join(f"{name}={value}" for name, value in pairs)


def _lines(headers: Headers) -> list[tuple[str, str]]:
    lines = []
    for name, value in headers:
        if _BREAK.search(value) or not _NAME.fullmatch(name):
            raise InvalidNameError(f"The header {name!r:.100} has a line break in it, or a name that is none.")
        lines.append((name.lower(), " ".join(filter(None, value.split(" ")))))
    return lines


def encode_head(method: str, target: str, host: str, headers: Headers, rest: str = "") -> bytes:
    """Return the head of a request without a signature; `rest` are lines that end in CR LF."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in _lines(headers)) if headers else ""
    return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n{extra}{rest}\r\n".encode()


class _Second:
    """What is the same for all requests of one second. Loops share it: it is replaced, not changed."""

    __slots__ = ("inner", "number", "outer", "scope", "stamp", "written")

    def __init__(self, number: int, stamp: str, scope: str, key: bytes) -> None:
        self.number = number
        self.stamp = stamp
        self.scope = scope
        # The two hashes of HMAC after the key, and after what all that is signed begins with: to copy them takes half
        # as long as to begin anew.
        key = key.ljust(_BLOCK_BYTES, b"\0")
        self.inner = sha256(bytes(byte ^ 0x36 for byte in key))
        self.inner.update(f"{_ALGORITHM}\n{stamp}\n{scope}\n".encode())
        self.outer = sha256(bytes(byte ^ 0x5C for byte in key))
        self.written: dict[tuple[str, str, Headers], tuple[str, str]] = {}
        """For a host, the hash of a body and headers: what is signed, and what is sent."""


class Signer:
    """Signs for one pair of keys and one region; what holds for a day or a second is computed once for it."""

    __slots__ = ("_access_key", "_key", "_now", "_region", "_secret_key", "_token")

    def __init__(self, access_key: str, secret_key: str, token: str | None, region: str) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._token = token
        self._region = region
        self._key = "", b""
        """A day, and the key that holds for it."""
        self._now = _Second(-1, "", "", b"")

    def __repr__(self) -> str:
        return f"Signer(region={self._region!r})"

    def _tick(self, second: int) -> _Second:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        date, key = self._key
        if stamp[:8] != date:
            date, key = stamp[:8], f"AWS4{self._secret_key}".encode()
            for part in (date, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = date, key
        self._now = now = _Second(second, stamp, f"{date}/{self._region}/s3/aws4_request", key)
        return now

    def encode(
        self,
        method: str,
        path: str,
        query: str,
        host: str,
        headers: Headers,
        payload_hash: str,
        now: float,
        *,
        origin: str = "",
        rest: str = "",
    ) -> bytes:
        """Return the head of a signed request.

        `path` and `query` are encoded already; `now` is in seconds since 1970. `origin` goes before the path in the
        request line, for a proxy; `rest` are lines that are not signed and end in CR LF.
        """
        at = self._now
        if at.number != int(now):
            at = self._tick(int(now))
        place = host, payload_hash, headers
        written = at.written.get(place)
        if written is None:
            written = self._write(at, host, payload_hash, _lines(headers))
            if len(at.written) < WRITTEN_MAX:
                at.written[place] = written
        signed, wire = written
        inner, outer = at.inner.copy(), at.outer.copy()
        inner.update(sha256(f"{method}\n{path}\n{query}\n{signed}".encode()).hexdigest().encode())
        outer.update(inner.digest())
        target = f"{origin}{path}?{query}" if query else f"{origin}{path}"
        return f"{method} {target} HTTP/1.1\r\n{wire}{outer.hexdigest()}\r\n{rest}\r\n".encode()

    def _write(self, at: _Second, host: str, payload_hash: str, lines: list[tuple[str, str]]) -> tuple[str, str]:
        """Return the end of what is signed, and the lines of the head up to the signature."""
        lines += [("host", host), ("x-amz-content-sha256", payload_hash), ("x-amz-date", at.stamp)]
        if self._token:
            lines.append(("x-amz-security-token", self._token))
        lines.sort()
        names = ";".join([name for name, _ in lines])
        signed = "".join([f"{name}:{value}\n" for name, value in lines])
        wire = "".join([f"{name}: {value}\r\n" for name, value in lines])
        credential = f"{self._access_key}/{at.scope}"
        return (
            f"{signed}\n{names}\n{payload_hash}",
            f"{wire}authorization: {_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature=",
        )
