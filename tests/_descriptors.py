"""Which descriptors this process has open."""

from __future__ import annotations

import os

Descriptor = tuple[int, int, int]


def open_descriptors() -> set[Descriptor]:
    """Return each open descriptor with what it is open on.

    Compare what is there after a call with what was there before, and not the numbers of them: sockets that earlier
    tests left may be closed meanwhile.
    """
    found: set[Descriptor] = set()
    for name in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:  # the listing's own, closed by now
            continue
        found.add((int(name), status.st_dev, status.st_ino))
    return found
