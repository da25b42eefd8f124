"""Says which part of an object cannot be saved, why, and what to do about it."""

from __future__ import annotations

import collections
import functools
import itertools
import types
from typing import TYPE_CHECKING, Any

from holdall_store.errors import RunStateError, UnsupportedTypeError
from holdall_store.serializers._containers import key_step
from holdall_store.serializers._scripts import is_script
from holdall_store.serializers._tree import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["culprit", "refused", "unsupported"]

_MAX_TRIES = 2000
"""Parts that are tried before the search for the culprit gives up: it runs only to word an error."""

_PATH_END = 150
"""Characters of either end of a path that a message shows, where the path is much longer."""

_OPEN_FILE = "an open file belongs to this process: save its path, or what it contains"
_CONNECTION = "a connection belongs to this process: save what it takes to connect again"
_LOCK = "it guards threads of this process: make a new one after loading"
_ONCE = "it can be read only once: save list(...) of it, or what it is made from"

_REFUSED = {
    "_io.BufferedRandom": _OPEN_FILE,
    "_io.BufferedReader": _OPEN_FILE,
    "_io.BufferedWriter": _OPEN_FILE,
    "_io.FileIO": _OPEN_FILE,
    "_io.TextIOWrapper": _OPEN_FILE,
    "_thread.RLock": _LOCK,
    "_thread._local": "it belongs to the threads of this process: save its values in a dict",
    "_thread.lock": _LOCK,
    "builtins.async_generator": _ONCE,
    "builtins.coroutine": "it is a call that has not ended: await it, and save what it returns",
    "builtins.frame": "it belongs to code that is running",
    "builtins.generator": _ONCE,
    "builtins.memoryview": "it is a window on memory of something else: save bytes(...) of it, or that thing itself",
    "builtins.module": "it is code to import, not a value: save its name",
    "socket.socket": _CONNECTION,
    "sqlite3.Connection": _CONNECTION,
    "ssl.SSLContext": _CONNECTION,
    "ssl.SSLSocket": _CONNECTION,
    "threading.Condition": _LOCK,
    "threading.Event": _LOCK,
    "threading.Thread": "a thread cannot leave its process: save what it computes",
}


def refused(obj: object) -> str | None:
    """Return why an object is not saved although there may be some way to pickle it, or None."""
    kind = type(obj)
    if isinstance(obj, types.ModuleType) and is_script(obj.__name__):
        return "it is the script itself, and another process has another one: move what is needed of it into a module"
    return _REFUSED.get(f"{kind.__module__}.{kind.__qualname__}")


def unsupported(path: str, obj: object, why: str) -> UnsupportedTypeError:
    """Return the error for an object that cannot be saved."""
    if len(path) > 2 * _PATH_END:
        path = f"{path[:_PATH_END]} … {path[-_PATH_END:]}"
    return UnsupportedTypeError(
        f"{path}: cannot save {describe(obj)}: {why}. Leave it out, save the state that it is made from, or register "
        "a serializer for its type (entry point group 'holdall.serializers')"
    )


def culprit(
    opaque: Sequence[tuple[Sequence[str], object]],
    error: Exception,
    attempt: Callable[[object, Mapping[int, object]], Exception | None],
) -> UnsupportedTypeError:
    """Return the error for objects, each with the steps to it, that could not be pickled together.

    `attempt` pickles an object into nothing, standing in for those of the given ids, and returns what went wrong.
    """
    tries = itertools.count()
    for steps, obj in opaque:
        path = "".join(steps)
        failed = attempt(obj, {})
        if failed is not None and _is_recursion(failed):
            return unsupported(path, obj, _TOO_DEEP)
        if failed is not None:
            return _descend(path, obj, failed, attempt, tries)
    steps, obj = opaque[0]
    return unsupported("".join(steps), obj, _reason(error))


def _descend(
    path: str,
    obj: object,
    error: Exception,
    attempt: Callable[[object, Mapping[int, object]], Exception | None],
    tries: Iterator[int],
) -> UnsupportedTypeError:
    """Follow the parts that fail by themselves down to one with no such part."""
    above: dict[int, object] = {}
    # A run that is being recorded says itself why it stays here: what it is made of is nobody's concern.
    while refused(obj) is None and not (isinstance(error, RunStateError) and "__reduce__" in vars(type(obj))):
        above[id(obj)] = obj
        for step, part in _parts(obj):
            if id(part) in above or type(part) in _NEVER:
                continue
            failed = attempt(part, above) if next(tries) < _MAX_TRIES else None
            if failed is not None:
                path, obj, error = path + step, part, failed
                break
        else:
            break
    return unsupported(path, obj, refused(obj) or _reason(error))


_TOO_DEEP = "it is nested too deeply to be pickled: flatten it"


def _is_recursion(error: Exception) -> bool:
    return isinstance(error, RecursionError) or "recursion" in str(error)


_NEVER = frozenset({str, int, float, bool, bytes, type(None)})


def _reason(error: Exception) -> str:
    """Return what an exception says, without a full stop."""
    if _is_recursion(error):
        return _TOO_DEEP
    said = str(error).strip().rstrip(".")
    return f"pickling it failed: {said[:300]}" if said else f"pickling it failed ({type(error).__name__})"


def _parts(obj: object) -> Iterator[tuple[str, object]]:
    """Return what an object is made of, with how a person would write the way to it."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f" key {key_step(key)}", key
            yield key_step(key), value
    elif isinstance(obj, (list, tuple, collections.deque)):
        yield from ((f"[{index}]", item) for index, item in enumerate(obj))
    elif isinstance(obj, (set, frozenset)):
        yield from ((f" element {key_step(item)}", item) for item in obj)
    elif isinstance(obj, types.FunctionType):
        yield from _parts_of_function(obj)
    elif isinstance(obj, types.MethodType):
        yield ".__self__", obj.__self__
    elif isinstance(obj, functools.partial):
        yield from ((".func", obj.func), (".args", obj.args), (".keywords", obj.keywords))
    if isinstance(obj, type):
        yield from ((f".{name}", value) for name, value in vars(obj).items() if not name.startswith("__"))
    elif not isinstance(obj, types.FunctionType):
        yield from _attributes(obj)
        if is_script(type(obj).__module__):
            yield " (its class)", type(obj)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """Return what a function that is pickled by value takes with it."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f" (its variable {name!r})", cell.cell_contents
        except ValueError:  # a variable that has not been set yet
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f" (its global {name!r})", function.__globals__[name]
    yield from ((" (a default argument)", value) for value in function.__defaults__ or ())


def _attributes(obj: object) -> Iterator[tuple[str, object]]:
    """Return the attributes that hold an object's state, running none of its code."""
    state: Any = getattr(obj, "__dict__", None)
    if isinstance(state, dict):
        yield from ((f".{name}", value) for name, value in list(state.items()))
    for base in type(obj).__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    yield f".{name}", slot.__get__(obj)
                except AttributeError:  # a slot that holds nothing
                    continue
