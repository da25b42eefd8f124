"""Objects of importable classes need no pickle, and no code of the class runs to make them again."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from tests.serializers import _shapes
from tests.serializers._helpers import roundtrip, roundtrip_safely
from tests.serializers._shapes import (
    Box,
    Color,
    Config,
    DictLike,
    Labelled,
    ListSubclass,
    Mode,
    Pair,
    PairWithDict,
    Peculiar,
    Plain,
    Point,
    Reduced,
    Right,
    Strict,
)

from holdall_store.errors import FormatError, HoldallError, MissingDependencyError, UnsafeLoadError
from holdall_store.serializers import decode, encode

MODULE = _shapes.__name__


def no_buffers(numbers: Any) -> Any:
    """Stand for a store whose buffers must not be asked for."""
    pytest.fail(f"buffers {numbers} were fetched")


def decode_untrusted(node: Any) -> Any:
    """Decode a node that needs no buffers."""
    return decode(node, no_buffers, trust=False)


def test_dataclass_keeps_more_than_its_fields() -> None:
    """Fields that ``__init__`` does not take, and attributes that are no fields, come back."""
    config = Config(0.5, [1])
    config.hidden = 9
    config.note = "later"  # type: ignore[attr-defined]
    back = roundtrip_safely(config)
    assert vars(back) == vars(config)
    assert roundtrip_safely(Box({"a": 1})) == Box({"a": 1})


def test_dataclass_is_made_without_init() -> None:
    """``__post_init__`` does not run when an object is loaded."""
    strict = Strict(1)
    before = list(_shapes.CALLS)
    assert roundtrip_safely(strict) == strict
    assert before == _shapes.CALLS


def test_slot_that_is_empty_stays_empty() -> None:
    """A slot that was never set is not set afterwards."""
    point = object.__new__(Point)
    object.__setattr__(point, "x", 1.0)
    back = roundtrip_safely(point)
    assert back.x == 1.0
    assert not hasattr(back, "y")


def define(monkeypatch: pytest.MonkeyPatch, body: str) -> Any:
    """Return the class ``Settings`` of a module of one's own, as that module says today."""
    module = types.ModuleType("own_settings")
    monkeypatch.setitem(sys.modules, "own_settings", module)
    lines = "".join(f"    {line}\n" for line in body.split("; "))
    exec(f"from dataclasses import dataclass, field\n@dataclass\nclass Settings:\n{lines}", vars(module))
    return module.Settings


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            "rate: float; depth: int",
            r"own_settings:Settings have changed .*gone is 'lr'; new is 'rate'.*code of that time",
        ),
        ("rate: float = 0.1; depth: int = 3", r"gone is 'lr'; new is 'rate'"),
        ("depth: int", r"gone is 'lr'\."),
        ("lr: float; depth: int; seed: int", r"new is 'seed', which has no default"),
    ],
)
def test_fields_that_changed_are_named(monkeypatch: pytest.MonkeyPatch, body: str, error: str) -> None:
    """An object is not loaded into a class that lost one of its fields, or that needs one that it does not have."""
    node = encode(define(monkeypatch, "lr: float; depth: int")(0.5, 2)).node
    define(monkeypatch, body)
    with pytest.raises(FormatError, match=error):
        decode_untrusted(node)


def test_new_fields_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that the class was given since, with a default, has it; a factory of one's own takes trust."""
    node = encode(define(monkeypatch, "lr: float")(0.5)).node
    new = "lr: float; seed: int = 7; tags: list = field(default_factory=list); cache: int = field(init=False)"
    define(monkeypatch, new)
    assert vars(decode_untrusted(node)) == {"lr": 0.5, "seed": 7, "tags": []}

    define(monkeypatch, "lr: float; sizes: list = field(default_factory=lambda: [64, 32])")
    with pytest.raises(UnsafeLoadError, match=r"new field 'sizes'.*trust=True"):
        decode_untrusted(node)
    assert decode(node, no_buffers, trust=True).sizes == [64, 32]


