"""Checksums of S3: which a server told, whether bytes have them, and the one that uploads send."""

from __future__ import annotations

import binascii
import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

from holdall_store.errors import IntegrityError
from holdall_store.storage import Buffer

__all__ = ["check_body", "crc32_header", "digest", "md5_etag", "multipart_etag", "told_checksum"]

_PREFIX: Final = "x-amz-checksum-"

_POLYNOMIALS: Final = {"crc32c": (0x82F63B78, 32), "crc64nvme": (0x9A6C9329AC4BC9B5, 64)}
"""Reflected, with the width in bits."""

_FAST: Final = ("crc32", "sha256", "sha1")
"""What zlib and OpenSSL compute at a gigabyte a second or more."""

_SLOW: Final = ("crc32c", "crc64nvme")

_FAST_HEADERS: Final = tuple((name, _PREFIX + name) for name in _FAST)
_ALL_HEADERS: Final = tuple((name, _PREFIX + name) for name in _FAST + _SLOW)


def told_checksum(headers: Mapping[str, str], *, thorough: bool) -> tuple[str, bytes] | None:
    """Return the algorithm and the checksum of the whole object that an answer tells.

    A checksum of checksums of parts is none of the bytes, and is passed over. So are, unless `thorough`, algorithms
    that take longer here than the transfer.
    """
    for name, header in _ALL_HEADERS if thorough else _FAST_HEADERS:
        told = headers.get(header)
        if told and "-" not in told and headers.get(_PREFIX + "type", "FULL_OBJECT") == "FULL_OBJECT":
            try:
                return name, b64decode(told, validate=True)
            except binascii.Error:
                return None
    return None


def md5_etag(headers: Mapping[str, str]) -> str:
    """Return the MD5 of the whole object that an answer's ETag is, or an empty string where it is something else."""
    etag = headers.get("etag", "").strip('"').lower()
    if len(etag) != 32 or any(char not in "0123456789abcdef" for char in etag):
        return ""
    encryption = headers.get("x-amz-server-side-encryption", "")
    keyed = encryption.startswith("aws:kms") or "x-amz-server-side-encryption-customer-algorithm" in headers
    return "" if keyed else etag


def digest(name: str, parts: Iterable[Buffer]) -> bytes:
    """Return the checksum of the concatenation of `parts` by the algorithm `name`, as its bytes in network order."""
    if name in ("sha256", "sha1", "md5"):
        hasher = hashlib.new(name, usedforsecurity=False)
        for part in parts:
            hasher.update(part)
        return hasher.digest()
    if name == "crc32":
        value = 0
        for part in parts:
            value = zlib.crc32(part, value)
        return value.to_bytes(4, "big")
    polynomial, width = _POLYNOMIALS[name]
    state = (1 << width) - 1
    for part in parts:
        state = _update(name, polynomial, width, state, part)
    return (state ^ ((1 << width) - 1)).to_bytes(width // 8, "big")


def check_body(headers: Mapping[str, str], parts: Iterable[Buffer], where: object, *, thorough: bool) -> None:
    """Raise `IntegrityError` unless the whole object that `parts` are has the checksum that the answer tells, if any.

    An ETag that is an MD5 counts if `thorough`: it takes longer than a fast network.
    """
    told = told_checksum(headers, thorough=thorough)
    if told is None and thorough and (etag := md5_etag(headers)):
        told = "md5", bytes.fromhex(etag)
    if told is not None and digest(told[0], parts) != told[1]:
        raise IntegrityError(
            f"{where} has another {told[0]} than the server says: its bytes are damaged. Read it again."
        )


def crc32_header(parts: Iterable[Buffer]) -> str:
    """Return the CRC-32 of `parts` as S3 wants it in a header."""
    return b64encode(digest("crc32", parts)).decode()


def multipart_etag(parts: Iterable[bytes]) -> str:
    """Return the ETag of an object that was uploaded in parts with these MD5 digests."""
    digests = list(parts)
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


# The rest is for the two algorithms that Python lacks. A long buffer is cut into lanes, which NumPy works on at the
# same time, two bytes of each at each step; the lanes' results are joined pairwise, as in zlib's crc32_combine.

LANES: Final = 4096
"""A power of two, so that they can be joined in pairs."""

LANE_BYTES_MIN: Final = 64

_tables: dict[str, Any] = {}


def _update(name: str, polynomial: int, width: int, state: int, part: Buffer) -> int:
    import numpy as np  # only for whom it concerns

    if name not in _tables:
        _tables[name] = _make_table(polynomial)
    table = _tables[name]
    data = np.frombuffer(part, dtype=np.uint8)
    steps = len(data) // (2 * LANES)
    if 2 * steps >= LANE_BYTES_MIN:
        lanes = np.ascontiguousarray(data[: 2 * steps * LANES].view("<u2").reshape(LANES, steps).T)
        states = np.zeros(LANES, dtype=np.uint64)
        states[0] = state
        sixteen = np.uint64(16)
        for row in lanes:
            states = table[states.astype(np.uint16) ^ row] ^ (states >> sixteen)
        state = _join(states, _shift_operator(polynomial, width, 2 * steps))
        data = data[2 * steps * LANES :]
    if len(data):
        first = table[::256].tolist()  # a byte that is the high one of two has one step behind it
        for byte in data.tobytes():
            state = first[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


def _make_table(polynomial: int) -> Any:
    """Return what two bytes become, by their value; every 256th entry is what one byte becomes."""
    import numpy as np

    entries = np.arange(1 << 16, dtype=np.uint64)
    one = np.uint64(1)
    for _ in range(16):
        entries = (entries >> one) ^ (np.uint64(polynomial) * (entries & one))
    return entries


def _join(states: Any, shift: list[int]) -> int:
    """Return the state of the lanes together; `shift` moves one past the bytes of the next."""
    import numpy as np

    while len(states) > 1:
        left, right = states[0::2], states[1::2]
        moved = np.zeros_like(left)
        for bit, column in enumerate(shift):
            moved ^= np.uint64(column) * ((left >> np.uint64(bit)) & np.uint64(1))
        states = moved ^ right
        shift = [_apply(shift, column) for column in shift]
    return int(states[0])


def _apply(matrix: list[int], vector: int) -> int:
    """Return the product of a matrix of bits, by columns, with a vector."""
    result = 0
    for column in matrix:
        if vector & 1:
            result ^= column
        vector >>= 1
    return result


def _shift_operator(polynomial: int, width: int, length: int) -> list[int]:
    """Return the matrix that appends `length` zero bytes to what has a CRC."""
    power = [polynomial, *(1 << bit for bit in range(width - 1))]  # one zero bit
    result = [1 << bit for bit in range(width)]
    bits = 8 * length
    while bits:
        if bits & 1:
            result = [_apply(power, column) for column in result]
        power = [_apply(power, column) for column in power]
        bits >>= 1
    return result
