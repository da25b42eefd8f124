"""Serializers of pandas's scalars: missing values, timestamps, timedeltas, periods and intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from holdall_store.serializers._buffers import mapping, reading
from holdall_store.serializers._nodes import integer, malformed, member, text
from holdall_store.serializers._pandas_times import decode_zone, encode_zone
from holdall_store.serializers._protocol import Decoder, Encoder, Node, Serializer

__all__ = ["SCALARS"]

_INT64_MIN = -(2**63)


def _unit(node: dict[str, Node]) -> Any:
    unit = text(node, "unit")
    if unit not in ("s", "ms", "us", "ns"):
        raise malformed(node, f"its unit {unit!r} is none of s, ms, us and ns")
    return unit


class _MissingSerializer(Serializer):
    """``pandas.NA`` and ``pandas.NaT``."""

    tag = "pandas.missing"

    def handles(self, obj: object) -> bool:
        return obj is pd.NA or obj is pd.NaT

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002 - it has no parts
        return {"value": "NA" if obj is pd.NA else "NaT"}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:  # noqa: ARG002 - it has no parts
        value = text(node, "value")
        if value not in ("NA", "NaT"):
            raise malformed(node, f"pandas has no missing value {value!r}")
        return pd.NA if value == "NA" else pd.NaT


class _TimestampSerializer(Serializer):
    """Timestamps, with their unit and time zone."""

    tag = "pandas.Timestamp"

    def handles(self, obj: object) -> bool:
        return type(obj) is pd.Timestamp

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = {"count": int(obj.asm8.view(np.int64)), "unit": obj.unit}
        if obj.tz is not None:
            node["tz"] = encode_zone(obj.tz, encoder)
        return node

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            stamp = pd.Timestamp(np.datetime64(integer(node, "count", _INT64_MIN), _unit(node)))
            if "tz" not in node:
                return stamp
            return stamp.tz_localize("UTC").tz_convert(decode_zone(mapping(node, "tz"), decoder))


class _TimedeltaSerializer(Serializer):
    """Timedeltas, with their unit."""

    tag = "pandas.Timedelta"

    def handles(self, obj: object) -> bool:
        return type(obj) is pd.Timedelta

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002 - it has no parts
        return {"count": int(obj.asm8.view(np.int64)), "unit": obj.unit}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:  # noqa: ARG002 - it has no parts
        with reading(node):
            return pd.Timedelta(np.timedelta64(integer(node, "count", _INT64_MIN), _unit(node)))


class _PeriodSerializer(Serializer):
    """Periods."""

    tag = "pandas.Period"

    def handles(self, obj: object) -> bool:
        return type(obj) is pd.Period

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:  # noqa: ARG002 - it has no parts
        return {"ordinal": int(obj.ordinal), "freq": obj.freqstr}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:  # noqa: ARG002 - it has no parts
        with reading(node):
            return pd.Period(ordinal=integer(node, "ordinal", _INT64_MIN), freq=text(node, "freq"))


class _IntervalSerializer(Serializer):
    """Intervals."""

    tag = "pandas.Interval"

    def handles(self, obj: object) -> bool:
        return type(obj) is pd.Interval

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        sides = {side: encoder.node(getattr(obj, side), f".{side}") for side in ("left", "right")}
        return {**sides, "closed": obj.closed}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        with reading(node):
            left, right = (decoder.node(member(node, side)) for side in ("left", "right"))
            closed: Any = text(node, "closed")
            return pd.Interval(left, right, closed=closed)


SCALARS: tuple[Serializer, ...] = (
    _MissingSerializer(),
    _TimestampSerializer(),
    _TimedeltaSerializer(),
    _PeriodSerializer(),
    _IntervalSerializer(),
)
