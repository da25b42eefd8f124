"""Credentials for S3, for engines that make their own requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from holdall_store.storage.buckets import ObjectConfig, chained_credentials

__all__ = ["Keys", "keys_for"]

_RENEWED_THERE: Final = frozenset({"iam-role", "container-role"})
"""Ways to credentials that every engine knows, and renews: a copy of what is good for some hours would be worse."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials as they are sent."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


def keys_for(config: ObjectConfig) -> Keys | None:
    """Return the keys that were given, or that the chain of AWS finds: variables, profiles, SSO.

    ``None`` for a public bucket, and where the machine has a role: the engine finds and renews those keys by itself.
    Raises `AccessDeniedError` where there are none.
    """
    if config.anonymous:
        return None
    if config.secrets:
        given = dict(config.secrets)
        return Keys(given["access_key_id"], given["secret_access_key"], given.get("session_token"))
    found = chained_credentials(config)
    if getattr(found, "method", "") in _RENEWED_THERE:
        return None
    frozen = found.get_frozen_credentials()
    return Keys(frozen.access_key, frozen.secret_key, frozen.token)
