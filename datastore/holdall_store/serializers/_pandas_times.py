"""Time zones and frequencies as nodes, and back."""

from __future__ import annotations

import datetime
import sys
import zoneinfo
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.tseries.frequencies import to_offset

from holdall_store.serializers._nodes import boolean, integer, malformed, member, text

if TYPE_CHECKING:
    from holdall_store.serializers._protocol import Decoder, Encoder, Node

__all__ = ["decode_freq", "decode_zone", "encode_freq", "encode_zone"]

_DAY_US = 24 * 3600 * 1_000_000
_DATEUTIL_ROOT = "/zoneinfo/"


def encode_zone(zone: datetime.tzinfo, encoder: Encoder) -> dict[str, Node]:
    """Return the node of a time zone: its key if it has one, so that no rules of today are frozen into it."""
    if zone is datetime.UTC:
        return {"library": "datetime", "key": "UTC"}
    if type(zone) is datetime.timezone:
        offset = zone.utcoffset(None)
        plain = datetime.timezone(offset)
        name = None if zone.tzname(None) == plain.tzname(None) else zone.tzname(None)
        return {"library": "datetime", "offset_us": offset // datetime.timedelta(microseconds=1), "name": name}
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return {"library": "zoneinfo", "key": zone.key}
    return _encode_foreign_zone(zone) or {"library": "other", "zone": encoder.node(zone, ".tz")}


def decode_zone(node: dict[str, Node], decoder: Decoder) -> datetime.tzinfo:
    """Return the time zone of a node."""
    library = text(node, "library")
    if library == "datetime" and "key" in node:
        return datetime.UTC
    if library == "datetime":
        offset = datetime.timedelta(microseconds=integer(node, "offset_us", -_DAY_US, _DAY_US))
        name = member(node, "name")
        return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)
    if library == "zoneinfo":
        return zoneinfo.ZoneInfo(text(node, "key"))
    if library in ("pytz", "dateutil"):
        return _decode_foreign_zone(node, library)
    zone = decoder.node(member(node, "zone"))
    if not isinstance(zone, datetime.tzinfo):
        raise malformed(node, "its 'zone' is not a time zone")
    return zone


def _encode_foreign_zone(zone: datetime.tzinfo) -> dict[str, Node] | None:
    library = type(zone).__module__.partition(".")[0]
    if library == "pytz" and library in sys.modules:
        pytz = sys.modules["pytz"]
        key = getattr(zone, "zone", None)
        if isinstance(key, str) and pytz.timezone(key) is zone:
            return {"library": "pytz", "key": key}
        minutes = getattr(zone, "_minutes", None)
        if type(minutes) is int and pytz.FixedOffset(minutes) is zone:
            return {"library": "pytz", "minutes": minutes}
    if library == "dateutil" and "dateutil.tz" in sys.modules:
        tz = sys.modules["dateutil.tz"]
        if isinstance(zone, tz.tzutc):
            return {"library": "dateutil", "key": "UTC"}
        key = str(getattr(zone, "_filename", "")).rpartition(_DATEUTIL_ROOT)[2]
        if _is_zone_key(key) and isinstance(zone, tz.tzfile) and tz.gettz(key) == zone:
            return {"library": "dateutil", "key": key}
    return None


def _decode_foreign_zone(node: dict[str, Node], library: str) -> datetime.tzinfo:
    if library == "pytz":
        import pytz  # type: ignore[import-untyped,unused-ignore]

        zone = pytz.timezone(text(node, "key")) if "key" in node else pytz.FixedOffset(integer(node, "minutes", -1439))
    else:
        from dateutil import tz  # type: ignore[import-untyped,unused-ignore]

        key = text(node, "key")
        if not _is_zone_key(key):  # dateutil would open any file of that name
            raise malformed(node, f"{key!r} is not the name of a time zone")
        zone = tz.UTC if key == "UTC" else tz.gettz(key)
    if not isinstance(zone, datetime.tzinfo):
        raise malformed(node, "its time zone is not known here")
    return zone


def _is_zone_key(key: str) -> bool:
    return key in zoneinfo.available_timezones()


def encode_freq(freq: Any, encoder: Encoder) -> Node:
    """Return the node of a date offset: how pandas spells it, where pandas reads that as the same offset."""
    if freq is None:
        return None
    if _is_spelled(freq):
        return {"freq": freq.freqstr}
    if type(freq) is pd.DateOffset:
        parts = {"n": freq.n, "normalize": freq.normalize, "parts": encoder.node(dict(freq.kwds), ".freq.kwds")}
        return {"date_offset": parts}
    return {"other": encoder.node(freq, ".freq")}


def decode_freq(node: Any, decoder: Decoder) -> Any:
    """Return the date offset of a node."""
    if node is None:
        return None
    if "freq" in node:
        return to_offset(text(node, "freq"))
    if "date_offset" in node:
        offset = member(node, "date_offset")
        parts = decoder.node(member(offset, "parts"))
        return pd.DateOffset(integer(offset, "n", -(2**31), 2**31), boolean(offset, "normalize"), **parts)
    return decoder.node(member(node, "other"))


def _is_spelled(freq: Any) -> bool:
    try:
        return bool(to_offset(freq.freqstr) == freq)
    except ValueError:
        return False
