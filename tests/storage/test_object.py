"""Objects in a bucket: the contract over HTTP, and what is made of the failures of servers and networks."""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.storage._azure import AzureServer
from tests.storage._s3 import Cut, Reply, Request, S3Server, Stall, failure

import holdall
from holdall._cli import main
from holdall_store.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    IntegrityError,
    InvalidNameError,
    ObjectNotFoundError,
    StorageError,
)
from holdall_store.format import STORE_KEY
from holdall_store.storage import Storage, open_storage
from holdall_store.storage._object import PROBE_NAME, ObjectStorage
from holdall_store.storage._object_config import make_config
from holdall_store.testing import StorageContract

KEYS = {"key": "an-access-key", "secret": "a-secret-key"}
REAL = os.environ.get("HOLDALL_TEST_S3_URL")
_numbers = itertools.count()

Fault = Callable[[Request], Reply | Cut | Stall | None]


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    """Run one server for the tests here."""
    server = S3Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureServer]:
    """Run one server that speaks Azure's language."""
    server = AzureServer()
    yield server
    server.close()


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Empty the server, and hide the AWS settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("holdall_store.storage._object.DELAY_MAX", 0.02)  # pauses that nobody has to wait for
    monkeypatch.setattr("holdall_store.storage._object.DELAY_FIRST", 0.01)
    running.reset()
    return running


def make(
    server: S3Server, *, prefix: str = "some/prefix", deadline: float = 20, timeout: float = 10, **options: Any
) -> ObjectStorage:
    """Return a storage in the server's bucket that has looked at the server already."""
    config = make_config(f"s3://bucket/{prefix}", {**KEYS, "endpoint_url": server.url, **options})
    storage = ObjectStorage(config, deadline=deadline, request_timeout=timeout)
    if not options:
        storage.check_create_if_absent()
        server.log.clear()
    return storage


@pytest.fixture
def bucket(server: S3Server) -> ObjectStorage:
    """Return a storage in an empty bucket."""
    return make(server)


def times(count: int, fault: Reply | Cut | Stall, method: str = "PUT") -> Fault:
    """Return a fault of the first `count` requests of a method."""
    left = [count]

    def strike(request: Request) -> Reply | Cut | Stall | None:
        if request.method != method or not left[0]:
            return None
        left[0] -= 1
        return fault

    return strike


class TestContract(StorageContract):
    """The contract against the server here, or below the URL that ``HOLDALL_TEST_S3_URL`` names."""

    @pytest.fixture
    def storage(self, request: pytest.FixtureRequest) -> Iterator[Storage]:
        if REAL is None:
            yield make(request.getfixturevalue("server"))
            return
        storage = open_storage(f"{REAL}/test-{os.getpid()}-{next(_numbers)}")
        yield storage
        storage.delete([info.key for info in storage.list()])


class TestGoogle(StorageContract):
    """The contract in the words of Google Cloud Storage, which has another header for conditions."""

    @pytest.fixture
    def storage(self, server: S3Server) -> ObjectStorage:
        server.misses_deleted = True
        token = {"gcs_base_url": server.url, "disable_oauth": True, "client_email": "", "private_key": ""}
        config = make_config(
            "gs://bucket/some/prefix", {"token": {**token, "private_key_id": ""}, "endpoint_url": server.url}
        )
        return ObjectStorage(config, deadline=20, request_timeout=10)


