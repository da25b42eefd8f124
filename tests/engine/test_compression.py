"""Chunks come back from every codec, and what was tampered with is an error that costs no memory."""

from __future__ import annotations

import struct
import tracemalloc

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import given, settings

from holdall_store.errors import FormatError, HoldallError, IntegrityError
from holdall_store.format import (
    CHUNK_BYTES_MAX,
    CODEC_GROUPED_ZSTD,
    CODEC_RAW,
    CODEC_ZSTD,
    choose_codec,
    compress,
    decompress,
)

CODECS = (CODEC_RAW, CODEC_ZSTD, CODEC_GROUPED_ZSTD)

contents = st.one_of(
    st.binary(min_size=1, max_size=600),
    st.builds(lambda part, count: part * count, st.binary(min_size=1, max_size=24), st.integers(1, 400)),
    st.integers(1, 9000).map(bytes),
)


@given(
    contents, st.sampled_from(CODECS), st.sampled_from((1, 2, 3, 4, 8, 12, 16, 40)), st.sampled_from((0.1, 0.8, 9.0))
)
@settings(max_examples=150)
def test_a_chunk_comes_back(raw: bytes, codec: int, stride: int, ratio_max: float) -> None:
    """Whatever the codec, the item size and what is worthwhile: the bytes come back, and never grow by much."""
    if codec == CODEC_GROUPED_ZSTD and stride not in (2, 4, 8, 16):
        codec = CODEC_ZSTD
    used, stored = compress(memoryview(raw), codec, stride, ratio_max)

    assert bytes(decompress(memoryview(stored), used, stride, len(raw))) == raw
    assert used in (codec, CODEC_ZSTD, CODEC_RAW)
    assert used != CODEC_RAW or len(stored) == len(raw)
    assert used == CODEC_RAW or len(stored) <= len(raw) * ratio_max


@given(contents, st.integers(1, 5000), st.sampled_from((0.0, 0.125, 0.8)))
@settings(max_examples=100)
def test_any_sample_gives_a_codec(raw: bytes, item_bytes: int, ratio_max: float) -> None:
    """The choice always is a codec that `compress` takes, and none at all where nothing is to be compressed."""
    codec = choose_codec(memoryview(raw), item_bytes, ratio_max)
    used, stored = compress(memoryview(raw), codec, item_bytes, ratio_max)

    assert codec in CODECS
    assert ratio_max > 0 or used == CODEC_RAW
    assert bytes(decompress(memoryview(stored), used, item_bytes, len(raw))) == raw


def test_numbers_are_grouped_and_noise_is_left_alone() -> None:
    """Small integers compress best byte by place; random bytes stay as they are."""
    numbers = struct.pack("<20000i", *(n % 777 * 3 for n in range(20_000)))
    noise = zstandard.ZstdCompressor().compress(numbers) * 3

    assert choose_codec(memoryview(numbers), 4, 0.8) in (CODEC_ZSTD, CODEC_GROUPED_ZSTD)
    assert choose_codec(memoryview(noise)[: len(noise) // 3], 1, 0.8) == CODEC_RAW


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(0, 1 << 16), st.integers(1, 1 << 20))
@settings(max_examples=150)
def test_garbage_is_an_error(stored: bytes, codec: int, stride: int, raw_bytes: int) -> None:
    """Whatever a pack's table claims of whatever bytes: they decode to what was claimed, or an error says that not."""
    try:
        raw = decompress(memoryview(stored), codec, stride, raw_bytes)
    except HoldallError as error:
        assert isinstance(error, IntegrityError | FormatError)
        return
    assert len(raw) == raw_bytes


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_frame_is_an_error_or_has_the_size(data: st.DataObject) -> None:
    """Bits that changed, tails that are missing and bytes that follow never give another length than was asked for."""
    raw = b"holdall " * 500
    packed = bytearray(zstandard.ZstdCompressor().compress(raw))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(packed)))
    for stored in (packed, packed[:cut], packed + packed[:cut]):
        try:
            decoded = decompress(memoryview(stored), CODEC_ZSTD, 1, len(raw))
        except IntegrityError:
            continue
        assert len(decoded) == len(raw)


def bomb(claim: int | None, content: int) -> bytes:
    """Return a frame of `content` zeros whose header claims `claim`."""
    chunk = bytes(1 << 20)
    made = zstandard.ZstdCompressor(level=3, write_content_size=False).compressobj()
    frame = b"".join(made.compress(chunk) for _ in range(content >> 20)) + made.flush()
    if claim is None:
        return frame
    # Magic, then a descriptor that says: single segment, eight bytes of content size.
    body = frame[4:]
    descriptor, window = body[0], body[1:2]
    header = bytes([descriptor | 0xC0])
    return frame[:4] + header + window + claim.to_bytes(8, "little") + body[2:]


@pytest.mark.parametrize("claim", [None, 1000, 1 << 20, 1 << 62])
@pytest.mark.parametrize("raw_bytes", [1000, 1 << 20, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 1 << 40])
def test_a_bomb_takes_no_memory(claim: int | None, raw_bytes: int) -> None:
    """A frame of half a gigabyte of zeros is refused before more is allocated than the table admits to."""
    frame = memoryview(bomb(claim, 512 << 20))
    assert len(frame) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            decompress(frame, CODEC_ZSTD, 1, raw_bytes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * CHUNK_BYTES_MAX


def test_bytes_behind_the_frame_change_nothing() -> None:
    """What follows a frame is not decoded: the digest of the chunk decides whether it is right."""
    packed = zstandard.ZstdCompressor().compress(bytes(5000))

    assert bytes(decompress(memoryview(packed + b"more"), CODEC_ZSTD, 1, 5000)) == bytes(5000)


@pytest.mark.parametrize("codec", [3, 4, 200, 255])
def test_a_codec_of_a_newer_version_is_named(codec: int) -> None:
    """The number that is kept for deltas, and all others, say that they are not known."""
    with pytest.raises(FormatError, match=f"codec {codec}"):
        decompress(memoryview(b"abc"), codec, 1, 3)


@pytest.mark.parametrize(("stride", "raw_bytes"), [(0, 4000), (1, 4000), (3, 4000), (4, 4001), (65535, 65535)])
def test_a_stride_that_cannot_be_is_an_error(stride: int, raw_bytes: int) -> None:
    """Bytes are ungrouped only by a stride that writers use, and that fits."""
    packed = zstandard.ZstdCompressor().compress(bytes(raw_bytes))

    with pytest.raises(IntegrityError, match="grouped"):
        decompress(memoryview(packed), CODEC_GROUPED_ZSTD, stride, raw_bytes)
