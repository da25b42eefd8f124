"""What no serializer knows is pickled: buffers beside the stream, code of ``__main__`` by value, and only with trust."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serializers._helpers import Buffers, roundtrip
from tests.serializers._shapes import Plain, Strict

from holdall_store.errors import FormatError, MissingDependencyError, UnsafeLoadError
from holdall_store.serializers import decode, encode, needs_trust


def test_pickle_is_refused_before_anything_is_fetched() -> None:
    """Without trust, a pickle is an error that says what to do, and no buffer travels."""
    encoded = encode({"a": np.arange(1000), "m": Plain(w=np.arange(1000))})
    buffers = Buffers(encoded)
    assert encoded.runs_code
    assert needs_trust(encoded.node)
    with pytest.raises(UnsafeLoadError, match="trust=True"):
        decode(encoded.node, buffers, trust=False)
    assert buffers.fetched == []


def test_trust_is_asked_once_and_only_where_it_matters() -> None:
    """A function that says whether code may run is called for a pickle, once, and not for plain values."""
    answers: list[bool] = []

    def trust() -> bool:
        answers.append(len(answers) == 0)
        return answers[-1]

    plain = encode({"a": [1, 2], "s": Strict(1)})
    assert decode(plain.node, Buffers(plain), trust=trust) == {"a": [1, 2], "s": Strict(1)}
    assert answers == []
    both = encode([Plain(a=1), Plain(b=2)])
    assert [vars(item) for item in decode(both.node, Buffers(both), trust=trust)] == [{"a": 1}, {"b": 2}]
    assert answers == [True]
    with pytest.raises(UnsafeLoadError, match="trust=True"):
        decode(both.node, Buffers(both), trust=trust)


def test_record_that_lies_about_pickles_is_refused() -> None:
    """A pickle that hides deeper in the tree than holdall puts it does not run either."""
    encoded = encode(Plain(a=1))
    hidden = [{"a": encoded.node}]
    assert not needs_trust(hidden)
    with pytest.raises(FormatError):
        decode(hidden, Buffers(encoded), trust=False)
    with pytest.raises(UnsafeLoadError):
        decode([{"$": "pickle", "item": 0}], Buffers(encoded), trust=False)
    with pytest.raises(FormatError):
        decode([{"$": "pickle", "item": 0}], Buffers(encoded), trust=True)


def test_large_buffers_are_beside_the_stream() -> None:
    """Arrays in a pickled object are borrowed, cut between items, and dedup like any other."""
    weights = np.arange(10_000, dtype=np.float32)
    encoded = encode(Plain(w=weights, small=np.arange(3)))
    view = encoded.buffers[0].data
    assert isinstance(view, memoryview)
    assert np.shares_memory(np.frombuffer(view, np.uint8), weights)
    assert [(source.size, source.item_bytes, source.dense) for source in encoded.buffers] == [(40_000, 4, True)]
    back = roundtrip(Plain(w=weights, small=np.arange(3)))
    assert np.array_equal(back.w, weights)


def test_arrays_in_pickles_are_as_writable_as_they_were() -> None:
    """A read-only array stays read-only, any other can be written to."""
    frozen = np.arange(5000)
    frozen.flags.writeable = False
    back = roundtrip(Plain(a=frozen, b=np.arange(5000), c=np.asfortranarray(np.ones((80, 90)))))
    assert not back.a.flags.writeable
    back.b[0] = 7
    assert back.c.flags.f_contiguous


def test_same_object_gives_the_same_bytes() -> None:
    """Saving an object twice stores nothing new."""
    model = Plain(w=np.arange(5000), names=["a", "b"], nested=Plain(x=1))
    first, second = encode({"m": model, "n": [1]}), encode({"m": model, "n": [1]})
    assert first.node == second.node
    assert Buffers(first).contents == Buffers(second).contents


def test_libraries_of_a_pickle_are_noted() -> None:
    """Versions of the packages that a pickle names are kept; Python's own modules have none."""
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.LinearRegression().fit(np.eye(3), np.ones(3))
    encoded = encode({"model": model})
    assert encoded.libraries.keys() == {"sklearn", "numpy"}
    assert encode(model).type_name == "sklearn.linear_model.LinearRegression"
    assert np.array_equal(roundtrip(model).coef_, model.coef_)
    assert encode(functools.partial(print, 1)).libraries == {}


def vanishing(monkeypatch: pytest.MonkeyPatch, version: str | None) -> tuple[types.ModuleType, Any]:
    """Return a module that passes for an installed library, and an object of a class of its own."""
    module = types.ModuleType("vanishing_library")
    if version:
        module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vanishing_library", module)
    exec("class Model:\n    pass\n", vars(module))
    return module, module.Model()


def test_missing_library_is_named_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the line that installs what the object was saved with."""
    _, model = vanishing(monkeypatch, "1.8.0")
    encoded = encode(model)
    assert encoded.libraries == {"vanishing_library": "1.8.0"}
    monkeypatch.delitem(sys.modules, "vanishing_library")
    with pytest.raises(MissingDependencyError, match=r"pip install vanishing_library==1\.8\.0"):
        decode(encoded.node, Buffers(encoded), trust=True, libraries=encoded.libraries)


def test_missing_module_of_ones_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is no known library is to be put on the path."""
    _, model = vanishing(monkeypatch, None)
    encoded = encode(model)
    monkeypatch.delitem(sys.modules, "vanishing_library")
    with pytest.raises(
        MissingDependencyError, match=r"'vanishing_library', which cannot be imported.*PYTHONPATH"
    ) as caught:
        decode(encoded.node, Buffers(encoded), trust=True, libraries=encoded.libraries)
    assert "pip install" not in str(caught.value)


