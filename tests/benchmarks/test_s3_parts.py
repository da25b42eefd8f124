"""What the S3 benchmarks measure with: the bare socket loop, and nginx in the shape of S3."""

from __future__ import annotations

import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import _s3_single as single  # noqa: E402
from benchmarks._harness import Skipped  # noqa: E402
from benchmarks._s3_common import repeat  # noqa: E402
from benchmarks._s3_lanes import best  # noqa: E402
from benchmarks._s3_sockets import Piece, discard, into_file, into_memory, receive, send  # noqa: E402
from benchmarks._servers import Nginx, serve_nginx  # noqa: E402

CONTENT = bytes(range(256)) * 4096


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bodies: dict[str, bytes] = {}  # noqa: RUF012 - one server, one test

    def do_GET(self) -> None:
        first, last = 0, len(CONTENT) - 1
        if wanted := self.headers.get("Range"):
            first, last = (int(each) for each in wanted.removeprefix("bytes=").split("-"))
        body = CONTENT[first : last + 1] if self.path == "/bucket/key" else b""
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.bodies[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Print nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Serve one object, and keep what is put."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Serve a folder of the test with nginx, where it is installed."""
    try:
        with serve_nginx(tmp_path) as server:
            yield server
    except Skipped as reason:
        pytest.skip(str(reason))


def _pieces(step: int) -> list[Piece]:
    return [Piece("/bucket/key", min(step, len(CONTENT) - at), at) for at in range(0, len(CONTENT), step)]


def test_the_socket_loop_puts_parts_where_they_belong(endpoint: str, tmp_path: Path) -> None:
    """Ranges over several connections make the object again, in memory and in a file."""
    whole = memoryview(bytearray(len(CONTENT)))
    receive(endpoint, _pieces(100_000), 4, into_memory([], whole=whole))
    with (tmp_path / "file").open("wb") as file:
        receive(endpoint, _pieces(100_000), 4, into_file(file.fileno()))

    assert whole == CONTENT
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_the_socket_loop_keeps_each_object_in_memory_of_its_own(endpoint: str) -> None:
    """Whole objects are kept one by one."""
    kept: list[memoryview] = []
    receive(endpoint, [Piece("/bucket/key", len(CONTENT))] * 3, 2, into_memory(kept))

    assert kept == [CONTENT] * 3


def test_the_socket_loop_never_takes_an_answer_for_another(endpoint: str) -> None:
    """A body that is shorter than it must be is an error in the caller's thread."""
    with pytest.raises(RuntimeError, match="/bucket/other: 200, 0 bytes where 7 were due"):
        receive(endpoint, [Piece("/bucket/other", 7)], 1, discard)


def test_the_socket_loop_puts_every_object(endpoint: str) -> None:
    """All paths get the body, in one packet with the head or behind it."""
    for name, size in (("small", 1000), ("large", 300_000)):
        paths = [f"/bucket/{name}/{number}" for number in range(5)]
        send(endpoint, paths, CONTENT[:size], 2)

        assert [_Handler.bodies[path] for path in paths] == [CONTENT[:size]] * 5


def test_marks_tell_a_file_that_is_wrong(tmp_path: Path) -> None:
    """A file with two parts exchanged, or of another size, is told from the one that was made."""
    path, size = tmp_path / "marked", 3 * single.MARK_STEP
    single.make_marked(path, size)
    single.check_file(str(path), size)
    content = bytearray(path.read_bytes())
    half = single.MARK_STEP
    content[:half], content[half : 2 * half] = content[half : 2 * half], content[:half]
    (tmp_path / "wrong").write_bytes(content)

    with pytest.raises(RuntimeError, match="wrong at 0"):
        single.check_file(str(tmp_path / "wrong"), size)
    with pytest.raises(RuntimeError, match="wrong size"):
        single.check_file(str(path), size + 1)


def test_calls_that_move_different_bytes_are_no_measurement() -> None:
    """What is repeated must do the same each time."""
    totals = iter((5, 5, 6))

    with pytest.raises(RuntimeError, match="did not move the same bytes"):
        repeat(lambda: next(totals), 3)


def test_the_best_peer_is_the_fastest() -> None:
    """Peers are found by how their names begin; where there is none, the answer is 0."""
    values = {"holdall": 9.0, "obstore, 8 threads": 2.0, "obstore, 32 threads": 3.0}

    assert best(values, "obstore") == 3.0
    assert best(values, "boto3") == 0.0


def _ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, method=method, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def test_nginx_answers_as_s3_does(nginx: Nginx) -> None:
    """Objects, ranges, missing keys, creates and conditions have the statuses and the bodies of S3."""
    url = f"{nginx.plain}/bucket/folder/key"

    assert _ask(url)[0] == 404
    assert b"<Code>NoSuchKey</Code>" in _ask(url)[1]
    assert _ask(url, "PUT", CONTENT, **{"If-None-Match": "*"})[0] == 200
    assert _ask(url, "PUT", b"other", **{"If-None-Match": "*"})[0] == 412
    status, body, headers = _ask(url, Range="bytes=10-19")
    assert (status, body) == (206, CONTENT[10:20])
    assert headers["ETag"]
    assert headers["Content-Range"] == f"bytes 10-19/{len(CONTENT)}"
    assert _ask(url)[1] == CONTENT
    other = f"{nginx.plain}/bucket/other"  # nginx knows a file that was read for a second more
    assert [_ask(other, "PUT", b"1")[0], _ask(other, "DELETE")[0], _ask(other, "HEAD")[0]] == [200, 204, 404]


def test_nginx_lists_in_pages(nginx: Nginx) -> None:
    """A listing has every key once and in order, page by page, with common prefixes where a delimiter is given."""
    names = [f"{folder}/{number:02d}" for folder in ("a", "b", "c&d") for number in range(4)] + ["top"]
    for name in names:
        path = nginx.root / "bucket" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())

    def pages(query: str) -> list[str]:
        found, token = [], ""
        while True:
            more = f"&continuation-token={urllib.request.quote(token)}" if token else ""  # type: ignore[attr-defined]
            tree = ElementTree.fromstring(_ask(f"{nginx.plain}/bucket/?list-type=2{query}{more}")[1])
            space = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}
            found += [each.text or "" for each in tree.iterfind("s3:Contents/s3:Key", space)]
            found += [each.text or "" for each in tree.iterfind("s3:CommonPrefixes/s3:Prefix", space)]
            token = tree.findtext("s3:NextContinuationToken", "", space)
            if not token:
                return found

    assert pages("&max-keys=3") == names
    assert pages("&prefix=b/&max-keys=3") == names[4:8]
    assert pages("&delimiter=/&max-keys=1") == ["a/", "b/", "c&d/", "top"]


def test_nginx_counts_and_forgets_what_goes_to_the_sink(nginx: Nginx) -> None:
    """Requests are counted by method for a contender; the sink keeps nothing; every key of ``any`` is one object."""
    (nginx.root / "any" / "object").write_bytes(b"the one")

    def contender(_number: int) -> dict[str, Any]:
        statuses = [_ask(f"{nginx.plain}/sink/{number}", "PUT", CONTENT)[0] for number in range(3)]
        return {"statuses": statuses, "one": _ask(f"{nginx.shaped}/any/of/them")[1].decode()}

    sample = nginx.counted(contender)(0)

    assert (sample["statuses"], sample["one"]) == ([200] * 3, "the one")
    assert (sample["counts"]["PUT"], sample["counts"]["GET"], sample["requests"]) == (3, 1, 4)
    assert list((nginx.root / "sink").iterdir()) == []
