"""What the command line understands: its commands, their options, and the help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final, NoReturn

from holdall._cli_help import (
    ALIAS,
    CAT,
    CP,
    DOCTOR,
    DU,
    EPILOG,
    EXEC,
    GC,
    GET,
    GRAPH,
    LS,
    MAIN_EXAMPLES,
    PROMOTE,
    PUT,
    RM,
    RUNS,
    SHOW,
    SYNC,
    TABLE,
    TAG,
)
from holdall._text import clean

__all__ = ["EXIT_USAGE", "S3_OPTIONS", "defaults", "make_parser"]

EXIT_USAGE: Final = 2

DAYS_MAX: Final = 36_500
"""A hundred years: more is a mistake."""

S3_OPTIONS: Final = {
    "endpoint_url": "--endpoint-url",
    "profile": "--profile",
    "region": "--region",
    "no_sign_request": "--no-sign-request",
}
"""Names as in the AWS command line."""

TABLE_VIEWS: Final = ("schema", "head", "count", "stats", "explain")

_Add = Callable[..., argparse.ArgumentParser]


class _Parser(argparse.ArgumentParser):
    """A parser that says in one sentence what is wrong, and where the help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {clean(message)}. See '{self.prog} --help'.\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from holdall import __version__

    shared = _shared_options()
    layout: dict[str, Any] = {
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "parents": [shared],
        "allow_abbrev": False,
    }
    about = "Look at, fetch and save versioned artifacts; move objects of S3 in bulk."
    parser = _Parser(prog="holdall", description=about, epilog=EPILOG + MAIN_EXAMPLES, **layout)
    parser.add_argument("--version", action="version", version=f"holdall {__version__}")
    _add_formats(parser, quiet="write references only")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, module: str, about: str, epilog: str, *, opens_store: bool = True) -> argparse.ArgumentParser:
        short = about[0].lower() + about[1:]
        command = commands.add_parser(name, help=short, description=f"{about}.", epilog=epilog.lstrip("\n"), **layout)
        command.set_defaults(module=f"holdall.{module}", opens_store=opens_store)
        return command

    _add_views(add)
    _add_manage(add)
    _add_transfers(add)
    _add_bulk(add)
    runs = add("exec", "_cli_steps", "Record a run for as long as a command takes", EXEC, opens_store=False)
    runs.add_argument("flow", metavar="FLOW", help="the flow of the run")
    runs.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command, with its arguments")
    runs.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="a tag of the run")
    runs.add_argument(
        "--param", action="append", default=[], dest="params", metavar="NAME=VALUE", help="a parameter of the run"
    )
    _add_table(add)
    doctor = add("doctor", "_cli_doctor", "Check what holdall stands on", DOCTOR, opens_store=False)
    _add_formats(doctor, quiet="write only the names of what is not ok")
    return parser


def defaults() -> argparse.Namespace:
    """Return what holds where nothing is said."""
    return argparse.Namespace(
        store=None,
        namespace=None,
        all_namespaces=False,
        as_json=False,
        quiet=False,
        endpoint_url=None,
        profile=None,
        region=None,
        no_sign_request=False,
    )


def _add_views(add: _Add) -> None:
    about = "List flows, the runs of a flow, the artifacts of a run, the versions of an artifact, or objects of S3"
    ls = add("ls", "_cli_views", about, LS)
    ls.add_argument(
        "target",
        nargs="?",
        metavar="WHAT",
        help="a flow, a reference, a namespace or an s3:// URL; by default all flows",
    )
    ls.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help="at most N rows; by default 100 flows, 20 runs, all objects; 0 means all",
    )
    ls.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="runs that carry this tag")
    ls.add_argument("-r", "--recursive", action="store_true", help="of S3: all objects below, not one level")
    show = add("show", "_cli_views", "Show a flow, a run or an artifact", SHOW)
    show.add_argument("target", metavar="REF", help="a flow, or the reference of a run or an artifact")
    for command in (ls, show):
        _add_formats(command, quiet="write references or URLs only, one a line")
    graph = add("graph", "_cli_steps", "Show the steps of a run, and what comes after what", GRAPH)
    graph.add_argument("target", metavar="RUN", help="the reference of a run; of a flow it is the newest run")
    graph.add_argument("--svg", action="store_true", help="write a drawing instead of text")
    _add_formats(graph, quiet="")
    _add_s3(ls)


