"""Who asks: credentials that are renewed in the background, so that no request waits for it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from holdall_store.errors import AccessDeniedError
from holdall_store.storage.buckets import ObjectConfig, chained_credentials

__all__ = ["Credentials", "Keys"]

LOOK_EVERY: Final = 60.0
"""Seconds. botocore renews what expires within 15 minutes when it is asked, so asking each minute is soon enough."""


class Keys(NamedTuple):
    """What requests are signed with; its repr says nothing."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return "Keys(…)"


class Credentials:
    """The keys in use now; ``None`` where requests are not signed.

    `look` costs nothing until it is time to ask the chain again, which happens in a thread of its own: the chain may
    ask a server, or a program.
    """

    def __init__(self, config: ObjectConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._chain: Any = None
        self._lock = threading.Lock()
        self._busy = False
        self._looked = clock()
        self.generation = 0
        """Counts renewals; whoever was refused with the keys of an old one tries again with the new."""
        self.keys: Keys | None = None
        secrets = dict(config.secrets)
        if config.anonymous:
            self._renewable = False
        elif secrets:
            self._renewable = False
            self.keys = Keys(secrets["access_key_id"], secrets["secret_access_key"], secrets.get("session_token"))
        else:
            self._renewable = True
            self._chain = chained_credentials(config)
            self.keys = self._freeze()

    def __repr__(self) -> str:
        return f"Credentials({self._config.url!r})"

    def look(self, now: float) -> None:
        """Renew in the background what is about to expire."""
        if self._renewable and now - self._looked > LOOK_EVERY:
            self._start(afresh=False)

    def renew(self, generation: int) -> bool:
        """Ask the chain anew, because a server refused the keys of `generation`; tell whether there is any hope."""
        if not self._renewable:
            return False
        if generation == self.generation:
            self._start(afresh=True)
        return True

    def _start(self, *, afresh: bool) -> None:
        with self._lock:
            if self._busy:
                return
            self._busy = True
            self._looked = self._clock()
        threading.Thread(target=self._ask, args=(afresh,), name="holdall-credentials", daemon=True).start()

    def _ask(self, afresh: bool) -> None:
        try:
            if afresh:
                self._chain = chained_credentials(self._config)
            keys = self._freeze()
            if keys != self.keys or afresh:
                self.keys = keys
                self.generation += 1
        except AccessDeniedError:
            self._looked = self._clock()  # the server's refusal of the old ones will say it, if it comes to that
        finally:
            self._busy = False

    def _freeze(self) -> Keys:
        try:
            frozen = self._chain.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - botocore's errors are a tree of their own
            raise AccessDeniedError(
                errno.EACCES, f"Cannot renew the credentials for {self._config.shown}: {type(error).__name__}: {error}"
            ) from None
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)
