"""Heads and bodies of answers: right in whatever pieces they come, and refused when they are wrong."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from holdall_store.transfer._http1 import (
    CHUNKED,
    HEAD_BYTES_MAX,
    UNTIL_CLOSE,
    ChunkedReader,
    Head,
    HeadReader,
    ProtocolError,
    body_length,
    parse_head,
)

NAMES = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ-_0123456789", min_size=1, max_size=12).map(lambda name: f"X-{name}")
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return `data` cut at the places that `cuts` name."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


def read_head(data: bytes, cuts: list[int]) -> tuple[Head | None, bytes]:
    """Return the head in `data` that comes in pieces, and what comes after it in the same piece."""
    reader = HeadReader()
    for piece in pieces(data, cuts):
        head, begin = reader.feed(bytearray(piece), len(piece))
        if head is not None:
            return head, piece[begin:]
    return None, b""


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=5, unique_by=lambda pair: pair[0].lower()),
    st.integers(0, 2),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_a_head_is_the_same_in_any_pieces(pairs: list[tuple[str, str]], interim: int, cuts: list[int]) -> None:
    """Wherever the network cuts it, with interim answers before it or without, a head says the same."""
    lines = "".join(f"{name}: {value} \r\n" for name, value in pairs)
    data = b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" * interim
    data += f"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n{lines}\r\n".encode("latin-1")

    head, rest = read_head(data + b"body", cuts)

    assert head is not None
    assert (head.status, head.length, head.keep_alive, head.chunked) == (200, 4, True, False)
    assert b"body".startswith(rest)
    assert head.headers == {"content-length": "4"} | {name.lower(): value.strip(" \t") for name, value in pairs}


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_garbage_is_refused_or_waits(data: bytes, cuts: list[int]) -> None:
    """Whatever comes, the reader refuses it, or waits for the rest, or finds a head in it."""
    for whole in (data, b"HTTP/1.1 200 OK\r\n" + data):
        try:
            head, _ = read_head(whole, cuts)
        except ProtocolError:
            continue
        assert head is None or whole.find(b"\r\n\r\n") > 0


@pytest.mark.parametrize(
    "text",
    [
        "HTTP/2 200",
        "HTTP/1.1 20",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 999 X",
        "ICY 200 OK",
        "",
        "HTTP/1.1 200 OK\r\nno colon",
        "HTTP/1.1 200 OK\r\nName : v",
        "HTTP/1.1 200 OK\r\n: v",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded",
        "HTTP/1.1 200 OK\r\nA: b\nB: c",
        "HTTP/1.1 200 OK\r\nA: b\rc",
        "HTTP/1.1 200 OK\r\nA: \0",
        "HTTP/1.1 200 OK\nA: b",
        "HTTP/1.1 200 OK\r\nContent-Length: -1",
        "HTTP/1.1 200 OK\r\nContent-Length: +1",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x1",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2",
        "HTTP/1.1 200 OK\r\nContent-Length: \u00b2",
        "HTTP/1.1 200 OK\r\nContent-Length:",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999",
    ],
)
def test_malformed_heads_are_refused(text: str) -> None:
    """What contradicts itself or the standard is no answer."""
    with pytest.raises(ProtocolError):
        parse_head(text.encode("latin-1"))


def test_repeated_headers_are_joined() -> None:
    """Lists may be given in several lines, and a length twice if it is the same."""
    head = parse_head(b"HTTP/1.1 206 \r\nVia: a\r\nvia: b\r\nContent-Length: 7\r\ncontent-length: 7")
    assert (head.headers["via"], head.length) == ("a, b", 7)


@pytest.mark.parametrize(
    ("version", "line", "kept"),
    [
        ("1", "", True),
        ("0", "", False),
        ("1", "Connection: Close\r\n", False),
        ("0", "Connection: Keep-Alive\r\n", True),
    ],
)
def test_what_is_kept_alive(version: str, line: str, kept: bool) -> None:
    """The standard's defaults, and what the header says otherwise."""
    assert parse_head(f"HTTP/1.{version} 200 OK\r\n{line}A: b".encode()).keep_alive is kept


