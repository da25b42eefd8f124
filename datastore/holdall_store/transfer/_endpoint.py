"""Where a bucket is on the network: hosts, styles of addresses, regions, proxies."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from holdall_store.config import NetworkEnvironment
from holdall_store.errors import InvalidNameError
from holdall_store.storage.buckets import ObjectConfig
from holdall_store.transfer._signing import encode_path

__all__ = ["Endpoint", "Host", "locate"]

_REGION: Final = re.compile(r"[a-z0-9-]{2,40}")
_AWS_HOST: Final = re.compile(r"(?:[a-z0-9.-]+\.)?s3[a-z0-9.-]*\.amazonaws\.com(?:\.cn)?", re.IGNORECASE)
_DNS_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""Names that are one label of a host name; with a dot in it, no wildcard certificate would fit."""

_PORTS: Final = {"http": 80, "https": 443}


class Host(NamedTuple):
    """What one connects to: connections to equal hosts are interchangeable.

    With ``tunnel``, which is what to ask the proxy for, the connection goes through a proxy at ``name`` and ``port``.
    """

    name: str
    port: int
    tls_name: str = ""
    tunnel: bytes = b""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the requests for one bucket go, and how they are written.

    ``prefix`` is what the path begins with, encoded; ``origin`` and ``rest`` are what a proxy for plain http needs, in
    the request line and among the headers.
    """

    host: Host
    authority: str
    prefix: str
    region: str
    is_aws: bool
    secure: bool
    origin: str = ""
    rest: str = ""


def locate(config: ObjectConfig, bucket: str, region: str | None, network: NetworkEnvironment) -> Endpoint:
    """Return where `bucket` is, in the region that it is known to lie in."""
    region = region or config.region or "us-east-1"
    if not _REGION.fullmatch(region):
        raise InvalidNameError(f"{region!r:.100} is no region: write one like us-east-1.")
    given = config.endpoint
    parts = urlsplit(given or "")
    is_aws = given is None or _AWS_HOST.fullmatch(parts.hostname or "") is not None
    scheme, virtual = parts.scheme.lower() or "https", config.virtual_hosted
    if given is None or (is_aws and region != (config.region or region)):
        # An endpoint of another region would only redirect again.
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        name, port, folder, virtual = f"s3.{region}.{suffix}", _PORTS[scheme], "", True
    else:
        name, port, folder = parts.hostname or "", _port(given, scheme), parts.path.rstrip("/")
    if virtual and not _DNS_BUCKET.fullmatch(bucket):
        virtual = False
    if virtual:
        name = f"{bucket}.{name}"
    prefix = encode_path(folder) + ("" if virtual else f"/{encode_path(bucket)}")
    shown = f"[{name}]" if ":" in name else name
    authority = shown if port == _PORTS[scheme] else f"{shown}:{port}"
    return _through_proxy(
        Endpoint(
            Host(name, port, name if scheme == "https" else ""),
            authority,
            prefix,
            region,
            is_aws,
            secure=scheme == "https",
        ),
        network,
    )


def _port(endpoint: str, scheme: str) -> int:
    try:
        return urlsplit(endpoint).port or _PORTS[scheme]
    except ValueError:
        raise InvalidNameError(f"{endpoint!r:.200} is no endpoint: its port is not a number below 65536.") from None


def _through_proxy(endpoint: Endpoint, network: NetworkEnvironment) -> Endpoint:
    proxy = network.https_proxy if endpoint.secure else network.http_proxy
    host = endpoint.host
    if proxy is None or _is_exempt(host, network.no_proxy):
        return endpoint
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        name, port = parts.hostname or "", parts.port or 3128
    except ValueError:
        name, port = "", 0
    if parts.scheme.lower() != "http" or not name:  # not shown: it may hold a password
        raise InvalidNameError("HTTP_PROXY or HTTPS_PROXY is no address: write http://host:port.")
    login = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"proxy-authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
    if endpoint.secure:
        target = f"[{host.name}]:{host.port}" if ":" in host.name else f"{host.name}:{host.port}"
        tunnel = f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{login}\r\n".encode()
        through = Host(name, port, host.tls_name, tunnel)
        return _with(endpoint, through, "", "")
    return _with(endpoint, Host(name, port), f"http://{endpoint.authority}", login)


def _with(endpoint: Endpoint, host: Host, origin: str, rest: str) -> Endpoint:
    return Endpoint(
        host, endpoint.authority, endpoint.prefix, endpoint.region, endpoint.is_aws, endpoint.secure, origin, rest
    )


def _is_exempt(host: Host, exempt: tuple[str, ...]) -> bool:
    """Tell whether ``NO_PROXY`` names `host`: by name, by a suffix of it, by address or network, with a port or without."""
    name = host.name.lower()
    for entry in exempt:
        if entry == "*":
            return True
        pattern, _, port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if port and port != str(host.port):
            continue
        suffix = pattern.removeprefix("*").lstrip(".")
        if suffix and (name == suffix or name.endswith(f".{suffix}")):
            return True
        if "/" in pattern and _is_in_network(name, pattern):
            return True
    return False


def _is_in_network(name: str, pattern: str) -> bool:
    import ipaddress  # few have networks there

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False
