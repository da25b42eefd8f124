"""An object that cannot be saved is refused with the way to the culprit, the reason and the way out."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serializers._helpers import roundtrip
from tests.serializers._shapes import Box, Plain

from holdall_store.errors import UnsupportedTypeError
from holdall_store.serializers import encode


def generator() -> Any:
    """Return a generator."""
    return (number for number in range(3))


def closing_over(lock: Any) -> Callable[[], Any]:
    """Return a function that holds on to a lock."""
    return lambda: lock


class Refusing:
    """An object that cannot be pickled, for a reason of its own."""

    def __reduce__(self) -> Any:
        """Refuse."""
        raise ValueError("not on a Sunday")


class Looping(Plain):
    """An object that points back to its owner."""


def looping() -> Looping:
    """Return an object with a lock that is reached through a cycle."""
    model = Looping()
    model.callbacks = [Plain(), Plain(owner=model)]  # type: ignore[attr-defined]
    model.callbacks[1]._lock = threading.Lock()  # type: ignore[attr-defined]
    return model


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"loaders": [threading.Lock()]}, r"config\['loaders'\]\[0\]: cannot save a _thread.lock: it guards threads"),
        ({"a": (1, generator())}, r"config\['a'\]\[1\]: cannot save a generator: it can be read only once"),
        ([sys], r"config\[0\]: cannot save a module: it is code to import"),
        (memoryview(b"a"), r"config: cannot save a memoryview: .* bytes\(\.\.\.\)"),
        (Box(generator()), r"config\.content: cannot save a generator"),
        (Plain(rows=[1, generator()]), r"config\.rows\[1\]: cannot save a generator"),
        ({"m": Plain(view=memoryview(b"a"))}, r"config\['m'\]\.view: cannot save a memoryview"),
        (looping(), r"config\.callbacks\[1\]\._lock: cannot save a _thread.lock"),
        ({"f": closing_over(threading.Lock())}, r"config\['f'\] \(its variable 'lock'\): cannot save a _thread.lock"),
        (Plain(stop=threading.Event()), r"config\.stop: cannot save a threading.Event: it guards threads"),
        (Plain(x=Refusing()), r"config\.x: cannot save a .*Refusing: pickling it failed: not on a Sunday"),
        ({1, (2, threading.Lock())}, r"config element .*\[1\]: cannot save a _thread.lock"),
        ({(1, threading.Lock()): 1}, r"config key .*\[1\]: cannot save a _thread.lock"),
    ],
)
def test_culprit_is_named(value: Any, message: str) -> None:
    """The message says where the part is that cannot be saved, and why."""
    with pytest.raises(UnsupportedTypeError, match=message) as caught:
        encode(value, "config")
    assert "register a serializer" in str(caught.value)
    assert "'holdall.serializers'" in str(caught.value)


def test_open_files_are_refused_wherever_they_are(tmp_path: Path) -> None:
    """A file is not silently turned into what it contains; the standard streams are what they are elsewhere."""
    path = tmp_path / "a.txt"
    path.write_text("content", encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        with pytest.raises(
            UnsupportedTypeError, match=r"value\['f'\]: cannot save an? _io.TextIOWrapper: an open file"
        ):
            encode({"f": file})
        with pytest.raises(UnsupportedTypeError, match=r"value\.log: cannot save an? _io.TextIOWrapper: an open file"):
            encode(Plain(log=file))
    with path.open("rb") as binary, pytest.raises(UnsupportedTypeError, match="an open file"):
        encode([binary])


def test_endless_nesting_is_refused() -> None:
    """Nesting that even pickle cannot take is an error of ours, with a path that can be read."""
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(UnsupportedTypeError, match="nested too deeply") as caught:
        encode(deep)
    assert len(str(caught.value)) < 1000


def test_modules_inside_functions_are_no_culprits() -> None:
    """A function that uses a module by name can be saved."""
    assert roundtrip(lambda: np.ones(2).sum())() == 2


def test_refused_object_leaves_nothing_behind() -> None:
    """An object that could not be saved can be saved once the culprit is gone."""
    config: dict[str, Any] = {"a": [1], "lock": threading.Lock()}
    with pytest.raises(UnsupportedTypeError):
        encode(config)
    del config["lock"]
    assert encode(config).node == {"a": [1]}
