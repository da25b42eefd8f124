"""Where a buffer is cut into chunks.

The cuts depend on content alone, so an insertion moves only the cuts near it, and equal stretches of two buffers become
equal chunks. Readers never need these rules: a pack's table says where each chunk lies. Writers keep to them because a
changed rule would find nothing of what older versions stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyfastcdc
import pyfastcdc.cy  # the compiled part: without it the package falls back, silently, to Python at 1/200 of the speed

__all__ = ["DENSE", "OPAQUE", "ChunkRule", "cut_all", "first_cut"]

if pyfastcdc.FastCDC is not pyfastcdc.cy.FastCDC:
    raise ImportError("pyfastcdc was installed without its compiled part: reinstall it from a wheel for this platform.")


@dataclass(frozen=True, slots=True)
class ChunkRule:
    """Parameters of FastCDC (2020, normalized chunking 2), in bytes. Never changed once released."""

    min_bytes: int
    avg_bytes: int
    max_bytes: int

    def cutter(self) -> pyfastcdc.FastCDC:
        """Return a new cutter; one cutter serves one thread."""
        return pyfastcdc.FastCDC(
            self.avg_bytes, min_size=self.min_bytes, max_size=self.max_bytes, normalized_chunking=2
        )


OPAQUE = ChunkRule(16 << 10, 64 << 10, 256 << 10)
"""For files, text and table columns: 75 KiB on the average; the low minimum finds the old cuts again soon after an edit."""

DENSE = ChunkRule(128 << 10, 128 << 10, 512 << 10)
"""For arrays: 160 KiB on the average, and three times the speed, since the minimum is skipped unseen."""


def first_cut(cutter: pyfastcdc.FastCDC, rule: ChunkRule, view: memoryview, item_bytes: int) -> int:
    """Return the length of the chunk that begins `view`.

    `view` must reach `rule.max_bytes` or to the end of the buffer, whichever is nearer. The chunk ends behind the item
    with the byte that asked for the cut, so its own bytes alone decide where it ends: a chunk that is found again ends
    there whatever follows it, and insertions of whole items move the cuts with them.
    """
    # Where nothing asks for a cut, it lies between items, too. Only items larger than any chunk are parted.
    size = min(len(view), rule.max_bytes - rule.max_bytes % item_bytes or rule.max_bytes)
    if size <= rule.min_bytes:
        return size
    length: int = next(cutter.cut_buf(view[:size])).length
    if length == size:
        return size
    length += 1  # FastCDC cuts before that byte
    return min(length + -length % item_bytes, size)


def cut_all(rule: ChunkRule, view: memoryview, item_bytes: int = 1) -> list[int]:
    """Return the end of each chunk of a whole buffer."""
    cutter = rule.cutter()
    ends = []
    position = 0
    while position < len(view):
        position += first_cut(cutter, rule, view[position : position + rule.max_bytes], item_bytes)
        ends.append(position)
    return ends
