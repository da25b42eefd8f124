"""How a chunk is stored: as it is, or compressed, whichever a sample says is worth it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from holdall_store.errors import FormatError, IntegrityError

if TYPE_CHECKING:
    import zstandard  # imported where something is compressed: looking runs up needs none of it

__all__ = [
    "CHUNK_BYTES_MAX",
    "CODEC_GROUPED_ZSTD",
    "CODEC_RAW",
    "CODEC_ZSTD",
    "choose_codec",
    "compress",
    "decompress",
]

# On disk: never change what a number means. 3 is kept for a delta against a base chunk.
CODEC_RAW: Final = 0
CODEC_ZSTD: Final = 1
CODEC_GROUPED_ZSTD: Final = 2

CHUNK_BYTES_MAX: Final = 16 << 20
"""No reader allocates more than this for one chunk, whatever a pack's table says; no writer makes larger ones."""

GROUP_STRIDES: Final = frozenset((2, 4, 8, 16))
"""Items whose bytes are worth grouping by place: beyond 16 bytes they are records, not numbers."""

GROUP_RATIO_MIN: Final = 0.5
"""Who asks for less than this to be left wants only what decodes as fast as it copies, and grouped bytes do not."""

SAMPLE_BYTES: Final = 4096
"""Enough for zstd to show its ratio within a few per cent, and 1/16 of a small chunk."""

LEVEL: Final = 1
"""Every higher level costs more time than the bytes it saves take to write, even on a slow disk."""

_local = threading.local()


def choose_codec(view: memoryview, item_bytes: int, ratio_max: float) -> int:
    """Return the codec to try for `view` and what follows it, by a sample from its middle.

    A codec is chosen only where it shrinks the sample to at most `ratio_max` of its size.
    """
    if ratio_max <= 0 or len(view) < 64:
        return CODEC_RAW
    start = max(0, len(view) // 2 - SAMPLE_BYTES // 2)
    start -= start % item_bytes
    sample = view[start : start + SAMPLE_BYTES]
    sample = sample[: len(sample) - len(sample) % item_bytes]
    best, best_size = CODEC_RAW, int(len(sample) * ratio_max)
    compressor = _compressor()
    plain = len(compressor.compress(sample))
    if plain <= best_size:
        best, best_size = CODEC_ZSTD, plain
    if item_bytes in GROUP_STRIDES and ratio_max >= GROUP_RATIO_MIN:
        grouped = len(compressor.compress(_group(sample, item_bytes)))
        # Grouping costs a pass over the bytes each way: it must gain more than a little.
        if grouped <= best_size * (0.9 if best == CODEC_ZSTD else 1):
            best = CODEC_GROUPED_ZSTD
    return best


def compress(view: memoryview, codec: int, item_bytes: int, ratio_max: float) -> tuple[int, bytes | memoryview]:
    """Return the codec that was used, and the bytes to store: `view` itself where compression gained too little."""
    if codec == CODEC_RAW:
        return CODEC_RAW, view
    if codec == CODEC_GROUPED_ZSTD and len(view) % item_bytes:
        codec = CODEC_ZSTD
    packed = _compressor().compress(_group(view, item_bytes) if codec == CODEC_GROUPED_ZSTD else view)
    return (codec, packed) if len(packed) <= len(view) * ratio_max else (CODEC_RAW, view)


def decompress(stored: memoryview, codec: int, stride: int, raw_bytes: int) -> bytes | memoryview:
    """Return the `raw_bytes` bytes of a chunk; never more memory than that is taken, whatever `stored` claims.

    Raises `FormatError` for a codec of a newer version, `IntegrityError` for bytes that do not decode.
    """
    if codec == CODEC_RAW:
        if len(stored) != raw_bytes:
            raise IntegrityError(f"A raw chunk holds {len(stored)} bytes instead of {raw_bytes}.")
        return stored
    if codec not in (CODEC_ZSTD, CODEC_GROUPED_ZSTD):
        raise FormatError(f"A chunk is stored with codec {codec}, which this version of holdall does not know.")
    if raw_bytes > CHUNK_BYTES_MAX:
        raise IntegrityError(f"A chunk claims to hold {raw_bytes} bytes; {CHUNK_BYTES_MAX} are allowed.")
    import zstandard

    try:
        if zstandard.frame_content_size(stored) != raw_bytes:
            raise IntegrityError("A compressed chunk and its table disagree about its size.")
        raw = _decompressor().decompress(stored, max_output_size=raw_bytes)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"A compressed chunk does not decode: {error}.") from None
    if len(raw) != raw_bytes:
        raise IntegrityError(f"A compressed chunk decodes to {len(raw)} bytes instead of {raw_bytes}.")
    if codec == CODEC_ZSTD:
        return raw
    if stride not in GROUP_STRIDES or raw_bytes % stride:
        raise IntegrityError(f"A chunk of {raw_bytes} bytes cannot be grouped by {stride}.")
    return _ungroup(raw, stride)


def _group(view: memoryview, stride: int) -> memoryview:
    """Return all first bytes of the items, then all second bytes, and so on."""
    import numpy as np

    return np.ascontiguousarray(np.frombuffer(view, np.uint8).reshape(-1, stride).T).data.cast("B")


def _ungroup(raw: bytes, stride: int) -> memoryview:
    import numpy as np

    return np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(stride, -1).T).data.cast("B")


def _compressor() -> zstandard.ZstdCompressor:
    # One context a thread: they are not safe to share, and making one costs more than compressing a small chunk.
    if not hasattr(_local, "compressor"):
        import zstandard

        _local.compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
    compressor: zstandard.ZstdCompressor = _local.compressor
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        import zstandard

        _local.decompressor = zstandard.ZstdDecompressor(max_window_size=CHUNK_BYTES_MAX)
    decompressor: zstandard.ZstdDecompressor = _local.decompressor
    return decompressor
