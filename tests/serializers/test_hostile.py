"""Nodes from anywhere: whatever they say, the answer is an object or an error of holdall's, soon and in little memory."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serializers._helpers import Buffers
from tests.serializers._shapes import Config, Plain
from tests.serializers.test_values import TREES, VALUES

from holdall_store.errors import FormatError, HoldallError
from holdall_store.serializers import child, decode, encode, keys, needs_trust
from holdall_store.serializers._builtin import BY_TAG
from holdall_store.serializers._numpy import SERIALIZERS

SHARED = [1, 2]
EXAMPLE = {
    "values": VALUES,
    "shared": [SHARED, {"a": SHARED, 1: SHARED}],
    "arrays": [
        np.arange(400),
        np.arange(3),
        np.ones((2, 2), object),
        np.float32(1),
        np.ma.array([1, 2], mask=[False, True]),
    ],
    "strings": np.array(["a", "b"], np.dtypes.StringDType()),
    "records": np.zeros(200, [("a", "i4"), ("b", "f8", (2,))]),
    "configs": [Config(), Config(layers=SHARED)],
}
ENCODED = encode(EXAMPLE)
BUFFERS = Buffers(ENCODED)
PICKLED = encode({"plain": Plain(w=np.arange(1000)), "list": [np.arange(900)]})

TAGS = [*BY_TAG, *(serializer.tag for serializer in SERIALIZERS), "shared", "ref", "root", "pick", "pickle", "stream"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(
        ["<f8", "|O", "C", "F", "AAAA", "0x1f", "list", f"{Config.__module__}:Config", "nan", "2024-01-01"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.fixed_dictionaries(
            {"$": st.sampled_from(TAGS)},
            optional=dict.fromkeys(
                (
                    *("value", "items", "id", "item", "key", "buffer", "buffers", "base64", "dtype", "shape", "order"),
                    *("objects", "strings", "class", "state", "name", "factory", "maxlen", "shared", "pickle", "hex"),
                    *(
                        "data",
                        "mask",
                        "fill",
                        "hard",
                        "start",
                        "stop",
                        "step",
                        "real",
                        "imag",
                        "zone",
                        "typecode",
                        "size",
                    ),
                    *(
                        "numerator",
                        "denominator",
                        "days",
                        "seconds",
                        "microseconds",
                        "flags",
                        "lengths",
                        "text",
                        "fields",
                    ),
                ),
                inner,
            ),
        )
    ),
    max_leaves=20,
)


def outcome(attempt: Callable[[], object]) -> str:
    """Return what came of an attempt: an object, an error of holdall's, or something that must not happen."""
    try:
        attempt()
    except HoldallError:
        return "refused"
    except Exception as error:  # noqa: BLE001
        return repr(error)
    return "object"


def outcomes(node: Any) -> set[str]:
    """Return what comes of everything that a reader does with a node."""
    return {
        outcome(lambda: decode(node, BUFFERS, trust=False)),
        outcome(lambda: decode(node, BUFFERS, trust=False, columns=["a"])),
        outcome(lambda: [decode(child(node, key), BUFFERS, trust=False) for key in (keys(node) or ["values"])[:3]]),
        outcome(lambda: needs_trust(node)),
    }


