"""Filesystems of fsspec's that fail, or that cannot do what a store needs."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
import s3fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from tests.storage._s3 import Cut, Reply, Request, S3Server, failure
from tests.storage._sftp import PASSWORD, USER, SftpServer

import holdall
from holdall_store.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    IntegrityError,
    InvalidNameError,
    ObjectNotFoundError,
    StorageError,
)
from holdall_store.storage import Storage, open_storage

SFTP_OPTIONS: dict[str, Any] = {"password": PASSWORD, "look_for_keys": False, "allow_agent": False}
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between tries."""
    monkeypatch.setattr("holdall_store.storage._fsspec.DELAY_FIRST", 0.001)


@pytest.fixture(scope="module")
def running_sftp() -> Iterator[SftpServer]:
    """Run one SFTP server for the tests here."""
    server = SftpServer()
    yield server
    server.close()


@pytest.fixture
def server(running_sftp: SftpServer, tmp_path: Path) -> SftpServer:
    """Serve an empty folder."""
    running_sftp.reset(tmp_path)
    return running_sftp


@pytest.fixture(scope="module")
def running_s3() -> Iterator[S3Server]:
    """Run one server that speaks S3."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(running_s3: S3Server) -> S3Server:
    """Empty the server."""
    running_s3.reset()
    return running_s3


def on_sftp(server: SftpServer, **options: Any) -> Storage:
    """Return a storage on the server that has looked at it already."""
    storage = open_storage(f"sftp://{USER}@127.0.0.1:{server.port}/store", {**SFTP_OPTIONS, **options})
    storage.create("begin", [b""])
    server.log.clear()
    return storage


def on_s3(server: S3Server) -> s3fs.S3FileSystem:
    """Return s3fs's own filesystem."""
    return s3fs.S3FileSystem(key="an-access-key", secret="a-secret-key", endpoint_url=server.url)


class RenamingFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A filesystem that nothing is known of, whose rename replaces nothing."""

    protocol = "renaming"

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        os.link(path1, path2)
        os.remove(path1)


class ReplacingFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A filesystem that nothing is known of, whose rename replaces what is there."""

    protocol = "replacing"


class SilentFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A filesystem whose rename does nothing where there is something, and does not say so."""

    protocol = "silent"

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if not os.path.exists(path2):
            shutil.move(path1, path2)


class ShortFileSystem(RenamingFileSystem):
    """A filesystem that loses the last byte of what it reads."""

    protocol = "short"

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        data: bytes = super().cat_file(path, start, end, **options)
        return data[:-1]


class TestLostAnswers:
    """What a creation says when the connection breaks."""

    @staticmethod
    def once(server: SftpServer, when: str, verb: str = "rename") -> None:
        """Break the connection at the next `verb`."""
        left = [when]
        server.fault = lambda asked, path: left.pop() if asked == verb and left else ""

    def test_nothing_landed(self, server: SftpServer) -> None:
        """What was lost on its way is sent again, on a new connection."""
        storage = on_sftp(server)
        self.once(server, "before")
        assert storage.create("a/b", [b"x"]) == 1
        assert bytes(storage.get("a/b")) == b"x"

    def test_it_landed(self, server: SftpServer) -> None:
        """A lost answer ends in `AlreadyExistsError`, after a look, and the caller finds its own bytes."""
        storage = on_sftp(server)
        self.once(server, "after")
        with pytest.raises(AlreadyExistsError, match="'a/b'"):
            storage.create("a/b", [b"mine"])
        assert bytes(storage.get("a/b")) == b"mine"

    def test_no_try_succeeds(self, server: SftpServer) -> None:
        """Where it never becomes clear, the error says that it may have taken effect."""
        storage = on_sftp(server)
        server.fault = lambda verb, path: "before" if verb == "rename" else ""
        with pytest.raises(StorageError, match="'a/b'.*whether it took effect") as caught:
            storage.create("a/b", [b"x"])
        assert caught.value.errno == errno.ETIMEDOUT
        assert [info.key for info in storage.list()] == ["begin"]

    def test_a_read_is_tried_again(self, server: SftpServer) -> None:
        """A connection that breaks while something is read is replaced."""
        storage = on_sftp(server)
        storage.create("a", [b"0123456789"])
        self.once(server, "before", "open")
        assert bytes(storage.get("a", 3, 4)) == b"3456"
        server.hang_up()
        assert [info.key for info in storage.list()] == ["a", "begin"]

    def test_a_save_survives_lost_answers(self, server: SftpServer) -> None:
        """Every creation of a save lands and its answer is lost: the save succeeds, and is there once."""
        client = holdall.Client(on_sftp(server))
        seen: set[str] = set()

        def cut_each_once(verb: str, path: str) -> str:
            if verb != "rename" or path in seen:
                return ""
            seen.add(path)
            return "after"

        server.fault = cut_each_once
        with holdall.run("churn", client=client) as run:
            run.save(numbers=list(range(1000)), blob=bytes(range(256)) * 1000)
        assert client.load("churn/blob") == bytes(range(256)) * 1000
        assert len(seen) >= 2
        assert len(list(client.flow("churn"))) == 1

    def test_s3fs(self, s3: S3Server) -> None:
        """s3fs tries again by itself, and is told that there is one: the caller looks and finds its own."""
        storage = open_storage("bucket/store", fs=on_s3(s3))
        storage.create("begin", [b""])
        left = [Cut(after=True)]
        s3.fault = lambda request: left.pop() if request.method == "PUT" and left else None
        with pytest.raises(AlreadyExistsError, match="'a'"):
            storage.create("a", [b"mine"])
        assert bytes(storage.get("a")) == b"mine"

    def test_a_conflict_wrote_nothing(self, s3: S3Server) -> None:
        """409 means that two requests met and neither took effect: it is sent again."""
        storage = open_storage("bucket/store", fs=on_s3(s3))
        storage.create("begin", [b""])
        left = [failure(409, "ConditionalRequestConflict")]

        def fault(request: Request) -> Reply | None:
            return left.pop() if request.method == "PUT" and left else None

        s3.fault = fault
        assert storage.create("a", [b"x"]) == 1


class TestUnsuitable:
    """Where nothing can be created exclusively, nothing is written, unless one promises to be alone."""

    @pytest.mark.parametrize("kind", [ReplacingFileSystem, SilentFileSystem])
    def test_a_careless_rename(self, tmp_path: Path, kind: type) -> None:
        """A rename that replaces, or that does not say that it failed, is found by trying it."""
        storage = open_storage(str(tmp_path / "store"), fs=kind())
        with pytest.raises(AccessDeniedError, match="single_writer"):
            storage.create("a", [b"x"])
        assert list(storage.list()) == []
        alone = open_storage(str(tmp_path / "store"), {"single_writer": True}, fs=kind())
        assert alone.create("a", [b"x"]) == 1
        with pytest.raises(AlreadyExistsError):
            alone.create("a", [b"y"])
        assert bytes(storage.get("a")) == b"x"

    def test_a_careless_server(self, server: SftpServer) -> None:
        """A server of SFTP whose plain rename replaces is found, too."""
        server.replaces = True
        with pytest.raises(AccessDeniedError, match=r"sftp://ana@.*it replaces what is there"):
            on_sftp(server)
        alone = on_sftp(server, single_writer=True)
        with pytest.raises(AlreadyExistsError):
            alone.create("begin", [b"x"])

    def test_no_rename_at_all(self) -> None:
        """A filesystem that can only copy and delete is refused without a try."""
        with pytest.raises(AccessDeniedError, match="no way to create a file only if there is none"):
            open_storage("https://127.0.0.1:9/store").create("a", [b"x"])

    def test_an_s3_server_that_ignores_conditions(self, s3: S3Server) -> None:
        """s3fs sends the condition, and whether the server honours it is seen."""
        s3.ignores_conditions = True
        storage = open_storage("bucket/store", fs=on_s3(s3))
        with pytest.raises(AccessDeniedError, match="it replaces what is there"):
            storage.create("a", [b"x"])
        alone = open_storage("bucket/store", {"single_writer": True}, fs=on_s3(s3))
        assert alone.create("a", [b"x"]) == 1

    def test_the_look_is_taken_once(self, server: SftpServer) -> None:
        """The file that the look leaves is found by the next process, which needs one rename for it."""
        on_sftp(server).close()
        storage = open_storage(f"sftp://{USER}@127.0.0.1:{server.port}/store", SFTP_OPTIONS)
        for key in "ab":
            storage.create(key, [b"x"])
        renamed = [os.path.basename(path) for verb, path in server.log if verb == "rename"]
        assert renamed == [".holdall-probe", "a", "b"]


class TestErrors:
    """Whatever a library raises becomes one of our errors, which names the key and no secret."""

    def test_a_wrong_password(self, server: SftpServer) -> None:
        """Credentials that are refused are an error at once, and are not in it."""
        storage = open_storage(
            f"sftp://{USER}@127.0.0.1:{server.port}/store", {**SFTP_OPTIONS, "password": "not-the-password"}
        )
        with pytest.raises(AccessDeniedError, match="'a/b'") as caught:
            storage.get("a/b")
        assert "not-the-password" not in str(caught.value)

    def test_nobody_answers(self) -> None:
        """A port at which nobody listens is tried a few times; nothing was asked for, and the error says so."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        storage = open_storage(f"sftp://{USER}@127.0.0.1:{port}/store", SFTP_OPTIONS)
        with pytest.raises(StorageError, match="'a/b'") as caught:
            storage.create("a/b", [b"x"])
        assert caught.value.errno == errno.ECONNREFUSED

    def test_options_that_mean_nothing(self, server: SftpServer) -> None:
        """An option that the filesystem does not take is named."""
        storage = open_storage(f"sftp://127.0.0.1:{server.port}/store", {**SFTP_OPTIONS, "pasword": "x"})
        with pytest.raises(InvalidNameError, match=r"SFTPFileSystem.*pasword"):
            storage.get("a")

    def test_permissions(self, tmp_path: Path) -> None:
        """What the filesystem does not permit is `AccessDeniedError`."""

        class Closed(RenamingFileSystem):
            protocol = "closed"

            def cat_file(self, path: str, *args: Any, **options: Any) -> bytes:
                raise PermissionError(errno.EACCES, "Permission denied", path)

        storage = open_storage(str(tmp_path), fs=Closed())
        with pytest.raises(AccessDeniedError, match="Cannot read 'a/b'"):
            storage.get("a/b")

    def test_what_a_library_raises(self, tmp_path: Path) -> None:
        """An error that is nobody's own becomes `StorageError`, and a secret in it is hidden."""

        class Odd(RenamingFileSystem):
            protocol = "odd"

            def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
                raise RuntimeError(f"at https://ana:pw@host/x?sig=abc with {self.storage_options['token']}")

        storage = open_storage(str(tmp_path), fs=Odd(token="hush-hush"))
        with pytest.raises(StorageError, match=r"RuntimeError: at https://host/x with …") as caught:
            list(storage.list("a/"))
        assert caught.value.errno == errno.EIO

    def test_a_bucket_that_is_not_there(self, s3: S3Server) -> None:
        """A missing bucket is no empty store."""
        storage = open_storage("missing/store", fs=on_s3(s3))
        with pytest.raises(StorageError, match="bucket does not exist") as caught:
            list(storage.list())
        assert caught.value.errno == errno.ENOENT

    @pytest.mark.parametrize(("start", "length"), [(0, None), (2, 3)])
    def test_short_reads(self, tmp_path: Path, start: int, length: int | None) -> None:
        """Fewer bytes than were asked for are `IntegrityError`."""
        storage = open_storage(str(tmp_path), fs=ShortFileSystem())
        (tmp_path / "a").write_bytes(b"0123456789")
        with pytest.raises(IntegrityError, match="'a'"):
            storage.get("a", start, length)

    def test_a_key_that_is_a_folder(self, server: SftpServer) -> None:
        """A folder is no object: it is not found, not deleted, and no object takes its name."""
        storage = on_sftp(server)
        storage.create("a/b", [b"x"])
        with pytest.raises(ObjectNotFoundError):
            storage.head("a")
        storage.delete(["a"])
        with pytest.raises(InvalidNameError, match="folder of other objects"):
            storage.create("a", [b"x"])
        assert bytes(storage.get("a/b")) == b"x"


