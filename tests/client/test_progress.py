"""The line that shows how far a transfer has come: when it is there, what it says, and that it goes."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.transfer._bucket_server import BucketServer

import holdall
from holdall import _progress
from holdall._progress import Bar, is_watched
from holdall_store.transfer.s3 import Progress

MB = 1_000_000


class Terminal(io.StringIO):
    """Text that goes to somebody who looks."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def server() -> Iterator[BucketServer]:
    """Give a server with an object."""
    made = BucketServer()
    made.store("root/k", b"1")
    yield made
    made.close()


def make(server: BucketServer, **options: Any) -> holdall.S3:
    """Return an S3 for the server."""
    return holdall.S3(
        "s3://bucket/root", storage_options={"endpoint_url": server.url, "key": "k", "secret": "s"}, **options
    )


@pytest.mark.parametrize(
    ("stream", "environment", "watched"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"CI": "true"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (None, {}, False),
    ],
)
def test_a_bar_is_for_people(
    monkeypatch: pytest.MonkeyPatch, stream: Any, environment: dict[str, str], watched: bool
) -> None:
    """It is shown on a terminal; not in a pipe, nor in continuous integration."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert is_watched() is watched


def test_a_notebook_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard error of a kernel is no terminal, and people look at it."""
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    assert is_watched()


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (None, "30.0 MB  15.0 MB/s"),
        (
            Progress("get_many", 3, 30 * MB, 4),
            "get_many  [███████████████·····]  75%  3/4 objects  30.0 MB  15.0 MB/s",
        ),
        (
            Progress("download", 1, 30 * MB, 4, 60 * MB),
            "download  [██████████··········]  50%  1/4 objects  30.0 MB  15.0 MB/s",
        ),
        (Progress("iter_many", 9), "iter_many  9 objects  30.0 MB  15.0 MB/s"),
    ],
)
def test_what_the_line_says(progress: Progress | None, line: str) -> None:
    """The verb, how much of it is done where that is known, what has moved, and how fast."""
    counts = iter([{"bytes_in": 0, "bytes_out": 0}, {"bytes_in": 20 * MB, "bytes_out": 10 * MB}])
    clock = iter([10.0, 12.0])
    bar = Bar(lambda: next(counts), Terminal(), lambda: next(clock))
    if progress is not None:
        bar.report(progress)

    assert bar.line() == line


def test_a_bar_comes_late_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over at once shows nothing; what was drawn is wiped out in the end."""
    quick, slow = Terminal(), Terminal()
    with Bar(dict, quick):
        assert quick.getvalue() == ""
    monkeypatch.setattr(_progress, "SHOW_AFTER", 0.0)
    bar = Bar(dict, slow)
    drawn = bar._stopped.wait
    monkeypatch.setattr(bar._stopped, "wait", lambda seconds: drawn(0.001 if bar._drawn else 0))
    with bar:
        while "/s" not in slow.getvalue():
            drawn(0.001)

    assert quick.getvalue() == ""
    assert slow.getvalue().rpartition("\r")[0].rpartition("\r")[2].strip() == ""
    assert slow.getvalue().endswith("\r")


def test_a_closed_stream_stops_the_bar() -> None:
    """Nothing is raised in the thread when the terminal has gone away."""
    stream = Terminal()
    bar = Bar(dict, stream)
    stream.close()

    bar.draw()

    assert bar._stopped.is_set()


def test_progress_is_reported_to_whom_it_is_asked_for(server: BucketServer) -> None:
    """A function gets what is done, at least in the end, also when that end is a failure."""
    seen: list[tuple[Any, ...]] = []

    def report(progress: Progress) -> None:
        seen.append((progress.verb, progress.objects, progress.objects_total, progress.bytes, progress.done))

    with make(server, progress=report) as s3:
        s3.get_many(["k"] * 5)
        assert seen[-1] == ("get_many", 5, 5, 5, True)
        with pytest.raises(holdall.ObjectNotFoundError):
            s3.get_many(["k", "no"])
        assert seen[-1][-1] is False


def test_nothing_is_printed_where_nobody_looks(server: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by default in a pipe, nor where it was refused; on request there is a bar, which is quiet for a second."""
    for options in ({}, {"progress": False}, {"progress": True}):
        with make(server, **options) as s3:
            assert s3.get_many(["k"] * 3)[0].text == "1"

    assert capsys.readouterr() == ("", "")


def test_the_face_s_s3_is_the_engine_s(server: BucketServer) -> None:
    """It is the same in all but the bar, asynchronously too, and arrives as what it was in other processes."""
    import pickle

    from holdall_store.transfer import s3 as engine

    reporter: Callable[..., Any] = holdall.AsyncS3("s3://bucket").kind
    assert issubclass(holdall.S3, engine.S3)
    assert reporter is holdall.S3
    assert type(pickle.loads(pickle.dumps(make(server, progress=True)))) is holdall.S3
    assert holdall.S3Object is engine.S3Object