class TestAzure(StorageContract):
    """The contract in the words of Azure, which calls a failed condition a conflict."""

    @pytest.fixture
    def storage(self, azure: AzureServer, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
        monkeypatch.setattr("holdall_store.storage._object.DELAY_MAX", 0.02)
        azure.reset()
        options = {"account_name": "account", "account_key": "c2VjcmV0", "endpoint_url": azure.url}
        return ObjectStorage(make_config("az://bucket/some/prefix", options), deadline=20, request_timeout=10)


class TestLostAnswers:
    """What a creation says when its answer does not arrive."""

    def test_nothing_landed(self, server: S3Server, bucket: ObjectStorage) -> None:
        """A request that was lost on its way is sent again."""
        server.fault = times(2, Cut(after=False))
        assert bucket.create("a", [b"x"]) == 1
        assert server.verbs == ["PUT"] * 3

    def test_it_landed(self, server: S3Server, bucket: ObjectStorage) -> None:
        """A lost answer ends in `AlreadyExistsError`, after a look, and the caller finds its own bytes."""
        server.fault = times(1, Cut(after=True))
        with pytest.raises(AlreadyExistsError, match="'a'"):
            bucket.create("a", [b"mine"])
        assert server.verbs == ["PUT", "PUT", "HEAD"]
        assert bytes(bucket.get("a")) == b"mine"

    def test_a_conflict_wrote_nothing(self, server: S3Server, bucket: ObjectStorage) -> None:
        """409 is reported like "already there": a look shows that nothing is, and the request is sent again."""
        server.fault = times(2, failure(409, "ConditionalRequestConflict"))
        assert bucket.create("a", [b"x"]) == 1
        assert server.verbs == ["PUT", "HEAD", "PUT", "HEAD", "PUT"]

    @pytest.mark.parametrize(
        "fault", [failure(409, "ConditionalRequestConflict"), failure(503, "SlowDown"), Cut(after=False)]
    )
    def test_the_time_is_over(self, server: S3Server, fault: Reply | Cut) -> None:
        """Where it never becomes clear, the error says that the request may have taken effect."""
        storage = make(server, deadline=0.3)
        server.fault = times(1000, fault)
        with pytest.raises(StorageError, match="'a/b'") as caught:
            storage.create("a/b", [b"x"])
        assert caught.value.errno == errno.ETIMEDOUT

    def test_a_save_survives_lost_answers(self, server: S3Server) -> None:
        """Every creation of a save lands and its answer is lost: the save succeeds, and is there once."""
        client = holdall.Client(make(server, prefix="store"))
        seen: set[str] = set()

        def cut_each_once(request: Request) -> Cut | None:
            if request.method != "PUT" or request.key in seen:
                return None
            seen.add(request.key)
            return Cut(after=True)

        server.fault = cut_each_once
        with holdall.run("churn", client=client) as run:
            run.save(numbers=list(range(1000)), blob=bytes(range(256)) * 1000)
        server.fault = lambda request: None
        assert client.load("churn/blob") == bytes(range(256)) * 1000
        assert len(seen) >= 3
        assert len(list(client.flow("churn"))) == 1


class TestRetries:
    """What passes is waited for, what does not is said at once."""

    @pytest.mark.parametrize(
        "fault",
        [
            failure(503, "SlowDown"),
            failure(500, "InternalError"),
            failure(429, "TooManyRequests"),
            Reply(502, b"<html>"),
            Cut(after=False),
            failure(400, "RequestTimeout"),
        ],
        ids=["slow-down", "internal", "429", "gateway", "cut", "request-timeout"],
    )
    def test_what_passes(self, server: S3Server, bucket: ObjectStorage, fault: Reply | Cut) -> None:
        """Every verb goes on after failures that pass."""
        server.fault = times(2, fault, "PUT")
        bucket.create("a/b", [b"0123456789"])
        server.fault = times(2, fault, "GET")
        assert bytes(bucket.get("a/b", 2, 3)) == b"234"
        server.fault = times(2, fault, "GET")
        assert [info.key for info in bucket.list()] == ["a/b"]
        server.fault = times(2, fault, "HEAD") if isinstance(fault, Cut) or fault.status >= 429 else server.fault
        assert bucket.head("a/b").size == 10
        server.fault = times(2, fault, "POST")
        bucket.delete(["a/b"])
        assert [key for key in server.buckets["bucket"] if PROBE_NAME not in key] == []

    def test_a_listing_goes_on_where_it_broke(self, server: S3Server, bucket: ObjectStorage) -> None:
        """A page that fails is asked for again, and nothing is missing or there twice."""
        keys = [f"f/{number:04d}" for number in range(2500)]
        server.buckets["bucket"].update({f"some/prefix/{key}": b"" for key in keys})
        listing = bucket.list("f/")
        found = [next(listing).key]
        server.fault = times(2, failure(503, "SlowDown"), "GET")
        found += [info.key for info in listing]
        assert found == keys

    @pytest.mark.parametrize(
        ("fault", "error", "said"),
        [
            (failure(403, "AccessDenied"), AccessDeniedError, "lack s3:GetObject"),
            (failure(403, "SignatureDoesNotMatch"), AccessDeniedError, "secret key is not"),
            (failure(403, "InvalidAccessKeyId"), AccessDeniedError, "access key is unknown"),
            (failure(403, "RequestTimeTooSkewed"), AccessDeniedError, "clock of this machine"),
            (failure(400, "ExpiredToken"), AccessDeniedError, "have expired"),
            (failure(404, "NoSuchBucket"), StorageError, "no such bucket"),
            (failure(301, "PermanentRedirect"), StorageError, "another region"),
            (failure(400, "AuthorizationHeaderMalformed"), StorageError, "region is probably wrong"),
            (failure(400, "SomethingElse", "odd"), StorageError, "SomethingElse, odd"),
            (failure(501, "NotImplemented"), StorageError, "does not know"),
        ],
    )
    def test_what_does_not_pass(
        self, server: S3Server, bucket: ObjectStorage, fault: Reply, error: type[Exception], said: str
    ) -> None:
        """The error is raised at once, names the key and the place, says what to do, and holds no secret."""
        server.fault = times(1000, fault, "GET")
        with pytest.raises(error, match=said) as caught:
            bucket.get("a/key")
        assert "a/key" in str(caught.value)
        assert f"s3://bucket/some/prefix at {server.url}" in str(caught.value)
        assert not any(secret in str(caught.value) for secret in KEYS.values())
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert len(server.log) == 1

    def test_nobody_answers(self, server: S3Server) -> None:
        """A server that is not there is an error that says so."""
        storage = make(server, deadline=0.2, endpoint_url="http://127.0.0.1:9")
        with pytest.raises(StorageError, match="nobody answers there") as caught:
            storage.get("a")
        assert caught.value.errno == errno.ECONNREFUSED

    def test_a_server_that_stalls(self, server: S3Server, bucket: ObjectStorage) -> None:
        """A request that gets no answer is given up after its time, and tried again."""
        bucket.create("a", [b"x"])
        server.fault = times(1, Stall(), "GET")
        assert bytes(make(server, timeout=0.5).get("a")) == b"x"

    @pytest.mark.parametrize(("start", "length"), [(0, None), (0, 7)])
    def test_a_body_that_breaks_off(
        self, server: S3Server, bucket: ObjectStorage, start: int, length: int | None
    ) -> None:
        """An answer that ends early is asked for again."""
        bucket.create("a", [b"0123456"])
        headers = {"ETag": '"1"', "Last-Modified": "Mon, 23 Nov 2026 08:00:00 GMT"}
        if length:
            headers["Content-Range"] = "bytes 0-6/7"
        server.fault = times(2, Reply(206 if length else 200, b"012", headers, torn=4), "GET")
        assert bytes(bucket.get("a", start, length)) == b"0123456"
        assert server.verbs.count("GET") == 3

    def test_an_answer_that_makes_no_sense(self, server: S3Server, bucket: ObjectStorage) -> None:
        """What is no answer of an object store is an error at once."""
        server.fault = times(1, Reply(200, b"<ListBucketResult><Contents>"), "GET")
        with pytest.raises(StorageError, match="invalid list response"):
            list(bucket.list())
        assert len(server.log) == 1

    @pytest.mark.parametrize(("code", "error"), [("AccessDenied", AccessDeniedError), ("Odd", StorageError)])
    def test_one_of_many_is_not_deleted(
        self, server: S3Server, bucket: ObjectStorage, code: str, error: type[Exception]
    ) -> None:
        """An answer that is 200 as a whole may say that one key was not deleted: that is an error that names it."""
        said = f"<Error><Key>some/prefix/b</Key><Code>{code}</Code><Message>no</Message></Error>"
        server.fault = times(1, Reply(200, f"<DeleteResult>{said}</DeleteResult>".encode()), "POST")
        with pytest.raises(error, match="some/prefix/b"):
            bucket.delete(["a", "b"])

    def test_a_deletion_that_is_slowed_down(self, server: S3Server, bucket: ObjectStorage) -> None:
        """What passes is tried again there, too."""
        server.buckets["bucket"]["some/prefix/b"] = b""
        said = "<Error><Key>some/prefix/b</Key><Code>SlowDown</Code><Message>no</Message></Error>"
        server.fault = times(2, Reply(200, f"<DeleteResult>{said}</DeleteResult>".encode()), "POST")
        bucket.delete(["a", "b"])
        assert list(bucket.list()) == []

    def test_a_storm(self, server: S3Server, bucket: ObjectStorage) -> None:
        """While nine of ten requests fail, everything still arrives, once."""
        count = itertools.count()
        server.fault = lambda request: failure(503, "SlowDown") if next(count) % 10 != 9 else None
        for number in range(3):
            bucket.create(f"k{number}", [bytes([number])])
        assert [bytes(bucket.get(f"k{number}")) for number in range(3)] == [b"\0", b"\1", b"\2"]

    def test_a_range_of_the_wrong_length(self, server: S3Server, bucket: ObjectStorage) -> None:
        """A server that gives fewer bytes than were asked for is not believed."""
        bucket.create("a", [b"0123456789"])
        wrong = {"Content-Range": "bytes 2-3/10", "ETag": '"1"', "Last-Modified": "Mon, 23 Nov 2026 08:00:00 GMT"}
        server.fault = lambda request: Reply(206, b"23", wrong) if request.method == "GET" else None
        with pytest.raises((IntegrityError, StorageError), match="'a'"):
            bucket.get("a", 2, 5)


class TestServersThatOverwrite:
    """A server that ignores ``If-None-Match``."""

    def test_it_is_refused(self, server: S3Server) -> None:
        """The first creation finds out, writes nothing of ours, and says what can be done."""
        server.ignores_conditions = True
        client = holdall.Client("s3://bucket/x", storage_options={**KEYS, "endpoint_url": server.url})
        with pytest.raises(AccessDeniedError, match="single_writer"):
            holdall.save(1, "a/b", client=client)
        assert list(server.buckets["bucket"]) == [f"x/{PROBE_NAME}"]

    def test_a_server_that_refuses_the_header(self, server: S3Server) -> None:
        """A server that answers a condition with an error is as unsuitable."""
        server.fault = times(1000, failure(501, "NotImplemented"))
        storage = make(server, prefix="x", region="r")
        with pytest.raises(AccessDeniedError, match="If-None-Match|conditional"):
            storage.create("a", [b"x"])

    def test_a_single_writer(self, server: S3Server) -> None:
        """Who promises to be alone may write; what is there is still not overwritten."""
        server.ignores_conditions = True
        storage = make(server, single_writer=True)
        storage.create("a", [b"first"])
        with pytest.raises(AlreadyExistsError):
            storage.create("a", [b"second"])
        assert bytes(storage.get("a")) == b"first"

    def test_it_costs_one_request_in_a_process(self, server: S3Server) -> None:
        """Two the first time ever, one in every later process, none in the provider's own service."""
        make(server)
        storage = make(server, region="r")
        storage.create("a", [b"x"])
        storage.create("b", [b"x"])
        assert [request.key.rpartition("/")[2] for request in server.log if request.method == "PUT"] == [
            PROBE_NAME,
            "a",
            "b",
        ]
        assert make_config("s3://bucket", {"endpoint_url": "https://s3.eu-west-1.amazonaws.com"}).is_native
        assert make_config("gs://bucket").is_native
        assert not make_config("s3://bucket", {"endpoint_url": "https://storage.googleapis.com"}).is_native


class TestRequests:
    """How many requests a call costs."""

    def test_folders_are_listed_lazily(self, server: S3Server, bucket: ObjectStorage) -> None:
        """The first of many folders is one request, and a folder of many objects is left behind with the next."""
        objects = server.buckets["bucket"]
        objects.update({f"some/prefix/r/{number:05d}/{slot}": b"" for number in range(2000) for slot in "ab"})
        objects.update(
            {f"some/prefix/s/big/{number:05d}": b"" for number in range(5000)} | {"some/prefix/s/next/x": b""}
        )
        assert next(bucket.list_folders("r/")) == "00000"
        assert server.verbs == ["LIST"]
        server.log.clear()
        assert next(bucket.list_folders("r/", "00041")) == "00042"
        assert server.verbs == ["LIST"]
        server.log.clear()
        assert list(bucket.list_folders("s/")) == ["big", "next"]
        assert len(server.log) <= 3
        assert len(list(bucket.list_folders("r/"))) == 2000

    def test_deletions_go_together(self, server: S3Server, bucket: ObjectStorage) -> None:
        """A thousand keys are one request."""
        server.buckets["bucket"].update({f"some/prefix/k{number}": b"" for number in range(1500)})
        bucket.delete(f"k{number}" for number in range(1500))
        assert len(server.log) == 2
        assert list(bucket.list()) == []

    def test_foreign_objects_are_not_listed(self, server: S3Server, bucket: ObjectStorage) -> None:
        """Neither the probe, nor what a console makes of folders, nor what lies beside the prefix."""
        server.buckets["bucket"].update(
            {"some/prefix/": b"", "some/prefix2/x": b"", "other": b"", "some/prefix/a": b""}
        )
        assert [info.key for info in bucket.list()] == ["a"]


class TestCredentials:
    """Where the keys come from."""

    def test_a_profile(self, server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A profile gives keys and region."""
        (tmp_path / "config").write_text("[profile work]\nregion = eu-north-1\n", encoding="utf-8")
        (tmp_path / "keys").write_text(
            "[work]\naws_access_key_id = of-the-profile\naws_secret_access_key = x\n", encoding="utf-8"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
        open_storage("s3://bucket", {"profile": "work", "endpoint_url": server.url}).delete(["a"])
        assert "Credential=of-the-profile/" in server.log[-1].headers["authorization"]
        assert "/eu-north-1/s3/" in server.log[-1].headers["authorization"]
        with pytest.raises(
            InvalidNameError, match=r"no profile 'worl' in ~/.aws. Did you mean 'work'\? There are 'work'"
        ):
            open_storage("s3://bucket", {"profile": "worl", "endpoint_url": server.url}).delete(["a"])

    def test_they_are_renewed(self, server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Keys that expire are asked for again while the same storage goes on."""
        script = tmp_path / "keys.py"
        script.write_text(
            "import datetime, json, pathlib, sys\n"
            "counter = pathlib.Path(__file__).with_name('count')\n"
            "number = len(counter.read_text()) if counter.exists() else 0\n"
            "counter.write_text('x' * (number + 1))\n"
            "soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)\n"
            "print(json.dumps({'Version': 1, 'AccessKeyId': f'key{number}', 'SecretAccessKey': 'x',"
            " 'SessionToken': 'x', 'Expiration': soon.isoformat()}))\n",
            encoding="utf-8",
        )
        (tmp_path / "config").write_text(
            f"[default]\ncredential_process = {sys.executable} {script}\n", encoding="utf-8"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setattr("holdall_store.storage._object_library.CREDENTIALS_LIVE", timedelta(0))
        storage = open_storage("s3://bucket", {"endpoint_url": server.url})
        storage.delete(["a"])
        storage.delete(["a"])
        used = [
            request.headers["authorization"].partition("Credential=")[2].partition("/")[0] for request in server.log
        ]
        assert used[0] != used[1]
        script.write_text("import sys; sys.exit('not signed in')", encoding="utf-8")
        with pytest.raises(AccessDeniedError, match=r"could not be renewed: .*not signed in"):
            storage.delete(["a"])
        assert len(server.log) == 2


class TestFace:
    """A store in a bucket, as a script uses it."""

    def test_a_store_in_a_bucket(self, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Save, load, save the same again, from this process and another, with nothing but a URL and the environment."""
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["key"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret"])
        monkeypatch.setenv("HOLDALL_STORE", "s3://bucket/team/store")
        data = os.urandom(300_000)
        with holdall.run("churn") as run:
            run.save(blob=data, depth=3)
        stored = sum(map(len, server.buckets["bucket"].values()))
        with holdall.run("churn") as run:
            run.save(blob=data, depth=4)
        assert sum(map(len, server.buckets["bucket"].values())) - stored < 10_000
        code = "import holdall; r = holdall.Flow('churn').latest_run; print(len(r.data.blob), r.data.depth)"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout.split() == ["300000", "4"]
        assert KEYS["secret"].encode() not in b"".join(server.buckets["bucket"].values())
        server.log.clear()
        assert holdall.Flow("churn").latest_run["depth"].load() == 4
        assert len(server.log) <= 6

    def test_options_reach_the_storage_and_nobody_else(self, server: S3Server) -> None:
        """A client with options saves and loads; its repr and its pickle hold no secret."""
        options = {**KEYS, "client_kwargs": {"endpoint_url": server.url, "region_name": "eu-west-1"}}
        client = holdall.Client("s3://bucket/x", namespace="user:ana", storage_options=options)
        holdall.save({"a": 1}, "churn/settings", client=client)
        assert client.in_namespace(None).load("user:ana/churn/settings") == {"a": 1}
        for shown in (
            repr(client),
            pickle.dumps(client),
            repr(client.repository.storage),
            pickle.dumps(client.repository.storage),
        ):
            assert KEYS["secret"] not in str(shown)
        assert pickle.loads(pickle.dumps(client))._options == {"client_kwargs": options["client_kwargs"]}

    def test_a_project_names_the_bucket(
        self, server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """``[tool.holdall] store`` and the command line take a URL, too."""
        for name, value in (("ENDPOINT_URL", server.url), ("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s")):
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.chdir(tmp_path)
        Path("pyproject.toml").write_text("[tool.holdall]\nstore = 's3://bucket/project'\n", encoding="utf-8")
        holdall.save([1, 2], "churn/list")
        assert f"project/{STORE_KEY}" in server.buckets["bucket"]
        assert main(["--store", "s3://bucket/project", "ls"]) == 0
        assert "churn" in capsys.readouterr().out

    def test_a_missing_object_and_no_credentials(self, server: S3Server) -> None:
        """What is not there is not found; who has no credentials is told how to get them."""
        with pytest.raises(ObjectNotFoundError, match="'a'"):
            make(server).get("a")
        storage = open_storage("s3://bucket", {"endpoint_url": server.url})
        with pytest.raises(AccessDeniedError, match="AWS_PROFILE"):
            storage.get("a")
        assert [
            info.key for info in open_storage("s3://bucket", {"endpoint_url": server.url, "anon": True}).list("x/")
        ] == []
        assert "authorization" not in server.log[-1].headers