def _add_manage(add: _Add) -> None:
    runs = add("runs", "_cli_manage", "List the runs of a flow that match", RUNS)
    runs.add_argument("reference", metavar="FLOW", help="the flow")
    runs.add_argument("--where", metavar="FILTER", help='such as "metrics.auc > 0.9 and params.lr < 0.1"')
    runs.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="runs that carry this tag")
    runs.add_argument("--status", action="append", default=[], metavar="STATUS", help="succeeded, failed or running")
    runs.add_argument("--since", metavar="TIME", help="began then or later: 2026-11-23, or 7d, 12h ago")
    runs.add_argument("--until", metavar="TIME", help="began before that")
    runs.add_argument("--limit", type=_count, metavar="N", help="at most N rows; by default 100; 0 means all")
    alias = add("alias", "_cli_manage", "List, set, roll back and remove aliases, and show their history", ALIAS)
    alias.add_argument("reference", metavar="REF", help="a flow, what is to be meant, or FLOW:ALIAS")
    alias.add_argument("name", nargs="?", metavar="NAME", help="the alias that is to mean REF")
    alias.add_argument("--history", action="store_true", help="every change of the alias")
    alias.add_argument("--rollback", action="store_true", help="let it mean what it meant before")
    alias.add_argument("--remove", action="store_true", help="let it mean nothing; its history stays")
    tag = add("tag", "_cli_manage", "Add and remove tags of runs", TAG)
    tag.add_argument("references", nargs="+", metavar="REF", help="runs")
    tag.add_argument(
        "--add", action="append", default=[], metavar="TAG", help="a tag to add; may be given several times"
    )
    tag.add_argument("--remove", action="append", default=[], metavar="TAG", help="a tag to take away")
    promote = add("promote", "_cli_manage", "Make a run a run of another namespace, by reference", PROMOTE)
    promote.add_argument("reference", metavar="REF", help="the run")
    promote.add_argument("to", metavar="NS", help="the namespace, such as production:churn")
    promote.add_argument("--alias", metavar="NAME", help="an alias there that means the new run from then on")
    rm = add("rm", "_cli_manage", "Delete runs, artifacts and flows", RM)
    rm.add_argument("references", nargs="+", metavar="REF", help="flow@run, flow/artifact@run, or a flow")
    rm.add_argument("-y", "--yes", action="store_true", help="do not ask")
    rm.add_argument(
        "--even-running", action="store_true", help="also what goes on, or died before it could say that it ended"
    )
    rm.add_argument("--undo", action="store_true", help="bring back what was deleted, until a collection has taken it")
    gc = add("gc", "_cli_collect", "Tell what a collection would give back, or do it", GC)
    gc.add_argument("-y", "--yes", action="store_true", help="do it")
    gc.add_argument(
        "--abandon-after",
        type=_days,
        metavar="DAYS",
        help="give up runs that nothing was heard of for so long; by default 30",
    )
    _add_formats(gc, quiet="")
    for command in (alias, promote, rm):
        command.add_argument("--note", default="", metavar="TEXT", help="why, for the history")
    for command in (runs, alias, tag):
        _add_formats(command, quiet="write references only, one a line")
    _add_formats(promote, quiet="")
    rm.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="write nothing")


def _add_transfers(add: _Add) -> None:
    get = add("get", "_cli_transfer", "Write an artifact to a file or a directory", GET)
    get.add_argument("reference", metavar="REF", help="reference of the artifact")
    get.add_argument("-o", "--output", metavar="PATH", help="where to: a file, a folder, or - for standard output")
    get.add_argument("-f", "--force", action="store_true", help="replace a file that is there")
    put = add("put", "_cli_transfer", "Save a file, a directory, or standard input as an artifact", PUT)
    put.add_argument("path", metavar="PATH", help="a file, a directory, or - for standard input")
    put.add_argument("reference", metavar="REF", help="flow/artifact; a lone name is the flow")
    put.add_argument("--tag", action="append", default=[], dest="tags", metavar="TAG", help="a tag of the run")
    cat = add("cat", "_cli_transfer", "Write a file, text, a value as JSON, or an object, to standard output", CAT)
    cat.add_argument("reference", metavar="REF", help="reference of the artifact, or an s3:// URL")
    cat.add_argument("--range", metavar="A-B", help="of S3: these bytes, counted from 0; A- to the end; =-N the last N")
    for command in (get, cat):
        _add_trust(command)
    _add_formats(get, quiet="")
    _add_formats(put, quiet="write the reference, and no message beside it")
    _add_s3(cat)


