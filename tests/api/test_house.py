"""House rules that no linter knows: sizes, and words that belong to one machine."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for root in ("datastore", "client") for path in (ROOT / root).rglob("*.py"))

FILE_LINES_MAX = 500
"""A file that is longer has more than one purpose."""

FUNCTION_LINES_MAX = 60
"""A function that is longer fits no screen."""

# Joined here, so that this file does not hold them.
REGISTRIES = [".".join(parts) for parts in (("py" + "pi", "org"), ("python" + "hosted", "org"), ("npm" + "js", "org"))]
TEMPORARY = "/" + "tmp/"
HOME = "/" + "root/"

IGNORED = {".git", ".venv", ".venv-ci", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def tracked() -> Iterator[Path]:
    """Yield every file that is part of the project; outside a git checkout, every file that looks like one."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    else:
        paths = (path for path in ROOT.rglob("*") if not IGNORED & set(path.relative_to(ROOT).parts))
    yield from (path for path in paths if path.is_file())


def foreign_words(text: str) -> list[str]:
    """Return what `text` says of one machine or one registry."""
    hosts = "|".join(re.escape(host) for host in REGISTRIES)
    paths = "|".join(re.escape(path) for path in (TEMPORARY, HOME, f"{ROOT}/"))
    return re.findall(rf"{hosts}|(?<![\w.}}])(?:{paths})", text)


def long_functions(source: str) -> list[str]:
    """Return the name of every function in `source` with more than `FUNCTION_LINES_MAX` lines."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short(path: Path) -> None:
    """A source file stays below 500 lines, and each of its functions fits a screen."""
    source = path.read_text(encoding="utf-8")

    assert source.count("\n") < FILE_LINES_MAX
    assert long_functions(source) == []


def test_no_file_speaks_of_one_machine() -> None:
    """No file names a path of somebody's machine or the host of a package registry."""
    found = {}
    for path in tracked():
        try:
            words = foreign_words(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue
        if words:
            found[path.relative_to(ROOT).as_posix()] = words

    assert found == {}


@pytest.mark.parametrize("word", [*REGISTRIES, TEMPORARY, HOME, f"{ROOT}/"])
def test_a_foreign_word_would_be_seen(word: str) -> None:
    """The search finds each word that it is meant to find."""
    (found,) = foreign_words(f"see {word}x for more")
    assert word.startswith(found)  # a checkout may lie in a folder that is a foreign word itself


def test_a_long_function_would_be_seen() -> None:
    """A function of one line too many is named, and one that just fits is not."""
    body = "    x = 1\n"

    assert long_functions("def f():\n" + body * FUNCTION_LINES_MAX) == ["f"]
    assert long_functions("def f():\n" + body * (FUNCTION_LINES_MAX - 1)) == []
