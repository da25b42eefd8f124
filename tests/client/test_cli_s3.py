"""``holdall ls``, ``cat`` and ``du`` of ``s3://`` URLs, and ``du`` of a store."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.storage._s3 import failure
from tests.transfer._bucket_server import BEGINNING

import holdall
from holdall import _cli_s3
from holdall._cli import main
from holdall._cli_s3_names import Url

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer


WHEN = f"{dt.datetime.fromtimestamp(BEGINNING):%Y-%m-%d %H:%M:%S}".split()
"""When the objects were written, as it is here."""


@pytest.fixture(autouse=True)
def folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work as ana, in an empty folder."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    return workdir


@pytest.fixture
def bucket(commands_bucket: BucketServer) -> BucketServer:
    """Give the server, empty."""
    return commands_bucket


@pytest.fixture
def logs(bucket: BucketServer) -> BucketServer:
    """Give a bucket with some objects."""
    for key, size in [("logs/a.txt", 5), ("logs/b.gz", 1500), ("logs/old/c.gz", 7), ("logs-of-today", 1), ("x y+ü", 2)]:
        bucket.store(key, bytes(range(65, 65 + 26)) * (size // 26) + b"z" * (size % 26))
    return bucket


def lines(text: str) -> list[list[str]]:
    """Return the words of each line."""
    return [line.split() for line in text.splitlines()]


def test_one_level(logs: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Listed is what begins with the URL, folders by their names, in one request; sizes are bytes in a pipe."""
    assert main(["ls", "s3://bucket/logs"]) == 0
    assert lines(capsys.readouterr().out) == [[*WHEN, "1", "logs-of-today"], ["PRE", "logs/"]]

    assert main(["ls", "s3://bucket/logs/"]) == 0
    out = capsys.readouterr().out
    assert lines(out) == [
        [*WHEN, "5", "a.txt"],
        [*WHEN, "1500", "b.gz"],
        ["PRE", "old/"],
    ]
    assert len(logs.log) == 2


