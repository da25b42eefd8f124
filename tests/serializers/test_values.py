"""Python's own values come back exactly, without pickle."""

from __future__ import annotations

import argparse
import array
import collections
import datetime as dt
import enum
import math
import pathlib
import struct
import types
import uuid
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serializers._helpers import roundtrip, roundtrip_safely, through_json
from tests.serializers._shapes import Color, Config, Labelled, Level, Mode, Pair, Point, Private, Right

from holdall_store.serializers import encode

ZURICH = zoneinfo.ZoneInfo("Europe/Zurich")

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, -(2**64), 10**5000, -(7**9000)),
    *(0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, 1e16, 123456789012345680.0),
    *(1j, complex(-0.0, math.inf), complex(1.5, -0.0)),
    *("", "a", "é", "\x00", "\ud800", "a\udfffb", "😀", "x" * 5000, "é" * 5000, "$", '"\\', "\ud800" * 5000),
    *(b"", b"\x00\xff", b"x" * 5000, bytearray(), bytearray(b"ab"), bytearray(b"y" * 5000)),
    *([], [1, "a", None], (), (1,), (1, (2, [3])), [()], {}, {"a": 1}, {"": {}}),
    *({1: 2}, {"$": 1}, {"$x": 2, "y": 1}, {(1, 2): [3]}, {None: 1, True: 2, 2.5: 3}, {"\ud800": 1}, {b"k": {"a": 1}}),
    *(set(), {1, "a", None, 2.5, (1, "x"), frozenset({1})}, frozenset(), frozenset("abc"), {b"a", "a"}),
    *(
        collections.OrderedDict(b=1, a=2),
        collections.Counter("abca"),
        collections.deque([1, 2]),
        collections.deque(maxlen=3),
    ),
    *(collections.defaultdict(list, a=[1]), collections.defaultdict(None, a=1), collections.defaultdict(int, {1: 2})),
    *(types.SimpleNamespace(a=1, b=[2]), argparse.Namespace(lr=0.1, path=None)),
    *(list(range(1000)), [0.5] * 1000, tuple(range(600)), [2**62] * 600, [2**70] * 600, [True] * 600, [1, 0.5] * 400),
    *(set(range(1000)), {x / 7 for x in range(700)}, collections.deque(range(700), 700), [-0.0] * 513),
    *(dt.date(1, 1, 1), dt.date.max, dt.datetime.min, dt.datetime.max, dt.datetime(2024, 10, 27, 2, 30, fold=1)),
    *(dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZURICH, fold=1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
    *(dt.time(1, 2, 3, 4), dt.time(1, tzinfo=dt.UTC), dt.time(2, fold=1), ZURICH, dt.UTC),
    *(dt.timezone(dt.timedelta(hours=-5, microseconds=3), "here"), dt.timezone(-dt.timedelta(hours=23, minutes=59))),
    *(dt.timedelta.min, dt.timedelta.max, dt.timedelta(microseconds=-1), dt.timedelta(0)),
    *(Decimal("1.10"), Decimal("-0"), Decimal("Infinity"), Decimal("1E+999999"), Decimal("0." + "1" * 60)),
    *(Fraction(-1, 3), Fraction(10**50, 7), uuid.UUID(int=5), uuid.UUID(int=5, is_safe=uuid.SafeUUID.unsafe)),
    *(pathlib.Path("a/b"), pathlib.PurePosixPath("/x"), pathlib.PureWindowsPath("c:/x"), pathlib.Path("a\udcff")),
    *(range(10), range(5, -5, -2), range(2**70), slice(1, None, 2), slice("a", [1], None), Ellipsis, NotImplemented),
    *(
        Color.RED,
        Color.GREEN,
        Color.CRIMSON,
        Level.HIGH,
        Right.READ,
        Right.READ | Right.WRITE,
        Right(0),
        Mode(7),
        Mode(-1),
    ),
    *(
        Pair(1, [2]),
        Labelled("x"),
        Config.Nested(3),
        Config(0.2, [1]),
        Point(1.0, Point(2.0, None)),
        {Color.RED: Pair(1, 2)},
    ),
    *(array.array("d", [1.5, -0.0]), array.array("q", range(1000)), array.array("b"), array.array("H", [65535])),
]