def define_tuple(monkeypatch: pytest.MonkeyPatch, body: str) -> Any:
    """Return the named tuple ``Row`` of a module of one's own, as that module says today."""
    module = types.ModuleType("own_rows")
    monkeypatch.setitem(sys.modules, "own_rows", module)
    lines = "".join(f"    {line}\n" for line in body.split("; "))
    exec(f"from typing import NamedTuple\nclass Row(NamedTuple):\n{lines}", vars(module))
    return module.Row


def test_fields_of_named_tuples_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields may change places and come with a default; one that is gone, or new without a default, is named."""
    node = encode(define_tuple(monkeypatch, "lr: float; depth: int")(0.5, 2)).node
    assert node["fields"] == ["lr", "depth"]
    for body, expected in [
        ("depth: int; lr: float", {"depth": 2, "lr": 0.5}),
        ("seed: int = 7; depth: int = 0; lr: float = 0", {"seed": 7, "depth": 2, "lr": 0.5}),
    ]:
        define_tuple(monkeypatch, body)
        assert decode_untrusted(node)._asdict() == expected
    for body, error in [
        ("rate: float; depth: int", r"own_rows:Row have changed .*gone is 'lr'; new is 'rate'.*code of that time"),
        ("depth: int", r"gone is 'lr'\."),
        ("lr: float; depth: int; seed: int", r"new is 'seed', which has no default"),
    ]:
        define_tuple(monkeypatch, body)
        with pytest.raises(FormatError, match=error):
            decode_untrusted(node)


def test_named_tuples_without_names_of_fields_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An early version stored no names: then only the number of fields is compared."""
    row = define_tuple(monkeypatch, "lr: float; depth: int")
    node = {"$": "namedtuple", "class": "own_rows:Row", "items": [0.5, 2]}
    assert decode_untrusted(node) == row(0.5, 2)


def test_enum_members_are_the_same_objects() -> None:
    """A member, by any of its names, and a combination of flags, are singletons."""
    assert roundtrip_safely(Color.CRIMSON) is Color.RED
    assert roundtrip_safely(Right.READ | Right.WRITE) is Right.READ | Right.WRITE
    assert roundtrip_safely(Mode(9)) == Mode(9)
    assert encode(Color.RED).node == {"$": "enum", "class": f"{MODULE}:Color", "name": "RED"}


@pytest.mark.parametrize(
    "value",
    [Reduced(1), DictLike(2), Plain(a=1), ListSubclass([1]), Peculiar(0), Color, Plain.__init__, int, len],
    ids=lambda value: type(value).__name__,
)
def test_what_a_tree_would_not_keep_is_pickled(value: Any) -> None:
    """Classes that say how they are pickled, hold state in a base, or run code to be found, are pickled."""
    encoded = encode(value)
    assert encoded.runs_code
    back = roundtrip(value)
    assert type(back) is type(value)
    if isinstance(value, Reduced):
        assert back == Reduced(2)


def test_named_tuple_with_attributes_is_pickled() -> None:
    """A named tuple is a tree as long as it is nothing but its fields."""
    pair = PairWithDict(1, 2)
    assert roundtrip_safely(pair) == pair
    assert type(roundtrip_safely(pair)) is PairWithDict
    vars(pair)["extra"] = 3
    assert encode(pair).runs_code
    assert roundtrip(pair).extra == 3
    assert roundtrip_safely(Labelled("a", [1])).value == [1]


def test_local_class_is_pickled() -> None:
    """A class that another process cannot import goes by value."""
    local = types.new_class("Local", (Config,))
    assert encode(local()).runs_code
    assert roundtrip(local()).lr == 0.1


