"""Listing: objects below prefixes, their versions, uploads that were begun."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from holdall_store.errors import StorageError
from holdall_store.transfer._exchange import Job, Request, Response
from holdall_store.transfer._s3_objects import S3Object, listed_object
from holdall_store.transfer._s3_xml import decode_key, parse_xml

__all__ = [
    "Listed",
    "Listing",
    "Page",
    "SentPart",
    "list_job",
    "page_job",
    "page_request",
    "parse_page",
    "parts_job",
    "uploads_job",
    "versions_job",
]

LISTING_BYTES_MAX: Final = 16 << 20
"""A page has 1000 keys of 1024 bytes at most, percent-encoded, and what is said of each."""


class Listing(NamedTuple):
    """What to list: the objects of a bucket whose keys begin with ``key``, whole or level by level."""

    bucket: str
    key: str
    url: str
    delimiter: str = ""
    page_keys: int | None = None


class Listed(NamedTuple):
    """One object, or one prefix (without a size), of a listing."""

    key: str
    size: int | None
    etag: str
    modified: float | None


class SentPart(NamedTuple):
    """A part of an upload that the server has, and its CRC-32 if the server keeps that."""

    size: int
    etag: str
    checksum: str


class Page(NamedTuple):
    """A page of a listing, and where the next one begins."""

    entries: list[Listed]
    token: str


def as_object(entry: Listed, listing: Listing) -> S3Object:
    """Return an entry as callers get it: its key is relative to the prefix that they asked for."""
    name = entry.key[len(listing.key) :]
    if entry.size is None:
        name = name.rstrip("/")
    return listed_object(name, listing.bucket, entry.key, listing.url, entry.size, entry.etag, entry.modified)


def page_request(listing: Listing, token: str) -> Request:
    """Return the request for one page."""
    query = [("list-type", "2"), ("encoding-type", "url")]
    if listing.key:
        query.append(("prefix", listing.key))
    if listing.delimiter:
        query.append(("delimiter", listing.delimiter))
    if listing.page_keys:
        query.append(("max-keys", str(listing.page_keys)))
    if token:
        query.append(("continuation-token", token))
    return Request("GET", listing.bucket, "", tuple(query), bytes_max=LISTING_BYTES_MAX, accept=frozenset({200}))


def parse_time(text: str) -> float | None:
    """Return the seconds since the epoch that a time of a listing means."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def parse_page(response: Response, listing: Listing) -> Page:
    """Return what an answer lists."""
    root = parse_xml(response.body, listing.url)
    if root.name != "ListBucketResult":
        raise StorageError(f"{listing.url} answers a listing with a {root.name}.")
    outer = root.texts()
    encoded = outer.get("EncodingType", "").lower() == "url"
    entries = []
    for name, child in root:
        if name == "Contents":
            told = child.texts()
            key = decode_key(told.get("Key", ""), encoded=encoded)
            size = told.get("Size", "")
            if not key.startswith(listing.key) or not size.isdecimal():
                raise StorageError(f"{listing.url} lists {key!r:.200}, which was not asked for, or has no size.")
            entries.append(Listed(key, int(size), told.get("ETag", ""), parse_time(told.get("LastModified", ""))))
        elif name == "CommonPrefixes":
            key = decode_key(child.texts().get("Prefix", ""), encoded=encoded)
            entries.append(Listed(key, None, "", None))
    truncated = outer.get("IsTruncated", "").lower() == "true"
    token = outer.get("NextContinuationToken", "")
    if truncated and not token:
        raise StorageError(f"{listing.url} says that there is more to list, and not where it begins.")
    return Page(entries, token if truncated else "")


def page_job(listing: Listing, token: str) -> Job[Page]:
    """List one page."""
    (response,) = yield (page_request(listing, token),)
    return parse_page(response, listing)


def list_job(listing: Listing) -> Job[list[Listed]]:
    """List all of a prefix."""
    entries: list[Listed] = []
    token = ""
    while True:
        page = yield from page_job(listing, token)
        entries += page.entries
        if page.token == token and token:
            raise StorageError(f"{listing.url} lists the same page for ever.")
        token = page.token
        if not token:
            return entries


def versions_job(listing: Listing) -> Job[list[S3Object]]:
    """List all versions below a prefix, the newest of each key first; a deletion is a version that does not exist."""
    found: list[S3Object] = []
    marker: tuple[tuple[str, str], ...] = ()
    while True:
        prefix = (("prefix", listing.key),) if listing.key else ()
        query = (("versions", ""), ("encoding-type", "url"), *prefix, *marker)
        (response,) = yield (
            Request("GET", listing.bucket, "", query, bytes_max=LISTING_BYTES_MAX, accept=frozenset({200})),
        )
        root = parse_xml(response.body, listing.url)
        outer = root.texts()
        encoded = outer.get("EncodingType", "").lower() == "url"
        for name, child in root:
            if name in ("Version", "DeleteMarker"):
                told = child.texts()
                key = decode_key(told.get("Key", ""), encoded=encoded)
                size = told.get("Size", "")
                entry = Listed(
                    key,
                    int(size) if size.isdecimal() else None,
                    told.get("ETag", ""),
                    parse_time(told.get("LastModified", "")),
                )
                version = as_object(entry, listing)
                version.version_id = told.get("VersionId") or None
                found.append(version)
        if outer.get("IsTruncated", "").lower() != "true":
            return found
        following = (
            ("key-marker", decode_key(outer.get("NextKeyMarker", ""), encoded=encoded)),
            ("version-id-marker", outer.get("NextVersionIdMarker", "")),
        )
        if following == marker:
            raise StorageError(f"{listing.url} lists the same page for ever.")
        marker = following


def uploads_job(bucket: str, key: str, url: str) -> Job[str]:
    """Return the id of the newest upload in parts of exactly `key` that was begun and not ended, or an empty string."""
    query = (("uploads", ""), ("encoding-type", "url"), ("prefix", key))
    (response,) = yield (Request("GET", bucket, "", query, accept=frozenset({200})),)
    root = parse_xml(response.body, url)
    encoded = root.texts().get("EncodingType", "").lower() == "url"
    begun = [child.texts() for name, child in root if name == "Upload"]
    same = [each for each in begun if decode_key(each.get("Key", ""), encoded=encoded) == key]
    return max(same, key=lambda each: each.get("Initiated", ""), default={}).get("UploadId", "")


def parts_job(bucket: str, key: str, upload: str, url: str) -> Job[dict[int, SentPart]]:
    """Return the parts of an upload that are there, by their numbers."""
    parts: dict[int, SentPart] = {}
    marker = ""
    while True:
        after = (("part-number-marker", marker),) if marker else ()
        (response,) = yield (Request("GET", bucket, key, (("uploadId", upload), *after), accept=frozenset({200})),)
        root = parse_xml(response.body, url)
        for name, child in root:
            if name == "Part":
                told = child.texts()
                parts[int(told["PartNumber"])] = SentPart(
                    int(told["Size"]), told.get("ETag", ""), told.get("ChecksumCRC32", "")
                )
        outer = root.texts()
        following = outer.get("NextPartNumberMarker", "")
        if outer.get("IsTruncated", "").lower() != "true" or following == marker:
            return parts
        marker = following
