"""What callers say of encryption, metadata and sizes, as headers and numbers."""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from holdall_store.errors import InvalidNameError, UnsupportedTypeError

__all__ = ["Encryption", "Headers", "default_memory", "make_encryption", "metadata_headers", "parse_size"]

Headers = tuple[tuple[str, str], ...]

MEMORY_BYTES_MAX: Final = 2 << 30
"""Without a word of the caller's no more than this is kept in memory, nor more than a quarter of what there is."""

METADATA_BYTES_MAX: Final = 2048
"""S3 allows no more user metadata."""

_SSE: Final = "x-amz-server-side-encryption"
_KINDS: Final = {
    "AES256": "AES256",
    "SSE-S3": "AES256",
    "aws:kms": "aws:kms",
    "SSE-KMS": "aws:kms",
    "aws:kms:dsse": "aws:kms:dsse",
}
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?\s*")


@dataclass(frozen=True, slots=True)
class Encryption:
    """How the server is to encrypt. A customer's key is in no repr and in no pickle."""

    kind: str = ""
    kms_key_id: str = ""
    customer_key: bytes = field(default=b"", repr=False)
    left_behind: bool = False

    @property
    def write(self) -> Headers:
        """The headers of a request that makes an object."""
        if self.customer_key or self.left_behind:
            return self.read
        key = ((f"{_SSE}-aws-kms-key-id", self.kms_key_id),) if self.kms_key_id else ()
        return ((_SSE, self.kind), *key) if self.kind else ()

    @property
    def read(self) -> Headers:
        """The headers of a request that reads an object, or adds a part to one."""
        return self._customer(f"{_SSE}-customer")

    @property
    def source(self) -> Headers:
        """The headers of a copy for the object that is copied."""
        return self._customer("x-amz-copy-source-server-side-encryption-customer")

    def _customer(self, prefix: str) -> Headers:
        if self.left_behind:
            raise InvalidNameError(
                "The customer's key stayed in the process that pickled this S3: make an S3 here, with the key."
            )
        if not self.customer_key:
            return ()
        return (
            (f"{prefix}-algorithm", "AES256"),
            (f"{prefix}-key", b64encode(self.customer_key).decode()),
            (f"{prefix}-key-md5", b64encode(hashlib.md5(self.customer_key, usedforsecurity=False).digest()).decode()),
        )

    def __reduce__(self) -> tuple[object, ...]:
        return Encryption, (self.kind, self.kms_key_id, b"", self.left_behind or bool(self.customer_key))


def make_encryption(kind: str | None, kms_key_id: str | None = None, customer_key: Any = None) -> Encryption:
    """Return what the arguments of `S3` say; `InvalidNameError` for what means nothing."""
    if customer_key is not None:
        if kind not in (None, "SSE-C") or kms_key_id:
            raise InvalidNameError("An object is encrypted with a customer's key, or as encryption= says, not both.")
        if not isinstance(customer_key, bytes) or len(customer_key) != 32:
            raise InvalidNameError("A customer's key is 32 bytes.")
        return Encryption(customer_key=customer_key)
    if kind is None and kms_key_id:
        kind = "aws:kms"
    if kind is None:
        return Encryption()
    if kind not in _KINDS:
        raise InvalidNameError(
            f"encryption={kind!r:.80} is not understood: give 'AES256', 'aws:kms' (and kms_key_id), or customer_key."
        )
    if kms_key_id and _KINDS[kind] == "AES256":
        raise InvalidNameError("A kms_key_id goes with encryption='aws:kms'.")
    return Encryption(_KINDS[kind], _header_value(kms_key_id or "", "kms_key_id"))


def metadata_headers(metadata: Mapping[Any, Any] | None) -> Headers:
    """Return user metadata as headers; what is not ASCII is written as S3 itself shows it (RFC 2047).

    So is what looks like that already: it would be decoded when it is read.
    """
    if not metadata:
        return ()
    headers = []
    size = 0
    for name, value in metadata.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise UnsupportedTypeError(f"User metadata are texts by name: {name!r:.80} is {value!r:.80}.")
        if not _NAME.fullmatch(name):
            raise InvalidNameError(f"{name!r:.80} is no name for user metadata: use letters, digits, '-' and '_'.")
        text = value
        if not value.isascii() or not value.isprintable() or value != value.strip() or "=?" in value:
            try:
                text = "=?UTF-8?B?" + b64encode(value.encode()).decode() + "?="
            except UnicodeEncodeError:
                raise InvalidNameError(
                    f"The user metadata {name!r:.80} hold half a character (a lone surrogate): {value!r:.80}."
                ) from None
        size += len(name) + len(text)
        headers.append((f"x-amz-meta-{name.lower()}", text))
    if size > METADATA_BYTES_MAX:
        raise InvalidNameError(f"The user metadata have {size} bytes, and at most {METADATA_BYTES_MAX} are allowed.")
    if len({name for name, _ in headers}) < len(headers):
        raise InvalidNameError("Two names of user metadata differ in case alone, and S3 keeps them in lower case.")
    return tuple(headers)


def type_header(content_type: str | None) -> Headers:
    """Return the header that tells the type of the content."""
    return (("content-type", _header_value(content_type, "content_type")),) if content_type else ()


def _header_value(text: Any, what: str) -> str:
    if isinstance(text, str) and text.isascii() and text.isprintable():
        return text
    raise InvalidNameError(f"{what}={text!r:.80} cannot be sent: it has to be printable ASCII.")


def parse_size(size: Any, what: str) -> int:
    """Return the bytes that a number, or a text such as ``"2GB"``, means."""
    if isinstance(size, str):
        match = _SIZE.fullmatch(size.lower())
        if match is None:
            raise InvalidNameError(f"{what}={size!r:.80} is no size: write bytes, or '500MB', or '2GB'.")
        size = int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))
    if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
        raise InvalidNameError(f"{what}={size!r:.80} is no size: write a positive number of bytes, or '2GB'.")
    return size


def default_memory() -> int:
    """Return the bytes that may be kept in memory where nobody said: a quarter of the machine's, or of the container's."""
    found = [MEMORY_BYTES_MAX * 4]
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return MEMORY_BYTES_MAX
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdecimal():
            found.append(int(text))
    return max(min(found) // 4, 1 << 20)
