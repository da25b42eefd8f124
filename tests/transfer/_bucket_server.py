"""A server that speaks all of S3 that bulk transfer uses: parts, copies, versions, checksums, encryption, metadata."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.storage._s3 import Reply, Request, S3Server, failure

BEGINNING = 1_795_420_800  # Mon, 23 Nov 2026 08:00:00 GMT


@dataclass
class Stored:
    """One version of an object."""

    data: bytes
    etag: str
    headers: dict[str, str] = field(default_factory=dict)
    modified: int = BEGINNING
    version: str = ""
    deleted: bool = False

    @property
    def key_md5(self) -> str:
        """The MD5 of the customer's key, if it was encrypted with one."""
        return self.headers.get("x-amz-server-side-encryption-customer-key-md5", "")


@dataclass
class Upload:
    """An upload in parts."""

    key: str
    headers: dict[str, str]
    checked: bool = False
    """Whether the parts have checksums, which have to be told again in the end."""

    parts: dict[int, bytes] = field(default_factory=dict)


def http_date(seconds: int) -> str:
    """Return a time as headers tell it."""
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)


def iso_date(seconds: int) -> str:
    """Return a time as listings tell it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def md5(data: bytes) -> str:
    """Return the MD5 of some bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def crc32(data: bytes) -> str:
    """Return the CRC-32 of some bytes as headers tell it."""
    return b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class BucketServer(S3Server):
    """Buckets whose objects have versions, kept in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.versions: dict[tuple[str, str], list[Stored]] = {}
        self.uploads: dict[str, Upload] = {}
        self.names = {"bucket", "other"}
        self.now = BEGINNING
        self.page_keys = 1000
        self.deletes_in_batches = True
        self.knows_ranges = True
        self.keeps_checksums = True
        self.count = 0

    def store(self, key: str, data: bytes, bucket: str = "bucket", **headers: str) -> Stored:
        """Put an object there."""
        stored = Stored(data, f'"{md5(data)}"', {name.replace("_", "-"): value for name, value in headers.items()})
        return self._keep(bucket, key, stored)

    def content(self, key: str, bucket: str = "bucket") -> bytes | None:
        """Return what an object holds now, or ``None``."""
        found = self._newest(bucket, key)
        return found.data if found else None

    def keys(self, bucket: str = "bucket") -> list[str]:
        """Return the keys that are there."""
        return sorted(key for where, key in self.versions if where == bucket and self._newest(bucket, key))

    def asked(self, *methods: str) -> int:
        """Return how many requests of these methods came."""
        return sum(request.method in methods for request in self.log)

    def _keep(self, bucket: str, key: str, stored: Stored) -> Stored:
        self.count += 1
        stored.version, stored.modified = f"v{self.count}", self.now
        self.versions.setdefault((bucket, key), []).append(stored)
        return stored

    def _newest(self, bucket: str, key: str, version: str | None = None) -> Stored | None:
        versions = self.versions.get((bucket, key), [])
        if version is not None:
            return next((each for each in versions if each.version == version), None)
        return versions[-1] if versions and not versions[-1].deleted else None

    def _do(self, request: Request) -> Reply:
        if request.bucket not in self.names:
            return failure(404, "NoSuchBucket", "The specified bucket does not exist")
        query, method = request.query, request.method
        if not request.key:
            if method == "GET":
                return self._look_around(request)
            return self._delete_batch(request)
        if "uploadId" in query or "uploads" in query:
            return self._multipart(request)
        if method == "DELETE":
            return self._delete(request.bucket, request.key, query.get("versionId"))
        if method == "PUT":
            return self._copy(request) if "x-amz-copy-source" in request.headers else self._put(request)
        return self._get(request)

    def _get(self, request: Request) -> Reply:
        found = self._newest(request.bucket, request.key, request.query.get("versionId"))
        if found is None or found.deleted:
            return failure(404, "NoSuchKey")
        asked = request.headers
        if found.key_md5 and asked.get("x-amz-server-side-encryption-customer-key-md5") != found.key_md5:
            return failure(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption.")
        if asked.get("if-match") not in (None, found.etag):
            return failure(412, "PreconditionFailed")
        headers = {
            "ETag": found.etag,
            "Last-Modified": http_date(found.modified),
            "x-amz-version-id": found.version,
            **{name: value for name, value in found.headers.items() if not name.startswith("x-amz-checksum")},
        }
        wanted = asked.get("range") if self.knows_ranges else None
        if wanted is None:
            if asked.get("x-amz-checksum-mode") == "ENABLED":
                headers |= {name: value for name, value in found.headers.items() if name.startswith("x-amz-checksum")}
            return Reply(200, found.data, headers)
        return _range(found.data, wanted, headers)

    def _put(self, request: Request) -> Reply:
        headers = request.headers
        if headers.get("x-amz-checksum-crc32", crc32(request.body)) != crc32(request.body):
            return failure(400, "BadDigest")
        there = self._newest(request.bucket, request.key)
        if there is not None and "if-none-match" in headers and not self.ignores_conditions:
            return failure(412, "PreconditionFailed")
        stored = self._keep(request.bucket, request.key, Stored(request.body, f'"{md5(request.body)}"', _kept(headers)))
        return Reply(200, b"", {"ETag": stored.etag, "x-amz-version-id": stored.version})

    def _delete(self, bucket: str, key: str, version: str | None) -> Reply:
        versions = self.versions.get((bucket, key), [])
        if version is None:
            if versions:
                self._keep(bucket, key, Stored(b"", "", deleted=True))
        else:
            versions[:] = [each for each in versions if each.version != version]
        return Reply(204)

    def _delete_batch(self, request: Request) -> Reply:
        if not self.deletes_in_batches:
            return failure(501, "NotImplemented")
        for listed in ElementTree.fromstring(request.body):
            texts = {child.tag.rpartition("}")[2]: child.text or "" for child in listed}
            if "Key" in texts:
                self._delete(request.bucket, texts["Key"], texts.get("VersionId"))
        return Reply(200, b"<DeleteResult></DeleteResult>")

    def _copy(self, request: Request) -> Reply:
        found = self._copied(request)
        if found is None:
            return failure(404, "NoSuchKey")
        if "if-none-match" in request.headers and self._newest(request.bucket, request.key):
            return failure(412, "PreconditionFailed")
        headers = found.headers | _kept({k: v for k, v in request.headers.items() if k != "x-amz-copy-source"})
        stored = self._keep(request.bucket, request.key, Stored(found.data, found.etag, headers))
        return Reply(200, f"<CopyObjectResult><ETag>{escape(stored.etag)}</ETag></CopyObjectResult>".encode())

    def _copied(self, request: Request) -> Stored | None:
        source, _, version = request.headers["x-amz-copy-source"].partition("?versionId=")
        bucket, _, key = unquote(source).lstrip("/").partition("/")
        return self._newest(bucket, key, version or None)

    def _multipart(self, request: Request) -> Reply:
        query, ident = request.query, request.query.get("uploadId", "")
        if "uploads" in query:
            self.count += 1
            ident = f"u{self.count}"
            checked = self.keeps_checksums and "x-amz-checksum-algorithm" in request.headers
            self.uploads[ident] = Upload(request.key, _kept(request.headers), checked)
            return Reply(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{ident}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        upload = self.uploads.get(ident)
        if upload is None:
            return failure(404, "NoSuchUpload")
        if request.method == "PUT":
            return self._put_part(request, upload)
        if request.method == "GET":
            return Reply(200, _parts_listing(upload))
        if request.method == "DELETE":
            del self.uploads[ident]
            return Reply(204)
        if self._newest(request.bucket, request.key) and "if-none-match" in request.headers:
            return failure(412, "PreconditionFailed")
        asked = [
            {child.tag.rpartition("}")[2]: child.text or "" for child in part}
            for part in ElementTree.fromstring(request.body)
        ]
        parts = [upload.parts[int(told["PartNumber"])] for told in asked]
        expected = [crc32(part) if upload.checked else None for part in parts]
        if [told.get("ChecksumCRC32") for told in asked] != expected:
            return failure(400, "InvalidPart")
        etag = md5(b"".join(bytes.fromhex(md5(part)) for part in parts))
        stored = self._keep(
            request.bucket, request.key, Stored(b"".join(parts), f'"{etag}-{len(parts)}"', upload.headers)
        )
        del self.uploads[ident]
        body = f"<CompleteMultipartUploadResult><ETag>{escape(stored.etag)}</ETag></CompleteMultipartUploadResult>"
        return Reply(200, body.encode())

    def _put_part(self, request: Request, upload: Upload) -> Reply:
        data = request.body
        if "x-amz-copy-source" in request.headers:
            found = self._copied(request)
            assert found is not None
            first, _, last = request.headers["x-amz-copy-source-range"].removeprefix("bytes=").partition("-")
            data = found.data[int(first) : int(last) + 1]
        elif request.headers.get("x-amz-checksum-crc32", crc32(data)) != crc32(data):
            return failure(400, "BadDigest")
        upload.parts[int(request.query["partNumber"])] = data
        etag = f'"{md5(data)}"'
        told = {"ETag": etag} | ({"x-amz-checksum-crc32": crc32(data)} if upload.checked else {})
        return Reply(200, f"<CopyPartResult><ETag>{escape(etag)}</ETag></CopyPartResult>".encode(), told)

    def _look_around(self, request: Request) -> Reply:
        query = request.query
        prefix = query.get("prefix", "")
        encode = quote_plus if query.get("encoding-type") == "url" else escape
        head = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        if "uploads" in query:
            listed = "".join(
                f"<Upload><Key>{encode(each.key)}</Key><UploadId>{ident}</UploadId>"
                f"<Initiated>{iso_date(self.now)}</Initiated></Upload>"
                for ident, each in self.uploads.items()
                if each.key.startswith(prefix)
            )
            return Reply(200, f"<ListMultipartUploadsResult>{head}{listed}</ListMultipartUploadsResult>".encode())
        if "versions" in query:
            return Reply(200, self._versions_listing(request.bucket, prefix, encode, head))
        return Reply(200, self._listing(request, prefix, encode, head))

    def _versions_listing(self, bucket: str, prefix: str, encode: Any, head: str) -> bytes:
        listed = []
        for (where, key), versions in sorted(self.versions.items()):
            if where == bucket and key.startswith(prefix):
                for each in reversed(versions):
                    name = "DeleteMarker" if each.deleted else "Version"
                    size = "" if each.deleted else f"<Size>{len(each.data)}</Size><ETag>{escape(each.etag)}</ETag>"
                    listed.append(
                        f"<{name}><Key>{encode(key)}</Key><VersionId>{each.version}</VersionId>{size}"
                        f"<LastModified>{iso_date(each.modified)}</LastModified></{name}>"
                    )
        return f"<ListVersionsResult>{head}{''.join(listed)}</ListVersionsResult>".encode()

    def _listing(self, request: Request, prefix: str, encode: Any, head: str) -> bytes:
        query = request.query
        delimiter, after = query.get("delimiter", ""), query.get("continuation-token", "")
        found: list[tuple[str, str]] = []
        for key in self.keys(request.bucket):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            folder = prefix + rest.partition(delimiter)[0] + delimiter if delimiter and delimiter in rest else ""
            if (folder or key) > after and (not found or found[-1][0] != (folder or key)):
                found.append((folder or key, "folder" if folder else "object"))
        page, more = found[: self.page_keys], len(found) > self.page_keys
        listed = "".join(
            f"<CommonPrefixes><Prefix>{encode(name)}</Prefix></CommonPrefixes>"
            if kind == "folder"
            else self._contents(request.bucket, name, encode)
            for name, kind in page
        )
        token = f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if more else ""
        return (
            f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{head}'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{listed}</ListBucketResult>"
        ).encode()

    def _contents(self, bucket: str, key: str, encode: Any) -> str:
        stored = self._newest(bucket, key)
        assert stored is not None
        return (
            f"<Contents><Key>{encode(key)}</Key><LastModified>{iso_date(stored.modified)}</LastModified>"
            f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.data)}</Size></Contents>"
        )


def _kept(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers of an upload that come back with the object."""
    return {
        name: value
        for name, value in headers.items()
        if name == "content-type"
        or (name.startswith(("x-amz-meta-", "x-amz-server-side-encryption")) and not name.endswith("customer-key"))
        or (name.startswith("x-amz-checksum-") and name != "x-amz-checksum-algorithm")
    }


def _range(data: bytes, wanted: str, headers: dict[str, str]) -> Reply:
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    if not first:
        begin, end = max(len(data) - int(last), 0), len(data)
    else:
        begin, end = int(first), min(int(last) + 1 if last else len(data), len(data))
    if begin >= end:
        return failure(416, "InvalidRange")
    return Reply(206, data[begin:end], {**headers, "Content-Range": f"bytes {begin}-{end - 1}/{len(data)}"})


def _parts_listing(upload: Upload) -> bytes:
    listed = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{md5(data)}&quot;</ETag><Size>{len(data)}</Size>"
        + (f"<ChecksumCRC32>{crc32(data)}</ChecksumCRC32>" if upload.checked else "")
        + "</Part>"
        for number, data in sorted(upload.parts.items())
    )
    return f"<ListPartsResult><IsTruncated>false</IsTruncated>{listed}</ListPartsResult>".encode()