def parts(node: Any) -> list[tuple[Any, Any]]:
    """Return every place of a node that can be changed."""
    places = [(node, key) for key in (node if isinstance(node, dict) else range(len(node)))]
    return places + [
        place for owner, key in places if isinstance(owner[key], (dict, list)) for place in parts(owner[key])
    ]


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_random_json_is_survived(node: Any) -> None:
    """Random JSON with the words that nodes are made of gives an object or an error of holdall's."""
    assert outcomes(node) <= {"object", "refused"}


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_mutated_nodes_are_survived(data: st.DataObject) -> None:
    """A valid node with some members changed, dropped or swapped gives an object or an error of holdall's."""
    node = copy.deepcopy(ENCODED.node)
    top = data.draw(st.sampled_from(sorted(node)))
    section = {top: node[top]}
    if isinstance(node[top], list) and len(node[top]) > 3:
        start = data.draw(st.integers(0, len(node[top]) - 1))
        section = {top: node[top][start : start + 3]}
    for _ in range(data.draw(st.integers(1, 3))):
        places = parts(section)
        owner, key = data.draw(st.sampled_from(places))
        action = data.draw(st.sampled_from(["change", "drop", "swap"]))
        if action == "change":
            owner[key] = data.draw(JSON)
        elif action == "drop" and isinstance(owner, dict):
            del owner[key]
        else:
            other, place = data.draw(st.sampled_from(places))
            owner[key] = copy.deepcopy(other[place])
        if not section:
            break
    assert outcomes(section) <= {"object", "refused"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mutated_pickled_nodes_run_nothing(data: st.DataObject) -> None:
    """However the node of a pickled object is changed, without trust no byte of its stream is looked at."""
    node = copy.deepcopy(PICKLED.node)
    owner, key = data.draw(st.sampled_from(parts(node)))
    owner[key] = data.draw(JSON)
    fetched = Buffers(PICKLED)
    assert outcome(lambda: decode(node, fetched, trust=False)) in {"object", "refused"}
    stream = PICKLED.node["pickle"].get("buffer")
    assert stream is None or stream not in fetched.fetched


@settings(max_examples=50, deadline=None)
@given(TREES)
def test_truncated_buffers_are_survived(tree: Any) -> None:
    """Buffers that are shorter than they were give an object or an error of holdall's."""
    encoded = encode([tree, [0.5] * 600, "é" * 5000, np.arange(900), b"x" * 2000])
    buffers = Buffers(encoded)
    buffers.contents = [content[:-1] for content in buffers.contents]
    with pytest.raises(HoldallError):
        decode(encoded.node, buffers, trust=False)


@pytest.mark.parametrize(
    "node",
    [
        {"$": "ref", "id": 0},
        {"$": "shared", "id": 0, "value": {"$": "shared", "id": 0, "value": []}},
        {"$": "shared", "id": 0, "value": {"$": "tuple", "items": [{"$": "ref", "id": 0}]}},
        {"$": "shared", "id": 0, "value": {"$": "ref", "id": 0}},
        {"$": "ref", "id": True},
        {"$": "root", "value": {"$": "root", "value": 1, "shared": []}, "shared": []},
        {"$": "pick", "value": {"$": "pick", "value": [1], "key": 0}, "key": 0},
        {"$": "set", "items": [[1]]},
        {"$": "dict", "items": [[{"a": 1}, 1]]},
        {"$": "no-such-tag"},
        {"$": "nolibrary.Thing"},
        {"$": 5},
        {"$": None},
        {"$": "bytes", "base64": "!"},
        {"$": "bytes", "buffer": 10**30},
        {"$": "int", "hex": "zz"},
        {"$": "range", "start": 1, "stop": 2, "step": 0},
        {"$": "zoneinfo", "key": "../../etc/passwd"},
        {"$": "zoneinfo", "key": "/etc/passwd"},
        {"$": "fraction", "numerator": 1, "denominator": 0},
        {"$": "timedelta", "days": 10**12, "seconds": 0, "microseconds": 0},
        {"$": "deque", "maxlen": -1, "items": []},
        {"$": "defaultdict", "factory": "exec", "items": []},
        {"$": "timezone", "microseconds": 86_400_000_000},
    ],
)
def test_known_attack_is_a_format_error(node: Any) -> None:
    """Nodes that no version of holdall writes are refused as such."""
    with pytest.raises(HoldallError):
        decode(node, BUFFERS, trust=False)


def test_buffer_cannot_be_used_twice() -> None:
    """A short node cannot make a large object out of one buffer many times over."""
    encoded = encode(b"x" * 5000)
    with pytest.raises(FormatError, match="used twice"):
        decode([encoded.node] * 1000, Buffers(encoded), trust=False)


def test_nested_references_cannot_take_forever_to_hash() -> None:
    """Tuples of the same tuple twice, a hundred levels deep, are not hashed."""
    node: Any = {"$": "shared", "id": 0, "value": {"$": "tuple", "items": [1, 2]}}
    definitions = [node]
    for number in range(1, 100):
        pair = [{"$": "ref", "id": number - 1}, {"$": "ref", "id": number - 1}]
        definitions.append({"$": "shared", "id": number, "value": {"$": "tuple", "items": pair}})
    for hashing in (
        {"$": "set", "items": [{"$": "ref", "id": 99}]},
        {"$": "dict", "items": [[{"$": "ref", "id": 99}, 1]]},
    ):
        with pytest.raises(FormatError, match="too long to hash"):
            decode([*definitions, hashing], BUFFERS, trust=False)


@pytest.mark.parametrize(
    "wrap", [lambda node: [node], lambda node: {"a": node}, lambda node: {"$": "tuple", "items": [node]}]
)
def test_deep_node_is_refused(wrap: Any) -> None:
    """Nesting is bounded before Python's own limit is reached."""
    node: Any = 1
    for _ in range(5000):
        node = wrap(node)
    with pytest.raises(FormatError, match="levels deep"):
        decode(node, BUFFERS, trust=False)


def test_memory_is_bounded_by_the_node() -> None:
    """Sizes that a node claims are not believed before there are bytes to show for them."""
    claims = [
        {"$": "numpy.ndarray", "dtype": "<f8", "shape": [2**40], "base64": ""},
        {"$": "numpy.ndarray", "dtype": "<U99999999", "shape": [1], "base64": ""},
        {"$": "numpy.ndarray", "shape": [2**40], "objects": []},
        {"$": "numpy.scalar", "dtype": "|S999999999", "base64": ""},
        {"$": "deque", "maxlen": 2**40, "items": []},
        {"$": "range", "start": 0, "stop": 2**40, "step": 1},
    ]
    tracemalloc.start()
    found = set().union(*map(outcomes, claims))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found <= {"object", "refused"}
    assert peak < 5_000_000
