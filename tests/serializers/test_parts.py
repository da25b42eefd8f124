"""Parts of a dict or list load by themselves, with all that they refer to and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.serializers._helpers import Buffers, roundtrip, through_json
from tests.serializers._shapes import Plain

from holdall_store.errors import NotFoundError, UnsafeLoadError, UnsupportedTypeError
from holdall_store.serializers import child, decode, encode, keys, needs_trust


def load_part(obj: Any, key: str | int, trust: bool = True) -> tuple[Any, list[int]]:
    """Return one part of an object as a store gives it back, and the buffers that were fetched for it."""
    encoded = encode(obj)
    buffers = Buffers(encoded)
    node = through_json(child(through_json(encoded.node), key))
    return decode(node, buffers, trust=trust, libraries=encoded.libraries), buffers.fetched


def test_part_fetches_its_own_buffers_alone() -> None:
    """One tensor of a checkpoint costs one tensor."""
    weights = {f"layer{index}": np.full(1000, index) for index in range(5)}
    back, fetched = load_part(weights, "layer3", trust=False)
    assert np.array_equal(back, weights["layer3"])
    assert fetched == [3]
    assert load_part(list(weights.values()), -1)[1] == [4]
    assert load_part(tuple(weights.values()), 0)[1] == [0]


def test_keys_are_those_of_the_object() -> None:
    """Dicts by key, lists and tuples by index, anything else not at all."""
    assert keys(encode({"b": 1, "a": 2}).node) == ["b", "a"]
    assert keys(encode([1, 2]).node) == range(2)
    assert keys(encode((1, 2)).node) == range(2)
    assert keys(encode({"m": Plain()}).node) == ["m"]
    for obj in ({1: 2}, {1}, "ab", Plain(), np.arange(1000), [0.5] * 1000):
        assert keys(encode(obj).node) is None


def test_unknown_part_is_not_found() -> None:
    """The error names the nearest key."""
    with pytest.raises(NotFoundError, match="Did you mean 'alpha'"):
        child(encode({"alpha": 1}).node, "alpa")
    with pytest.raises(NotFoundError, match="2 items"):
        child(encode([1, 2]).node, 2)
    with pytest.raises(NotFoundError, match="no parts"):
        child(encode(np.arange(3)).node, "a")


@pytest.mark.parametrize("key", ["a", "b", "c", "d"])
def test_part_with_shared_objects_is_whole(key: str) -> None:
    """A part that refers to objects which stand elsewhere brings them along."""
    inner = [1]
    outer = [inner, {"x": inner}]
    whole = {"a": outer, "b": inner, "c": [inner, outer], "d": {"only": inner}}
    back, _ = load_part(whole, key, trust=False)
    assert back == whole[key]
    if key == "c":
        assert back[1][0] is back[0]


def test_part_of_a_cycle_is_picked_from_the_whole() -> None:
    """A part that refers to the whole is the same graph as the part of the loaded whole."""
    whole: dict[str, Any] = {"n": 1}
    whole["parts"] = [whole]
    back, _ = load_part(whole, "parts", trust=False)
    assert back[0]["parts"] is back
    assert load_part(whole, "n", trust=False)[0] == 1
    looped: list[Any] = [[], Plain()]
    looped[0].append(looped)
    part = child(encode(looped).node, 0)
    assert needs_trust(part)


def test_part_without_pickles_needs_no_trust() -> None:
    """In a dict with a pickled model, the config loads without trust, and the model does not."""
    array = np.arange(1000)
    whole = {"config": {"lr": 0.1}, "model": Plain(w=np.arange(2000)), "array": array, "same": Plain(w=array)}
    assert load_part(whole, "config", trust=False) == ({"lr": 0.1}, [])
    back, fetched = load_part(whole, "array", trust=False)
    assert np.array_equal(back, array)
    assert len(fetched) == 1
    with pytest.raises(UnsafeLoadError):
        load_part(whole, "model", trust=False)
    assert np.array_equal(load_part(whole, "model")[0].w, np.arange(2000))
    assert np.array_equal(load_part(whole, "same")[0].w, array)


def test_columns_are_those_of_tables() -> None:
    """Asking for columns of what has none is an error that says so."""
    for obj in ([1], {"a": 1}, np.arange(3), "text"):
        with pytest.raises(UnsupportedTypeError, match="columns"):
            roundtrip(obj, columns=["a"])
