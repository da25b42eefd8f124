"""Parameters and metrics: small values that live in the record of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdall.store import InvalidNameError, UnsupportedTypeError
from holdall_store.format import Series, check_name, decode_json

__all__ = ["MetricPoint", "decode_params", "encode_params", "metric_value", "number", "points_of"]

PARAM_BYTES_MAX: Final = 4096
"""Parameters are read with every look at a run; what is larger is an artifact."""

_WORDS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class MetricPoint(NamedTuple):
    """One value of a metric, with its step and its time in seconds since the epoch."""

    value: float | int | bool
    step: float | int
    time: float


def encode_params(params: object) -> dict[str, msgspec.Raw]:
    """Return parameters as JSON nodes: of a mapping, or of anything with attributes, such as argparse's result."""
    from holdall_store.serializers import encode

    if params is None:
        return {}
    items = params if isinstance(params, Mapping) else getattr(params, "__dict__", None)
    if not isinstance(items, Mapping):
        raise UnsupportedTypeError(f"params are a mapping of names to values, not {type(params).__name__}.")
    encoded: dict[str, msgspec.Raw] = {}
    for name, value in items.items():
        checked = check_name(name, "parameter")
        result = encode(value, name=f"params[{checked!r}]")
        node = msgspec.json.encode(result.node)
        if result.buffers or result.runs_code or len(node) > PARAM_BYTES_MAX:
            raise UnsupportedTypeError(
                f"params[{checked!r}] ({type(value).__name__}) is no small plain value; save it as an artifact instead: "
                f"run.save({checked}=…)."
            )
        encoded[checked] = msgspec.Raw(node)
    return encoded


def decode_params(params: Mapping[str, msgspec.Raw], *, trust: bool) -> dict[str, Any]:
    """Return parameters as they were given; `trust` allows the import of modules that define their types."""
    from holdall_store.serializers import decode

    def no_buffers(numbers: Sequence[int]) -> list[memoryview]:
        raise InvalidNameError(f"A parameter refers to buffers {list(numbers)}, and has none.")

    nodes = {name: decode_json(raw, f"Parameter {name!r}") for name, raw in params.items()}
    return {name: decode(node, no_buffers, trust=trust) for name, node in nodes.items()}


def metric_value(name: str, value: object) -> float | int | bool | str:
    """Return a number as JSON can hold it; anything with ``.item()`` (NumPy, PyTorch) counts as the number in it."""
    item = getattr(value, "item", None)
    if not isinstance(value, int | float) and callable(item):
        try:
            value = item()
        except (TypeError, ValueError, RuntimeError):
            raise UnsupportedTypeError(
                f"Metric {name!r} is a {type(value).__name__} of more than one number."
            ) from None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else float(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        return float(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    raise UnsupportedTypeError(
        f"Metric {name!r} is a {type(value).__name__}, not a number; save it as an artifact: run.save(…)."
    )


def number(value: float | bool | str) -> float | bool:
    """Return the number that `metric_value` wrote."""
    return _WORDS.get(value, math.nan) if isinstance(value, str) else value


def points_of(series: Sequence[Series]) -> list[MetricPoint]:
    """Return the points of the stretches of one metric."""
    return [
        MetricPoint(number(value), step, time)
        for stretch in series
        for value, step, time in zip(stretch.values, stretch.steps, stretch.times, strict=False)
    ]
