"""The service that requests go to: where its buckets are, how requests are written and signed for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from holdall_store.config import NetworkEnvironment
from holdall_store.errors import InvalidNameError
from holdall_store.storage.buckets import ObjectConfig, configured_region
from holdall_store.transfer._credentials import Credentials
from holdall_store.transfer._endpoint import Endpoint, Host, locate
from holdall_store.transfer._exchange import Request
from holdall_store.transfer._signing import EMPTY_SHA256, UNSIGNED, Signer, encode_head, encode_path, encode_query

if TYPE_CHECKING:
    import ssl

__all__ = ["Address", "Site"]

ADDRESSES_LIVE: Final = 60.0
"""Seconds. A service adds and removes machines, and says so in its names."""

_ENCRYPTION: Final = {
    "server_side_encryption": "x-amz-server-side-encryption",
    "sse_kms_key_id": "x-amz-server-side-encryption-aws-kms-key-id",
    "sse_bucket_key_enabled": "x-amz-server-side-encryption-bucket-key-enabled",
}

Address = tuple[int, Any]
"""A family of addresses, and what to connect to."""


class _Spot(NamedTuple):
    """A bucket's place, and who signs for it."""

    generation: int
    endpoint: Endpoint
    signer: Signer | None


class Site:
    """Everything about the service that all loops share; it keeps no connection."""

    def __init__(
        self,
        config: ObjectConfig,
        network: NetworkEnvironment,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if config.kind != "s3":
            raise InvalidNameError(f"{config.url} is not in S3: only s3:// URLs are read and written in bulk.")
        self._config = config
        self._network = network
        self._clock = clock
        self._wall = wall
        self._offset = 0.0
        self._regions: dict[str, str] = {}
        self._spots: dict[str, _Spot] = {}
        self._addresses: dict[Host, tuple[float, list[Address]]] = {}
        self._asked: dict[Host, list[Callable[[Address | None], None]]] = {}
        self._lock = threading.Lock()
        self._turn = 0
        self._tls: ssl.SSLContext | None = None
        self.reached: set[Host] = set()
        """Whom there was a connection to: if there is none now, that passes, as when a server restarts."""
        self.credentials = Credentials(config, clock)
        signed = not config.anonymous
        profile = signed and not config.secrets and config.region is None
        self._region = config.region or (configured_region(config) if profile else None)
        settings = dict(config.settings)
        self._always = (("x-amz-request-payer", "requester"),) if settings.get("request_payer") == "true" else ()
        self._creating = tuple((_ENCRYPTION[name], settings[name]) for name in _ENCRYPTION if name in settings)

    def where(self, bucket: str) -> str:
        """Return how errors name a bucket."""
        url = f"{self._config.scheme}://{bucket}"
        return url if self._config.endpoint is None else f"{url} at {self._config.endpoint}"

    def write(self, request: Request) -> tuple[Endpoint, bytes, int]:
        """Return where `request` goes, its head, and the generation of the keys that it is signed with."""
        spot = self._spots.get(request.bucket)
        if spot is None or spot.generation != self.credentials.generation:
            spot = self._find(request.bucket)
        endpoint, signer = spot.endpoint, spot.signer
        headers, body = request.headers, request.body
        if self._always or self._creating:
            headers = self._with_settings(request)
        path = f"{endpoint.prefix}/{encode_path(request.key)}" if request.key else endpoint.prefix or "/"
        query = encode_query(request.query) if request.query else ""
        rest, payload = endpoint.rest, EMPTY_SHA256
        if body or request.method in ("PUT", "POST"):
            rest = f"{rest}content-length: {sum(map(len, body))}\r\n"
            headers, payload = self._payload(endpoint, headers, body)
        if signer is None:
            target = f"{endpoint.origin}{path}?{query}" if query else f"{endpoint.origin}{path}"
            return endpoint, encode_head(request.method, target, endpoint.authority, headers, rest), spot.generation
        head = signer.encode(
            request.method,
            path,
            query,
            endpoint.authority,
            headers,
            payload,
            self._wall() + self._offset,
            origin=endpoint.origin,
            rest=rest,
        )
        return endpoint, head, spot.generation

    def _payload(self, endpoint: Endpoint, headers: Any, body: Any) -> tuple[Any, str]:
        """Return the headers without the body's hash, and the hash to sign.

        A hash costs more than sending the body does. TLS makes it needless; so does whoever set up a server of their
        own without TLS. Amazon asks for it where there is no TLS.
        """
        for pair in headers:
            if pair[0] == "x-amz-content-sha256":
                return tuple(other for other in headers if other is not pair), pair[1]
        if not body:
            return headers, EMPTY_SHA256
        if endpoint.secure or not endpoint.is_aws:
            return headers, UNSIGNED
        digest = sha256()
        for part in body:
            digest.update(part)
        return headers, digest.hexdigest()

    def _with_settings(self, request: Request) -> tuple[tuple[str, str], ...]:
        headers = (*request.headers, *self._always)
        names = {name for name, _ in request.query}
        creates = (request.method == "PUT" and "partNumber" not in names) or "uploads" in names
        if creates and not any(name.startswith("x-amz-server-side-encryption") for name, _ in request.headers):
            headers += self._creating
        return headers

    def _find(self, bucket: str) -> _Spot:
        generation, keys = self.credentials.generation, self.credentials.keys
        endpoint = locate(self._config, bucket, self._regions.get(bucket) or self._region, self._network)
        spot = _Spot(generation, endpoint, Signer(*keys, endpoint.region) if keys else None)
        self._spots[bucket] = spot
        return spot

    def learn_region(self, bucket: str, region: str) -> None:
        """Take note of where a bucket lies."""
        self._regions[bucket] = region
        self._spots.pop(bucket, None)

    def learn_clock(self, offset: float) -> None:
        """Take note of how far the server's clock is ahead of the one that requests are signed by."""
        self._offset += offset

    @property
    def now(self) -> float:
        """What the server's clock is thought to say, in seconds since 1970."""
        return self._wall() + self._offset

    def tls(self) -> ssl.SSLContext:
        """Return the context of all connections."""
        if self._tls is None:
            import ssl  # only for who needs it: it is slow to load

            bundle = self._network.ca_bundle
            context = ssl.create_default_context()
            if bundle is not None:
                import os

                try:
                    context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
                except OSError as error:
                    raise InvalidNameError(f"AWS_CA_BUNDLE={bundle!r} holds no certificates: {error}.") from None
            context.set_alpn_protocols(["http/1.1"])
            self._tls = context
        return self._tls

    def address(self, host: Host, found: Callable[[Address | None], None]) -> None:
        """Call `found` with an address of `host`, another each time, or with ``None``; in this thread if it is known."""
        now = self._clock()
        known = self._addresses.get(host)
        if known is None:
            literal = _literal(host)
            if literal is not None:
                known = self._addresses[host] = (float("inf"), [literal])
        if known is not None and (known[0] > now):
            self._turn += 1
            found(known[1][self._turn % len(known[1])])
            return
        with self._lock:
            asked = self._asked.setdefault(host, [])
            asked.append(found)
            first = len(asked) == 1
        if first:
            threading.Thread(target=self._resolve, args=(host,), name="holdall-names", daemon=True).start()

    def avoid(self, host: Host, address: Address) -> None:
        """Take note that nobody answers at an address; the others are tried first, until names are asked for anew."""
        known = self._addresses.get(host)
        if known is not None and len(known[1]) > 1:
            self._addresses[host] = (known[0], [other for other in known[1] if other != address] or known[1])

    def _resolve(self, host: Host) -> None:
        try:
            answers = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answers = []
        addresses: list[Address | None] = list(dict.fromkeys((family, place) for family, _, _, _, place in answers))
        if addresses:
            self._addresses[host] = (self._clock() + ADDRESSES_LIVE, addresses)  # type: ignore[assignment]
        with self._lock:
            asked = self._asked.pop(host)
        for number, found in enumerate(asked):
            found(addresses[number % len(addresses)] if addresses else None)


def _literal(host: Host) -> Address | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host.name)
        except OSError:
            continue
        return family, (host.name, host.port)
    return None
