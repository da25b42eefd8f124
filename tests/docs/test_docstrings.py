"""The examples in holdall's docstrings are true, each in a store of its own."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import TYPE_CHECKING

import pytest

import holdall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType


def modules() -> Iterator[ModuleType]:
    """Yield every module of the face."""
    yield holdall
    for found in pkgutil.walk_packages(holdall.__path__, "holdall."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def docstrings() -> Iterator[doctest.DocTest]:
    """Yield the docstrings that have examples."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in modules():
        yield from (test for test in finder.find(module) if test.examples)


EXAMPLES = list(docstrings())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
@pytest.mark.usefixtures("workdir")
def test_examples_are_true(example: doctest.DocTest) -> None:
    """An example in a docstring gives what it says."""
    report: list[str] = []

    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)

    assert result.failed == 0, "".join(report)


def test_the_short_forms_show_how_they_are_used() -> None:
    """Most functions that a script calls directly have an example."""
    functions = {"alias", "current_run", "load", "load_many", "namespace", "run", "save"}
    named = {example.name.rpartition(".")[2] for example in EXAMPLES}

    assert functions <= named


def test_a_wrong_example_is_seen(workdir: Path) -> None:
    """An example that gives something else fails."""
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", str(workdir), 0)

    assert doctest.DocTestRunner().run(wrong, out=lambda _: None).failed == 1