def shown(value: Any) -> str:
    """Return how a value looks, whatever the order of its elements if it is a set."""
    if isinstance(value, int) and not isinstance(value, enum.Enum):
        return hex(value)
    return str(sorted(map(repr, value))) if isinstance(value, (set, frozenset)) else repr(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_comes_back(value: Any) -> None:
    """Type, value and representation are the same, and nothing is pickled."""
    back = roundtrip_safely(value)
    assert type(back) is type(value)
    assert back == value
    assert shown(back) == shown(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_value_comes_back_inside_others(value: Any) -> None:
    """What holds a value does not change how it comes back."""
    back = roundtrip_safely({"a": [value, (value, 1)], 2: {"b": value}})
    assert back == {"a": [value, (value, 1)], 2: {"b": value}}
    assert type(back["a"][1][0]) is type(value)


def test_nan_and_signs_are_kept() -> None:
    """Floats that compare equal or unequal in odd ways come back bit for bit."""
    assert math.isnan(roundtrip_safely(math.nan))
    assert struct.pack("d", roundtrip_safely(-0.0)) == struct.pack("d", -0.0)
    back = roundtrip_safely(complex(math.nan, -0.0))
    assert math.isnan(back.real)
    assert math.copysign(1, back.imag) == -1
    assert struct.pack("d", roundtrip_safely([-0.0] * 600)[5]) == struct.pack("d", -0.0)


@pytest.mark.parametrize("text", ["NaN", "-NaN123", "sNaN", "sNaN7"])
def test_decimal_nan_keeps_its_payload(text: str) -> None:
    """A decimal that is not a number keeps its sign, its kind and its payload."""
    assert str(roundtrip_safely(Decimal(text))) == text


def test_fold_and_zone_are_kept() -> None:
    """An ambiguous local time stays the second of the two, in the very same zone."""
    back = roundtrip_safely(dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZURICH, fold=1))
    assert back.fold == 1
    assert back.tzinfo is ZURICH
    assert back.utcoffset() == dt.timedelta(hours=1)
    assert roundtrip_safely(dt.UTC) is dt.UTC


def test_order_of_dicts_is_kept() -> None:
    """Dicts of every kind keep the order of their keys."""
    keys = ["z", "a", "m", 3, 1, 2]
    for kind in (dict, collections.OrderedDict, collections.Counter):
        assert list(roundtrip_safely(kind(dict.fromkeys(keys, 1)))) == keys
    assert list(roundtrip_safely(dict.fromkeys("zam", 1))) == ["z", "a", "m"]


def test_safe_uuid_and_default_factory_are_kept() -> None:
    """What equality does not see comes back too."""
    assert roundtrip_safely(uuid.UUID(int=1, is_safe=uuid.SafeUUID.safe)).is_safe is uuid.SafeUUID.safe
    assert roundtrip_safely(collections.defaultdict(set)).default_factory is set
    assert roundtrip_safely(collections.deque(maxlen=4)).maxlen == 4


def test_private_slots_are_kept() -> None:
    """A slot with a mangled name holds what it held."""
    value = Private(1)
    value.hide(7)
    assert roundtrip_safely(value).seek() == 7


def test_hello_world_is_plain_json() -> None:
    """A config that JSON can say is that JSON."""
    config = {"lr": 0.1, "layers": [1, 2], "name": "é", "on": True, "none": None}
    encoded = encode(config)
    assert encoded.node == config
    assert (encoded.buffers, encoded.type_name, encoded.runs_code, encoded.libraries) == ([], "dict", False, {})


def test_long_numbers_and_texts_are_buffers() -> None:
    """What would swell the record goes into buffers, cut between items."""
    assert [source.item_bytes for source in encode([1.0] * 1000).buffers] == [8]
    assert [source.dense for source in encode([1] * 1000).buffers] == [True]
    assert [source.size for source in encode("x" * 5000).buffers] == [5000]
    assert encode([1.0] * 100).buffers == []
    data = bytearray(5000)
    view = encode(data).buffers[0].data
    data[7] = 1
    assert isinstance(view, memoryview)
    assert view[7] == 1  # borrowed, not copied


def test_equal_sets_are_equal_bytes() -> None:
    """The order in which a set was filled leaves no trace."""
    elements = ["b", "a", (1, "z"), (1, "y"), 3, None, frozenset({2, 1}), Color.RED, Point(1.0, 2), b"q", 2.5, 10, 9]
    forward, backward = encode(set(elements)), encode({*elements[5:], *elements[:5]})
    assert forward.node == backward.node
    assert through_json(forward.node) == through_json(backward.node)
    assert encode({"b", "a"}).node == {"$": "set", "items": ["a", "b"]}


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary(max_size=40)
    | st.dates()
    | st.datetimes()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
    | st.complex_numbers(allow_nan=False)
    | st.timedeltas()
)
KEYS = st.text(max_size=3) | st.integers() | st.tuples(st.integers(), st.text(max_size=2)) | st.booleans() | st.none()
TREES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.builds(Pair, inner, inner)
        | st.builds(Config, st.floats(allow_nan=False), st.lists(st.integers(), max_size=2))
    ),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_any_tree_comes_back(tree: Any) -> None:
    """Trees of everything come back equal, with the types that they had."""
    back = roundtrip_safely(tree)
    assert back == tree
    assert encode(back).node == encode(tree).node


@pytest.mark.parametrize("depth", [10, 60, 70, 150])
def test_deep_lists_come_back(depth: int) -> None:
    """Nesting past what the tree takes is pickled, not refused."""
    deep: Any = None
    for _ in range(depth):
        deep = [deep]
    assert roundtrip(deep) == deep
    assert encode(deep).runs_code is (depth > 64)
