"""Objects on filesystems of fsspec's: the contract on each kind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from tests.storage._s3 import S3Server
from tests.storage._sftp import PASSWORD, USER, SftpServer

from holdall_store.storage import LocalStorage, Storage, open_storage
from holdall_store.storage._fsspec import FsspecStorage
from holdall_store.testing import StorageContract

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between tries."""
    monkeypatch.setattr("holdall_store.storage._fsspec.DELAY_FIRST", 0.001)


@pytest.fixture(scope="module")
def sftp_server() -> Iterator[SftpServer]:
    """Run one SFTP server for the tests here."""
    server = SftpServer()
    yield server
    server.close()


@pytest.fixture
def sftp(sftp_server: SftpServer, tmp_path: Path) -> Iterator[Storage]:
    """Return a storage on the SFTP server, in a folder that is not there yet."""
    sftp_server.reset(tmp_path)
    storage = open_storage(f"sftp://{USER}@127.0.0.1:{sftp_server.port}/made/on demand", SFTP_OPTIONS)
    yield storage
    storage.close()


SFTP_OPTIONS: dict[str, Any] = {"password": PASSWORD, "look_for_keys": False, "allow_agent": False}


class RenamingFileSystem(LocalFileSystem):  # type: ignore[misc]
    """A filesystem that nothing is known of, whose rename replaces nothing."""

    protocol = "renaming"

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        os.link(path1, path2)
        os.remove(path1)


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        """In memory, below a folder that nobody else uses."""
        return open_storage(f"store-{next(_numbers)}", fs=MemoryFileSystem())


class TestOwnMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        """In memory that only one object knows of, at its root."""
        return open_storage("", fs=MemoryFileSystem(global_store=False, skip_instance_cache=True))


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """In a folder of this machine: it is the local storage that keeps it."""
        storage = open_storage(tmp_path / "made", fs=LocalFileSystem())
        assert isinstance(storage, LocalStorage)
        return storage


class TestDirectory(StorageContract):
    @pytest.fixture
    def storage(self) -> Storage:
        """In a folder that is the root of a filesystem."""
        return open_storage("", fs=DirFileSystem(f"/dir-{next(_numbers)}", fs=MemoryFileSystem()))


class TestLocalDirectory(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """In a folder of a folder of this machine."""
        return open_storage("below", fs=DirFileSystem(str(tmp_path), fs=LocalFileSystem()))


class TestUnknown(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        """On a filesystem that nothing is known of: files get their names by its rename."""
        storage = open_storage(str(tmp_path / "made"), fs=RenamingFileSystem())
        assert isinstance(storage, FsspecStorage)
        return storage


class TestSftp(StorageContract):
    @pytest.fixture
    def storage(self, sftp: Storage) -> Storage:
        """On a server that speaks SFTP."""
        return sftp


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """Run one server that speaks S3."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def bucket(s3_server: S3Server) -> Any:
    """Return s3fs's own filesystem on an empty bucket."""
    s3_server.reset()
    return s3fs.S3FileSystem(key="an-access-key", secret="a-secret-key", endpoint_url=s3_server.url)


class TestS3fs(StorageContract):
    @pytest.fixture
    def storage(self, bucket: Any) -> Storage:
        """In a bucket, by s3fs."""
        return open_storage("bucket/some/prefix", fs=bucket)
