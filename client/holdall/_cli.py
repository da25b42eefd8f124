"""The command line: finds out what is asked for, runs it, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from holdall._cli_parser import EXIT_USAGE, S3_OPTIONS, defaults, make_parser
from holdall._text import clean, place_text
from holdall.store import HoldallError, InvalidFilterError, InvalidNameError, NotFoundError, StoreNotFoundError
from holdall_store.config import Settings, read_settings

__all__ = ["main"]

EXIT_OK: Final = 0
EXIT_ERROR: Final = 1
EXIT_NOT_FOUND: Final = 3
EXIT_INTERRUPTED: Final = 130
"""What a shell reports of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command of the command line and return its exit code."""
    if sys.stderr is None:  # closed, as with 2>&-
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        sys.stderr.write("holdall: Standard output is closed, so there is nowhere to write to; > /dev/null hides it.\n")
        return EXIT_ERROR
    try:
        try:
            options = make_parser().parse_args(argv, defaults())
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
        return _complain(_said(error), EXIT_NOT_FOUND)
    except InvalidFilterError as error:
        told, *place = str(error).split("\n")  # the filter, and a caret below it
        return _complain(told, EXIT_USAGE, place)
    except InvalidNameError as error:
        return _complain(str(error), EXIT_USAGE)
    except HoldallError as error:
        return _complain(_said(error), EXIT_ERROR)
    except OSError as error:
        named = f"{error.filename!r}: " if error.filename is not None and error.strerror else ""
        return _complain(f"{named}{error.strerror or error}.".replace("..", "."), EXIT_ERROR)
    except Exception as error:  # noqa: BLE001 - whatever it is, a traceback helps nobody who did not ask for one
        return _complain(f"{type(error).__name__}: {error} (HOLDALL_DEBUG=1 shows where.)", EXIT_ERROR)


def _said(error: HoldallError) -> str:
    """Return the message, without the number that Python sets before those of the system."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        return error.strerror
    return str(error)


def _dispatch(options: argparse.Namespace) -> int:
    from holdall._cli_output import Output

    settings = _lenient_settings()
    output = Output(color=settings.color, quiet=options.quiet, as_json=options.as_json)
    target = getattr(options, "target", None) or getattr(options, "reference", None)
    if options.command in ("ls", "cat") and "://" in (target or ""):
        options.module, options.opens_store = "holdall._cli_s3", False
    elif options.opens_store:
        _check_reference(options, target or "")
    command: Callable[..., int] = getattr(importlib.import_module(options.module), options.command)
    if not options.opens_store:  # it may need none, or find out why there can be none
        return command(lambda: _client(options), options, output)
    with _client(options) as client:
        return command(client, options, output)


def _check_reference(options: argparse.Namespace, target: str) -> None:
    """Refuse what belongs to S3 where a reference is wanted."""
    of_reach = [flag for name, flag in S3_OPTIONS.items() if getattr(options, name)]
    given = of_reach + [flag for flag in ("--recursive", "--range") if getattr(options, flag[2:], None)]
    if given:
        way = " A store in a bucket is reached as the environment says: AWS_ENDPOINT_URL_S3, AWS_PROFILE."
        raise InvalidNameError(f"{given[0]} goes with s3:// URLs, and here is none.{way if of_reach else ''}")
    for text in (target, getattr(options, "path", "")):
        if "://" in text:
            raise InvalidNameError(
                f"{text!r} is a URL, and 'holdall {options.command}' is about a store. 'holdall cp' copies from and to "
                "s3://, a store with another URL is named by --store."
            )


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


def _complain(message: str, code: int, more: Sequence[str] = ()) -> int:
    if _lenient_settings().debug:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.write(f"holdall: {clean(message)}\n" + "".join(f"{clean(line)}\n" for line in more))
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
