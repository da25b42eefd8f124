"""What tests of storages, and tests with storages, are made of.

`StorageContract` needs pytest and hypothesis; it is imported when it is asked for, the rest needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdall_store.testing._faults import (
    CrashAfter,
    CrashBefore,
    FailWith,
    Fault,
    FaultyStorage,
    FlipBits,
    LostAnswer,
    SimulatedCrash,
    StaleListing,
    StorageCall,
    Torn,
    Truncate,
    ZeroTail,
)
from holdall_store.testing._wrappers import CountingStorage, LatencyStorage, ReadOnlyStorage, WrappedStorage

if TYPE_CHECKING:
    from holdall_store.testing._contract import StorageContract

__all__ = [
    "CountingStorage",
    "CrashAfter",
    "CrashBefore",
    "FailWith",
    "Fault",
    "FaultyStorage",
    "FlipBits",
    "LatencyStorage",
    "LostAnswer",
    "ReadOnlyStorage",
    "SimulatedCrash",
    "StaleListing",
    "StorageCall",
    "StorageContract",
    "Torn",
    "Truncate",
    "WrappedStorage",
    "ZeroTail",
]


def __getattr__(name: str) -> Any:
    if name == "StorageContract":
        from holdall_store.testing._contract import StorageContract

        return StorageContract
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
