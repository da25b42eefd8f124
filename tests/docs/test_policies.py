"""The policies in the documentation are neither too narrow for what they are for nor too wide for what they forbid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.storage._s3 import Reply, Request, S3Server, failure

import holdall
from holdall_store.storage import open_storage
from holdall_store.storage._object import PROBE_NAME

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "share-a-bucket-with-a-team.md"
POLICIES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
READER, WRITER, MEMBER = POLICIES
ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "LIST": "s3:ListBucket"}


def as_list(value: Any) -> list[Any]:
    """Return what a policy writes as one thing or as a list."""
    return value if isinstance(value, list) else [value]


def holds(condition: dict[str, dict[str, str]], request: Request) -> bool:
    """Tell whether a statement's conditions hold, of the kinds that the page uses."""
    for kind, tests in condition.items():
        for name, wanted in tests.items():
            if (kind, name) == ("StringLike", "s3:prefix"):
                if not fnmatchcase(request.query.get("prefix", ""), wanted):
                    return False
            elif (kind, name) == ("Null", "s3:if-none-match"):
                if ("if-none-match" not in request.headers) != (wanted == "true"):
                    return False
            else:
                raise AssertionError(f"the page uses a condition that is not known here: {kind} {name}")
    return True


def allowed(policy: dict[str, Any], request: Request) -> bool:
    """Tell what S3 would say of a request."""
    if request.method == "DELETE" or request.verb == "DELETE":
        action = "s3:DeleteObject"
    else:
        action = ACTIONS[request.verb]
    resource = f"arn:aws:s3:::{request.bucket}" + (f"/{request.key}" if request.key else "")
    return any(
        statement["Effect"] == "Allow"
        and action in as_list(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in as_list(statement["Resource"]))
        and holds(statement.get("Condition", {}), request)
        for statement in policy["Statement"]
    )


@pytest.fixture
def server() -> Iterator[S3Server]:
    """Return a server with one bucket."""
    made = S3Server()
    made.reset()
    yield made
    made.close()


def under(policy: dict[str, Any], server: S3Server) -> None:
    """Let the server keep to a policy from here on; the probe of other servers than Amazon's is beside the point."""

    def deny(request: Request) -> Reply | None:
        if request.key.endswith(PROBE_NAME):
            return None
        return None if allowed(policy, request) else failure(403, "AccessDenied", "Access Denied")

    server.fault = deny


def client(server: S3Server, namespace: str) -> holdall.Client:
    """Return a new client of the page's store."""
    options = {"endpoint_url": server.url, "key": "a", "secret": "b", "region": "us-east-1"}
    return holdall.Client("s3://bucket/team/store", namespace=namespace, storage_options=options)


def save(where: holdall.Client) -> None:
    """Save what needs a pack, and what does not."""
    with holdall.run("churn", client=where) as run:
        run.save(array=np.arange(100_000), small=1)
        run.log(auc=0.9)


def check(where: holdall.Client) -> None:
    """Load all of it."""
    assert where.load("churn/small") == 1
    assert np.array_equal(where.load("churn/array"), np.arange(100_000))
    assert where.flow("churn").latest_run.metrics["auc"] == 0.9


def test_a_writer_can_do_all_that_saving_needs(server: S3Server) -> None:
    """Under the writer's policy a new store is made, saved to twice, and read."""
    under(WRITER, server)
    save(client(server, "user:ana"))
    save(client(server, "user:ana"))

    check(client(server, "user:ana"))


def test_a_writer_cannot_overwrite_or_delete(server: S3Server) -> None:
    """An upload without the condition is refused, and so is every deletion."""
    assert not allowed(WRITER, Request("PUT", "bucket", "team/store/packs/x-1", {}, {}, b""))
    assert not allowed(WRITER, Request("DELETE", "bucket", "team/store/packs/x-1", {}, {}, b""))
    under(WRITER, server)
    save(client(server, "user:ana"))
    options = {"endpoint_url": server.url, "key": "a", "secret": "b", "region": "us-east-1"}
    with pytest.raises(holdall.AccessDeniedError, match="s3:DeleteObject"):
        open_storage("s3://bucket/team/store", options).delete(["holdall.json"])
    check(client(server, "user:ana"))


def test_a_reader_reads_and_cannot_save(server: S3Server) -> None:
    """Under the reader's policy everything loads, and a save is an error that names the permission."""
    save(client(server, "user:ana"))
    under(READER, server)

    check(client(server, "user:ana"))
    with pytest.raises(holdall.AccessDeniedError, match="s3:PutObject"):
        save(client(server, "user:ana"))


def test_a_member_saves_in_own_namespaces_only(server: S3Server) -> None:
    """Production is read by all and written to by none of them, also not by an alias."""
    save(client(server, "production:churn"))
    under(MEMBER, server)

    save(client(server, "user:bob"))
    check(client(server, "user:bob"))
    check(client(server, "production:churn"))
    before = sorted(server.buckets["bucket"])
    with pytest.raises(holdall.AccessDeniedError, match="s3:PutObject"):
        save(client(server, "production:churn"))
    with pytest.raises(holdall.AccessDeniedError, match="s3:PutObject"):
        holdall.alias("churn", "champion", client=client(server, "production:churn"))
    assert [key for key in server.buckets["bucket"] if "/runs/" in key or "/aliases/" in key] == [
        key for key in before if "/runs/" in key or "/aliases/" in key
    ]


def test_nobody_sees_what_lies_beside_the_store() -> None:
    """No policy lets anybody list or read another prefix of the bucket."""
    for policy in POLICIES:
        assert not allowed(policy, Request("GET", "bucket", "", {"prefix": "other/"}, {}, b""))
        assert not allowed(policy, Request("GET", "bucket", "other/object", {}, {}, b""))
