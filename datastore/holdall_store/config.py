"""Settings, and the functions that read the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from holdall_store.errors import InvalidNameError, UnsupportedTypeError

if TYPE_CHECKING:
    import logging

__all__ = [
    "VARIABLES",
    "VARIABLE_PREFIX",
    "AccessKeys",
    "CloudEnvironment",
    "NetworkEnvironment",
    "Settings",
    "allows_progress",
    "check_choices",
    "check_flags",
    "child_environment",
    "logger",
    "read_access_keys",
    "read_cloud_environment",
    "read_network_environment",
    "read_settings",
]

Compression = Literal["auto", "small", "none"]

CACHE_BYTES_DEFAULT: Final = 10 << 30
"""Ten gigabytes is what fits on a laptop unnoticed, and on a small disk a tenth of it."""

CACHE_DISK_SHARE: Final = 10
"""The default is at most this part of the disk: a tenth."""

VARIABLE_PREFIX: Final = "HOLDALL_"

VARIABLES: Final = (
    "STORE",
    "NAMESPACE",
    "USER",
    "HOME",
    "CACHE_SIZE",
    "COMPRESSION",
    "TRUST",
    "OFFLINE",
    "DEBUG",
    "RUN",
)
"""The variables that mean something, without their prefix."""

_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off", ""))


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set from outside. Every field has a default that just works.

    ``store`` and ``namespace`` are ``None`` where nothing was said. ``home`` holds all that holdall writes outside its
    stores. ``cache_bytes`` is how large the cache may become; ``None`` leaves it to `cache_bound`. ``offline`` asks remote
    stores for nothing. ``compression`` is ``auto`` (what a store's storage makes worthwhile), ``small`` (every byte saved counts) or
    ``none``. ``trust`` allows loading of pickles from any store. ``debug`` shows tracebacks where a short message would
    do. ``run`` is the run that `holdall.join` joins. ``color`` says whether text for people is coloured; ``None`` leaves it to where it goes. ``variables`` are the
    ``HOLDALL_*`` variables that were set, for whoever explains the settings.
    """

    store: str | None = None
    namespace: str | None = None
    user: str | None = None
    home: Path | None = None
    cache_bytes: int | None = None
    compression: Compression = "auto"
    trust: bool = False
    offline: bool = False
    debug: bool = False
    run: str | None = None
    color: bool | None = None
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    def cache_folder(self) -> Path:
        """Return the folder of caches: all of it may be deleted at any time."""
        if self.home is not None:
            return self.home / "cache"
        import platformdirs

        return Path(platformdirs.user_cache_dir("holdall", appauthor=False))

    def cache_bound(self) -> int:
        """Return the bytes that all caches together may take: by default 10 GB or a tenth of the disk, if that is less."""
        if self.cache_bytes is not None:
            return self.cache_bytes
        folder = self.cache_folder()
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        try:
            disk = os.statvfs(folder)
        except OSError:
            return CACHE_BYTES_DEFAULT
        return min(CACHE_BYTES_DEFAULT, disk.f_blocks * disk.f_frsize // CACHE_DISK_SHARE)


@dataclass(frozen=True, slots=True)
class CloudEnvironment:
    """What variables say of where S3 is, and Azure; credentials are found by the libraries that use them.

    ``has_s3_endpoint`` says that ``AWS_ENDPOINT_URL_S3`` is set, which the transfer library reads, too.
    """

    endpoint_url: str | None = None
    has_s3_endpoint: bool = False
    region: str | None = None
    anonymous: bool = False
    virtual_hosted: bool = False
    azure_account: str | None = None


@dataclass(frozen=True, slots=True)
class NetworkEnvironment:
    """How servers are reached: proxies, which may hold passwords, hosts that need none, and whom TLS trusts.

    ``ca_bundle`` is a file of certificates, or a folder of them; ``None`` means those of the system.
    """

    http_proxy: str | None = field(default=None, repr=False)
    https_proxy: str | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()
    ca_bundle: str | None = None


def read_network_environment(environ: Mapping[str, str] | None = None) -> NetworkEnvironment:
    """Return what ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` (in lower case too) and ``AWS_CA_BUNDLE`` say."""
    env = os.environ if environ is None else environ

    def either(name: str) -> str | None:
        # A web server turns a client's header "Proxy" into HTTP_PROXY for the scripts that it runs.
        upper = None if name == "http_proxy" and "REQUEST_METHOD" in env else env.get(name.upper())
        return env.get(name) or upper or None

    return NetworkEnvironment(
        http_proxy=either("http_proxy") or either("all_proxy"),
        https_proxy=either("https_proxy") or either("all_proxy"),
        no_proxy=tuple(part.strip().lower() for part in (either("no_proxy") or "").split(",") if part.strip()),
        ca_bundle=env.get("AWS_CA_BUNDLE") or None,  # SSL_CERT_FILE is read by the library itself
    )


def read_cloud_environment(environ: Mapping[str, str] | None = None) -> CloudEnvironment:
    """Return what the environment says of endpoints and regions; the most specific variable wins."""
    env = os.environ if environ is None else environ
    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return CloudEnvironment(
        endpoint_url=next((env[name] for name in endpoints if env.get(name)), None),
        has_s3_endpoint="AWS_ENDPOINT_URL_S3" in env,
        region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or None,
        anonymous=_parse_flag(env.get("AWS_SKIP_SIGNATURE", ""), "AWS_SKIP_SIGNATURE"),
        virtual_hosted=_parse_flag(env.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", ""), "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"),
        azure_account=env.get("AZURE_STORAGE_ACCOUNT_NAME") or None,
    )


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """Keys of AWS that variables hold, in the form that botocore gives its own; the repr says nothing of them."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    def get_frozen_credentials(self) -> AccessKeys:
        """Return the keys as they are: nobody renews them."""
        return self


def read_access_keys(environ: Mapping[str, str] | None = None) -> AccessKeys | None:
    """Return the keys that the environment holds in full, or ``None`` where the chain of AWS has to decide.

    That is so where a profile is asked for as well, or where the keys expire.
    """
    env = os.environ if environ is None else environ
    access_key, secret_key = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    others = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION")
    if not access_key or not secret_key or any(env.get(name) for name in others):
        return None
    return AccessKeys(access_key, secret_key, env.get("AWS_SESSION_TOKEN") or env.get("AWS_SECURITY_TOKEN") or None)


def logger() -> logging.Logger:
    """Return the logger of everything here; it says nothing unless the user sets logging up."""
    import logging  # with the first message: there seldom is one

    found = logging.getLogger("holdall")
    if not found.handlers:
        found.addHandler(logging.NullHandler())
    return found


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment gives.

    Read are ``HOLDALL_STORE``, ``_NAMESPACE``, ``_USER``, ``_HOME``, ``_CACHE_SIZE``, ``_COMPRESSION``, ``_TRUST``,
    ``_OFFLINE``, ``_DEBUG``, ``_RUN``. An empty variable counts as not set. Raises `InvalidNameError`, with the variable's name, for a value that means
    nothing.
    """
    env = os.environ if environ is None else environ
    home = env.get("HOLDALL_HOME")
    return Settings(
        store=env.get("HOLDALL_STORE") or None,
        namespace=env.get("HOLDALL_NAMESPACE") or None,
        user=env.get("HOLDALL_USER") or None,
        home=Path(home).expanduser().absolute() if home else None,
        cache_bytes=_parse_size(env.get("HOLDALL_CACHE_SIZE"), "HOLDALL_CACHE_SIZE"),
        compression=_parse_compression(env.get("HOLDALL_COMPRESSION")),
        trust=_parse_flag(env.get("HOLDALL_TRUST", ""), "HOLDALL_TRUST"),
        offline=_parse_flag(env.get("HOLDALL_OFFLINE", ""), "HOLDALL_OFFLINE"),
        debug=_parse_flag(env.get("HOLDALL_DEBUG", ""), "HOLDALL_DEBUG"),
        run=env.get("HOLDALL_RUN") or None,
        color=_parse_color(env),
        variables=tuple(sorted((name, value) for name, value in env.items() if name.startswith(VARIABLE_PREFIX))),
    )


def check_flags(**flags: object) -> None:
    """Raise `UnsupportedTypeError` for an argument that is neither true nor false, such as the text ``"no"``, which is true."""
    for name, value in flags.items():
        if value is not True and value is not False and type(value).__name__ not in ("bool", "bool_"):  # numpy's
            raise UnsupportedTypeError(f"{name}= takes True or False, not {value!r:.80}.")


def check_choices(**choices: object) -> None:
    """Raise `UnsupportedTypeError` for an argument that is neither true, false nor ``None``, which leaves it open."""
    check_flags(**{name: value for name, value in choices.items() if value is not None})


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that is started from here, with `extra` variables."""
    return {**os.environ, **extra}


def allows_progress(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether a line that is drawn again and again does no harm: in continuous integration it fills the log."""
    env = os.environ if environ is None else environ
    return not env.get("CI") and env.get("TERM") != "dumb"


def _parse_color(env: Mapping[str, str]) -> bool | None:
    """Return what no-color.org and its opposite say; both count when they are set to anything at all."""
    if env.get("NO_COLOR"):
        return False
    if env.get("FORCE_COLOR"):
        return True
    return False if env.get("TERM") == "dumb" else None


def _parse_flag(text: str, variable: str) -> bool:
    value = text.strip().lower()
    if value not in _TRUE | _FALSE:
        raise InvalidNameError(f"{variable}={text!r} is neither yes nor no: write 1 or 0.")
    return value in _TRUE


def _parse_size(text: str | None, variable: str) -> int | None:
    if not text:
        return None
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if not match:
        raise InvalidNameError(f"{variable}={text!r} is no size: write bytes, or 500MB, or 10GB.")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))


def _parse_compression(text: str | None) -> Compression:
    choices: dict[str, Compression] = {"auto": "auto", "small": "small", "none": "none"}
    value = (text or "auto").strip().lower()
    if value in choices:
        return choices[value]
    raise InvalidNameError(f"HOLDALL_COMPRESSION={text!r} is not understood: write auto, small or none.")
