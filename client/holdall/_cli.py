"""The command line: ``holdall ls``, ``show``, ``get``, ``put``, ``cat``, ``doctor``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from holdall._text import clean, place_text
from holdall.store import HoldallError, InvalidNameError, NotFoundError, StoreNotFoundError
from holdall_store.config import Settings, read_settings

__all__ = ["main"]

EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_INTERRUPTED: Final = 130
"""What a shell reports of a program that Ctrl-C ended."""

_EPILOG: Final = """\
references:
  [namespace/]flow[/artifact][:alias|@run], such as churn, churn/model, churn/model:champion,
  churn@20261123T081402 (the beginning of a run's id will do), user:ana/churn/model.
  Without a selector, an artifact is that of the newest successful run that holds it.

exit codes:
  0  done, even if there was nothing to list      2  the command, a name or a setting makes no sense
  1  it failed                                    3  no such store, namespace, flow, run, artifact or alias

Set HOLDALL_DEBUG=1 to see where an error comes from.
"""

_MAIN_EXAMPLES: Final = """
examples:
  holdall ls                                what there is
  holdall ls churn                          the runs of a flow, newest first
  holdall show churn:champion               one run: who, when, parameters, metrics, artifacts
  holdall get churn/train -o train.parquet  a frame as a file
  holdall put report.html churn/report      a file as an artifact
  holdall cat churn/report | less           the bytes of a file
  holdall doctor                            what is wrong, and the way out
"""

_LS: Final = """
columns:
  Aligned with two spaces or more; on a terminal, long ones are cut to its width. Through a pipe nothing is cut or
  coloured. Times are local. For programs there are --json and -q.

examples:
  holdall ls                        the flows of your namespace
  holdall ls --all-namespaces       those of everybody
  holdall ls production:churn       those of another namespace
  holdall ls churn --tag nightly    the runs that carry a tag
  holdall ls churn@20261123T0814    the artifacts of a run
  holdall ls churn/model            an artifact in every run that holds it
  holdall ls churn --json | jq -r '.[] | select(.status == "failed") | .reference'
"""

_SHOW: Final = """
examples:
  holdall show churn                a flow: its newest runs and its aliases
  holdall show churn:latest         the newest successful run
  holdall show churn@20261123T0814  one run, with its traceback if it failed
  holdall show churn/model          one artifact, and the line that loads it
"""

_GET: Final = """
formats:
  Files and directories are written as they were saved. Tables (pandas, Arrow, polars) become .parquet, .csv or
  .feather; arrays .npy; text and bytes are written raw; numbers, lists, dicts and the like become .json. The suffix
  of PATH chooses; without -o, or with -o -, it is the first that fits. Any object is written as a pickle to a PATH that
  ends in .pkl. A PATH that ends in a slash, or is a folder, is where the file goes under its own name.

examples:
  holdall get churn/report -o report.html
  holdall get churn/train -o train.csv
  holdall get user:ana/churn/model:champion -o model.pkl --trust
  holdall get churn/plots -o old/
  holdall get churn/train -o - | wc -c
"""

_PUT: Final = """
Each call is one run of the flow. A lone name is the flow, and the artifact is called as the file is:
'holdall put a.txt f' saves f/a.txt. (In Python, save_file('a.txt', 'f') saves f in the flow of the script.)

examples:
  holdall put report.html churn/report
  holdall put plots churn --tag nightly
  pg_dump shop | holdall put - backup/shop.sql
"""

_CAT: Final = """
examples:
  holdall cat churn/report > report.html
  holdall cat churn/settings | jq .depth
  holdall cat backup/shop.sql:before-migration | psql shop
"""

_DOCTOR: Final = """
Every line says ok, warn or fail, and the way out. The exit code is 1 if anything failed.

examples:
  holdall doctor
  holdall doctor --store /mnt/team/store
  holdall doctor --json
"""


class _Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what is wrong, and where the help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {clean(message)}. See '{self.prog} --help'.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of the command line and return its exit code."""
    if sys.stderr is None:  # closed, as with 2>&-
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        sys.stderr.write("holdall: Standard output is closed, so there is nowhere to write to; > /dev/null hides it.\n")
        return EXIT_ERROR
    try:
        try:
            options = _parser().parse_args(argv, _defaults())
        except SystemExit as done:
            return done.code if isinstance(done.code, int) else EXIT_USAGE
        code = _run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_OK  # the reader, such as head, has all that it wanted
    except OSError as error:  # of the last flush: the disk that standard output goes to is full
        _silence_stdout()
        sys.stderr.write(f"holdall: Standard output: {clean(error.strerror or str(error))}.\n")
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _run(options: argparse.Namespace) -> int:
    try:
        return _dispatch(options)
    except BrokenPipeError:
        raise
    except NotFoundError as error:
        return _complain(str(error), EXIT_NOT_FOUND)
    except InvalidNameError as error:
        return _complain(str(error), EXIT_USAGE)
    except HoldallError as error:
        return _complain(str(error), EXIT_ERROR)
    except OSError as error:
        named = f"{error.filename!r}: " if error.filename is not None and error.strerror else ""
        return _complain(f"{named}{error.strerror or error}.".replace("..", "."), EXIT_ERROR)
    except Exception as error:  # noqa: BLE001 - whatever it is, a traceback helps nobody who did not ask for one
        return _complain(f"{type(error).__name__}: {error} (HOLDALL_DEBUG=1 shows where.)", EXIT_ERROR)


def _dispatch(options: argparse.Namespace) -> int:
    from holdall._cli_output import Output

    settings = _lenient_settings()
    output = Output(color=settings.color, quiet=options.quiet, as_json=options.as_json)
    command: Callable[..., int] = getattr(importlib.import_module(options.module), options.command)
    if options.command == "doctor":  # which may find out why there can be no client
        return command(lambda: _client(options), options, output)
    with _client(options) as client:
        return command(client, options, output)


def _client(options: argparse.Namespace) -> Any:
    """Return the client that the options ask for."""
    from holdall._client import Client

    if options.all_namespaces:
        client = Client(options.store, namespace=None)
    elif options.namespace is None:
        client = Client(options.store)
    else:
        client = Client(options.store, namespace=options.namespace)
    _check_place(client._url)
    return client


def _check_place(url: str) -> None:
    """Refuse a file or a dangling link where the folder of a local store should be."""
    if "://" in url and not url.startswith("file:///"):
        return
    place = Path(place_text(url))
    if place.is_symlink() and not place.exists():
        raise StoreNotFoundError(
            f"There is no store {str(place)!r}: it is a link to {os.readlink(place)!r}, which is not there. Make that "
            "folder, remove the link, or name another place with --store."
        )
    if place.is_file():
        raise StoreNotFoundError(
            f"There is no store {str(place)!r}: it is a file, and a store is a folder. Move the file, or name another "
            "place with --store."
        )


def _complain(message: str, code: int) -> int:
    if _lenient_settings().debug:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.write(f"holdall: {clean(message)}\n")
    return code


def _lenient_settings() -> Settings:
    """Return the settings, or the defaults where they are wrong: the command will find out, and say so."""
    try:
        return read_settings()
    except HoldallError:
        return Settings()


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere, rather than complain of a reader that is gone."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # no file of the system: nothing will be flushed to it


def _parser() -> argparse.ArgumentParser:
    from holdall import __version__

    shared = _shared_options()
    layout: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "parents": [shared],
        "allow_abbrev": False,
    }
    about = "Look at, fetch and save versioned artifacts."
    parser = _Parser(prog="holdall", description=about, epilog=_EPILOG + _MAIN_EXAMPLES, **layout)
    parser.add_argument("--version", action="version", version=f"holdall {__version__}")
    _add_formats(parser, quiet="write references only")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, module: str, about: str, epilog: str) -> argparse.ArgumentParser:
        short = about[0].lower() + about[1:]
        command = commands.add_parser(name, help=short, description=f"{about}.", epilog=epilog.lstrip("\n"), **layout)
        command.set_defaults(module=f"holdall.{module}")
        return command

    _add_views(add)
    _add_transfers(add)
    doctor = add("doctor", "_cli_doctor", "Check what holdall stands on", _DOCTOR)
    _add_formats(doctor, quiet="write only the names of what is not ok")
    return parser