class TestKeys:
    """Characters that mean something to fsspec elsewhere mean nothing in a key."""

    @pytest.fixture(params=["memory", "renaming", "sftp", "s3fs"])
    def storage(self, request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
        if request.param == "sftp":
            return on_sftp(request.getfixturevalue("server"))
        if request.param == "s3fs":
            return open_storage("bucket/store", fs=on_s3(request.getfixturevalue("s3")))
        if request.param == "renaming":
            return open_storage(str(tmp_path), fs=RenamingFileSystem())
        return open_storage(f"keys-{next(_numbers)}", fs=MemoryFileSystem())

    @pytest.mark.parametrize("key", ["a/*", "a/[b]?", "a::b", "a#b", "a?b", "{x}/~", "x%20y", "a:b", "c:/d"])
    def test_characters(self, storage: Storage, key: str) -> None:
        """Only the object of that very name is created, read, listed and deleted."""
        storage.create("a/b", [b"another"])
        storage.create(key, [b"x"])
        assert bytes(storage.get(key, 0, 1)) == b"x"
        assert storage.head(key).size == 1
        assert {"a/b", key} <= {info.key for info in storage.list()}
        storage.delete([key])
        assert key not in {info.key for info in storage.list()}
        assert bytes(storage.get("a/b")) == b"another"

    def test_what_s3fs_takes_for_a_version(self, s3: S3Server) -> None:
        """A key that s3fs would cut is refused."""
        with pytest.raises(InvalidNameError, match="versionId"):
            open_storage("bucket/store", fs=on_s3(s3)).create("a?versionId=1", [b"x"])


def test_listings_that_the_filesystem_remembers(s3: S3Server) -> None:
    """A given filesystem that remembers its listings is not believed."""
    fs = on_s3(s3)
    storage = open_storage("bucket/store", fs=fs)
    storage.create("a/1", [b"x"])
    assert fs.ls("bucket/store/a", detail=False) == ["bucket/store/a/1"]
    s3.buckets["bucket"]["store/a/2"] = b"xy"
    assert [info.key for info in storage.list("a/")] == ["a/1", "a/2"]
    del s3.buckets["bucket"]["store/a/1"]
    with pytest.raises(ObjectNotFoundError):
        storage.head("a/1")


def test_a_store_that_somebody_else_fills(tmp_path: Path) -> None:
    """What lies in the folder and is no object is passed over: hidden files, temporary files, other kinds."""
    storage = open_storage(str(tmp_path), fs=RenamingFileSystem())
    storage.create("a", [b"x"])
    (tmp_path / ".tmp-1").write_bytes(b"half")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert [info.key for info in storage.list()] == ["a"]


CLIENTS = ["memory", "directory", "local", "renaming", "sftp", "s3fs"]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> holdall.Client:
    """Return a client of an empty store on each kind of filesystem."""
    name = f"client-{next(_numbers)}"
    if request.param == "sftp":
        server = request.getfixturevalue("server")
        return holdall.Client(f"sftp://{USER}@127.0.0.1:{server.port}/store", storage_options=SFTP_OPTIONS)
    if request.param == "s3fs":
        return holdall.Client("bucket/store", fs=on_s3(request.getfixturevalue("s3")))
    if request.param == "directory":
        return holdall.Client(fs=fsspec.filesystem("dir", path=f"/{name}", fs=MemoryFileSystem()))
    fs = {"memory": MemoryFileSystem, "local": LocalFileSystem, "renaming": RenamingFileSystem}[request.param]()
    return holdall.Client(str(tmp_path / name), fs=fs)


def test_threads_that_save_to_one_flow(client: holdall.Client) -> None:
    """Eight threads save to one flow at once, and nothing is lost."""

    def save(number: int) -> str:
        with holdall.run("churn", client=client) as run:
            run.save(number=number, blob=bytes([number]) * 100_000)
        return run.id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(save, range(16)))
    runs = {run.id: run for run in client.flow("churn")}
    assert set(runs) == set(ids)
    for number, run_id in enumerate(ids):
        assert runs[run_id]["number"].load() == number
        assert runs[run_id]["blob"].load() == bytes([number]) * 100_000


def test_a_client_in_a_forked_child(client: holdall.Client) -> None:
    """A child goes on with the client of its parent, and so does the parent."""
    holdall.save({"depth": 3}, "churn/settings", client=client)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with holdall.run("child", client=client) as run:
                run.save(seen=client.load("churn/settings"))
            code = 0 if client.load("child/seen") == {"depth": 3} else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.load("churn/settings") == {"depth": 3}
