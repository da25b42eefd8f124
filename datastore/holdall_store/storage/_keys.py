"""The rules for keys, the same for every storage."""

from __future__ import annotations

from holdall_store.errors import InvalidNameError

__all__ = ["KEY_BYTES_MAX", "check_key", "check_prefix", "is_segment"]

KEY_BYTES_MAX = 900
"""S3 allows 1024 bytes; this leaves room for the prefix under which a store lies."""


def is_segment(text: str) -> bool:
    """Tell whether `text` can stand between two slashes of a key."""
    # Surrogates are not printable, so what is printable can be encoded.
    return text.isprintable() and text != "" and text[0] != "." and "/" not in text


def check_key(key: str) -> list[str]:
    """Return the segments of `key`, or raise `InvalidNameError`."""
    segments = key.split("/")
    _check_segments(segments, key, "key")
    return segments


def check_prefix(prefix: str) -> list[str]:
    """Return the segments of `prefix`, which is empty or ends with a slash, or raise `InvalidNameError`."""
    if not prefix:
        return []
    if not prefix.endswith("/"):
        raise InvalidNameError(f"{prefix!r:.80} is no prefix of keys: it has to end with '/'.")
    segments = prefix[:-1].split("/")
    _check_segments(segments, prefix, "prefix of keys")
    return segments


def _check_segments(segments: list[str], text: str, what: str) -> None:
    for segment in segments:
        if not is_segment(segment):
            raise InvalidNameError(
                f"{text!r:.80} is no {what}: {segment!r:.80} is empty, begins with a dot or is not printable."
            )
    if len(text) > KEY_BYTES_MAX // 4 and len(text.encode()) > KEY_BYTES_MAX:
        raise InvalidNameError(f"{text!r:.80}… is no {what}: it is longer than {KEY_BYTES_MAX} bytes.")