def test_class_of_a_module_that_is_not_loaded_takes_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Importing a module because a node names it would run it."""
    (tmp_path / "late_module.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Late:\n    x: int = 1\n", encoding="utf-8"
    )
    node = {"$": "dataclass", "class": "late_module:Late", "state": {"x": 5}}
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnsafeLoadError, match=r"import late_module first.*trust=True"):
        decode_untrusted(node)
    assert "late_module" not in sys.modules
    assert decode(node, no_buffers, trust=True).x == 5
    assert decode_untrusted(node).x == 5
    monkeypatch.delitem(sys.modules, "late_module")


def test_missing_module_of_a_class_is_named() -> None:
    """With trust, a module that is not there is what is missing; only of a known library it is how to install it."""
    node = {"$": "dataclass", "class": "no_such_package.sub:Late", "state": {}}
    with pytest.raises(MissingDependencyError, match=r"no_such_package.*PYTHONPATH") as caught:
        decode(node, no_buffers, trust=True)
    assert "pip install" not in str(caught.value)
    with pytest.raises(MissingDependencyError, match=r"pip install no_such_package==1\.2"):
        decode(node, no_buffers, trust=True, libraries={"no_such_package": "1.2"})


@pytest.mark.parametrize(
    ("node", "error"),
    [
        ({"$": "dataclass", "class": f"{MODULE}:Plain", "state": {}}, "no longer the kind of class"),
        ({"$": "dataclass", "class": f"{MODULE}:Reduced", "state": {"x": 1}}, "no longer the kind of class"),
        ({"$": "dataclass", "class": f"{MODULE}:Confg", "state": {}}, "Did you mean 'Config'"),
        ({"$": "dataclass", "class": f"{MODULE}:CALLS", "state": {}}, "is no class"),
        ({"$": "dataclass", "class": f"{MODULE}:Point", "state": {"z": 1}}, "gone is 'z'; new is 'x', 'y'"),
        (
            {"$": "dataclass", "class": f"{MODULE}:Point", "state": {"z": 1}, "fields": ["x", "y"]},
            "no place for 'z'",
        ),
        ({"$": "dataclass", "class": f"{MODULE}:Point", "state": {}, "fields": "xy"}, "not a list of names"),
        ({"$": "dataclass", "class": f"{MODULE}:Point", "state": {"a b": 1}}, "attributes"),
        ({"$": "dataclass", "class": "os.system", "state": {}}, "names no class"),
        ({"$": "dataclass", "class": "builtins:exec", "state": {}}, "is no class"),
        ({"$": "namedtuple", "class": f"{MODULE}:Pair", "items": [1]}, "has 2 fields, and had 1"),
        ({"$": "namedtuple", "class": f"{MODULE}:Pair", "items": [1, 2], "fields": ["left"]}, "do not agree"),
        ({"$": "namedtuple", "class": f"{MODULE}:Pair", "items": [1, 2], "fields": ["left"] * 2}, "do not agree"),
        ({"$": "namedtuple", "class": f"{MODULE}:Pair", "items": [1, 2], "fields": [1, []]}, "not a list of names"),
        ({"$": "namedtuple", "class": "builtins:tuple", "items": [1]}, "no longer the kind of class"),
        ({"$": "namedtuple", "class": "subprocess:Popen", "items": [1]}, "no longer the kind of class"),
        ({"$": "enum", "class": f"{MODULE}:Color", "name": "GREN"}, "Did you mean 'GREEN'"),
        ({"$": "enum", "class": f"{MODULE}:Color", "name": "__class__"}, "no member"),
        ({"$": "enum", "class": f"{MODULE}:Color", "flags": 1}, "combines no flags"),
        ({"$": "enum", "class": f"{MODULE}:Peculiar", "flags": 4}, "combines no flags"),
        ({"$": "enum", "class": f"{MODULE}:Right", "flags": 64}, "no such flags"),
    ],
)
def test_class_that_does_not_fit_is_refused(node: Any, error: str) -> None:
    """A node that names a class of another kind, or of another shape, is refused with what is wrong."""
    import subprocess  # noqa: F401 - so that the module is loaded

    with pytest.raises(FormatError, match=error):
        decode_untrusted(node)


def test_lazy_attributes_of_modules_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for a class does not call a module's ``__getattr__``."""
    module = types.ModuleType("lazy_module")
    called: list[str] = []
    module.__getattr__ = called.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", module)
    with pytest.raises(HoldallError):
        decode_untrusted({"$": "enum", "class": "lazy_module:Anything", "name": "X"})
    assert called == []


def test_version_of_the_library_of_a_class_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataclass of a library notes the library, one of Python's own or of a bare module does not."""
    module = types.ModuleType("some_library")
    module.__version__ = "1.2"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_library", module)
    exec("from dataclasses import dataclass\n@dataclass\nclass Thing:\n    x: int = 1\n", vars(module))
    encoded = encode([module.Thing(), Pair(1, 2)])
    assert encoded.libraries == {"some_library": "1.2"}
