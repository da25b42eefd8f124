"""The server of `_s3`, speaking enough of Azure's language instead."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.sax.saxutils import escape

from tests.storage._s3 import DATE, Reply, Request, S3Server, failure


class AzureServer(S3Server):
    """Containers in memory behind HTTP."""

    def _do(self, request: Request) -> Reply:
        objects = self.buckets.get(request.bucket)
        if objects is None:
            return failure(404, "ContainerNotFound")
        if request.verb == "LIST":
            return _listing(objects, request.query)
        if request.query.get("comp") == "batch":
            return self._delete_batch(objects, request.body)
        if request.method == "PUT":
            if request.key in objects and "if-none-match" in request.headers and not self.ignores_conditions:
                return failure(409, "BlobAlreadyExists")
            objects[request.key] = request.body
            return Reply(201, b"", {"ETag": '"1"', "Last-Modified": DATE})
        return super()._do(request)

    def _delete_batch(self, objects: dict[str, bytes], body: bytes) -> Reply:
        paths = re.findall(r"^DELETE (\S+) HTTP/1.1", body.decode(), re.MULTILINE)
        parts = []
        for number, path in enumerate(paths):
            found = objects.pop(unquote(path).lstrip("/").partition("/")[2], None)
            status = "404 The specified blob does not exist." if found is None else "202 Accepted"
            parts.append(
                f"--part\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\n"
                "x-ms-request-id: 1\r\n\r\n"
            )
        return Reply(202, ("".join(parts) + "--part--").encode(), {"Content-Type": "multipart/mixed; boundary=part"})


def _listing(objects: dict[str, bytes], query: dict[str, str]) -> Reply:
    prefix, count = query.get("prefix", ""), int(query.get("maxresults", "5000"))
    begin = query.get("marker") or query.get("startFrom", "")  # both inclusive
    keys = sorted(key for key in objects if key.startswith(prefix) and key >= begin)
    blobs = "".join(
        f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>{DATE}</Last-Modified><Etag>1</Etag>"
        f"<Content-Length>{len(objects[key])}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
        "</Properties></Blob>"
        for key in keys[:count]
    )
    more = escape(keys[count]) if len(keys) > count else ""
    body = f'<?xml version="1.0"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>'
    return Reply(200, body.encode(), {"Content-Type": "application/xml"})
