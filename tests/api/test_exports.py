"""The public surface: complete, documented, typed, and one object whichever way it is reached."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("holdall", "holdall_store")


def public_modules() -> Iterator[str]:
    """Yield the name of every module that a user may import."""
    for package in PACKAGES:
        yield package
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            if not any(part.startswith("_") for part in module.name.split(".")):
                yield module.name


def exported(module: ModuleType) -> list[str]:
    """Return the names that a star import of `module` gives."""
    if module.__name__ == "holdall.store":  # it is one star import itself
        return exported(importlib.import_module("holdall_store"))
    return list(module.__all__)


def ours(thing: object) -> bool:
    """Whether a class or function is defined in one of our packages."""
    return str(getattr(thing, "__module__", "")).partition(".")[0] in PACKAGES


def undocumented(name: str, thing: object) -> Iterator[str]:
    """Yield the dotted name of every public class, function and method in `thing` without a docstring."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)) or not ours(thing):
        return
    if not (inspect.getdoc(thing) or "").strip():
        yield name
    if inspect.isclass(thing):
        for attribute, value in vars(thing).items():
            member = getattr(value, "__func__", getattr(value, "fget", value))
            if not attribute.startswith("_") and inspect.isroutine(member):
                documented = (inspect.getdoc(getattr(thing, attribute)) or "").strip()
                if not documented:
                    yield f"{name}.{attribute}"


@pytest.fixture(scope="module", params=list(public_modules()))
def module(request: pytest.FixtureRequest) -> ModuleType:
    """Import one of the public modules."""
    return importlib.import_module(request.param)


def test_all_is_complete(module: ModuleType) -> None:
    """Every public class and function of ours that a module holds is in its ``__all__``, once, and resolves."""
    names = exported(module)
    held = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isroutine(value)) and ours(value)
    }
    # A module that is no package imports names to use them; only what it defines is public.
    if not hasattr(module, "__path__"):
        held = {name for name in held if vars(module)[name].__module__ == module.__name__}

    assert held - set(names) == set()
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def test_every_public_name_has_a_docstring(module: ModuleType) -> None:
    """Every public class, function and method says what it does."""
    missing = [gap for name in exported(module) for gap in undocumented(name, getattr(module, name))]

    assert missing == []


def test_the_dotted_engine_is_the_engine() -> None:
    """``holdall.store`` gives the very objects of ``holdall_store``."""
    dotted, engine = importlib.import_module("holdall.store"), importlib.import_module("holdall_store")

    assert exported(engine)
    assert [name for name in exported(engine) if getattr(dotted, name) is not getattr(engine, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_shipped(package: str) -> None:
    """Type checkers believe the packages' own annotations."""
    assert resources.files(package).joinpath("py.typed").is_file()


def test_the_version_is_the_distribution_s() -> None:
    """What ``holdall.__version__`` says is what was installed, and what pyproject.toml names."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert importlib.import_module("holdall").__version__ == metadata.version("holdall") == declared
