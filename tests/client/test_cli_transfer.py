"""``holdall get``, ``put`` and ``cat``: files in, files out, and what has no file."""

from __future__ import annotations

import datetime as dt
import decimal
import errno
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import holdall
from holdall import _cli_transfer
from holdall._cli import main
from holdall.store import StorageError

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


class Own:
    """A class that only pickle knows."""

    depth = 3


@pytest.fixture(autouse=True)
def folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work as ana, in a folder with a store."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    holdall.save(0, "flow/zero")
    return workdir


def feed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `data` what comes from standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_file_comes_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is put is got back: bytes and permissions; put tells the reference, get the path."""
    (folder / "run.sh").write_bytes(b"#!/bin/sh\n\0\xff")
    (folder / "run.sh").chmod(0o755)

    assert main(["put", "run.sh", "tools/start", "--tag", "shell"]) == 0
    reference = capsys.readouterr().out.strip()
    assert main(["get", reference, "-o", "copy.sh"]) == 0

    run = holdall.Flow("tools").latest_successful_run
    assert reference == run["start"].reference
    assert (sorted(run.tags), run["start"].type) == (["shell"], "file")
    assert capsys.readouterr().out == "copy.sh\n"
    assert (folder / "copy.sh").read_bytes() == b"#!/bin/sh\n\0\xff"
    assert (folder / "copy.sh").stat().st_mode & 0o777 == 0o755


def test_a_directory_comes_back(folder: Path) -> None:
    """A directory is saved with all that is in it; one that is there already is what to write into."""
    (folder / "plots" / "old").mkdir(parents=True)
    (folder / "plots" / "old" / "a.txt").write_text("a")
    (folder / "out").mkdir()

    assert main(["put", "plots", "report"]) == 0
    assert main(["get", "report/plots", "-o", "out"]) == 0

    assert (folder / "out" / "plots" / "old" / "a.txt").read_text() == "a"
    assert main(["get", "report/plots", "-o", "out", "--force"]) == 1


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A dash means standard input, and what it gave comes back through cat, byte by byte."""
    feed(b"one\r\n\0two", monkeypatch)

    assert main(["put", "-", "backup/shop.sql", "-q"]) == 0
    capsysbinary.readouterr()
    assert main(["cat", "backup/shop.sql"]) == 0

    assert capsysbinary.readouterr().out == b"one\r\n\0two"


