"""``holdall cp``, ``sync`` and ``get`` among the files of this machine: links, devices, permissions, missing ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.storage._s3 import Reply, Request, failure

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
    return workdir


@pytest.fixture
def bucket(commands_bucket: BucketServer) -> BucketServer:
    """Give the server, empty."""
    return commands_bucket


@pytest.mark.parametrize(
    "arguments",
    [
        ["cp", "s3://bucket/p/pipe", "new/pipe"],
        ["cp", "s3://bucket/p/pipe", "new/"],
        ["cp", "s3://bucket/p/pipe", "link"],
        ["cp", "-r", "s3://bucket/p", "new"],
        ["sync", "s3://bucket/p", "new"],
        ["cp", "f/text", "new/pipe"],
        ["cp", "f/file", "new/pipe"],
        ["get", "f/text", "-o", "new/pipe", "--force"],
        ["get", "f/file", "-o", "link", "--force"],
    ],
)
def test_nothing_but_plain_files_is_replaced(
    arguments: list[str], bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A FIFO stays what it is, also behind a link, and so would a device."""
    bucket.store("p/a", b"1")
    bucket.store("p/pipe", b"1")
    holdall.save("text", "f/text")
    holdall.save_file(folder / "d" / "a.txt", "f/file")
    (folder / "new").mkdir()
    os.mkfifo(folder / "new" / "pipe")
    (folder / "link").symlink_to("new/pipe")

    assert main(arguments) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert "a FIFO, no plain file" in err
    assert "write to - for standard output" in err
    assert [path.name for path in (folder / "new").iterdir()] == ["pipe"]
    assert ((folder / "new" / "pipe").is_fifo(), (folder / "link").is_symlink()) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        (["cp", "s3://bucket/k", "link.txt"], "1"),
        (["cp", "f/text", "link.txt"], "text"),
        (["get", "f/text", "-o", "link.txt", "--force"], "text"),
    ],
)
def test_links_stay_and_so_do_permissions(
    arguments: list[str], content: str, bucket: BucketServer, folder: Path
) -> None:
    """A file named in so many words may be a link: what it leads to is written anew, and stays executable."""
    bucket.store("k", b"1")
    holdall.save("text", "f/text")
    (folder / "real").write_text("old")
    (folder / "real").chmod(0o755)
    (folder / "link.txt").symlink_to("real")

    assert main(arguments) == 0

    assert ((folder / "link.txt").is_symlink(), (folder / "real").read_text()) == (True, content)
    assert (folder / "real").stat().st_mode & 0o777 == 0o755


def test_links_in_a_folder_are_replaced(bucket: BucketServer, folder: Path) -> None:
    """What is copied into a folder stays in there."""
    bucket.store("p/k", b"1")
    for arguments in (["-r", "s3://bucket/p", "new"], ["s3://bucket/p/k", "new/"]):
        (folder / "new").mkdir(exist_ok=True)
        (folder / "new" / "k").unlink(missing_ok=True)
        (folder / "new" / "k").symlink_to(folder / "d" / "a.txt")
        assert main(["cp", *arguments]) == 0
        assert (folder / "new" / "k").read_text() == "1"
    assert (folder / "d" / "a.txt").read_text() == "a"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cp", "-r", "./e", "s3://bucket/"], "no file or folder './e'"),
        (["cp", "d/a.txz", "f/x"], "Did you mean 'a.txt'?"),
        (["cp", "d/a.txz", "s3://bucket/"], "Did you mean 'a.txt'?"),
        (["sync", "d/sup", "s3://bucket/"], "holdall: There is no folder 'd/sup'. Did you mean 'sub'?"),
        (["cp", "./d/a.txz", "s3://bucket/"], "Did you mean 'a.txt'?"),
    ],
)
def test_missing_paths_have_the_nearest_name(
    arguments: list[str], told: str, bucket: BucketServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message is one for people, with what was perhaps meant."""
    assert main(arguments) == 3
    err = capsys.readouterr().err
    assert told in err
    assert "(2," not in err
    assert bucket.keys() == []


@pytest.mark.parametrize("verb", [["cp", "-r"], ["sync"]])
def test_what_cannot_be_sent_is_named(
    verb: list[str], bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link to nothing is an error, and nothing is sent."""
    (folder / "d" / "dangling").symlink_to("nowhere")
    assert main([*verb, "d", "s3://bucket/"]) == 1
    assert "'d/dangling' (a link to nothing)" in capsys.readouterr().err
    assert bucket.keys() == []


@pytest.mark.parametrize("command", [["ls", "s3://data/"], ["cp", "s3://data/k", "new"], ["sync", "d", "s3://data/"]])
def test_who_asks(
    command: list[str],
    bucket: BucketServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A profile that is not there makes no sense, and those that are are named; no credentials are needed for S3."""
    (folder / "config").write_text("[profile work]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert main([*command, "--profile", "nonesuch"]) == 2
    assert "no profile 'nonesuch' in ~/.aws. There are 'work'." in capsys.readouterr().err
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(command) == 1
    assert "There are no credentials for S3. Sign in" in capsys.readouterr().err
    assert bucket.log == []


@pytest.mark.parametrize(
    "arguments",
    [["cp", "-r", "s3://bucket/p", "new"], ["sync", "s3://bucket/p", "new"], ["sync", "d", "s3://bucket/p"]],
)
def test_what_was_done_before_a_failure_has_its_lines(
    arguments: list[str], bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is told is there afterwards; the error tells of what is not."""
    bucket.store("p/bad", b"old")
    for number in range(8):
        bucket.store(f"p/{number}", b"1")
        (folder / "d" / f"s{number}").write_text("1")
    (folder / "d" / "bad").write_text("new one")

    def refuse(request: Request) -> Reply | None:
        return failure(403, "AccessDenied") if request.method in ("GET", "PUT") and request.key == "p/bad" else None

    bucket.fault = refuse
    assert main(arguments) == 1

    out, err = capsys.readouterr()
    assert "p/bad" in err
    told = {line.rpartition(" to ")[2] for line in out.splitlines()}
    if arguments[-1] == "new":
        there = {f"new/{path.name}" for path in (folder / "new").iterdir()}
    else:
        there = {f"s3://bucket/{key}" for key in bucket.keys() if key[2:3] in ("s", "a")}  # noqa: SIM118
    assert told <= there


def test_what_sync_deleted_before_a_failure_has_its_lines(
    bucket: BucketServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that made room for a file is told of, even if the file does not come."""
    bucket.store("p/sub", b"new")
    (folder / "d" / "sub" / "x").write_text("1")
    bucket.fault = lambda request: failure(403, "AccessDenied") if request.key == "p/sub" else None

    assert main(["sync", "s3://bucket/p", "d", "--delete"]) == 1

    out, err = capsys.readouterr()
    assert out == "delete: d/sub/x\n"
    assert "p/sub" in err
    assert [path.name for path in (folder / "d").iterdir()] == ["a.txt"]
