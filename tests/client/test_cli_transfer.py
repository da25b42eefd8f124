"""``holdall get``, ``put`` and ``cat``: files in, files out, and what has no file."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import holdall
from holdall._cli import main

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
    ({"x": float("nan"), 1: float("-inf")}, "value.json", b'{\n  "x": "nan",\n  "1": "-inf"\n}\n'),
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
        ({(1, 2): 3}, ["get"], "say a tuple at .keys()"),
        (FRAME, ["get", "-o", "t.xlsx"], "choose .parquet, .csv, .feather, .pkl"),
        (np.arange(3), ["get", "-o", "a.txt"], "choose .npy, .pkl"),
        ([1], ["get", "-o", "x.yaml"], "choose .json, .pkl"),
        (np.array([None, "a"]), ["get", "-o", "a.npy"], "-o NAME.pkl"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["get"], "cannot be written as .parquet"),
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


def test_a_failed_put_is_a_failed_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be saved leaves a run that says why."""
    (folder / "plots").mkdir()
    (folder / "plots" / "link").symlink_to("/etc")

    assert main(["put", "plots", "report"]) == 1

    assert "link" in capsys.readouterr().err
    assert holdall.Flow("report").latest_run.status == "failed"
