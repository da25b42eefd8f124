"""What every storage does with buffers and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdall_store.errors import IntegrityError

if TYPE_CHECKING:
    from holdall_store.storage._contract import Buffer

__all__ = ["as_bytes", "check_range"]


def as_bytes(part: Buffer) -> memoryview:
    """Return `part` as a flat view of unsigned bytes, whatever the type of its items."""
    view = memoryview(part)
    if view.format == "B" and view.ndim == 1:
        return view
    return view.cast("B") if view.nbytes else memoryview(b"")


def check_range(key: str, size: int, start: int, length: int | None) -> int:
    """Return how many bytes a range of an object of `size` bytes has, or raise `IntegrityError`."""
    wanted = size - start if length is None else length
    if start < 0 or wanted < 0 or start + wanted > size:
        asked = f"from byte {start}" if length is None else f"{length} bytes from byte {start}"
        raise IntegrityError(f"{key!r} has {size} bytes, but {asked} were asked for: it is not what was written.")
    return wanted
