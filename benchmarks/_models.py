"""A model to measure with: named float32 arrays, as a network's state dict is."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ARRAYS", "change_one", "make_model", "model_bytes"]

ARRAYS: Final = 64


def make_model(mebibytes: int, seed: int = 1, *, arrays: int = ARRAYS) -> dict[str, Any]:
    """Return a model of `arrays` arrays of random normal numbers, `mebibytes` MiB together."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rows = (mebibytes << 20) // arrays // 4 // 256
    return {
        f"layers.{number:02d}.weight": rng.standard_normal((rows, 256), dtype=np.float32) for number in range(arrays)
    }


def change_one(model: dict[str, Any], number: int, seed: int) -> str:
    """Put another array in the place of one, and return its name."""
    import numpy as np

    name = f"layers.{number:02d}.weight"
    model[name] = np.random.default_rng(seed).standard_normal(model[name].shape, dtype=np.float32)
    return name


def model_bytes(model: dict[str, Any]) -> int:
    """Return the bytes of all arrays."""
    return sum(array.nbytes for array in model.values())
