"""``holdall cp`` and ``holdall sync``: what goes where, what is left alone, and what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from tests.storage._s3 import Reply, Request, Stall, failure

import holdall
from holdall._cli import main

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer


@pytest.fixture(autouse=True)
def folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work as ana, in a folder with some files."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    (workdir / "d" / "sub").mkdir(parents=True)
    (workdir / "d" / "a.txt").write_text("a")
    (workdir / "d" / "sub" / "b.csv").write_text("b,b")
    return workdir


@pytest.fixture
def bucket(commands_bucket: BucketServer) -> BucketServer:
    """Give the server, empty."""
    return commands_bucket


def below(root: Path) -> dict[str, str]:
    """Return the files below a folder, and what is in them."""
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["d/a.txt", "s3://bucket"], ["a.txt"]),
        (["d/a.txt", "s3://bucket/p/"], ["p/a.txt"]),
        (["d/a.txt", "s3://bucket/p/new"], ["p/new"]),
        (["d/a.txt", "s3://bucket/p/100%*"], ["p/100%*"]),
        (["-r", "d", "s3://bucket"], ["a.txt", "sub/b.csv"]),
        (["-r", "d/", "s3://bucket/p"], ["p/a.txt", "p/sub/b.csv"]),
        (["-r", "d/a.txt", "s3://bucket/p/"], ["p/a.txt"]),
        (["d/a.txt", "d/sub/b.csv", "s3://bucket/p/"], ["p/a.txt", "p/b.csv"]),
        (["-r", "d/sub", "d/a.txt", "s3://bucket/p/"], ["p/a.txt", "p/sub/b.csv"]),
    ],
)
def test_uploads(
    arguments: list[str], keys: list[str], bucket: BucketServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file goes to a key or into a folder, what is in a folder into a folder; each has a line, and its type."""
    assert main(["cp", *arguments]) == 0

    out, err = capsys.readouterr()
    assert bucket.keys() == keys
    assert sorted(line.partition(" to s3://bucket/")[2] for line in out.splitlines()) == keys
    assert out.startswith("upload: d/")
    assert err == ""
    assert [bucket.versions["bucket", key][-1].headers.get("content-type") for key in keys if key.endswith("csv")] in (
        [],
        ["text/csv"],
    )


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (["s3://bucket/p/a.txt", "."], {"a.txt": "A"}),
        (["s3://bucket/p/a.txt", "new/b"], {"new/b": "A"}),
        (["s3://bucket/p/a.txt", "new/"], {"new/a.txt": "A"}),
        (["-r", "s3://bucket/p", "new"], {"new/a.txt": "A", "new/q/c.gz": "C", "new/q/x y+ü": "Ü"}),
        (["-r", "s3://bucket/p/a.txt", "new"], {"new": "A"}),
        (["-r", "s3://bucket/p", "s3://bucket/star", "new/"], {"new/p/a.txt": "A", "new/p/q/c.gz": "C", "new/p/q/x y+ü": "Ü", "new/star/*": "S"}),
        (["s3://bucket/p/*", "new/"], {"new/a.txt": "A"}),
        (["s3://bucket/**/*.gz", "new/"], {"new/p/q/c.gz": "C"}),
        (["s3://bucket/p/**", "new/"], {"new/a.txt": "A", "new/q/c.gz": "C", "new/q/x y+ü": "Ü"}),
        (["--raw", "s3://bucket/star/*", "new/"], {"new/*": "S"}),
    ],
)  # fmt: skip
def test_downloads(
    arguments: list[str], files: dict[str, str], bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Objects become files, and patterns keep the folders below the one that they begin in."""
    for key, text in [("p/a.txt", "A"), ("p/q/c.gz", "C"), ("p/q/x y+ü", "Ü"), ("star/*", "S"), ("p/", "")]:
        bucket.store(key, text.encode())
    before = below(folder)

    assert main(["cp", *arguments]) == 0

    made = {name: text for name, text in below(folder).items() if name not in before}
    assert made == files
    assert len(capsys.readouterr().out.splitlines()) == len(files)


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["s3://bucket/p/a", "s3://other/"], ["a"]),
        (["s3://bucket/p/a", "s3://other/new"], ["new"]),
        (["-r", "s3://bucket/p", "s3://other/new"], ["new/a", "new/q/b"]),
        (["s3://bucket/p/*/*", "s3://other/"], ["q/b"]),
        (["s3://bucket/p/a", "d/a.txt", "s3://other/x/"], ["x/a", "x/a.txt"]),
    ],
)
def test_copies_inside_of_s3(arguments: list[str], keys: list[str], bucket: BucketServer) -> None:
    """What goes from bucket to bucket does not come here."""
    bucket.store("p/a", b"1")
    bucket.store("p/q/b", b"2")

    assert main(["cp", *arguments]) == 0

    assert bucket.keys("other") == keys
    assert not any(request.method == "GET" and request.key for request in bucket.log)


def test_what_is_there_is_left_alone_if_that_is_asked(
    bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --if-absent nothing is replaced, in any direction; the rest is done."""
    bucket.store("a.txt", b"old")
    (folder / "new").mkdir()
    (folder / "new" / "a.txt").write_text("old")

    assert main(["cp", "-r", "--if-absent", "d", "s3://bucket/"]) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "skip: s3://bucket/a.txt is there",
        "upload: d/sub/b.csv to s3://bucket/sub/b.csv",
    ]
    assert main(["cp", "-r", "--if-absent", "s3://bucket/", "new"]) == 0
    assert main(["cp", "--if-absent", "s3://bucket/sub/b.csv", "s3://bucket/a.txt"]) == 0

    assert (bucket.content("a.txt"), bucket.content("sub/b.csv")) == (b"old", b"b,b")
    assert below(folder / "new") == {"a.txt": "old", "sub/b.csv": "b,b"}
    assert main(["cp", "d/a.txt", "s3://bucket/a.txt"]) == 0
    assert bucket.content("a.txt") == b"a"