@pytest.mark.parametrize(
    ("method", "text", "length"),
    [
        ("GET", "200 OK\r\nContent-Length: 5", 5),
        ("GET", "200 OK", UNTIL_CLOSE),
        ("GET", "200 OK\r\nTransfer-Encoding: Chunked", CHUNKED),
        ("HEAD", "200 OK\r\nContent-Length: 5", 0),
        ("HEAD", "404 Not Found\r\nTransfer-Encoding: chunked", 0),
        ("DELETE", "204 No Content", 0),
        ("GET", "304 Not Modified\r\nContent-Length: 5", 0),
    ],
)
def test_how_long_bodies_are(method: str, text: str, length: int) -> None:
    """The length, chunks or the end of the connection; some answers have no body whatever they say."""
    assert body_length(method, parse_head(f"HTTP/1.1 {text}".encode())) == length


def test_heads_are_bounded() -> None:
    """Neither one head nor interim answers without end fill the memory."""
    line = b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (HEAD_BYTES_MAX // 6 + 1)
    with pytest.raises(ProtocolError, match="longer"):
        read_head(line, list(range(0, len(line), 1000)))
    interim = b"HTTP/1.1 103 Early\r\n\r\n" * (HEAD_BYTES_MAX // 22 + 2)
    with pytest.raises(ProtocolError, match="without end"):
        read_head(interim, [])
    with pytest.raises(ProtocolError, match="another protocol"):
        read_head(b"HTTP/1.1 101 Switching\r\n\r\n", [])


def test_nonsense_is_refused_at_its_first_byte() -> None:
    """A server that speaks something else is not waited for."""
    with pytest.raises(ProtocolError, match="not HTTP"):
        HeadReader().feed(bytearray(b"S"), 1)


def chunked(parts: list[bytes], extension: str = "", trailer: str = "") -> bytes:
    """Return a body in chunks."""
    body = b"".join(f"{len(part):X}{extension}\r\n".encode() + part + b"\r\n" for part in parts if part)
    return body + f"0\r\n{trailer}\r\n".encode()


@given(
    st.lists(st.binary(max_size=30), max_size=6),
    st.sampled_from(("", ";a=b", " ;x")),
    st.sampled_from(("", "A: b\r\n")),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_chunks_are_the_same_in_any_pieces(parts: list[bytes], extension: str, trailer: str, cuts: list[int]) -> None:
    """What was sent in chunks is what comes out, and what follows is left alone."""
    reader = ChunkedReader()
    found, rest = b"", b""
    for piece in pieces(chunked(parts, extension, trailer) + b"next", cuts):
        taken, used = reader.feed(memoryview(piece))
        found += b"".join(taken)
        rest += piece[used:]

    assert reader.done
    assert (found, rest) == (b"".join(parts), b"next")


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"\r\n",
        b"1\r\nab\r\n",
        b"1\na",
        b"1;" + b"x" * 2000,
        b"1" * 16 + b"\r\n",
        b"0\r\n" + b"A: b\r\n" * 20000,
    ],
    ids=range(8),
)
def test_malformed_chunks_are_refused(data: bytes) -> None:
    """A size that is none, a chunk longer than it says, lines without end."""
    with pytest.raises(ProtocolError):
        ChunkedReader().feed(memoryview(data))


@given(st.binary(max_size=100))
def test_chunks_of_garbage_never_give_more_than_there_is(data: bytes) -> None:
    """Whatever comes, no byte comes out that did not come in."""
    reader = ChunkedReader()
    try:
        taken, used = reader.feed(memoryview(data))
    except ProtocolError:
        return
    assert sum(map(len, taken)) <= used <= len(data)