def _add_bulk(add: _Add) -> None:
    cp = add(
        "cp",
        "_cli_copy",
        "Copy files and objects: to S3, from S3, within S3, from and to a store",
        CP,
        opens_store=False,
    )
    cp.add_argument(
        "sources", nargs="+", metavar="SRC", help="a path, an s3:// URL, a reference, or - for standard input"
    )
    cp.add_argument("target", metavar="DST", help="where to; with several SRC a folder; - is standard output")
    cp.add_argument("-r", "--recursive", action="store_true", help="folders with all that is in them")
    cp.add_argument("--if-absent", action="store_true", help="leave alone what is there")
    cp.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    cp.add_argument("--raw", action="store_true", help="* in a URL is a character of the key, no pattern")
    cp.add_argument("--content-type", metavar="TYPE", help="of uploads; by default guessed from the name")
    cp.add_argument("--sse", metavar="HOW", help="encryption at the server: AES256 or aws:kms")
    cp.add_argument("--sse-kms-key-id", metavar="ID", help="the key for aws:kms")
    _add_trust(cp)
    sync = add(
        "sync",
        "_cli_copy",
        "Make a folder hold what another holds: to S3, from S3, or within S3",
        SYNC,
        opens_store=False,
    )
    sync.add_argument("source", metavar="SRC", help="a folder or an s3:// URL")
    sync.add_argument("target", metavar="DST", help="a folder or an s3:// URL")
    sync.add_argument("--delete", action="store_true", help="delete from DST what SRC has not")
    sync.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    sync.add_argument("--checksum", action="store_true", help="compare contents, not times")
    du = add("du", "_cli_du", "Tell how many bytes there are", DU, opens_store=False)
    du.add_argument(
        "targets", nargs="*", metavar="WHAT", help="an s3:// URL, a flow, or a reference; by default all flows"
    )
    for command in (cp, sync):
        _add_formats(command, quiet="write only the paths, URLs or references that were written, one a line")
    _add_formats(du, quiet="")
    for command in (cp, sync, du):
        _add_s3(command)


def _add_table(add: _Add) -> None:
    about = "Look into a table: Parquet files of a disk or a bucket, or a frame of a store"
    table = add("table", "_cli_table", about, TABLE, opens_store=False)
    table.add_argument("what", choices=TABLE_VIEWS, metavar="VIEW", help=", ".join(TABLE_VIEWS))
    table.add_argument("source", metavar="SOURCE", help="a path, a URL, or the reference of an artifact")
    table.add_argument("--select", action="append", default=[], metavar="COLUMNS", help="these columns: a,b or a.field")
    table.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="rows for which it is true: 'x > 3'; all of several",
    )
    table.add_argument(
        "--limit", type=_count, metavar="N", help="of head and explain: N rows; head gives 10, 0 means all"
    )
    table.add_argument("--partitioning", metavar="HOW", help="hive, none, or names of folders: year,month")
    table.add_argument("--as-of", metavar="WHEN", help="of Delta and Iceberg: an earlier version, or a time")
    _add_formats(table, quiet="")
    _add_s3(table)


def _add_trust(command: argparse.ArgumentParser) -> None:
    command.add_argument("--trust", action="store_true", help="load it even if that runs code stored in it (pickle)")


def _add_formats(command: argparse.ArgumentParser, *, quiet: str) -> None:
    # One that is not given leaves no trace, or it would undo the same option before the command.
    command.add_argument(
        "--json", action="store_true", dest="as_json", default=argparse.SUPPRESS, help="write JSON, for programs"
    )
    if quiet:
        command.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=quiet)


def _add_s3(command: argparse.ArgumentParser) -> None:
    s3 = command.add_argument_group("for s3:// URLs, where the environment does not say it")
    s3.add_argument("--endpoint-url", metavar="URL", default=argparse.SUPPRESS, help="another server than Amazon's")
    s3.add_argument("--profile", metavar="NAME", default=argparse.SUPPRESS, help="a profile of ~/.aws")
    s3.add_argument("--region", metavar="NAME", default=argparse.SUPPRESS, help="where the bucket is")
    s3.add_argument(
        "--no-sign-request", action="store_true", default=argparse.SUPPRESS, help="no credentials: a public bucket"
    )


def _shared_options() -> argparse.ArgumentParser:
    """Return the options that may stand before or after the command: one that is not given leaves no trace."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    where = "where the store is; by default HOLDALL_STORE, pyproject.toml, or .holdall found upward"
    shared.add_argument("--store", metavar="URL", help=where)
    spaces = shared.add_mutually_exclusive_group()
    spaces.add_argument("-n", "--namespace", metavar="NS", help="look in this namespace, such as user:ana")
    spaces.add_argument("--all-namespaces", action="store_true", help="look in all namespaces")
    return shared


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 < days < DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)
