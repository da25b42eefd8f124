"""What a URL, its options and the environment say of a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from holdall_store.config import CloudEnvironment, read_cloud_environment
from holdall_store.errors import InvalidNameError, nearest

__all__ = ["SCHEMES", "ObjectConfig", "is_secret", "make_config"]

Kind = Literal["s3", "gs", "az"]

SCHEMES: Final[dict[str, Kind]] = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
}

PREFIX_BYTES_MAX: Final = 120
"""Object stores allow keys of 1024 bytes, and a store's own may have 900."""

_ALIASES: Final[dict[Kind, dict[str, str]]] = {
    "s3": {
        "key": "access_key_id",
        "secret": "secret_access_key",
        "token": "session_token",
        "endpoint_url": "endpoint",
        "endpoint_url_s3": "endpoint",
        "endpoint_override": "endpoint",
        "region_name": "region",
        "default_region": "region",
        "profile_name": "profile",
        "anon": "skip_signature",
        "requester_pays": "request_payer",
    },
    "gs": {"endpoint_url": "endpoint", "base_url": "endpoint", "anon": "skip_signature"},
    "az": {"endpoint_url": "endpoint", "anon": "skip_signature", "sas_token": "sas_key"},
}
"""How pandas, polars, fsspec and boto3 spell an option, and how we do."""

_OWN: Final = frozenset({"endpoint", "region", "profile", "skip_signature", "virtual_hosted_style_request"})
_SECRETS: Final[dict[Kind, frozenset[str]]] = {
    "s3": frozenset({"access_key_id", "secret_access_key", "session_token"}),
    "gs": frozenset({"token", "service_account_key"}),
    "az": frozenset({"account_key", "sas_key", "client_secret", "token"}),
}
_PASSED_ON: Final[dict[Kind, frozenset[str]]] = {
    "s3": frozenset({"request_payer", "server_side_encryption", "sse_kms_key_id", "sse_bucket_key_enabled"}),
    "gs": frozenset({"service_account"}),
    "az": frozenset({"account_name", "client_id", "tenant_id", "use_emulator", "use_azure_cli"}),
}
_NATIVE_HOSTS: Final[dict[Kind, tuple[str, ...]]] = {
    "s3": (".amazonaws.com", ".amazonaws.com.cn"),
    "gs": (".googleapis.com",),
    "az": (".windows.net",),
}
_TRUE: Final = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True)
class ObjectConfig:
    """Where a bucket is and how to reach it.

    ``secrets`` are credentials that the caller gave in so many words. They are no part of the ``repr``, and a pickle
    leaves them behind: who unpickles uses the credentials of the place where that is.
    """

    scheme: str
    kind: Kind
    bucket: str
    prefix: str
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    anonymous: bool = False
    virtual_hosted: bool = False
    single_writer: bool = False
    overrides_s3_endpoint: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def url(self) -> str:
        """The URL, without anything that is secret."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def shown(self) -> str:
        """What messages call it: the URL, or ``S3`` where requests name their buckets themselves."""
        return self.url if self.bucket else "S3"

    @property
    def place(self) -> str:
        """What tells this bucket and prefix from all others: the same bucket may be on other servers, too."""
        account = dict(self.settings).get("account_name", "")
        return "|".join((self.kind, self.endpoint or "", self.profile or "", account, self.bucket, self.prefix))

    @property
    def is_native(self) -> bool:
        """Whether the service is the provider's own, of which it is known what it can do.

        Google's imitation of S3 is not: it has another header for conditions.
        """
        host = (self.endpoint or "").partition("://")[2].partition("/")[0].partition(":")[0]
        return self.endpoint is None or host.endswith(_NATIVE_HOSTS[self.kind])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "secrets": ()}


def make_config(
    url: str, options: Mapping[str, Any] | None = None, environment: CloudEnvironment | None = None
) -> ObjectConfig:
    """Return what `url`, `options` and the environment, in this order, say; `InvalidNameError` for what means nothing."""
    scheme, _, rest = url.partition("://")
    kind = SCHEMES[scheme.lower()]
    bucket, prefix, account = _split(scheme.lower(), rest)
    given = _flatten(kind, options or {})
    single_writer = _flag(given.pop("single_writer", False))
    known = _SECRETS[kind] | _PASSED_ON[kind]
    for name in given:
        if name not in known | _OWN:
            raise InvalidNameError(
                f"storage_options has an option {name!r} that means nothing for {scheme}:// URLs."
                f"{nearest(name, [*known, *_OWN, *_ALIASES[kind]])}"
            )
    if account:
        given.setdefault("account_name", account)
    env = environment or read_cloud_environment()
    if kind == "az" and env.azure_account:
        given.setdefault("account_name", env.azure_account)
    if kind != "s3":
        env = CloudEnvironment()
    secrets = {name: given[name] for name in sorted(given) if name in _SECRETS[kind]}
    if kind == "s3" and ("access_key_id" in secrets) != ("secret_access_key" in secrets):
        raise InvalidNameError("storage_options has one of key and secret: give both, or neither.")
    endpoint = given.get("endpoint") or env.endpoint_url
    return ObjectConfig(
        scheme=scheme.lower(),
        kind=kind,
        bucket=bucket,
        prefix=prefix,
        endpoint=_check_endpoint(endpoint),
        region=given.get("region") or env.region,
        profile=given.get("profile"),
        anonymous=_flag(given.get("skip_signature", env.anonymous)),
        virtual_hosted=_flag(given.get("virtual_hosted_style_request", env.virtual_hosted)),
        single_writer=single_writer,
        overrides_s3_endpoint=env.has_s3_endpoint,
        settings=tuple((name, _text(given[name])) for name in sorted(given) if name in _PASSED_ON[kind]),
        secrets=tuple((name, _text(value)) for name, value in secrets.items()),
    )


def _split(scheme: str, rest: str) -> tuple[str, str, str]:
    """Return bucket, prefix (empty, or with a slash at its end) and account of what comes after ``scheme://``."""
    bucket, _, prefix = rest.partition("/")
    account = ""
    if scheme in ("abfs", "abfss") and "@" in bucket:
        bucket, _, host = bucket.partition("@")
        account = host.partition(".")[0]
    if "@" in bucket:  # not shown: it may be a password
        raise InvalidNameError(f"A {scheme}:// URL holds no user or password: give them as storage_options.")
    shown = f"{f'{scheme}://{rest}'!r:.200}"
    if not bucket or any(char in rest for char in "?#\0\\") or ":" in bucket:
        raise InvalidNameError(f"{shown} names no bucket: write {scheme}://bucket/prefix.")
    prefix = prefix.strip("/")
    if not prefix:
        return bucket, "", account
    if not prefix.isprintable() or any(segment in ("", ".", "..") for segment in prefix.split("/")):
        raise InvalidNameError(f"{shown} has a prefix that no key can have.")
    if len(prefix.encode()) > PREFIX_BYTES_MAX:
        raise InvalidNameError(f"{shown} is too long: a prefix has at most {PREFIX_BYTES_MAX} bytes.")
    return bucket, prefix + "/", account


