"""What to do about a run that went wrong: how to look at it, and how to do it again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from holdall._provenance import current_commit, installed_packages
from holdall._text import clean, duration_text, time_text, value_text
from holdall.store import HoldallError

if TYPE_CHECKING:
    from holdall._run import Run

__all__ = ["Debug"]

TRACEBACK_LINES: Final = 12
"""The end of a traceback is where it went wrong; ``run.exception.traceback`` is all of it."""

PACKAGES_SHOWN: Final = 30


class Debug:
    """How a run went, with what it ran, and what is different in this process; ``print`` shows it.

    `packages` are those that differ: name, version then, version here; an empty string where it was not or is not there.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        then = run.info.get("packages")
        old = then if isinstance(then, Mapping) else {}
        new = installed_packages() if old else {}
        self.packages: dict[str, tuple[str, str]] = {
            name: (str(old.get(name, "")), new.get(name, ""))
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        }

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(clean(line) for line in self._lines())

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _lines(self) -> Iterator[str]:
        run = self._run
        yield f"run {run.pathspec} in {run.namespace}: {run.status}"
        info = run.info
        who = f" by {value_text(info.get('user', ''))} on {value_text(info.get('host', ''))}"
        yield f"  {time_text(run.created_at, full=True)}, {duration_text(run.duration)},{who}"
        if run.exception is not None:
            yield ""
            yield f"{run.exception.type}: {run.exception.message}"
            yield from (f"  {line}" for line in run.exception.traceback.rstrip().splitlines()[-TRACEBACK_LINES:])
        tail = run.log_tail(TRACEBACK_LINES).rstrip()
        if tail:
            yield ""
            yield "the last that it wrote:"
            yield from (f"  {line}" for line in tail.splitlines())
        failed = [step.name for step in run.steps if step.status != "succeeded"] if run._view.has_tasks else []
        if failed:
            yield ""
            yield f"steps that did not succeed: {', '.join(failed)}"
        yield ""
        yield "what it saved until then:"
        yield from (f"  {artifact.name} = holdall.load({artifact.reference!r})" for artifact in run)
        yield "with these parameters:"
        yield from (f"  {name} = {value}" for name, value in self._params().items())
        yield ""
        yield "to do it again:"
        yield from (f"  {line}" for line in self._again())
        yield ""
        yield from self._differences()

    def _params(self) -> Mapping[str, Any]:
        try:
            return {name: value_text(value) for name, value in self._run.params.items()}
        except HoldallError as error:  # of types that only a trusted store may name
            return {"": str(error)}

    def _again(self) -> Iterator[str]:
        info = self._run.info
        git = info.get("git")
        if isinstance(git, Mapping) and git.get("commit"):
            yield f"git checkout {git['commit']}"
            if git.get("dirty"):
                yield "# there were changes that were not committed: they are not recorded"
        else:
            yield "# it did not run in a git repository: the code is not recorded"
        changed = [f"{name}=={then}" for name, (then, _) in self.packages.items() if then]
        if changed:
            more = f"  # and {len(changed) - PACKAGES_SHOWN} more" if len(changed) > PACKAGES_SHOWN else ""
            yield f"pip install {' '.join(map(shlex.quote, changed[:PACKAGES_SHOWN]))}{more}"
        command = info.get("command")
        if isinstance(command, list) and command and command != ["notebook"]:
            folder = f"  # in a folder called {info['folder']}" if info.get("folder") else ""
            yield f"python {shlex.join(map(str, command))}{folder}"
        yield f"with holdall.resume({str(self._run.reference)!r}) as run: ...  # takes over what it did well"

    def _differences(self) -> Iterator[str]:
        yield "what is different here:"
        info, found = self._run.info, False
        python = ".".join(map(str, sys.version_info[:3]))
        if info.get("python") not in (None, python):
            found = True
            yield f"  Python {info['python']}, here {python}"
        git = info.get("git")
        here = current_commit() if isinstance(git, Mapping) else ""
        if isinstance(git, Mapping) and here and here != git.get("commit"):
            found = True
            yield f"  commit {git.get('commit')}, here {here}"
        for name, (then, now) in list(self.packages.items())[:PACKAGES_SHOWN]:
            found = True
            yield f"  {name} {then or '(not there)'}, here {now or '(not there)'}"
        if len(self.packages) > PACKAGES_SHOWN:
            yield f"  … and {len(self.packages) - PACKAGES_SHOWN} more packages: run.debug().packages has them all"
        if not found:
            yield "  nothing that is recorded"
