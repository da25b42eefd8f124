"""Split-block bloom filters of Parquet: what a column chunk cannot have. Pure, and strict."""

from __future__ import annotations

import struct
from typing import Final

import xxhash

from holdall_store.tables._thrift import read_struct

__all__ = ["bits_of", "hash_of", "may_contain"]

BLOCK_BYTES: Final = 32
"""A block has eight words, and each value one bit in every one of them."""

SALTS: Final = (
    0x47B6137B,
    0x44974D91,
    0x8824AD5B,
    0xA2B7289D,
    0x705495C7,
    0x2DF1424B,
    0x9EFC4947,
    0x5C6BFB31,
)
"""By the specification of Parquet: they must not change."""

_WORD: Final = (1 << 32) - 1


def hash_of(plain: bytes) -> int:
    """Return the hash of a value, of which `plain` is the plain encoding, for texts without their length."""
    return xxhash.xxh64_intdigest(plain, 0)


def bits_of(data: memoryview) -> memoryview:
    """Return the blocks of a filter, of which `data` is all that the footer says, header and blocks.

    Raises `ValueError` for what is no filter, or one of another kind than there is today.
    """
    fields, begin = read_struct(data, 0)
    size = fields.get(1)
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0 or size % BLOCK_BYTES:
        raise ValueError("a bloom filter does not say how many bytes it has")
    if begin + size != len(data):
        raise ValueError(f"a bloom filter says that it has {size} bytes, and {len(data) - begin} are there")
    for number in (2, 3, 4):  # split blocks, xxHash, uncompressed
        if fields.get(number) != {1: {}}:
            raise ValueError("a bloom filter is of an unknown kind")
    bits = data[begin:]
    if not any(bits):
        raise ValueError("a bloom filter has no bits, and its column has values")
    return bits


def may_contain(bits: memoryview, hashed: int) -> bool:
    """Tell whether a column can have a value of this hash: `bits` are the blocks of its filter.

    Each value has a bit in every word of its block. A block with a word of zeros beside others is damaged, and says nothing.
    """
    begin = ((hashed >> 32) * (len(bits) // BLOCK_BYTES) >> 32) * BLOCK_BYTES
    words = struct.unpack("<8I", bits[begin : begin + BLOCK_BYTES])
    low = hashed & _WORD
    has = all(word >> ((low * salt & _WORD) >> 27) & 1 for word, salt in zip(words, SALTS, strict=True))
    return has or (any(words) and not all(words))
