"""What was one object comes back as one object, and what contained itself still does."""

from __future__ import annotations

import collections
import types
from typing import Any

import numpy as np
import pytest
from tests.serializers._helpers import roundtrip, roundtrip_safely
from tests.serializers._shapes import Box, Config, Plain, Point

from holdall_store.serializers import encode


@pytest.mark.parametrize(
    "shared",
    [
        *([1], {"a": 1}, {1: 2}, {1, 2}, bytearray(b"a"), bytearray(5000), collections.deque([1])),
        *(
            collections.OrderedDict(a=1),
            types.SimpleNamespace(a=1),
            Config(),
            Point(1, []),
            np.arange(3),
            np.arange(999),
        ),
        *(tuple(range(50)), frozenset(range(50)), [0.5] * 1000, ([1], 2), collections.defaultdict(list)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_shared_object_stays_shared(shared: Any) -> None:
    """An object that occurs several times is one object afterwards, wherever it occurs."""
    back = roundtrip_safely({"a": shared, "b": [shared, (shared,)], 3: Box(shared)})
    assert back["a"] is back["b"][0] is back["b"][1][0] is back[3].content
    assert type(back["a"]) is type(shared)


def test_equal_objects_stay_apart() -> None:
    """Two equal lists are two lists afterwards."""
    first, second = roundtrip_safely([[1], [1]])
    assert first is not second


def test_temporary_objects_do_not_pass_for_each_other() -> None:
    """Objects made while encoding, one after the other in the same place of memory, are told apart."""
    lazy = [{"a": [number]} for number in range(200)]
    assert roundtrip_safely(tuple(lazy)) == tuple(lazy)
    array = np.empty(100, dtype=object)
    for number in range(100):
        array[number] = (number, [number])
    assert roundtrip_safely(array).tolist() == array.tolist()


@pytest.mark.parametrize("make", [list, dict, collections.deque, collections.OrderedDict, types.SimpleNamespace])
def test_containers_may_contain_themselves(make: Any) -> None:
    """A cycle through mutable containers is a cycle afterwards, without pickle."""
    container = make()
    inner: list[Any] = [container]
    if isinstance(container, (list, collections.deque)):
        container.append(inner)
    elif isinstance(container, dict):
        container["x"] = inner
    else:
        container.x = inner
    back = roundtrip_safely(container)
    found = back.x if make is types.SimpleNamespace else back["x"] if isinstance(back, dict) else back[0]
    assert found[0] is back
    assert type(back) is make


def test_cycles_through_immutable_objects_survive() -> None:
    """A tuple or a dataclass that contains itself goes through one pickle, and is right."""
    inner: list[Any] = []
    looped = (inner,)
    inner.append(looped)
    back = roundtrip(looped)
    assert back[0][0] is back
    box: Box[Any] = Box(None)
    box.content = [box]
    back = roundtrip({"box": box})["box"]
    assert back.content[0] is back
    array = np.empty(1, dtype=object)
    array[0] = [array]
    back = roundtrip(array)
    assert back[0][0] is back


def test_pickled_objects_share_identity() -> None:
    """Objects that only pickle knows are pickled together, so that what they share is shared."""
    common = Plain(a=1)
    back = roundtrip({"a": Plain(c=common), "b": [Plain(c=common)], "c": common, "d": common})
    assert back["a"].c is back["b"][0].c is back["c"] is back["d"]


@pytest.mark.parametrize("leaf", [np.arange(10), np.arange(5000.0), bytearray(3000)], ids=["short", "long", "bytes"])
def test_leaf_of_the_tree_is_shared_with_a_pickle(leaf: Any) -> None:
    """An array in the tree and in a pickled object is stored once, and is one array afterwards."""
    obj = {"before": Plain(w=leaf), "leaf": leaf, "again": [leaf]}
    encoded = encode(obj)
    assert encoded.node["$"] == "root"
    assert sum(source.size for source in encoded.buffers) <= memoryview(leaf).nbytes
    back = roundtrip(obj)
    assert back["before"].w is back["leaf"] is back["again"][0]
    assert bytes(back["leaf"]) == bytes(leaf)


@pytest.mark.parametrize(
    "shared", [{"lr": 1}, [1], {1}, Config(), types.SimpleNamespace(a=1)], ids=lambda v: type(v).__name__
)
def test_container_is_shared_with_a_pickle(shared: Any) -> None:
    """A container in the tree and in a pickled object is one container afterwards."""
    back = roundtrip({"params": shared, "model": Plain(params=shared)})
    assert back["model"].params is back["params"]
    assert back["params"] == shared


def test_container_of_pickled_objects_is_shared_through_an_array() -> None:
    """An array of objects that reaches a pickled object which reaches the array back is still right."""
    array = np.empty(2, dtype=object)
    model = Plain(array=array)
    array[0] = model
    back = roundtrip([array, model])
    assert back[0][0] is back[1]
    assert back[1].array is back[0]


def test_exponentially_shared_tuples_are_small() -> None:
    """Tuples of the same tuple twice, many times over, take one node each."""
    value: Any = tuple(range(20))
    for _ in range(40):
        value = (value, value)
    encoded = encode(value)
    assert len(str(encoded.node)) < 10_000
    back = roundtrip(value)
    for _ in range(40):
        assert back[0] is back[1]
        back = back[0]
    assert back == tuple(range(20))
