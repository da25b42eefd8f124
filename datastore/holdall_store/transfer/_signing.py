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


class Signer:
    """Signs for one pair of keys and one region; what holds for a day or a second is computed once for it."""

    __slots__ = (
        "_access_key",
        "_date",
        "_key",
        "_plain",
        "_region",
        "_scope",
        "_second",
        "_secret_key",
        "_stamp",
        "_token",
    )

    def __init__(self, access_key: str, secret_key: str, token: str | None, region: str) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._token = token
        self._region = region
        self._second = -1
        self._date = self._stamp = self._scope = ""
        self._key = b""
        self._plain: dict[tuple[str, str], tuple[str, str]] = {}
        """For a host and the hash of a body: what is signed, and what is sent, of requests with no other headers."""

    def __repr__(self) -> str:
        return f"Signer(region={self._region!r})"

    def _tick(self, second: int) -> None:
        self._second = second
        self._plain.clear()
        self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        date = self._stamp[:8]
        if date == self._date:
            return
        self._date = date
        self._scope = f"{date}/{self._region}/s3/aws4_request"
        key = f"AWS4{self._secret_key}".encode()
        for part in (date, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = key

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
        second = int(now)
        if second != self._second:
            self._tick(second)
        if headers:
            signed, wire = self._write(host, payload_hash, _lines(headers))
        else:
            plain = self._plain.get((host, payload_hash))
            if plain is None:
                plain = self._plain[host, payload_hash] = self._write(host, payload_hash, [])
            signed, wire = plain
        canonical = f"{method}\n{path}\n{query}\n{signed}"
        text = f"{_ALGORITHM}\n{self._stamp}\n{self._scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        target = f"{origin}{path}?{query}" if query else f"{origin}{path}"
        return f"{method} {target} HTTP/1.1\r\n{wire}{signature}\r\n{rest}\r\n".encode()

    def _write(self, host: str, payload_hash: str, lines: list[tuple[str, str]]) -> tuple[str, str]:
        """Return the end of what is signed, and the lines of the head up to the signature."""
        lines += [("host", host), ("x-amz-content-sha256", payload_hash), ("x-amz-date", self._stamp)]
        if self._token:
            lines.append(("x-amz-security-token", self._token))
        lines.sort()
        names = ";".join([name for name, _ in lines])
        signed = "".join([f"{name}:{value}\n" for name, value in lines])
        wire = "".join([f"{name}: {value}\r\n" for name, value in lines])
        credential = f"{self._access_key}/{self._scope}"
        return (
            f"{signed}\n{names}\n{payload_hash}",
            f"{wire}authorization: {_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature=",
        )