def test_the_name_of_the_file_is_the_default(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A flow alone is enough for a file, which has a name; get writes it under the artifact's."""
    (folder / "report.html").write_text("<p>")

    assert main(["put", str(folder / "report.html"), "user:bo/churn", "--json"]) == 0
    saved = json.loads(capsys.readouterr().out)
    (folder / "report.html").unlink()
    assert main(["get", "-n", "user:bo", "churn/report.html", "--json"]) == 0

    assert (saved["namespace"], saved["artifact"], saved["type"], saved["bytes"] >= 3) == (
        "user:bo",
        "report.html",
        "file",
        True,
    )
    assert json.loads(capsys.readouterr().out) == {**saved, "path": "report.html"}
    assert (folder / "report.html").read_text() == "<p>"


@pytest.mark.parametrize("artifact", ["text", "file"])
def test_nothing_is_overwritten_unasked(artifact: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is taken is left alone, unless ``--force`` says otherwise; no part file stays behind."""
    (folder / "new.txt").write_text("new")
    holdall.save("new", "flow/text")
    holdall.save_file("new.txt", "flow/file")
    (folder / "out.txt").write_text("old")

    assert main(["get", f"flow/{artifact}", "-o", "out.txt"]) == 1
    assert (folder / "out.txt").read_text() == "old"
    assert "--force" in capsys.readouterr().err
    assert main(["get", f"flow/{artifact}", "-o", "out.txt", "--force"]) == 0
    assert (folder / "out.txt").read_text() == "new"
    assert sorted(path.name for path in folder.iterdir()) == [".holdall", "new.txt", "out.txt"]


PLAIN: list[tuple[Any, str, bytes]] = [
    ("größe\n", "value.txt", "größe\n".encode()),
    (b"\0\xff", "value.bin", b"\0\xff"),
    (3, "value.json", b"3\n"),
    (None, "value.json", b"null\n"),
    ([1, (2.5, True)], "value.json", b"[\n  1,\n  [\n    2.5,\n    true\n  ]\n]\n"),
    ({"x": float("nan"), "1": float("-inf")}, "value.json", b'{\n  "x": "nan",\n  "1": "-inf"\n}\n'),
    (np.float32(0.5), "value.json", b"0.5\n"),
    (dt.date(2026, 11, 23), "value.json", b'"2026-11-23"\n'),
    ([decimal.Decimal("1.10"), Path("a/b")], "value.json", b'[\n  "1.10",\n  "a/b"\n]\n'),
    ({"é": "\ud800"}, "value.json", b'{\n  "\\u00e9": "\\ud800"\n}\n'),
]


@pytest.mark.parametrize(
    ("value", "name", "content"), PLAIN, ids=[f"{type(case[0]).__name__}{n}" for n, case in enumerate(PLAIN)]
)
def test_plain_values(
    value: Any, name: str, content: bytes, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Text and bytes are written as they are, plain values as JSON; cat writes the same."""
    holdall.save(value, "flow/value")

    assert main(["get", "flow/value"]) == 0
    assert capsysbinary.readouterr().out == name.encode() + b"\n"
    assert (folder / name).read_bytes() == content
    assert main(["cat", "flow/value"]) == 0
    assert capsysbinary.readouterr().out == content


def test_text_as_json(folder: Path) -> None:
    """A suffix chooses: text can be JSON too."""
    holdall.save("a", "flow/text")

    assert main(["get", "flow/text", "-o", "new/folder/text.json"]) == 0
    assert (folder / "new" / "folder" / "text.json").read_text() == '"a"\n'


@pytest.mark.parametrize("suffix", ["parquet", "csv", "feather"])
@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        FRAME["a"],
        pa.Table.from_pandas(FRAME),
        pa.RecordBatch.from_pandas(FRAME),
        pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    ],
    ids=["frame", "series", "arrow", "batch", "polars"],
)
def test_tables(table: Any, suffix: str, folder: Path) -> None:
    """Tables are written in the formats that other programs read."""
    holdall.save(table, "flow/table")

    assert main(["get", "flow/table", "-o", f"t.{suffix}"]) == 0

    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "feather": pd.read_feather}[suffix](folder / f"t.{suffix}")
    assert list(read["a"]) == [1, 2]


def test_tables_are_parquet_by_default(folder: Path) -> None:
    """Without a path, a table goes to a Parquet file that is called as it is."""
    holdall.save(FRAME, "flow/table")

    assert main(["get", "flow/table"]) == 0
    assert pq.read_table(folder / "table.parquet").num_rows == 2


def test_an_index_that_says_something_is_kept_in_csv(folder: Path) -> None:
    """The rows' labels are a column of the CSV, unless they are just numbers."""
    holdall.save(FRAME.set_index("b"), "flow/table")

    assert main(["get", "flow/table", "-o", "t.csv"]) == 0
    assert (folder / "t.csv").read_text() == "b,a\nx,1\ny,2\n"