def test_other_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If unpickling fails and a library has another version, the error says both, and how to get the old one."""
    module, model = vanishing(monkeypatch, "1.8.0")
    encoded = encode(model)
    del module.Model
    module.__version__ = "1.9.0"  # type: ignore[attr-defined]
    with pytest.raises(FormatError, match=r"saved with vanishing_library 1\.8\.0 \(here: 1\.9\.0\): pip install"):
        decode(encoded.node, Buffers(encoded), trust=True, libraries=encoded.libraries)
    module.__version__ = "1.8.0"  # type: ignore[attr-defined]
    with pytest.raises(FormatError, match="classes may have changed"):
        decode(encoded.node, Buffers(encoded), trust=True, libraries=encoded.libraries)


def test_install_names_differ_from_import_names() -> None:
    """Libraries are installed under the name that pip knows."""
    with pytest.raises(MissingDependencyError, match=r"pip install opencv-python==4\.1"):
        raise_missing("cv2", "4.1")


def raise_missing(library: str, version: str) -> None:
    """Raise the error for a library that is not installed."""
    from holdall_store.serializers._libraries import missing

    raise missing(library, version)


@pytest.mark.parametrize("cut", [0, 1, 10, 60])
def test_damaged_pickle_is_a_format_error(cut: int) -> None:
    """A stream that ends early is no traceback from inside pickle."""
    encoded = encode(Plain(a="x" * 2000))
    buffers = Buffers(encoded)
    buffers.contents = [content[:cut] for content in buffers.contents]
    with pytest.raises(FormatError, match="cannot be unpickled"):
        decode(encoded.node, buffers, trust=True)


SAVE = """
import json, sys
from dataclasses import dataclass
from holdall_store.serializers import encode
THRESHOLD = 3
@dataclass
class Settings:
    rate: float
class Model:
    def __init__(self, settings): self.settings = settings
    def predict(self, x): return helper(x) + self.settings.rate
def helper(x): return x * THRESHOLD
encoded = encode({"model": Model(Settings(0.5)), "double": lambda x: 2 * x, "plain": [1, 2]})
print(json.dumps([encoded.node, [bytes(source.data).hex() for source in encoded.buffers], encoded.libraries]))
"""

LOAD = """
import json, sys
from holdall_store.serializers import decode
node, buffers, libraries = json.load(open(sys.argv[1]))
fetch = lambda numbers: [memoryview(bytearray.fromhex(buffers[number])) for number in numbers]
back = decode(node, fetch, trust=True, libraries=libraries)
print(back["model"].predict(2), back["double"](4), back["plain"], type(back["model"].settings).__name__)
"""


def environment() -> dict[str, str]:
    """Return an environment in which a new process imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def run_python(code: str, *arguments: str) -> str:
    """Run code as the ``__main__`` of a new process."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    return result.stdout


def test_code_of_main_travels(tmp_path: Path) -> None:
    """Classes, functions and dataclasses of a script load in a process that never saw it."""
    saved = run_python(SAVE)
    assert "cloudpickle" in json.loads(saved)[2]
    assert json.loads(saved)[2]["python"] == sys.version.split()[0]
    (tmp_path / "saved.json").write_text(saved, encoding="utf-8")
    assert run_python(LOAD, str(tmp_path / "saved.json")).split() == ["6.5", "8", "[1,", "2]", "Settings"]


SPAWN = """
import json, multiprocessing, sys
from dataclasses import dataclass
from holdall_store.serializers import encode
@dataclass
class Settings:
    rate: float
class Model:
    def __init__(self, settings): self.settings = settings
    def predict(self, x): return x + self.settings.rate
def save():
    encoded = encode({"model": Model(Settings(0.5)), "double": Model.predict, "plain": [1, 2]})
    return [encoded.node, [bytes(source.data).hex() for source in encoded.buffers], encoded.libraries]
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps(pool.apply(save)))
"""

LOAD_SPAWNED = LOAD.replace('back["double"](4)', 'back["double"](back["model"], 4)')


def test_code_of_a_spawned_process_travels(tmp_path: Path) -> None:
    """Classes of a script load elsewhere also if a worker process of the script saved them."""
    script = tmp_path / "script.py"
    script.write_text(SPAWN, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment()
    )
    (tmp_path / "saved.json").write_text(result.stdout, encoding="utf-8")
    assert run_python(LOAD_SPAWNED, str(tmp_path / "saved.json")).split() == ["2.5", "4.5", "[1,", "2]", "Settings"]


def test_sets_are_saved_alike_in_every_process() -> None:
    """Hash randomization of strings does not reach the store."""
    code = (
        "import json; from holdall_store.serializers import encode\n"
        "print(json.dumps(encode([set(map(str, range(50))), {('a', 1), 'b', frozenset('xyz'), b'c'}]).node))"
    )
    assert run_python(code) == run_python(code)


def test_import_pulls_in_no_library() -> None:
    """Importing the serializers, and saving plain values, imports neither numpy nor cloudpickle."""
    code = (
        "import sys; from holdall_store.serializers import encode, decode\n"
        "encoded = encode({'a': [1, 'b', (2.5, None)]})\n"
        "decode(encoded.node, None, trust=False)\n"
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'cloudpickle', 'torch') if name in sys.modules])"
    )
    assert run_python(code).strip() == "[]"