def is_secret(name: str) -> bool:
    """Tell whether the value of an option is a secret, for whatever provider."""
    short = _short(name)
    return any(_ALIASES[kind].get(short, short) in _SECRETS[kind] for kind in _SECRETS)


def _short(name: str) -> str:
    return str(name).lower().removeprefix("aws_").removeprefix("azure_storage_").removeprefix("google_")


def _flatten(kind: Kind, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options under our names, those inside of ``client_kwargs`` and ``config_kwargs`` too."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        short = _short(name)
        if value is None:
            continue
        if short == "client_kwargs":
            found.update(_flatten(kind, value))
        elif short == "config_kwargs":
            style = value.get("s3", {}).get("addressing_style")
            if style is not None:
                found["virtual_hosted_style_request"] = style == "virtual"
        elif short not in ("allow_http", "asynchronous"):  # http is allowed where the endpoint says http
            found[_ALIASES[kind].get(short, short)] = value
    return found


def _check_endpoint(endpoint: str | None) -> str | None:
    if endpoint is None:
        return None
    scheme, separator, host = endpoint.partition("://")
    if not separator or scheme.lower() not in ("http", "https") or not host or "@" in host or "?" in host:
        shown = "It" if "@" in host else f"{endpoint!r:.200}"
        raise InvalidNameError(f"{shown} is no endpoint: write https://host or http://host:port, without a password.")
    return endpoint.rstrip("/")


def _flag(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in _TRUE


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        import json

        return json.dumps(dict(value))
    return str(value).lower() if isinstance(value, bool) else str(value)