def test_a_dry_run_does_nothing(bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --dry-run it is told what would be done; programs are told that it was not."""
    bucket.store("k", b"1")

    assert main(["cp", "-r", "d", "s3://bucket/p", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("(dry run) upload: d/a.txt to s3://bucket/p/a.txt\n")
    assert main(["cp", "s3://bucket/k", "new/", "--dry-run", "--json"]) == 0

    told = {"action": "download", "source": "s3://bucket/k", "target": "new/k", "bytes": 1, "done": False}
    assert json.loads(capsys.readouterr().out) == [told]
    assert bucket.keys() == ["k"]
    assert not (folder / "new").exists()


def test_how_uploads_are_encrypted(bucket: BucketServer) -> None:
    """Encryption at the server is asked for as with the AWS command line, for uploads and copies."""
    kms = ["--sse", "aws:kms", "--sse-kms-key-id", "of-ana"]

    assert main(["cp", "d/a.txt", "s3://bucket/k", *kms]) == 0
    assert main(["cp", "s3://bucket/k", "s3://bucket/j", "--sse", "AES256"]) == 0

    name = "x-amz-server-side-encryption"
    first, second = (bucket.versions["bucket", key][-1].headers for key in "kj")
    assert (first[name], first[f"{name}-aws-kms-key-id"], second[name]) == ("aws:kms", "of-ana", "AES256")


def test_streams(
    bucket: BucketServer, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A dash is standard input or output; what has no name needs one."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\0two")))

    assert main(["cp", "-", "s3://bucket/k", "--content-type", "text/x-own", "--json"]) == 0
    (told,) = json.loads(capsysbinary.readouterr().out)
    assert (told["bytes"], bucket.content("k")) == (7, b"one\0two")
    assert bucket.versions["bucket", "k"][-1].headers["content-type"] == "text/x-own"

    assert main(["cp", "s3://bucket/k", "s3://bucket/*", "-"]) == 0
    assert capsysbinary.readouterr().out == b"one\0twoone\0two"
    assert main(["cp", "-", "s3://bucket/"]) == 2
    assert main(["cp", "-", "s3://bucket/k", "-"]) == 2


def test_artifacts_go_out(bucket: BucketServer, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """A reference as SRC is written as get writes it: to a file, to S3 in the format of the name, to a pipe."""
    holdall.save(pd.DataFrame({"a": [1, 2]}), "churn/train")
    holdall.save_dir("d", "churn/plots")
    holdall.save_file("d/a.txt", "churn/report")

    assert main(["cp", "churn/train", "s3://bucket/train.csv"]) == 0
    assert main(["cp", "churn/train", "s3://bucket/all/"]) == 0
    assert main(["cp", "-r", "churn/plots", "s3://bucket/plots/"]) == 0
    assert main(["cp", "churn/report", "d/sub/b.csv", "s3://bucket/mixed/"]) == 0
    assert b"upload: user:ana/churn/report@" in capsysbinary.readouterr().out
    assert main(["cp", "churn/report", "-"]) == 0
    assert capsysbinary.readouterr().out == b"a"
    assert main(["cp", "churn/report", "churn/train", "s3://bucket/train.csv", "out/"]) == 0

    assert bucket.content("train.csv") == b"a\n1\n2\n"
    assert bucket.keys() == [
        "all/train.parquet", "mixed/b.csv", "mixed/report", "plots/a.txt", "plots/sub/b.csv", "train.csv",
    ]  # fmt: skip
    assert sorted(os.listdir("out")) == ["report", "train.csv", "train.parquet"]
    assert main(["cp", "churn/report", "out/report", "--if-absent"]) == 1
    assert main(["cp", "churn/report", "out/report"]) == 0
    assert main(["cp", "churn/plots", "s3://bucket/x/"]) == 2


def test_files_become_artifacts(bucket: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A path of this machine and a reference: that is put, without a look at S3."""
    assert main(["cp", "d/a.txt", "churn/report", "-q"]) == 0
    reference = capsys.readouterr().out.strip()
    assert main(["cp", "-r", "d", "churn/plots"]) == 0

    run = holdall.Flow("churn").runs()
    assert [artifact.name for each in run for artifact in each] == ["plots", "report"]
    assert reference.startswith("user:ana/churn/report@")
    assert bucket.log == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["d", "s3://bucket/"], "'d' is a folder: add -r"),
        (["d", "churn/plots"], "'d' is a folder: add -r"),
        (["s3://bucket/p/", "."], "s3://bucket/p/ is a folder: add -r"),
        (["d/a.txt", "d/sub/b.csv", "s3://bucket/p"], "end it with a slash"),
        (["s3://bucket/k", "s3://bucket/j", "new"], "end it with a slash"),
        (["s3://bucket/*", "new"], "end it with a slash"),
        (["d/a.txt", "d/new.txt"], "both of this machine"),
        (["d/a.txt", "./new.txt"], "both of this machine"),
        (["d/a.txt", "lone"], "flow/artifact"),
        (["d/a.txt", "-"], "of this machine, and so is"),
        (["d/a.txt", "flow/a", "--dry-run"], "Every save is a new run"),
        (["-", "d/a.txt", "s3://bucket/"], "alone"),
        (["d/a.txt", "./d/a.txt", "s3://bucket/"], "would both become s3://bucket/a.txt"),
        (["s3://bucket/k", "s3://bucket/"], "onto itself"),
        (["d/a.txt", "gs://bucket/"], "--store"),
        (["", "s3://bucket/"], "empty"),
        (["s3://bucket/k", "new", "--sse", "rot13"], "rot13"),
    ],
)
def test_what_makes_no_sense_is_2(
    arguments: list[str], told: str, bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be meant is refused before anything is written."""
    bucket.store("k", b"1")
    bucket.store("j", b"2")
    before = below(folder)

    code = main(["cp", *arguments])

    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert bucket.keys() == ["j", "k"]
    assert below(folder) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["s3://bucket/nothing", "."], "no object 'nothing' in s3://bucket"),
        (["s3://bucket/p", "."], "it is a folder, so that it takes -r"),
        (["-r", "s3://bucket/nothing/", "new"], "nothing in s3://bucket/nothing/"),
        (["s3://bucket/*.nothing", "new/"], "matches '*.nothing'"),
        (["./nothing", "s3://bucket/"], "no file or folder './nothing'"),
        (["nothing", "s3://bucket/"], "no file 'nothing'"),
        (["no file", "s3://bucket/"], "'no file'"),
        (["churn/nothing", "s3://bucket/"], "as a reference"),
    ],
)
def test_what_is_not_there_is_3(
    arguments: list[str], told: str, bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not there is named, and nothing is made."""
    holdall.save(1, "churn/one")
    bucket.store("p/k", b"1")

    assert main(["cp", *arguments]) == 3

    assert told in capsys.readouterr().err
    assert not (folder / "new").exists()


@pytest.mark.parametrize("key", ["p/../../evil", "p//absolute", "p/a\\b", "p/./x"])
def test_no_key_leads_out_of_the_folder(
    key: str, bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys that are no paths are refused before anything is written, whichever way they are named."""
    bucket.store(key, b"evil")
    bucket.store("p/good", b"good")

    assert main(["cp", "-r", "s3://bucket/p", "new"]) == 2
    assert "cannot become a file" in capsys.readouterr().err
    assert main(["cp", "s3://bucket/p/**", "new/"]) == 2
    assert main(["sync", "s3://bucket/p", "new"]) == 2

    assert not (folder / "new").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["d"]


def test_a_single_key_stays_in_the_folder(bucket: BucketServer, folder: Path) -> None:
    """The name of one object is not obeyed either, and links in the target are not followed."""
    bucket.store("p/..", b"evil")
    (folder / "outside").mkdir()
    (folder / "new").mkdir()
    (folder / "new" / "sub").symlink_to(folder / "outside")
    bucket.store("q/sub/x", b"evil")

    assert main(["cp", "s3://bucket/p/..", "new/"]) == 2
    assert main(["cp", "-r", "s3://bucket/q", "new"]) == 2

    assert below(folder / "outside") == {}


def test_the_key_that_fails_is_named(bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One of many that cannot be read or written ends the command with 1, and says which; no part of it is left."""
    for number in range(20):
        bucket.store(f"p/{number}", b"x" * 100)
    bucket.fault = lambda request: failure(403, "AccessDenied") if request.key in ("p/7", "u/sub/b.csv") else None

    assert main(["cp", "-r", "s3://bucket/p", "new"]) == 1
    assert "p/7" in capsys.readouterr().err
    assert main(["cp", "-r", "d", "s3://bucket/u"]) == 1
    assert "u/sub/b.csv" in capsys.readouterr().err

    assert not [name for name in below(folder / "new") if name.startswith(".") or name == "7"]


def copy_interrupted(bucket: BucketServer, folder: Path, when: Callable[[Request], bool]) -> tuple[int, str, str]:
    """Copy an object in a process of its own, interrupt it at a request, and return how it ended and what it wrote."""
    children: list[subprocess.Popen[str]] = []

    def interrupt(request: Request) -> Reply | Stall | None:
        if request.method != "GET" or not when(request):
            return None
        children[0].send_signal(signal.SIGINT)
        return Stall()

    bucket.fault = interrupt
    arguments = [sys.executable, "-m", "holdall", "cp", "s3://bucket/k", "new/"]
    with subprocess.Popen(
        arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        children.append(child)
        out, err = child.communicate(timeout=60)
    return child.returncode, out, err


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c(bucket: BucketServer, folder: Path) -> None:
    """A command that is interrupted while an object comes ends with 130, quietly, and leaves no file."""
    bucket.store("k", b"x" * 1000)

    assert copy_interrupted(bucket, folder, lambda request: True) == (130, "", "")
    assert below(folder / "new") == {}


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_a_large_object_comes(bucket: BucketServer, folder: Path) -> None:
    """It is said that the same command goes on with it, beside whose target the beginning lies."""
    bucket.store("k", os.urandom(1 << 20) * 20)

    code, out, err = copy_interrupted(
        bucket, folder, lambda request: request.headers.get("range", "").startswith("bytes=1")
    )
    assert (code, out) == (130, "")
    assert "The same command goes on where it was." in err
    assert [path.name.endswith(".part") for path in (folder / "new").iterdir()] == [True]


def test_a_terminal_gets_a_summary(
    bucket: BucketServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal it is told how much that was; a pipe gets lines alone, and with -q what was written."""
    assert main(["cp", "-rq", "d", "s3://bucket/p"]) == 0
    assert capsys.readouterr() == ("s3://bucket/p/a.txt\ns3://bucket/p/sub/b.csv\n", "")

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["cp", "-r", "d", "s3://bucket/p"]) == 0
    assert "2 files, 4 B" in capsys.readouterr().err
    assert main(["cp", "-r", "d", "s3://bucket/p", "--dry-run"]) == 0
    assert "nothing was done" in capsys.readouterr().err


def test_sync(bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What differs is sent, and the second time nothing; --delete takes away what SRC has not; --dry-run only tells."""
    for path in (folder / "d" / "a.txt", folder / "d" / "sub" / "b.csv"):
        os.utime(path, (bucket.now - 100, bucket.now - 100))

    assert main(["sync", "d", "s3://bucket/p"]) == 0
    assert capsys.readouterr().out == (
        "upload: d/a.txt to s3://bucket/p/a.txt\nupload: d/sub/b.csv to s3://bucket/p/sub/b.csv\n"
    )
    assert main(["sync", "d", "s3://bucket/p"]) == 0
    bucket.store("p/extra", b"1")
    capsys.readouterr()
    assert main(["sync", "d", "s3://bucket/p/", "--delete", "--dry-run"]) == 0
    assert capsys.readouterr().out == "(dry run) delete: s3://bucket/p/extra\n"
    assert main(["sync", "d", "s3://bucket/p", "--delete", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "action": "delete",
            "source": None,
            "target": "s3://bucket/p/extra",
            "bytes": 1,
            "reason": "extra",
            "done": True,
        }
    ]
    assert bucket.keys() == ["p/a.txt", "p/sub/b.csv"]


def test_sync_down_and_across(bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder here, and another bucket, become what the bucket is; what cp brought is known to be the same."""
    bucket.store("p/a", b"1")
    bucket.store("p/q/b", b"2")

    assert main(["cp", "-r", "s3://bucket/p", "new"]) == 0
    capsys.readouterr()
    assert main(["sync", "s3://bucket/p", "new"]) == 0
    assert main(["sync", "new", "s3://bucket/p"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["sync", "s3://bucket/p", "s3://other/"]) == 0
    assert (
        capsys.readouterr().out == "copy: s3://bucket/p/a to s3://other/a\ncopy: s3://bucket/p/q/b to s3://other/q/b\n"
    )
    (folder / "new" / "a").write_text("2")
    assert main(["sync", "s3://bucket/p", "new"]) == 0
    assert main(["sync", "s3://bucket/p", "new", "--checksum"]) == 0
    assert capsys.readouterr().out == "download: s3://bucket/p/a to new/a\n"
    assert below(folder / "new") == {"a": "1", "q/b": "2"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["d", "e"], 2, "rsync"),
        (["-", "s3://bucket/"], 2, "holdall cp"),
        (["s3://bucket/*", "d"], 2, "pattern"),
        (["s3://bucket/p", "s3://bucket/p/q"], 2, "lie in each other"),
        (["nothing", "s3://bucket/"], 3, "no folder 'nothing'"),
        (["s3://bucket/nothing", "d", "--delete"], 3, "nothing in s3://bucket/nothing"),
        (["d/a.txt", "s3://bucket/"], 1, "no folder"),
    ],
)
def test_what_sync_refuses(
    arguments: list[str], code: int, told: str, bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole folders are synchronised, one of them in S3, and never from nothing."""
    before = below(folder)

    assert main(["sync", *arguments]) == code

    assert told in capsys.readouterr().err
    assert (below(folder), bucket.keys()) == (before, [])
