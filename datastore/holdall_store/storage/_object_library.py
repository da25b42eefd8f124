"""The transfer library, obstore, in every process: the one place that imports it, and botocore."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from holdall_store.config import read_access_keys
from holdall_store.errors import AccessDeniedError, InvalidNameError, MissingDependencyError, nearest
from holdall_store.storage._object_errors import CREDENTIALS_FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdall_store.storage._object_config import ObjectConfig

__all__ = ["chained_credentials", "configured_region", "load_library", "make_store"]

CREDENTIALS_LIVE: Final = timedelta(minutes=10)
"""obstore asks again five minutes before; botocore renews what expires within ten, so none ever expires in use."""

CONNECT_TIMEOUT: Final = "5s"

PROFILES_MAX: Final = 20
"""An error names so many profiles."""

_T = TypeVar("_T")

_NAMES: Final = {"s3": "S3Store", "gs": "GCSStore", "az": "AzureStore"}


class _Loaded:
    """The library of this process, or of the one that this was forked from."""

    library: Any = None
    native_file: str = ""
    process: int = 0
    lock = threading.Lock()


def _renew_lock() -> None:
    _Loaded.lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


def load_library() -> Any:
    """Return the module ``obstore``, one that works in this process.

    It runs a pool of threads of its own, of which a forked child has none: every call would wait forever there. The
    child therefore loads the library once more, from a copy, because the system loads one file only once.
    """
    process = os.getpid()
    if _Loaded.process != process:
        with _Loaded.lock:
            if _Loaded.library is None:
                _Loaded.library = importlib.import_module("obstore")
                importlib.import_module("obstore.store")
                _Loaded.native_file = str(importlib.import_module("obstore._obstore").__file__)
            elif _Loaded.process != process:
                _Loaded.library = _load_copy()
            _Loaded.process = process
    return _Loaded.library


def _load_copy() -> Any:
    import importlib.util
    import shutil
    import tempfile

    native_name = "obstore._obstore"
    parents = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "obstore"}
    for name in parents:
        del sys.modules[name]
    try:
        with tempfile.TemporaryDirectory(prefix="holdall-") as folder:
            path = shutil.copy(_Loaded.native_file, folder)
            spec = importlib.util.spec_from_file_location(native_name, path)
            if spec is None or spec.loader is None:
                raise MissingDependencyError("obstore cannot be loaded in a forked process: start it with spawn.")
            native = importlib.util.module_from_spec(spec)
            sys.modules[native_name] = native
            spec.loader.exec_module(native)
        library = importlib.import_module("obstore")
        importlib.import_module("obstore.store")
        return library
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "obstore"]:
            del sys.modules[name]
        sys.modules.update(parents)


def make_store(config: ObjectConfig, request_timeout: float) -> Any:
    """Return a client of the bucket that retries nothing by itself."""
    library = load_library()
    options: dict[str, str] = {**dict(config.settings), **dict(config.secrets)}
    extra: dict[str, Any] = {}
    endpoint = config.endpoint
    if config.anonymous:
        options["skip_signature"] = "true"
    if config.kind == "s3":
        options["virtual_hosted_style_request"] = str(config.virtual_hosted).lower()
        if endpoint and config.virtual_hosted:
            protocol, _, host = endpoint.partition("://")
            endpoint = f"{protocol}://{config.bucket}.{host}"
        if not config.anonymous and not config.secrets:
            extra["credential_provider"] = _ChainedCredentials(config)
        chained = "credential_provider" in extra
        region = config.region or (configured_region(config) if chained or not endpoint else None)
        if region or endpoint:
            options["region"] = region or "us-east-1"
        if endpoint and config.overrides_s3_endpoint:
            options["aws_endpoint_url_s3"] = endpoint
    if config.kind == "gs" and (token := options.pop("token", None)):
        options["service_account_key" if token.startswith("{") else "service_account"] = token
    if endpoint:
        options["base_url" if config.kind == "gs" else "endpoint"] = endpoint
    client = {"timeout": f"{int(request_timeout * 1000)}ms", "connect_timeout": CONNECT_TIMEOUT}
    return getattr(library.store, _NAMES[config.kind])(
        config.bucket,
        config=options,
        client_options={**client, "allow_http": bool(endpoint and endpoint.lower().startswith("http://"))},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=request_timeout)},
        **extra,
    )


def _ask_botocore(config: ObjectConfig, ask: Callable[[Any], _T]) -> _T:
    """Return what a session of botocore answers; its errors, a tree of their own, become ours.

    Raises `InvalidNameError` where there is no such profile.
    """
    try:
        session = importlib.import_module("botocore.session")
    except ImportError as error:
        raise MissingDependencyError(
            "Credentials for s3:// URLs are found by botocore, which is not installed: pip install s3fs."
        ) from error
    chain = session.Session(profile=config.profile)  # which reads nothing yet
    try:
        return ask(chain)
    except importlib.import_module("botocore.exceptions").ProfileNotFound:
        raise _no_profile(chain.profile, chain.available_profiles) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, there are no credentials
        raise AccessDeniedError(
            errno.EACCES, f"Cannot find credentials for {config.shown}: {type(error).__name__}: {error}"
        ) from None


def _no_profile(name: str, known: list[str]) -> InvalidNameError:
    more = f" and {len(known) - PROFILES_MAX} more" if len(known) > PROFILES_MAX else ""
    listed = f"There are {', '.join(map(repr, known[:PROFILES_MAX]))}{more}." if known else "There is none at all."
    return InvalidNameError(f"There is no profile {name!r} in ~/.aws.{nearest(name, known)} {listed}")


def configured_region(config: ObjectConfig) -> str | None:
    """Return the region that the caller's profile names."""
    region: str | None = _ask_botocore(config, lambda session: session.get_config_variable("region"))
    return region


def chained_credentials(config: ObjectConfig) -> Any:
    """Return the credentials that the standard chain of AWS finds: environment, profiles, SSO, roles, instances.

    Their ``get_frozen_credentials()`` renews them when they are about to expire. `AccessDeniedError` where there are
    none.
    """
    # Variables come first in the chain, too, and botocore takes a quarter of a second to import.
    keys = read_access_keys() if config.profile is None else None
    if keys is not None:
        return keys
    found = _ask_botocore(config, lambda session: session.get_credentials())
    if found is None:
        raise AccessDeniedError(
            errno.EACCES,
            f"There are no credentials for {config.shown}. Sign in (aws sso login), set AWS_PROFILE or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give storage_options={'key': …, 'secret': …}; for a "
            "public bucket storage_options={'anon': True}.",
        )
    return found


class _ChainedCredentials:
    """The standard chain, as obstore asks for it."""

    def __init__(self, config: ObjectConfig) -> None:
        self.config: dict[str, str] = {}  # obstore looks for it
        self._credentials = chained_credentials(config)

    def __call__(self) -> dict[str, Any]:
        try:
            frozen = self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - it travels through the library as text
            raise RuntimeError(f"{CREDENTIALS_FAILED} {type(error).__name__}: {error} (the end)") from None
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + CREDENTIALS_LIVE,
        }
