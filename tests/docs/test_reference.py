"""The reference of names is what the code says, and covers all of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import holdall

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """Return the script that writes the page."""
    spec = importlib.util.spec_from_file_location("build_reference", DOCS / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(builder: ModuleType) -> None:
    """The page is what `python docs/build_reference.py` would write now."""
    assert builder.PAGE.read_text(encoding="utf-8") == builder.page(), "run: python docs/build_reference.py"


def test_every_public_name_has_a_section(builder: ModuleType) -> None:
    """No name of `holdall.__all__` is missing but the version and the engine."""
    text = builder.page()
    missing = [name for name in holdall.__all__ if f"`holdall.{name}`" not in text and f"[`{name}`]" not in text]

    assert missing == ["__version__"]


def test_every_error_is_explained() -> None:
    """The page of errors says what to do about each."""
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    errors = [name for name in holdall.__all__ if name.endswith("Error")]

    assert errors
    assert [name for name in errors if f"`{name}`" not in text] == []


def test_no_address_of_memory_is_on_the_page(builder: ModuleType) -> None:
    """The page does not change from one process to the next."""
    assert " at 0x" not in builder.page()
