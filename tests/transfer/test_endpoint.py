"""Where the requests for a bucket go."""

from __future__ import annotations

from typing import Any

import pytest

from holdall_store.config import CloudEnvironment, NetworkEnvironment, read_network_environment
from holdall_store.errors import InvalidNameError
from holdall_store.storage.buckets import ObjectConfig, make_config
from holdall_store.transfer._endpoint import Endpoint, locate

PLAIN = NetworkEnvironment()


def config(**options: Any) -> ObjectConfig:
    """Return the configuration that `options` make, without an environment."""
    return make_config("s3://bucket", options, CloudEnvironment())


def url(endpoint: Endpoint) -> str:
    """Return what an endpoint amounts to."""
    return f"{'https' if endpoint.secure else 'http'}://{endpoint.authority}{endpoint.prefix}"


@pytest.mark.parametrize(
    ("options", "bucket", "region", "wanted"),
    [
        ({}, "bucket", None, "https://bucket.s3.us-east-1.amazonaws.com"),
        ({"region": "eu-west-1"}, "bucket", None, "https://bucket.s3.eu-west-1.amazonaws.com"),
        ({"region": "eu-west-1"}, "bucket", "us-west-2", "https://bucket.s3.us-west-2.amazonaws.com"),
        ({"region": "cn-north-1"}, "bucket", None, "https://bucket.s3.cn-north-1.amazonaws.com.cn"),
        ({}, "dotted.bucket", None, "https://s3.us-east-1.amazonaws.com/dotted.bucket"),
        ({}, "Old_Bucket", None, "https://s3.us-east-1.amazonaws.com/Old_Bucket"),
        ({"endpoint_url": "http://h:9000"}, "bucket", None, "http://h:9000/bucket"),
        ({"endpoint_url": "http://h:9000/base/"}, "bucket", None, "http://h:9000/base/bucket"),
        ({"endpoint_url": "https://h"}, "bucket", "eu-x", "https://h/bucket"),
        ({"endpoint_url": "http://[::1]:9"}, "bucket", None, "http://[::1]:9/bucket"),
        ({"endpoint_url": "https://h", "virtual_hosted_style_request": True}, "bucket", None, "https://bucket.h"),
        (
            {"endpoint_url": "https://s3.us-east-1.amazonaws.com", "region": "us-east-1"},
            "bucket",
            "eu-west-1",
            "https://bucket.s3.eu-west-1.amazonaws.com",
        ),
    ],
)
def test_where_buckets_are(options: dict[str, Any], bucket: str, region: str | None, wanted: str) -> None:
    """Amazon's own names by region, custom endpoints as they are given, in either style."""
    assert url(locate(config(**options), bucket, region, PLAIN)) == wanted


def test_what_cannot_be_a_host_is_refused() -> None:
    """A region or a port that would lead elsewhere."""
    with pytest.raises(InvalidNameError, match="region"):
        locate(config(region="evil.example/"), "bucket", None, PLAIN)
    with pytest.raises(InvalidNameError, match="port"):
        locate(config(endpoint_url="http://h:99999"), "bucket", None, PLAIN)


def test_only_amazon_is_amazon() -> None:
    """Who asks for hashes over http is known by its name."""
    for given, known in (
        ("http://s3.eu-west-1.amazonaws.com", True),
        ("http://bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com", True),
        ("http://amazonaws.com.evil.example", False),
        ("http://h", False),
    ):
        assert locate(config(endpoint_url=given), "bucket", None, PLAIN).is_aws is known


def test_proxies() -> None:
    """Https goes through a tunnel, http is asked for by its whole address, and exceptions go straight."""
    network = NetworkEnvironment("http://u:p%40@proxy:8080", "http://proxy", ("internal", ".corp", "10.0.0.0/8", "h:9"))
    secure = locate(config(), "bucket", None, network)
    assert (secure.host.name, secure.host.port) == ("proxy", 3128)
    assert secure.host.tunnel.startswith(b"CONNECT bucket.s3.us-east-1.amazonaws.com:443 HTTP/1.1\r\n")
    assert secure.host.tls_name == "bucket.s3.us-east-1.amazonaws.com"
    plain = locate(config(endpoint_url="http://h:80"), "bucket", None, network)
    assert (plain.host.name, plain.host.port, plain.origin) == ("proxy", 8080, "http://h")
    assert plain.rest == "proxy-authorization: Basic dTpwQA==\r\n"
    for exempt in ("http://internal", "http://a.corp", "http://10.1.2.3", "http://h:9"):
        assert locate(config(endpoint_url=exempt), "bucket", None, network).origin == ""
    with pytest.raises(InvalidNameError) as caught:
        locate(config(endpoint_url="http://h"), "bucket", None, NetworkEnvironment("socks5://u:hidden@proxy"))
    assert "hidden" not in str(caught.value)
    assert "p%40" not in repr(network)


def test_the_environment_of_the_network() -> None:
    """Names in both cases; a web server's header never becomes a proxy."""
    env = {"HTTP_PROXY": "a", "https_proxy": "b", "NO_PROXY": " X , .y,", "AWS_CA_BUNDLE": "c"}
    found = read_network_environment(env)
    assert (found.http_proxy, found.https_proxy, found.no_proxy, found.ca_bundle) == ("a", "b", ("x", ".y"), "c")
    assert read_network_environment({**env, "REQUEST_METHOD": "GET"}).http_proxy is None
    assert read_network_environment({"ALL_PROXY": "d"}).https_proxy == "d"
