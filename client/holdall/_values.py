"""Parameters and metrics: small values that live in the record of a run."""

from __future__ import annotations

import dataclasses
import math
import types
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from holdall._messages import kind_of, shown
from holdall.store import InvalidNameError, UnsupportedTypeError
from holdall_store.format import Series, check_name, decode_json

__all__ = [
    "MetricPoint",
    "check_tags",
    "clean_text",
    "decode_params",
    "encode_params",
    "metric_step",
    "metric_value",
    "normal_form",
    "number",
    "params_dict",
    "points_of",
]

PARAM_BYTES_MAX: Final = 4096
"""Parameters are read with every look at a run; what is larger is an artifact."""

TAG_CHARACTERS_MAX: Final = 256
"""Tags are shown in lists."""

_WORDS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class MetricPoint(NamedTuple):
    """One value of a metric, with its step and its time in seconds since the epoch."""

    value: float | int | bool
    step: float | int
    time: float


def params_dict(params: object) -> dict[str, Any]:
    """Return parameters by name: of a mapping, a dataclass, or anything with attributes, such as argparse's result.

    Of the latter without what can be called: ``set_defaults(func=…)`` is how subcommands are written.
    """
    if params is None:
        return {}
    if isinstance(params, Mapping):
        return dict(params)
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    items = getattr(params, "__dict__", None)
    # A class, a function or a module has attributes too, but was given by mistake.
    if not isinstance(items, dict) or isinstance(params, type | types.FunctionType | types.ModuleType):
        raise UnsupportedTypeError(
            f"params are a mapping of names to values, or an object with attributes, not {type(params).__name__}."
        )
    if type(params).__module__ == "argparse":
        return {name: value for name, value in items.items() if not callable(value)}
    return dict(items)


def encode_params(params: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    """Return parameters as JSON nodes; refuse what is large or would run code when it is read."""
    from holdall_store.serializers import encode

    encoded: dict[str, msgspec.Raw] = {}
    for name, value in params.items():
        checked = check_name(name, "parameter")
        if checked in encoded:
            raise InvalidNameError(f"Two parameters are both called {checked!r} in Unicode's normal form.")
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
            raise UnsupportedTypeError(f"Metric {name!r} is {kind_of(value)} of more than one number.") from None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        try:
            return int(value) if -(1 << 63) <= value < 1 << 63 else float(value)
        except OverflowError:
            raise UnsupportedTypeError(f"Metric {name!r} is an integer too large for a metric.") from None
    if isinstance(value, float):
        if math.isnan(value):
            return "nan"
        return float(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    raise UnsupportedTypeError(
        f"Metric {name!r} is {kind_of(value)}, not a number; save it as an artifact: run.save(…)."
    )


def metric_step(name: str, step: object) -> float | int:
    """Return a step as JSON can hold it: a finite number."""
    value = None if isinstance(step, str) else metric_value(name, step)
    if value is None or isinstance(value, str):
        raise UnsupportedTypeError(f"The step of metric {name!r} is {step!r:.80}, not a finite number.")
    return int(value) if isinstance(value, bool) else value


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


def normal_form(name: object) -> Any:
    """Return a name as it is kept: in Unicode's normal form C; anything but a string as it is."""
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


def check_tags(tags: Iterable[object] | None) -> list[str]:
    """Return tags as they are kept: each once, in Unicode's normal form C."""
    if isinstance(tags, str):
        raise InvalidNameError(f"tags are a list of strings; write tags=[{shown(tags)}].")
    if isinstance(tags, Mapping):
        pairs = ", ".join(repr(f"{key}={value}") for key, value in list(tags.items())[:3])
        raise InvalidNameError(
            f"tags are a list of strings, not {kind_of(tags)}; write tags=[{pairs}], or give it as params."
        )
    if tags is not None and not isinstance(tags, Iterable):
        raise InvalidNameError(f"tags are a list of strings, such as tags=['nightly'], not {shown(tags)}.")
    checked: list[str] = []
    for tag in tags or ():
        if not isinstance(tag, str) or not tag.strip() or len(tag) > TAG_CHARACTERS_MAX or not tag.isprintable():
            raise InvalidNameError(
                f"{shown(tag)} is no tag: tags are printable strings of up to {TAG_CHARACTERS_MAX} characters."
            )
        checked.append(normal_form(tag))
    return list(dict.fromkeys(checked))


def clean_text(text: str) -> str:
    """Return `text` with lone surrogates replaced, which file names and arguments may hold, and JSON cannot."""
    return text.encode("utf-8", "replace").decode()
