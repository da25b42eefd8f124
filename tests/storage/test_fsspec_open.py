"""From URLs and filesystems of fsspec's to storages, and what of them leaves the process."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import s3fs
from fsspec.implementations.cached import CachingFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

import holdall
from holdall_store.errors import InvalidNameError, MissingDependencyError, UnsupportedTypeError
from holdall_store.storage import LocalStorage, MemoryStorage, open_storage, without_secrets
from holdall_store.storage._fsspec import FsspecStorage

SECRETS = {"key": "an-access-key", "secret": "a-secret-key", "token": "a-session-token"}


def test_urls() -> None:
    """A URL of fsspec's is a storage, which connects to nothing before it is used."""
    storage = open_storage("sftp://ana@no.such.host:2222/data/my store/", {"password": "hush-hush"})
    assert isinstance(storage, FsspecStorage)
    assert storage.url == "sftp://ana@no.such.host:2222/data/my store"
    assert "hush-hush" not in repr(storage)
    assert not storage.traits.private
    storage.close()


def test_our_own_schemes_stay_ours(tmp_path: Path) -> None:
    """``memory://`` and ``file://`` are what they were, and fsspec's word for local files means a folder."""
    assert isinstance(open_storage("memory://fsspec-open"), MemoryStorage)
    assert isinstance(open_storage(tmp_path.as_uri()), LocalStorage)
    assert isinstance(open_storage(f"local://{tmp_path}"), LocalStorage)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sftp://ana:hush-hush@host/store", "holds no password"),
        ("hdfs://host/store?user=ana", "as storage_options"),
        ("sftp://host/a/../b", "without '.' and '..'"),
        ("simplecache::sftp://host/store", "chain of URLs"),
    ],
)
def test_urls_that_are_refused(url: str, said: str) -> None:
    """What does not belong into a URL is refused, and a password in it not repeated."""
    with pytest.raises(InvalidNameError, match=said) as caught:
        open_storage(url)
    assert "hush-hush" not in str(caught.value)


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "fsspec.implementations.sftp", None)
    monkeypatch.delitem(_registry, "sftp", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'holdall\[sftp\]'"):
        open_storage("sftp://host/store")
    monkeypatch.setitem(sys.modules, "boxfs", None)
    monkeypatch.delitem(_registry, "box", raising=False)
    with pytest.raises(MissingDependencyError, match="install boxfs"):
        open_storage("box://store")


@pytest.mark.parametrize(
    ("path", "fs", "options", "said"),
    [
        ("a", object(), {}, "no fsspec filesystem"),
        ("", LocalFileSystem(), {}, "in which folder"),
        ("a", MemoryFileSystem(), {"key": "x"}, "'key' mean nothing"),
        ("a/../b", MemoryFileSystem(), {}, "without '.' and '..'"),
        ("../b", DirFileSystem("/a", fs=MemoryFileSystem()), {}, "without '.' and '..'"),
    ],
)
def test_filesystems_that_are_refused(path: str, fs: Any, options: dict[str, Any], said: str) -> None:
    """What is no filesystem, or no place on it, is refused."""
    with pytest.raises(InvalidNameError, match=said):
        open_storage(path, options, fs=fs)


def test_a_bucket_has_to_be_named() -> None:
    """On a store of buckets the path begins with one."""
    with pytest.raises(InvalidNameError, match="bucket/prefix"):
        holdall.Client(fs=s3fs.S3FileSystem(anon=True))


def test_filesystems_that_are_seen_through(tmp_path: Path) -> None:
    """A directory is a path on another filesystem, and what a cache keeps is not looked at."""
    local = open_storage("b", fs=DirFileSystem(str(tmp_path / "a"), fs=LocalFileSystem()))
    assert isinstance(local, LocalStorage)
    assert local.path == tmp_path / "a" / "b"
    memory = open_storage("b", fs=DirFileSystem("/a", fs=DirFileSystem("/z", fs=MemoryFileSystem())))
    assert memory.url == "memory:///z/a/b"
    cached = CachingFileSystem(fs=MemoryFileSystem(), cache_storage=str(tmp_path / "cache"))
    assert open_storage("/z/a/b", fs=cached).url == memory.url


def test_clients() -> None:
    """A client takes a filesystem and a path on it, in this order or none; the namespace changes and it stays."""
    fs = MemoryFileSystem(global_store=False, skip_instance_cache=True)
    client = holdall.Client("team/store", fs=fs, namespace="user:ana")
    holdall.save({"depth": 3}, "churn/settings", client=client)
    assert any(path.startswith("/team/store/runs/") for path in fs.find("/team/store"))
    assert client.in_namespace(None).load("churn/settings") == {"depth": 3}
    assert holdall.Client("store", fs=DirFileSystem("/team", fs=fs)).url == client.url
    with pytest.raises(InvalidNameError, match="already takes none"):
        holdall.Client(MemoryStorage("x"), fs=fs)


class TestPickles:
    """A pickle says where the filesystem is, and holds no secret."""

    @pytest.mark.parametrize(
        "fs",
        [
            s3fs.S3FileSystem(**SECRETS, endpoint_url="http://127.0.0.1:9", client_kwargs={"region_name": "eu-1"}),
            s3fs.S3FileSystem(False, "http://127.0.0.1:9", *SECRETS.values()),
        ],
        ids=["by name", "by position"],
    )
    def test_given_filesystems(self, fs: Any) -> None:
        """A filesystem is made anew where the pickle is loaded, by the credentials of that place."""
        client = holdall.Client("bucket/store", fs=fs)
        data = pickle.dumps(client)
        assert not any(secret.encode() in data for secret in SECRETS.values())
        copy = pickle.loads(data)
        assert copy._storage.url == "s3://bucket/store"
        assert copy._storage._connections.options["endpoint_url"] == "http://127.0.0.1:9"
        assert not set(SECRETS) & set(copy._storage._connections.options)

    def test_urls(self) -> None:
        """Of a client of a URL the URL is pickled, and the options that are no secrets."""
        options = {"password": "hush-hush", "passphrase": "hush-hush", "port": 2222}
        client = holdall.Client("sftp://host/store", storage_options=options)
        data = pickle.dumps(client)
        assert b"hush-hush" not in data
        assert pickle.loads(data)._options == {"port": 2222}
        storage = pickle.loads(pickle.dumps(open_storage("sftp://host/store", options)))
        assert storage._connections.options == {"host": "host", "port": 2222}

    def test_what_is_in_memory(self) -> None:
        """A pickle of files that all of the process knows finds them again; others cannot be pickled."""
        storage = open_storage("pickled", fs=MemoryFileSystem())
        storage.create("a", [b"x"])
        assert bytes(pickle.loads(pickle.dumps(storage)).get("a")) == b"x"
        own = open_storage("pickled", fs=MemoryFileSystem(global_store=False, skip_instance_cache=True))
        with pytest.raises(UnsupportedTypeError, match="memory of this process"):
            pickle.dumps(own)

    def test_what_may_hold_secrets(self) -> None:
        """An option that is more than a plain value, or a URL with a password, is not pickled unseen."""
        for value in (object(), ["http://ana:pw@host"]):
            storage = open_storage("store", fs=MemoryFileSystem(odd=value, skip_instance_cache=True))
            with pytest.raises(UnsupportedTypeError, match="option 'odd'.*storage_options"):
                pickle.dumps(storage)

    def test_a_class_that_nobody_finds(self) -> None:
        """A filesystem whose class is defined in a function is refused by name."""

        class Hidden(MemoryFileSystem):  # type: ignore[misc]
            protocol = "hidden"

        with pytest.raises(UnsupportedTypeError, match="Hidden cannot be pickled"):
            pickle.dumps(open_storage("store", fs=Hidden()))


def test_options_without_secrets() -> None:
    """What looks like a secret of any filesystem is left out, at any depth; what says where it is stays."""
    options = {
        "host": "h",
        "port": 22,
        "password": "x",
        "key_filename": "id",
        "client_kwargs": {"aws_session_token": "x"},
    }
    assert without_secrets(options) == {"host": "h", "port": 22, "key_filename": "id", "client_kwargs": {}}
    for name in ("username", "endpoint_url", "region", "profile", "anon", "timeout", "kerberos", "host_key_policy"):
        assert without_secrets({name: "x"}) == {name: "x"}
    for name in ("key", "secret", "pkey", "passphrase", "api_key", "auth", "headers", "connection_string", "sas_token"):
        assert without_secrets({name: "x"}) == {}


def test_traits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read from servers is kept in the cache under the name of the place, without secrets."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    url, options = "sftp://ana@host/store", {"password": "hush-hush"}
    traits = open_storage(url, options).traits
    assert traits.concurrency > 1
    assert "hush-hush" not in traits.cache_key
    assert traits == open_storage(url, {"password": "another"}).traits
    others = [open_storage(url.replace(old, new)).traits for old, new in (("host", "h"), ("ana", "b"), ("store", "s"))]
    assert len({other.cache_key for other in others} | {traits.cache_key}) == 4
    bucket = s3fs.S3FileSystem(anon=True)
    here = open_storage("bucket/store", fs=bucket).traits.cache_key
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert here
    assert open_storage("bucket/store", fs=bucket).traits.cache_key != here
    memory = open_storage("store", fs=MemoryFileSystem()).traits
    assert (memory.concurrency, memory.cache_key, memory.private) == (0, "", True)
