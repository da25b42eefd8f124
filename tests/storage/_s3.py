"""A server in this process that speaks enough of S3, counts requests, and fails as it is told."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

DATE = "Mon, 23 Nov 2026 08:00:00 GMT"


@dataclass(frozen=True)
class Request:
    """What was asked: the method, the bucket, the key, the query."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def verb(self) -> str:
        """What S3 calls it."""
        if not self.key:
            return "LIST" if self.method == "GET" else "DELETE"
        return self.method


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    torn: int = 0
    """So many bytes more are promised than come."""


@dataclass(frozen=True)
class Cut:
    """No answer: the connection is closed, after the request took effect or before."""

    after: bool


@dataclass(frozen=True)
class Stall:
    """No answer and no end of the connection, until the client has enough."""


def failure(status: int, code: str, message: str = "said the server") -> Reply:
    """Return an answer that is an error in S3's form."""
    body = (
        f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message><RequestId>1</RequestId></Error>'
    )
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})


class S3Server:
    """Buckets in memory behind HTTP; `fault` may answer any request instead, or cut its connection."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.log: list[Request] = []
        self.fault: Callable[[Request], Reply | Cut | Stall | None] = lambda request: None
        self.ignores_conditions = False
        self.misses_deleted = False
        self.resets = 0
        self._lock = threading.Lock()
        self._listen(0)

    def _listen(self, port: int) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def verbs(self) -> list[str]:
        """What was asked, in order."""
        return [request.verb for request in self.log]

    def reset(self) -> None:
        """Forget everything, and what clients that are gone have asked for but not got."""
        with self._lock:
            self.resets += 1
            self.buckets = {"bucket": {}}
            self.log = []
        self.fault = lambda request: None
        self.ignores_conditions = False
        self.misses_deleted = False

    def restart(self) -> None:
        """Listen again where it did before `close`."""
        self._listen(self._server.server_address[1])

    def close(self) -> None:
        """Stop to listen; connections that there are go on."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Request, is_stale: Callable[[], bool] = lambda: False) -> Reply | Stall | None:
        """Do what is asked and return the answer; ``None`` cuts the connection."""
        with self._lock:
            if is_stale():
                return None
            self.log.append(request)
            fault = self.fault(request)
            if isinstance(fault, Reply | Stall):
                return fault
            if isinstance(fault, Cut) and not fault.after:
                return None
            reply = self._do(request)
        return None if isinstance(fault, Cut) else reply

    def _do(self, request: Request) -> Reply:
        objects = self.buckets.get(request.bucket)
        if objects is None:
            return failure(404, "NoSuchBucket", "The specified bucket does not exist")
        if not _is_whole(request):
            return failure(400, "XAmzContentSHA256Mismatch", "The provided SHA-256 does not match what was computed")
        if request.verb == "LIST":
            return _listing(objects, request.query)
        if request.verb == "DELETE":
            if request.key and request.key not in objects and self.misses_deleted:
                return failure(404, "NoSuchKey")
            keys = [request.key] if request.key else _keys_to_delete(request.body)
            for key in keys:
                objects.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            return Reply(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())
        if request.method == "PUT":
            conditions = {"if-none-match", "x-goog-if-generation-match"} & set(request.headers)
            if request.key in objects and conditions and not self.ignores_conditions:
                return failure(412, "PreconditionFailed")
            objects[request.key] = request.body
            return Reply(200, b"", {"ETag": '"1"', "x-goog-generation": "1"})
        if request.key not in objects:
            return failure(404, "NoSuchKey")
        return _content(objects[request.key], request.headers.get("range"))


def _is_whole(request: Request) -> bool:
    """Tell whether the body is the one that was signed, where it was signed at all."""
    signed = request.headers.get("x-amz-content-sha256", "")
    return len(signed) != 64 or hashlib.sha256(request.body).hexdigest() == signed


def _content(data: bytes, wanted: str | None) -> Reply:
    headers = {"ETag": '"1"', "Last-Modified": DATE, "Accept-Ranges": "bytes"}
    if wanted is None:
        return Reply(200, data, headers)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    begin = int(first)
    end = min(int(last) + 1 if last else len(data), len(data))
    if begin >= len(data):
        return failure(416, "InvalidRange")
    return Reply(206, data[begin:end], {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"})


def _keys_to_delete(body: bytes) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(body).iter() if element.tag.endswith("Key")]


def _listing(objects: dict[str, bytes], query: dict[str, str]) -> Reply:
    prefix, count = query.get("prefix", ""), min(int(query.get("max-keys", "1000")), 1000)
    after = query.get("continuation-token") or query.get("start-after", "")
    keys = sorted(key for key in objects if key.startswith(prefix) and key > after)
    if query.get("delimiter"):
        return _folder_listing(objects, prefix, keys)
    page = keys[:count]
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-23T08:00:00.000Z</LastModified>"
        f"<ETag>&quot;1&quot;</ETag><Size>{len(objects[key])}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in page
    )
    more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if len(keys) > count else ""
    body = (
        f"<ListBucketResult><Name>bucket</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
        f"<MaxKeys>{count}</MaxKeys><IsTruncated>{str(len(keys) > count).lower()}</IsTruncated>{more}{contents}"
        "</ListBucketResult>"
    )
    return Reply(200, body.encode(), {"Content-Type": "application/xml"})


def _folder_listing(objects: dict[str, bytes], prefix: str, keys: list[str]) -> Reply:
    """Return all of one level, in one page."""
    folders = sorted({prefix + key[len(prefix) :].partition("/")[0] + "/" for key in keys if "/" in key[len(prefix) :]})
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-23T08:00:00.000Z</LastModified>"
        f"<ETag>&quot;1&quot;</ETag><Size>{len(objects[key])}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
        if "/" not in key[len(prefix) :]
    )
    common = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
    body = f"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>{contents}{common}</ListBucketResult>"
    return Reply(200, body.encode(), {"Content-Type": "application/xml"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # with the default of 5, the system makes the sixth of many wait for a second
    owner: S3Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for head and body

    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, _Server)
        self.resets = self.server.owner.resets

    def _is_stale(self) -> bool:
        """Tell whether the client went away before the server was reset: an earlier test cancelled the request."""
        assert isinstance(self.server, _Server)
        if self.resets == self.server.owner.resets:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        assert isinstance(self.server, _Server)
        reply = self.server.owner.answer(Request(self.command, bucket, key, query, headers, body), self._is_stale)
        if isinstance(reply, Stall):
            self.connection.recv(1)
            reply = None
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) + reply.torn))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()
        self.close_connection = self.close_connection or reply.torn > 0

    def handle_expect_100(self) -> bool:
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()  # the client waits for it before it sends the body
        return True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Print nothing."""
