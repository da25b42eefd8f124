"""The XML of S3, read with suspicion, and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_plus

from holdall_store.errors import StorageError
from holdall_store.storage import Buffer
from holdall_store.storage.buckets import read_reply
from holdall_store.transfer._exchange import Response

__all__ = ["Element", "escape_xml", "fits_xml", "is_failure", "parse_xml", "raise_failure"]


_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})


class Element:
    """An element of a document whose namespaces do not matter."""

    __slots__ = ("_element",)

    def __init__(self, element: object) -> None:
        self._element = element

    def __iter__(self) -> Iterator[tuple[str, Element]]:
        for child in self._element:  # type: ignore[attr-defined]
            yield child.tag.rpartition("}")[2], Element(child)

    @property
    def name(self) -> str:
        """What it is called, without its namespace."""
        found: str = self._element.tag.rpartition("}")[2]  # type: ignore[attr-defined]
        return found

    @property
    def text(self) -> str:
        """The text in it."""
        return self._element.text or ""  # type: ignore[attr-defined]

    def texts(self) -> dict[str, str]:
        """Return the texts of the elements in it, by their names."""
        return {child.tag.rpartition("}")[2]: child.text or "" for child in self._element}  # type: ignore[attr-defined]


def parse_xml(body: Buffer, where: str) -> Element:
    """Return the root of a document; one that defines entities, or is none, raises `StorageError`."""
    from xml.etree import ElementTree  # for whom it concerns

    raw = bytes(body)
    # S3 declares nothing, and an encoding other than UTF-8 could hide that somebody does.
    if b"<!" in raw.replace(b"<![CDATA[", b"") or b"\0" in raw or raw[:2] in (b"\xfe\xff", b"\xff\xfe"):
        raise StorageError(f"{where} answers with XML that no S3 sends: it declares something.")
    try:
        return Element(ElementTree.fromstring(raw))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise StorageError(f"{where} answers with something that is no XML: {error}.") from None


def is_failure(response: Response) -> bool:
    """Tell whether an answer that says 200 is an error nevertheless: S3 says 200 first where it takes long."""
    if response.status != 200:
        return False
    body = bytes(response.body[:2048])
    return not body.strip() or b"<Error>" in body or b":Error" in body


def raise_failure(response: Response, action: str, url: str) -> None:
    """Raise what an answer that is no success means."""
    from holdall_store.storage.buckets import explain

    bucket, _, key = url.partition("://")[2].partition("/")
    answer = read_reply(response.status, bytes(response.body).decode(errors="replace"))
    raise explain(answer, action, key, f"s3://{bucket}")


def escape_xml(text: str) -> str:
    """Return `text` as it stands between tags; line ends are kept."""
    return text.translate(_ESCAPES)


def fits_xml(text: str) -> bool:
    """Tell whether XML 1.0 can say `text` at all."""
    return text.isprintable() or not any(
        (char < " " and char not in "\t\n\r") or char in "\ufffe\uffff" for char in text
    )


def decode_key(text: str, *, encoded: bool) -> str:
    """Return a key of a listing, which was asked for percent-encoded, because XML cannot say every key."""
    return unquote_plus(text) if encoded else text
