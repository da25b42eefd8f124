"""Filesystem objects: made when they are needed, again after a fork, and used by as many threads as they can bear."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import pickle
import threading
import weakref
from collections.abc import Generator, Mapping
from typing import Any, Final

import fsspec.asyn

from holdall_store.config import read_cloud_environment
from holdall_store.errors import InvalidNameError, MissingDependencyError, UnsupportedTypeError
from holdall_store.storage._fsspec_errors import read_failure
from holdall_store.storage._fsspec_ways import CONNECTIONS_MAX, Way, way_of
from holdall_store.storage._secrets import UNFIT, is_secret_option, plain_copy, secret_strings

__all__ = ["Connections"]

_NOT_OURS: Final = frozenset({"asynchronous", "loop", "skip_instance_cache", "use_listings_cache"})
"""Options of a given object that another made from them must not have: it is used from threads, and caches nothing."""


class Connections:
    """Objects of one filesystem class, made from the same arguments.

    A `given` object is used as it is where nothing is known of its class, by one thread at a time; where it is known
    that the arguments are all there is to it, others are made like it, which cache no listings.
    """

    def __init__(self, kind: type, options: Mapping[str, Any], given: Any = None) -> None:
        self.kind = kind
        self.way: Way = way_of(kind)
        self._options = dict(options)
        self._positional: tuple[Any, ...] = ()
        if given is not None:
            self._positional = tuple(given.storage_args)
            self._options = {n: value for n, value in given.storage_options.items() if n not in _NOT_OURS}
        self._given = None if given is None or self.way.remade else given
        self._begin()
        _all.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"kind": self._pickled_kind(), "options": self._pickled_options()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["kind"], state["options"])  # type: ignore[misc]

    @property
    def options(self) -> dict[str, Any]:
        """What an object is made from, by name; what has no name is left out."""
        return {**self._named_arguments()[0], **self._options}

    @functools.cached_property
    def place(self) -> str:
        """What tells this filesystem from all others, without secrets; empty where that is not known."""
        plain = plain_copy(self.options)
        if not self.way.remade or plain is UNFIT:
            return ""
        # Where no option says where the servers are, the environment may.
        name = f"{self.kind.__module__}.{self.kind.__qualname__}"
        return json.dumps([name, plain, read_cloud_environment().endpoint_url], sort_keys=True, default=str)

    @property
    def secrets(self) -> list[str]:
        """The secrets among the options, for whoever has to keep them out of a message."""
        return secret_strings(self.options)

    @contextlib.contextmanager
    def lease(self) -> Generator[Any]:
        """Give an object for one use; one whose connection broke is not used again."""
        if self.way.shared:
            yield self._shared()
            return
        with self._slots:
            fs = self._free.pop() if self._free else self._connect()
            sound = False
            try:
                yield fs
                sound = True
            except Exception as error:
                sound = self._given is fs or read_failure(error).meaning != "again"
                raise
            finally:
                if sound:
                    self._free.append(fs)
                else:
                    self._close(fs)

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._free:
            self._close(self._free.pop())
        self._one = None

    def _begin(self) -> None:
        given = [] if self._given is None else [self._given]
        self._free: list[Any] = [] if self.way.shared else given
        self._one = self._given if self.way.shared else None
        alone = not self.way.remade and not self.way.shared
        self._slots: Any = (
            _lock_of(self._given) if alone and given else threading.BoundedSemaphore(1 if alone else CONNECTIONS_MAX)
        )
        self._making = threading.Lock()

    def _begin_in_child(self) -> None:
        """Leave what is the parent's alone: its sockets are shared with it, and its threads are not here."""
        if self.way.private:
            self._making = threading.Lock()
            return
        _inherited.extend([self._free, self._one, self._given])
        self._given = None
        self._begin()

    def _shared(self) -> Any:
        if self._one is None:
            with self._making:
                if self._one is None:
                    self._one = self._connect()
        return self._one

    def _connect(self) -> Any:
        options = {**self._options, **self.way.settings}
        if not self.way.shared:
            options["skip_instance_cache"] = True
        try:
            return self.way.prepared(self.kind(*self._positional, **options))
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.kind.__name__} needs a library that is not installed: {error}"
            ) from None
        except (TypeError, ValueError) as error:
            message = read_failure(error, self.secrets).message
            raise InvalidNameError(f"storage_options do not suit {self.kind.__name__}: {message}.") from None

    def _close(self, fs: Any) -> None:
        if fs is not self._given:
            with contextlib.suppress(Exception):  # it may be closed, or broken, already
                self.way.closed(fs)

    def _named_arguments(self) -> tuple[dict[str, Any], bool]:
        """Return the positional arguments by name, and whether all of them have one."""
        if not self._positional:
            return {}, True
        # Not of the class: it is called through its metaclass, which takes anything.
        signature = inspect.signature(self.kind.__init__)  # type: ignore[misc]
        bound = signature.bind_partial(None, *self._positional).arguments
        many = inspect.Parameter.VAR_POSITIONAL
        _, *names = bound  # the first is the object itself
        named = {name: bound[name] for name in names if signature.parameters[name].kind is not many}
        return named, len(named) == len(names)

    def _pickled_kind(self) -> type:
        try:
            pickle.dumps(self.kind)
        except (pickle.PicklingError, AttributeError):
            raise self._unpicklable("its class is defined where no other process finds it") from None
        if not self._named_arguments()[1]:
            raise self._unpicklable("it was made from arguments without names")
        if self.way.private and not getattr(self._given, "global_store", True):
            raise self._unpicklable("its files are in the memory of this process")
        return self.kind

    def _pickled_options(self) -> dict[str, Any]:
        found = {}
        for name, value in self.options.items():
            if is_secret_option(name):
                continue
            plain = plain_copy(value)
            if plain is UNFIT:
                raise self._unpicklable(f"its option {name!r} is a {type(value).__name__}, which may hold secrets")
            found[name] = plain
        return found

    def _unpicklable(self, reason: str) -> UnsupportedTypeError:
        return UnsupportedTypeError(
            f"A storage on a {self.kind.__name__} cannot be pickled: {reason}. Give the other process a URL and "
            "storage_options, or make the filesystem there."
        )


_all: weakref.WeakSet[Connections] = weakref.WeakSet()
_inherited: list[Any] = []
"""What a child has of its parent. Never freed, because a finalizer would speak to the parent's server."""

_locks: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()


def _lock_of(fs: Any) -> threading.Lock:
    """Return the lock of an object that is used by one thread at a time, whatever the number of its storages."""
    return _locks.setdefault(fs, threading.Lock())


def _after_fork() -> None:
    fsspec.asyn.reset_lock()  # the loop's thread is not here, and its lock may be taken for ever
    _locks.clear()
    for connections in list(_all):
        connections._begin_in_child()  # noqa: SLF001 - this module's own


os.register_at_fork(after_in_child=_after_fork)