def test_a_terminal_gets_sizes_for_people(
    logs: BucketServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal sizes have units."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert main(["ls", "s3://bucket/logs/b"]) == 0

    assert lines(capsys.readouterr().out) == [[WHEN[0], WHEN[1][:5], "1.5", "kB", "b.gz"]]


def test_all_below(logs: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """With -r it is all objects with their whole keys; -q writes URLs, which other commands take."""
    logs.page_keys = 2

    assert main(["ls", "-r", "s3://bucket"]) == 0
    assert [line[3] for line in lines(capsys.readouterr().out)] == [
        "logs-of-today",
        "logs/a.txt",
        "logs/b.gz",
        "logs/old/c.gz",
        "x",
    ]
    assert main(["ls", "-rq", "s3://bucket", "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert out == "s3://bucket/logs-of-today\ns3://bucket/logs/a.txt\n"
    assert "--limit 0" in err


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("logs/*.gz", ["logs/b.gz"]),
        ("logs/**.gz", ["logs/b.gz", "logs/old/c.gz"]),
        ("**/*.gz", ["logs/b.gz", "logs/old/c.gz"]),
        ("logs/**/*.gz", ["logs/b.gz", "logs/old/c.gz"]),
        ("*/old/*", ["logs/old/c.gz"]),
        ("logs/*", ["logs/a.txt", "logs/b.gz", "logs/old/"]),
        ("l*", ["logs-of-today", "logs/"]),
        ("x *-ü", []),
        ("x *ü", ["x y+ü"]),
    ],
)
def test_patterns(pattern: str, keys: list[str], logs: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An asterisk is any part of a name, two are of several; all else is itself."""
    assert main(["ls", f"s3://bucket/{pattern}", "--json"]) == (0 if keys else 3)

    out, err = capsys.readouterr()
    assert [each["key"] for each in json.loads(out or "[]")] == keys
    assert keys or "matches 'x *-ü'" in err


def test_json(logs: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs get an array with an object on each line."""
    assert main(["--json", "ls", "s3://bucket/logs/"]) == 0

    first, _, last = json.loads(capsys.readouterr().out)
    assert (first["kind"], first["url"], first["bytes"]) == ("object", "s3://bucket/logs/a.txt", 5)
    assert first["modified"] == "2026-11-23T08:00:00+00:00"
    assert (last["kind"], last["key"], last["bytes"]) == ("prefix", "logs/old/", None)


def test_an_empty_bucket_is_no_error(bucket: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """There may be nothing in a bucket; a name that nothing begins with is not there; a bucket that is missing is named."""
    assert main(["ls", "s3://bucket"]) == 0
    assert main(["ls", "s3://bucket", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"

    assert main(["ls", "s3://bucket/nothing"]) == 3
    assert main(["ls", "s3://no-such-bucket"]) == 1
    err = capsys.readouterr().err
    assert "no-such-bucket" in err
    assert "Errno" not in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ls", "gs://bucket"], "--store"),
        (["cat", "https://bucket/k"], "https:// is not known"),
        (["ls", "s3://user:secret@bucket/"], "names no bucket"),
        (["ls", "s3:///k"], "names no bucket"),
        (["ls", "s3://bucket", "--tag", "x"], "--tag"),
        (["ls", "--profile", "work"], "--profile goes with s3:// URLs"),
        (["ls", "flow", "-r"], "--recursive goes with s3:// URLs"),
        (["cat", "flow/a", "--range", "0-9"], "--range goes with s3:// URLs"),
        (["get", "s3://bucket/k"], "holdall cp"),
        (["put", "s3://bucket/k", "flow/k"], "holdall cp"),
        (["show", "s3://bucket/k"], "holdall cp"),
        (["cat", "s3://bucket/logs/"], "is a folder"),
        (["cat", "s3://bucket/logs/a.txt", "--range", "9-1"], "ends before it begins"),
        (["cat", "s3://bucket/logs/a.txt", "--range", "ten"], "write 0-99"),
        (["cat", "s3://bucket/logs/a.txt", "--range", "100-"], "has 5 bytes"),
        (["cat", "s3://bucket/*", "--range", "0-1"], "for one object"),
    ],
)
def test_what_makes_no_sense_is_2(
    arguments: list[str], told: str, logs: BucketServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong command line gets one sentence, exit code 2, and no secret is repeated."""
    assert main(arguments) == 2

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert told in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("wanted", "expected"), [("0-1", b"AB"), ("24-", b"YZ"), ("-3", b"XYZ"), ("25-99", b"Z"), ("3-3", b"D")]
)
def test_ranges(
    wanted: str,
    expected: bytes,
    bucket: BucketServer,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Ranges are those of HTTP: counted from 0, the last byte included; one request."""
    bucket.store("k", bytes(range(65, 91)))

    assert main(["cat", "s3://bucket/k", "--range", wanted]) == 0

    assert capsysbinary.readouterr().out == expected
    assert len(bucket.log) == 1


def test_objects_are_written_in_pieces(
    bucket: BucketServer,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    """A large object is written in order, piece by piece; several one after the other; an empty one is empty."""
    monkeypatch.setattr(_cli_s3, "PIECE_BYTES", 1000)
    data = b"".join(b"%06d\n" % number for number in range(5000))
    bucket.store("k/1", data)
    bucket.store("k/2", b"")
    bucket.store("k/3", b"end")

    assert main(["cat", "s3://bucket/k/1"]) == 0
    assert capsysbinary.readouterr().out == data
    assert main(["cat", "s3://bucket/k/*"]) == 0
    assert capsysbinary.readouterr().out == data + b"end"
    assert main(["cat", "s3://bucket/k/2"]) == 0
    assert capsysbinary.readouterr().out == b""


def test_an_object_that_is_replaced_is_not_mixed(
    bucket: BucketServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was written of an object that changes meanwhile is told to be no whole one."""
    monkeypatch.setattr(_cli_s3, "PIECE_BYTES", 1000)
    bucket.store("k", bytes(3000))

    def replace(request: object) -> None:
        if getattr(request, "headers", {}).get("range") == "bytes=1000-1999":
            bucket.store("k", b"x" * 3000)

    bucket.fault = replace

    assert main(["cat", "s3://bucket/k"]) == 1
    assert "s3://bucket/k was replaced while it was read" in capsys.readouterr().err


def test_no_bytes_for_a_terminal(
    bucket: BucketServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bytes that are no text are not written to a terminal."""
    bucket.store("k", b"\0\1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert main(["cat", "s3://bucket/k"]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert "holdall cp" in err


def test_a_reader_that_leaves_early_is_no_error(bucket: BucketServer) -> None:
    """What closes the pipe, such as head, ends the command without a word."""
    bucket.store("k", b"line\n" * 4_000_000)

    shell = f"{sys.executable} -m holdall cat s3://bucket/k | head -n 1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)

    assert (result.stdout, result.stderr) == ("line\n0\n", "")


def test_missing_objects_and_rights(logs: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not there is 3 and named, and a folder is told to be one; what may not be read is 1."""
    assert main(["cat", "s3://bucket/nothing"]) == 3
    assert "There is no object 'nothing' in s3://bucket" in capsys.readouterr().err
    assert main(["cat", "s3://bucket/logs/a.tx"]) == 3
    assert "Did you mean 's3://bucket/logs/a.txt'" in capsys.readouterr().err
    assert main(["cat", "s3://bucket/logs"]) == 3
    assert "it is a folder" in capsys.readouterr().err

    logs.fault = lambda request: failure(403, "AccessDenied")
    assert main(["cat", "s3://bucket/logs/a.txt"]) == 1
    assert "logs/a.txt" in capsys.readouterr().err


def test_options_reach_the_service(
    logs: BucketServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The endpoint, a public bucket and a profile are said as to the AWS command line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    url = ["--endpoint-url", logs.url]

    assert main(["cat", "s3://bucket/logs/a.txt", "--no-sign-request", *url]) == 0
    assert capsys.readouterr().out == "zzzzz"
    assert "authorization" not in logs.log[-1].headers

    config = Path("config")
    config.write_text("[profile work]\naws_access_key_id = of-work\naws_secret_access_key = s\nregion = eu-south-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_REGION")
    assert main(["ls", "s3://bucket/logs/", "--profile", "work", *url]) == 0
    assert "of-work/" in logs.log[-1].headers["authorization"]
    assert main(["ls", "s3://bucket/logs/", "--profile", "work", "--region", "eu-west-3", *url]) == 0
    assert "/eu-west-3/" in logs.log[-1].headers["authorization"]


def test_how_much_there_is_in_s3(
    logs: BucketServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Du counts what is below a folder, what matches, or one object; bytes in a pipe, units on a terminal."""
    logs.store("logs/", b"")

    assert main(["du", "s3://bucket/logs", "s3://bucket/**/*.gz", "s3://bucket/logs-of-today"]) == 0
    assert lines(capsys.readouterr().out) == [
        ["SIZE", "COUNT", "WHAT"],
        ["1512", "3", "s3://bucket/logs"],
        ["1507", "2", "s3://bucket/**/*.gz"],
        ["1", "1", "s3://bucket/logs-of-today"],
    ]
    assert main(["du", "s3://bucket/logs/old/", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"kind": "prefix", "url": "s3://bucket/logs/old/", "bytes": 7, "objects": 1}
    ]
    assert main(["du", "s3://bucket/nothing"]) == 3
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    capsys.readouterr()
    assert main(["du", "s3://bucket/logs"]) == 0
    assert "1.5 kB  3 objects" in capsys.readouterr().out


def test_how_much_there_is_in_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    """Du of a store tells how large artifacts are, and what was new when they were saved."""
    data = bytes(range(256)) * 4000
    holdall.save(data, "flow/data")
    holdall.save(data, "flow/data")
    holdall.save({"small": 1}, "other/small")
    run = holdall.Flow("flow").latest_run
    assert run is not None
    size, new = run["data"].size, sum(each["data"].stored for each in holdall.Flow("flow"))

    assert main(["du", "--json"]) == 0
    flows = {row["reference"]: row for row in json.loads(capsys.readouterr().out)}
    assert flows["flow"] == {"kind": "flow", "reference": "flow", "bytes": 2 * size, "new_bytes": new, "artifacts": 2}
    assert flows[None]["bytes"] == 2 * size + flows["other"]["bytes"]
    assert 0 < new < 2 * size

    assert main(["du", "flow/data", "flow", str(run["data"].reference)]) == 0
    rows = lines(capsys.readouterr().out)
    assert rows[0] == ["SIZE", "NEW", "COUNT", "WHAT"]
    assert [row[:1] + row[2:] for row in rows[1:]] == [
        [str(2 * size), "2", "flow/data"],
        [str(2 * size), "2", "flow/data"],
        [str(2 * size), "2", "flow"],
        [str(size), "1", run["data"].reference],
    ]
    assert main(["du", f"flow@{run.id}"]) == 0
    assert lines(capsys.readouterr().out)[-1][2:] == ["1", f"user:ana/flow@{run.id}"]
    assert main(["du", "flwo"]) == 3
    assert "Did you mean 'flow'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "key", "begin", "base"),
    [
        ("s3://b", "", "", ""),
        ("s3://b/", "", "", ""),
        ("S3A://b/a/b", "a/b", "a/b", "a/"),
        ("s3://b/a/b*c/d", "a/b*c/d", "a/b", "a/"),
        ("s3://b//x", "/x", "/x", "/"),
    ],
)
def test_urls(text: str, key: str, begin: str, base: str) -> None:
    """A URL is a bucket and a key; a pattern begins somewhere."""
    url = Url.parse(text)

    assert (url.bucket, url.key, url.begin, url.base) == ("b", key, begin, base)
    assert Url.parse(text, raw=True).is_pattern is False
