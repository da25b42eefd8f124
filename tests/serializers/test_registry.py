"""Serializers are found by the name of a library, ours or an entry point's, and nothing is imported for nothing."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from tests.serializers._helpers import Buffers, roundtrip_safely

from holdall_store.errors import FormatError, MissingDependencyError
from holdall_store.serializers import Decoder, Encoder, Node, Serializer, _registry, decode, encode


@dataclass
class Reading:
    """An object of a library of somebody else's."""

    values: list[float]


class ReadingSerializer(Serializer):
    """Saves readings as their values."""

    tag: ClassVar[str] = "instruments.Reading"

    def handles(self, obj: object) -> bool:
        """Take readings."""
        return isinstance(obj, Reading)

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        """Encode the values."""
        if obj.values == ["broken"]:
            raise encoder.unsupported(obj, "it is broken")
        return {"values": encoder.node(obj.values, ".values")}

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        """Make a reading of the values."""
        return Reading(decoder.node(node["values"]))


SERIALIZERS = (ReadingSerializer(),)


@pytest.fixture
def instruments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend that a library is installed that registers a serializer for its type."""
    entry = importlib.metadata.EntryPoint("instruments", f"{__name__}:SERIALIZERS", "holdall.serializers")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else [])
    monkeypatch.setattr(Reading, "__module__", "instruments.types")
    clear()
    yield
    clear()


def clear() -> None:
    """Forget which serializers have been found."""
    _registry._of_library.cache_clear()
    _registry._entry_points.cache_clear()


@pytest.mark.usefixtures("instruments")
def test_entry_point_serializes_its_types() -> None:
    """A serializer of somebody else's is used for its types, keeps identity, and needs no trust."""
    reading = Reading([1.5, 2.5])
    back = roundtrip_safely({"a": reading, "b": [reading]})
    assert type(back["a"]) is Reading
    assert back["a"].values == [1.5, 2.5]
    assert back["a"] is back["b"][0]
    assert encode(reading).node["$"] == "instruments.Reading"  # and not the dataclass that it is


@pytest.mark.usefixtures("instruments")
def test_serializer_refuses_with_the_path() -> None:
    """`Encoder.unsupported` knows where in the object it is."""
    with pytest.raises(TypeError, match=r"config\['a'\]\[1\]: cannot save .*Reading: it is broken"):
        encode({"a": [1, Reading(["broken"])]}, "config")  # type: ignore[list-item]


@pytest.mark.usefixtures("instruments")
def test_hostile_node_of_an_entry_point_is_a_format_error() -> None:
    """What somebody else's serializer does not check ends in an error of ours all the same."""
    with pytest.raises(FormatError, match="KeyError"):
        decode({"$": "instruments.Reading"}, lambda numbers: [], trust=False)


def test_unknown_tags_are_format_errors() -> None:
    """A tag that nothing here knows says what could be done about it."""
    with pytest.raises(FormatError, match="entry point group"):
        decode({"$": "unheard_of.Thing"}, lambda numbers: [], trust=False)
    with pytest.raises(FormatError, match=r"upgrade holdall.*Did you mean 'numpy.ndarray'"):
        decode({"$": "numpy.ndaray"}, lambda numbers: [], trust=False)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding an object of a library that is not installed says which line installs it."""
    monkeypatch.setattr(_registry, "LIBRARIES", {"absent_library": "absent_library._holdall"})
    clear()
    with pytest.raises(MissingDependencyError, match=r"pip install absent_library==2\.0"):
        decode({"$": "absent_library.T"}, lambda numbers: [], trust=False, libraries={"absent_library": "2.0"})
    clear()


def test_library_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that lacks what we need of it is to be upgraded."""
    module = types.ModuleType("old_library")
    monkeypatch.setitem(sys.modules, "old_library", module)

    def fail(name: str) -> Any:
        raise ImportError("cannot import name 'new_thing'", name=name)

    monkeypatch.setattr(_registry, "LIBRARIES", {"old_library": "old_library._holdall"})
    monkeypatch.setattr(importlib, "import_module", fail)
    clear()
    with pytest.raises(MissingDependencyError, match=r"new_thing.*pip install -U old_library"):
        decode({"$": "old_library.T"}, lambda numbers: [], trust=False)
    clear()


def test_every_tag_belongs_to_its_library() -> None:
    """A tag begins with the library whose types it is for, so that it can be found again."""
    for library in _registry.LIBRARIES:
        if library in ("numpy", "pandas", "pyarrow"):
            serializers = _registry._of_library(library)
            assert serializers
            assert all(serializer.tag.startswith(f"{library}.") for serializer in serializers)


def test_buffers_are_fetched_at_once() -> None:
    """A tree of many arrays is one request, not one for each."""
    import numpy as np

    encoded = encode({"a": [np.arange(1000), np.ones(500)], "b": b"x" * 5000, "c": "é" * 5000})
    buffers = Buffers(encoded)
    calls: list[list[int]] = []

    def fetch(numbers: Any) -> list[memoryview]:
        calls.append(list(numbers))
        return buffers(numbers)

    decode(encoded.node, fetch, trust=False)
    assert calls == [[0, 1, 2, 3]]