def test_arrays(folder: Path) -> None:
    """Arrays are written as .npy."""
    holdall.save(np.arange(6).reshape(2, 3), "flow/array")

    assert main(["get", "flow/array"]) == 0
    assert np.load(folder / "array.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_anything_as_a_pickle(folder: Path) -> None:
    """Where the path says .pkl, any object is written as a pickle that pickle itself reads."""
    holdall.save({"w": np.arange(3), "own": Own}, "flow/model")

    assert main(["get", "flow/model", "-o", "m.pkl"]) == 0
    assert pickle.loads((folder / "m.pkl").read_bytes())["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "arguments", "told"),
    [
        ({"w": [np.arange(3)]}, ["get"], "numpy.ndarray at ['w'][0]"),
        ({(1, 2): 3}, ["get"], "(1, 2) at .keys() is of type tuple"),
        ({1: "a", "1": "b"}, ["get"], "in JSON keys are strings, and 1 at .keys() is of type int"),
        ({1: "a", "1": "b"}, ["cat"], "In Python: holdall.load('user:ana/flow/value@"),
        ({"deep": [{True: "t", 1.5: "x"}]}, ["cat"], "True at ['deep'][0].keys() is of type bool"),
        (pd.Index([1, 2]), ["get", "-o", "i.csv"], "choose .pkl"),
        (FRAME, ["get", "-o", "t.xlsx"], "choose .parquet, .csv, .feather, .pkl"),
        (np.arange(3), ["get", "-o", "a.txt"], "choose .npy, .pkl"),
        ([1], ["get", "-o", "x.yaml"], "choose .json, .pkl"),
        (np.array([None, "a"]), ["get", "-o", "a.npy"], "-o NAME.pkl"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["get"], "columns 'a'. Choose .csv or .pkl"),
        (
            pd.DataFrame([[1, 2]], columns=["a", 1]),
            ["get", "-o", "t.feather"],
            "not all of one type. Choose .csv or .pkl",
        ),
        (pd.DataFrame({"a": [1, "x"]}), ["get"], "Choose .csv or .pkl"),
        (FRAME, ["cat"], "'holdall get flow/value'"),
        (1j, ["cat"], "complex"),
    ],
)
def test_what_has_no_such_file(
    value: Any, arguments: list[str], told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be written that way is refused with the way out, and nothing is left on the disk."""
    holdall.save(value, "flow/value")
    command, *options = arguments

    assert main([command, "flow/value", *options]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert [path.name for path in folder.iterdir()] == [".holdall"]


def test_cat_of_a_directory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A directory has no bytes of its own."""
    (folder / "plots").mkdir()
    holdall.save_dir("plots", "flow/plots")

    assert main(["cat", "flow/plots"]) == 1
    assert "'holdall get flow/plots'" in capsys.readouterr().err


def test_pickles_of_others_need_a_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a store that others may write to, a pickle is loaded with ``--trust`` alone."""
    holdall.save(os.getcwd, "flow/function")
    (folder / ".holdall").chmod(0o777)

    assert main(["get", "flow/function", "-o", "f.pkl"]) == 1
    assert "On the command line: --trust." in capsys.readouterr().err
    assert main(["get", "flow/function", "-o", "f.pkl", "--trust"]) == 0
    assert (folder / "f.pkl").is_file()


@pytest.mark.parametrize("value", [b"\0\1", "a\0b"])
def test_binary_is_kept_off_the_terminal(
    value: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no text are not written to a terminal."""
    holdall.save(value, "flow/value")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert main(["cat", "flow/value"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "terminal" in err


def test_text_files_on_a_terminal_are_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The look at the beginning of a file takes nothing from it."""
    (folder / "a.txt").write_bytes(b"text\n" * 1000)
    holdall.save_file("a.txt", "flow/a")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert main(["cat", "flow/a"]) == 0
    assert capsysbinary.readouterr().out == b"text\n" * 1000


def test_a_pipeline(folder: Path) -> None:
    """Programs in a pipe: what one writes, put saves, and cat gives to the next."""
    program = f"{sys.executable} -m holdall"
    shell = f"set -e; printf 'b\\na\\n' | {program} put - lists/names; {program} cat lists/names | sort"

    result = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == holdall.Flow("lists").latest_run["names"].reference + "\na\nb\n"


def test_a_failed_put_is_a_failed_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fails while it is saved leaves a run that says why."""

    def full(*arguments: object) -> None:
        raise StorageError("no space left")

    (folder / "a.txt").write_text("a")
    monkeypatch.setattr(_cli_transfer, "_save", full)

    assert main(["put", "a.txt", "report"]) == 1

    assert "no space left" in capsys.readouterr().err
    assert holdall.Flow("report").latest_run.status == "failed"


def make_link_outside(path: Path) -> None:
    """Make a directory with a link in it that means nothing elsewhere."""
    path.mkdir()
    (path / "link").symlink_to("/etc")


@pytest.mark.parametrize(
    ("make", "name", "told"),
    [
        (os.mkfifo, "source", "holdall put - report/NAME < source"),
        (make_link_outside, "source", "link"),
        (Path.touch, "a:b", "a:b"),
        (None, "source", "There is no file or directory 'source'"),
        (None, "/dev/null", "neither a file nor a directory"),
        (None, "", "An empty path names no file or directory"),
    ],
    ids=["fifo", "link", "name", "missing", "device", "empty"],
)
def test_a_refused_put_begins_no_run(
    make: Callable[[Path], None] | None, name: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be saved is refused before a run begins, and at once."""
    if make is not None:
        make(folder / name)

    assert main(["put", name, "report"]) in (1, 2)

    assert told in capsys.readouterr().err
    assert [flow.name for flow in holdall.Client().flows] == ["flow"]


@pytest.mark.parametrize(
    ("value", "content"),
    [("größe", "größe".encode()), (b"\0\xff", b"\0\xff"), ([1], b"[\n  1\n]\n")],
    ids=["text", "bytes", "list"],
)
def test_get_to_standard_output(
    value: Any, content: bytes, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A dash means standard output, and nothing is added to what is written there."""
    holdall.save(value, "flow/value")

    assert main(["get", "flow/value", "-o", "-"]) == 0

    assert capsysbinary.readouterr() == (content, b"")
    assert [path.name for path in folder.iterdir()] == [".holdall"]


def test_get_files_and_tables_to_standard_output(
    folder: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file comes as it was, a table in its first format, a directory not at all; no binary meets a terminal."""
    (folder / "a.bin").write_bytes(b"\0a")
    holdall.save_file("a.bin", "flow/file")
    holdall.save(FRAME, "flow/table")
    (folder / "plots").mkdir()
    holdall.save_dir("plots", "flow/plots")

    assert main(["get", "flow/file", "-o", "-"]) == 0
    assert capsysbinary.readouterr().out == b"\0a"
    assert main(["get", "flow/table", "-o", "-"]) == 0
    assert pd.read_parquet(io.BytesIO(capsysbinary.readouterr().out)).equals(FRAME)
    assert main(["get", "flow/plots", "-o", "-"]) == 1
    assert main(["get", "flow/file", "-o", "-", "--json"]) == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["get", "flow/table", "-o", "-"]) == 1
    out, err = capsysbinary.readouterr()
    assert out == b""
    assert b"-o FOLDER" in err
    assert b"--json" in err
    assert b"-o NAME" in err


@pytest.mark.parametrize("name", ["text", "file"])
def test_a_slash_at_the_end_means_a_folder(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a slash behind it, a path is a folder, which is made if it is not there."""
    (folder / "a").write_text("a")
    holdall.save("a", "flow/text")
    holdall.save_file("a", "flow/file")
    written = {"text": "new/out/text.txt", "file": "new/out/file"}[name]

    assert main(["get", f"flow/{name}", "-o", "new/out/"]) == 0

    assert capsys.readouterr().out == f"{written}\n"
    assert (folder / written).read_text() == "a"


def test_a_lone_name_is_the_flow(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of put, a name without a slash is the flow, and the artifact is called as the file is."""
    (folder / "a.txt").write_text("a")

    assert main(["put", "a.txt", "f"]) == 0

    assert capsys.readouterr().out.startswith("user:ana/f/a.txt@")


@pytest.mark.parametrize(("name", "force"), [("file", False), ("file", True), ("text", False)])
def test_a_disk_that_is_full_on_the_way_out(
    name: str, force: bool, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names the artifact and the place that was asked for; what was there stays, and nothing is left behind."""
    (folder / "source").write_text("new")
    holdall.save_file("source", "report/file")
    holdall.save("new", "report/text")
    (folder / "out").mkdir()
    if force:
        (folder / "out" / "copy.txt").write_text("old")

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("holdall._cli_export._write_all", fail)
    monkeypatch.setattr("holdall_store.serializers._file_extract._write_run", fail)

    assert main(["get", f"report/{name}", "-o", "out/copy.txt", *(["--force"] if force else [])]) == 1

    told = capsys.readouterr().err
    assert f"report/{name}@" in told
    assert (
        "'out/copy.txt' cannot be written: No space left on device. Free some space there, or name another place."
        in told
    )
    assert {path.name: path.read_text() for path in (folder / "out").iterdir()} == (
        {"copy.txt": "old"} if force else {}
    )
