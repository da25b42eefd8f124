"""What pickle would only name although no other process has the name, or would not take: made again from its parts.

Imported only when something is pickled, and by pickles that name `register_all`.
"""

from __future__ import annotations

import functools
import pickle
import sys
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from holdall_store.serializers._scripts import found_at, is_script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_Reduce = Callable[[Any], Any]

__all__ = ["reduce_by_value", "reduce_named", "reduce_singledispatch", "reduce_typeddict", "register_all"]

_SINGLEDISPATCH: Final = vars(functools)["singledispatch"](len).__code__
"""What every function runs that `functools.singledispatch` returns."""

_OF_CACHES: Final = frozenset({*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "__type_params__", "cache_parameters"})
_OF_DISPATCHERS: Final = frozenset(
    {
        *functools.WRAPPER_ASSIGNMENTS,
        "__wrapped__",
        "__type_params__",
        "register",
        "dispatch",
        "registry",
        "_clear_cache",
    }
)
"""Attributes that a function is given where it is made again."""


def reduce_by_value(obj: Any) -> Any:
    """Reduce to its parts what pickle would name in vain, or refuse for a lock; else return `NotImplemented`."""
    reduce = _DESCRIPTORS.get(type(obj))
    if reduce is None:
        reduce = _NAMED.get(type(obj))
        if reduce is None or _is_importable(obj):
            return NotImplemented
    return reduce(obj)


def reduce_singledispatch(function: types.FunctionType) -> Any:
    """Reduce a function of `functools.singledispatch`; `NotImplemented` for any other.

    Its caches refer weakly to types, and are made anew.
    """
    if function.__code__ is not _SINGLEDISPATCH:
        return NotImplemented
    dispatcher: Any = function
    state = list(dispatcher.registry.items()), _others(vars(function), _OF_DISPATCHERS)
    return functools.singledispatch, (dispatcher.__wrapped__,), state, None, None, register_all


def register_all(dispatcher: Any, state: tuple[Iterable[tuple[type, Any]], dict[str, Any]]) -> None:
    """Register the implementations that a function had; pickles name this function, so it keeps its place."""
    implementations, attributes = state
    for kind, implementation in implementations:
        dispatcher.register(kind, implementation)
    vars(dispatcher).update(attributes)


def reduce_typeddict(kind: type) -> Any:
    """Reduce a ``TypedDict``, which is no class to make again with the bases that it has; else `NotImplemented`."""
    if type(kind).__name__ != "_TypedDictMeta":
        return NotImplemented
    if getattr(kind, "__parameters__", ()):
        raise pickle.PicklingError("a generic TypedDict of a script cannot leave it: put it into a module")
    library: Any = sys.modules[type(kind).__module__]
    optional: frozenset[str] = vars(kind)["__optional_keys__"]
    wrappers = library.Required, library.NotRequired
    fields = {}
    for key, hint in kind.__annotations__.items():
        bare = typing.get_args(hint)[0] if typing.get_origin(hint) in wrappers else hint
        fields[key] = library.NotRequired[bare] if key in optional else bare
    return library.TypedDict, (kind.__name__, fields)


def reduce_named(obj: Any, table: Mapping[type, _Reduce]) -> Any:
    """Reduce an object as its class says, and refuse one of which a pickle would hold no more than a name in a script.

    `table` has what is reduced otherwise. Return `NotImplemented` where the class says nothing.
    """
    kind: Any = type(obj)
    reduce = table.get(kind)
    if reduce is not None:
        reduced = reduce(obj)
    elif kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__:
        return NotImplemented
    else:
        reduced = obj.__reduce_ex__(5)
    if isinstance(reduced, str):
        module = pickle.whichmodule(obj, reduced)  # type: ignore[attr-defined]
        if is_script(module):
            raise pickle.PicklingError(
                f"a pickle of it says no more than its name, {reduced!r} in {module}, where another process finds nothing or "
                "something else: move its definition into a module"
            )
    return reduced


class _Caching:
    """Stands for a decorator that `functools.lru_cache` returned: it has no name by which it could be pickled."""

    def __init__(self, maxsize: int | None, typed: bool) -> None:
        self._parameters = maxsize, typed

    def __call__(self, function: Any) -> Any:
        return functools.lru_cache(*self._parameters)(function)

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.lru_cache, self._parameters


def _is_importable(obj: Any) -> bool:
    module = obj.__module__
    name = getattr(obj, "__qualname__", None) or obj.__name__
    return not is_script(module) and found_at(module, name) is obj


def _others(attributes: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in known}


def _reduce_cached_property(obj: Any) -> tuple[Any, ...]:
    return functools.cached_property, (obj.func,), _others(vars(obj), ("func", "lock"))


def _reduce_singledispatchmethod(obj: Any) -> tuple[Any, ...]:
    return functools.singledispatchmethod, (obj.func,), {"dispatcher": obj.dispatcher}


def _reduce_lru_cache(obj: Any) -> tuple[Any, ...]:
    parameters = obj.cache_parameters()
    caching = _Caching(parameters["maxsize"], parameters["typed"])
    return caching, (obj.__wrapped__,), _others(vars(obj), _OF_CACHES)


def _reduce_newtype(obj: Any) -> tuple[Any, ...]:
    return typing.NewType, (obj.__qualname__, obj.__supertype__), {"__module__": obj.__module__}


def _reduce_paramspec(obj: Any) -> tuple[Any, ...]:
    options = {"bound": obj.__bound__, "covariant": obj.__covariant__, "contravariant": obj.__contravariant__}
    given: dict[str, Any] = {name: value for name, value in options.items() if value}
    return functools.partial(typing.ParamSpec, **given), (obj.__name__,)


def _reduce_typevartuple(obj: Any) -> tuple[Any, ...]:
    return typing.TypeVarTuple, (obj.__name__,)


def _reduce_alias(obj: Any) -> tuple[Any, ...]:
    kind: Any = type(obj)
    return functools.partial(kind, type_params=obj.__type_params__), (obj.__name__, obj.__value__)


_DESCRIPTORS: Final[dict[type, _Reduce]] = {
    functools.cached_property: _reduce_cached_property,
    functools.singledispatchmethod: _reduce_singledispatchmethod,
}
"""Exact type → how it is reduced: what is found in a class that is pickled by value."""

_NAMED: Final[dict[type, _Reduce]] = {
    type(functools.lru_cache(len)): _reduce_lru_cache,
    typing.NewType: _reduce_newtype,
    typing.ParamSpec: _reduce_paramspec,
    typing.TypeVarTuple: _reduce_typevartuple,
}
"""Exact type → how it is reduced where its name leads nowhere."""

if sys.version_info >= (3, 12):
    _NAMED[typing.TypeAliasType] = _reduce_alias
