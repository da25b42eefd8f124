"""Every Python example in the documentation runs, or says why it does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

FENCE = re.compile(
    r"^(?P<mark>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^(?P=mark)[ \t]*$", re.MULTILINE | re.DOTALL
)
EXEMPT = re.compile(r"<!-- not run: (?P<reason>[^\n]{10,}?) -->\n+\Z")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
TIME_LIMIT_S = 120


@dataclass(frozen=True)
class Example:
    """A Python fence: where its code begins, the code, and why it is not run, if it is not."""

    line: int
    code: str
    exempt: str | None


def examples(text: str) -> list[Example]:
    """Return the Python fences of a page, in order."""
    found = []
    for fence in FENCE.finditer(text):
        if fence["language"] in {"python", "py", "python3", "pycon"}:
            reason = EXEMPT.search(text, 0, fence.start())
            line = text.count("\n", 0, fence.start("code")) + 1
            found.append(Example(line, fence["code"], reason["reason"] if reason else None))
    return found


def script(text: str) -> str:
    """Return the page as one program, each line where it is on the page, so that a traceback names the page's lines."""
    lines = [""] * (text.count("\n") + 1)
    for example in examples(text):
        if example.exempt is None:
            for offset, line in enumerate(example.code.splitlines()):
                lines[example.line - 1 + offset] = line
    return "\n".join(lines)


def run(text: str, folder: Path, name: str = "page") -> subprocess.CompletedProcess[str]:
    """Run a page's examples in one namespace, in `folder`."""
    program = folder / f"{name}.py"
    program.write_text(script(text), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", str(program)],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT_S,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples_run(page: Path, tmp_path: Path) -> None:
    """A page's Python examples run one after the other, as a reader would type them."""
    result = run(page.read_text(encoding="utf-8"), tmp_path, page.stem)

    assert result.returncode == 0, result.stderr


def dead_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    targets = (link["target"] for link in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))))
    files = (target.partition("#")[0] for target in targets if "://" not in target)
    return [file for file in files if not (page.parent / file).exists()]


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("C*.md")], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """A link to another file of the project finds it."""
    assert dead_links(page) == []


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    """A link to a file that is not there is named; one in a code fence is no link."""
    page = tmp_path / "page.md"
    page.write_text("[here](page.md#top) [gone](lost.md)\n\n```text\n[no](link.md)\n```\n")

    assert dead_links(page) == ["lost.md"]


def test_the_readme_has_examples_that_run() -> None:
    """The first page shows code, and not all of it is exempt."""
    found = examples((ROOT / "README.md").read_text(encoding="utf-8"))

    assert [example for example in found if example.exempt is None]


def test_a_wrong_example_is_seen(tmp_path: Path) -> None:
    """An example that raises fails, and its line on the page is named."""
    page = "# Title\n\n```python\nanswer = 42\n```\n\nThen:\n\n```python\nassert answer == 41\n```\n"

    result = run(page, tmp_path)

    assert result.returncode == 1
    assert "line 10" in result.stderr


def test_an_exempt_example_needs_a_reason(tmp_path: Path) -> None:
    """Only a comment that gives a reason keeps an example from being run."""
    fence = "```python\nraise SystemExit(3)\n```\n"

    assert run("<!-- not run: -->\n" + fence, tmp_path).returncode == 3
    assert run("<!-- not run: needs a bucket of your own -->\n" + fence, tmp_path).returncode == 0