def _add_views(add: Callable[..., argparse.ArgumentParser]) -> None:
    about = "List flows, the runs of a flow, the artifacts of a run, or the versions of an artifact"
    ls = add("ls", "_cli_views", about, _LS)
    ls.add_argument(
        "target", nargs="?", metavar="WHAT", help="a flow, a reference or a namespace; by default all flows"
    )
    ls.add_argument(
        "--limit", type=_count, metavar="N", help="at most N rows; by default 100 flows, 20 runs; 0 means all"
    )
    ls.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="runs that carry this tag")
    show = add("show", "_cli_views", "Show a flow, a run or an artifact", _SHOW)
    show.add_argument("target", metavar="REF", help="a flow, or the reference of a run or an artifact")
    for command in (ls, show):
        _add_formats(command, quiet="write references only, one a line")


def _add_transfers(add: Callable[..., argparse.ArgumentParser]) -> None:
    get = add("get", "_cli_transfer", "Write an artifact to a file or a directory", _GET)
    get.add_argument("reference", metavar="REF", help="reference of the artifact")
    get.add_argument("-o", "--output", metavar="PATH", help="where to: a file, a folder, or - for standard output")
    get.add_argument("-f", "--force", action="store_true", help="replace a file that is there")
    put = add("put", "_cli_transfer", "Save a file, a directory, or standard input as an artifact", _PUT)
    put.add_argument("path", metavar="PATH", help="a file, a directory, or - for standard input")
    put.add_argument("reference", metavar="REF", help="flow/artifact; a lone name is the flow")
    put.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="a tag of the run")
    cat = add("cat", "_cli_transfer", "Write a file, text, or a plain value as JSON, to standard output", _CAT)
    cat.add_argument("reference", metavar="REF", help="reference of the artifact")
    for command in (get, cat):
        command.add_argument(
            "--trust", action="store_true", help="load it even if that runs code stored in it (pickle)"
        )
    _add_formats(get, quiet="")
    _add_formats(put, quiet="write the reference, and no message beside it")


def _add_formats(command: argparse.ArgumentParser, *, quiet: str) -> None:
    # One that is not given leaves no trace, or it would undo the same option before the command.
    command.add_argument(
        "--json", action="store_true", dest="as_json", default=argparse.SUPPRESS, help="write JSON, for programs"
    )
    if quiet:
        command.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=quiet)


def _shared_options() -> argparse.ArgumentParser:
    """Return the options that may stand before or after the command: one that is not given leaves no trace."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where = "where the store is; by default HOLDALL_STORE, pyproject.toml, or .holdall found upward"
    shared.add_argument("--store", metavar="URL", help=where)
    spaces = shared.add_mutually_exclusive_group()
    spaces.add_argument("-n", "--namespace", metavar="NS", help="look in this namespace, such as user:ana")
    spaces.add_argument("--all-namespaces", action="store_true", help="look in all namespaces")
    return shared


def _defaults() -> argparse.Namespace:
    return argparse.Namespace(store=None, namespace=None, all_namespaces=False, as_json=False, quiet=False)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)
