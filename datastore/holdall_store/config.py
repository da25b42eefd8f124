"""Settings, and the two functions that read the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from holdall_store.errors import InvalidNameError

if TYPE_CHECKING:
    import logging

__all__ = [
    "VARIABLES",
    "VARIABLE_PREFIX",
    "CloudEnvironment",
    "Settings",
    "logger",
    "read_cloud_environment",
    "read_settings",
]

Compression = Literal["auto", "small", "none"]

CACHE_BYTES_DEFAULT: Final = 10 << 30
"""Ten gigabytes of extracted files is what fits on a laptop unnoticed."""

VARIABLE_PREFIX: Final = "HOLDALL_"

VARIABLES: Final = ("STORE", "NAMESPACE", "USER", "HOME", "CACHE_SIZE", "COMPRESSION", "TRUST", "DEBUG")
"""The variables that mean something, without their prefix."""

_TRUE: Final = frozenset(("1", "true", "yes", "on"))
_FALSE: Final = frozenset(("0", "false", "no", "off", ""))


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set from outside. Every field has a default that just works.

    ``store`` and ``namespace`` are ``None`` where nothing was said. ``home`` holds all that holdall writes outside its
    stores. ``compression`` is ``auto`` (what a store's storage makes worthwhile), ``small`` (every byte saved counts) or
    ``none``. ``trust`` allows loading of pickles from any store. ``debug`` shows tracebacks where a short message would
    do. ``color`` says whether text for people is coloured; ``None`` leaves it to where it goes. ``variables`` are the
    ``HOLDALL_*`` variables that were set, for whoever explains the settings.
    """

    store: str | None = None
    namespace: str | None = None
    user: str | None = None
    home: Path | None = None
    cache_bytes: int = CACHE_BYTES_DEFAULT
    compression: Compression = "auto"
    trust: bool = False
    debug: bool = False
    color: bool | None = None
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)

    def cache_folder(self) -> Path:
        """Return the folder of caches: all of it may be deleted at any time."""
        if self.home is not None:
            return self.home / "cache"
        import platformdirs

        return Path(platformdirs.user_cache_dir("holdall", appauthor=False))


@dataclass(frozen=True, slots=True)
class CloudEnvironment:
    """What the ``AWS_*`` variables say of where S3 is; credentials are found by botocore, which reads them itself.

    ``has_s3_endpoint`` says that ``AWS_ENDPOINT_URL_S3`` is set, which the transfer library reads, too.
    """

    endpoint_url: str | None = None
    has_s3_endpoint: bool = False
    region: str | None = None
    anonymous: bool = False
    virtual_hosted: bool = False


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
    )


def logger() -> logging.Logger:
    """Return the logger of everything here; it says nothing unless the user sets logging up."""
    import logging  # with the first message: there seldom is one

    found = logging.getLogger("holdall")
    if not found.handlers:
        found.addHandler(logging.NullHandler())
    return found


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment gives.

    Read are ``HOLDALL_STORE``, ``_NAMESPACE``, ``_USER``, ``_HOME``, ``_CACHE_SIZE``, ``_COMPRESSION``, ``_TRUST``. An empty variable counts as not set. Raises `InvalidNameError`, with the variable's name, for a value that means
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
        debug=_parse_flag(env.get("HOLDALL_DEBUG", ""), "HOLDALL_DEBUG"),
        color=_parse_color(env),
        variables=tuple(sorted((name, value) for name, value in env.items() if name.startswith(VARIABLE_PREFIX))),
    )


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


def _parse_size(text: str | None, variable: str) -> int:
    if not text:
        return CACHE_BYTES_DEFAULT
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
