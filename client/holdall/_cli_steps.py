"""``holdall graph`` and ``holdall exec``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from holdall._cli_find import find
from holdall._cli_output import Output
from holdall._flow import Flow
from holdall._recorder import RunContext
from holdall._run import Run
from holdall.store import HoldallError, InvalidNameError
from holdall_store.config import child_environment

if TYPE_CHECKING:
    from holdall._client import Client

__all__ = ["CommandFailedError", "exec", "graph"]

EXIT_NOT_STARTED: Final = 127
"""What a shell reports of a command that is not there."""

SIGNALLED: Final = 128
"""What a shell adds to the number of the signal that ended a command."""


class CommandFailedError(HoldallError):
    """The command of a run ended with another exit code than 0."""


def graph(client: Client, options: argparse.Namespace, output: Output) -> int:
    """Show the steps of a run."""
    found = find(client, options.target)
    run = found.latest_run if isinstance(found, Flow) else found
    if not isinstance(run, Run):
        raise InvalidNameError(f"{options.target!r} is no run: write flow@run, or a flow for its newest run.")
    drawn = run.graph()
    if options.svg:
        output.line(drawn.svg)
    elif output.as_json:
        output.json([node._asdict() for node in drawn.nodes])
    else:
        for line in drawn.text.splitlines():
            output.line(line)
    return 0


def exec(client: Callable[[], Client], options: argparse.Namespace, output: Output) -> int:  # noqa: A001
    """Run a command as a run, and return its exit code."""
    import subprocess

    if options.argv and options.argv[0] != "--" and options.argv[0].startswith("-"):
        raise InvalidNameError(
            f"{options.argv[0]!r} is no command. Options of 'holdall exec' stand before the flow: holdall exec {options.argv[0]} … "
            f"{options.flow} -- COMMAND."
        )
    command = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not command:
        raise InvalidNameError("There is no command: holdall exec FLOW -- COMMAND.")
    context = RunContext(options.flow, params=_params(options.params), tags=options.tags, client=client())
    code = 0
    try:
        with context as run:
            run.flush()
            output.note(f"run {run.pathspec}")
            try:
                process = subprocess.Popen(command, env=child_environment(run.environment()))
            except OSError as error:
                code = EXIT_NOT_STARTED
                raise CommandFailedError(f"{command[0]} could not be started: {error.strerror}.") from None
            # Ctrl-C goes to the command, too: how it ends is how the run ends.
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                code = process.wait()
            finally:
                signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)
            if code:
                how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                raise CommandFailedError(f"{command[0]} {how}.")
    except CommandFailedError as error:
        sys.stderr.write(f"holdall: {error}\n")
    return SIGNALLED - code if code < 0 else code


def _params(given: Iterable[str]) -> dict[str, Any]:
    """Return parameters by name: numbers, booleans and lists as JSON says them, anything else as text."""
    params: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise InvalidNameError(f"{each!r} is no parameter: write --param NAME=VALUE.")
        try:
            params[name] = json.loads(text)
        except ValueError:
            params[name] = text
    return params
