"""Pickles what no serializer knows: large buffers beside the stream, code of ``__main__`` by value.

Imported only when something is pickled or unpickled.
"""

from __future__ import annotations

import importlib.util
import io
import pickle
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cloudpickle

from holdall_store.errors import FormatError, HoldallError
from holdall_store.serializers._by_value import reduce_by_value, reduce_named, reduce_singledispatch, reduce_typeddict
from holdall_store.serializers._culprit import refused
from holdall_store.serializers._libraries import differences, installed_version, missing, root_of, unimportable
from holdall_store.serializers._nodes import INLINE_BYTES
from holdall_store.serializers._scripts import is_script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Pickled", "attempt", "dump", "load"]

_PROTOCOL = 5
"""The first with buffers out of band; fixed, so that a newer Python writes what an older one reads."""

_STANDARD_STREAMS = ("stdin", "stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Pickled:
    """A pickle: its stream, the buffers beside it, and the packages whose types and functions it names."""

    stream: memoryview
    buffers: list[pickle.PickleBuffer]
    libraries: set[str]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Notes the modules that are named, and refuses what cloudpickle would turn into something else."""

    def __init__(self, file: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> None:
        super().__init__(file, protocol=_PROTOCOL, buffer_callback=buffer_callback)
        self.modules: set[object] = set()
        self._plain: set[type] = set()  # types whose objects pickle as pickle says, whatever they hold

    def reducer_override(self, obj: Any) -> Any:
        """Reduce an object that is none of the simplest types."""
        if type(obj) in self._plain:
            return NotImplemented
        self._note(type(obj).__module__)
        if isinstance(obj, (type, types.FunctionType)):
            self._note(obj.__module__)
            return self._reduce_code(obj)
        if isinstance(obj, types.ModuleType):
            self._note(obj.__name__)
            if not is_script(obj.__name__):
                return super().reducer_override(obj)
        elif isinstance(obj, types.BuiltinFunctionType):
            self._note(obj.__module__)
        why = refused(obj)
        if why is not None and not any(obj is getattr(sys, name) for name in _STANDARD_STREAMS):
            raise pickle.PicklingError(why)
        for reduce in (_reduce_tensor, reduce_by_value):
            reduced = reduce(obj)
            if reduced is not NotImplemented:
                return reduced
        reduced = reduce_named(obj, self.dispatch_table)
        if reduced is NotImplemented:
            self._plain.add(type(obj))
        return reduced

    def _reduce_code(self, obj: Any) -> Any:
        """Reduce a function or a class: by name, or by value where no other process has the name."""
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented:
            return reduced
        other = reduce_singledispatch(obj) if isinstance(obj, types.FunctionType) else reduce_typeddict(obj)
        return reduced if other is NotImplemented else other

    def _note(self, module: object) -> None:
        if module not in self.modules:
            self.modules.add(module)
            if module != "__main__" and is_script(module):
                _register_script(module)


def _reduce_tensor(obj: object) -> Any:
    """Reduce a tensor so that its bytes leave the stream: torch's own reducers copy them into it."""
    if type(obj).__module__.partition(".")[0] != "torch" or "torch" not in sys.modules:
        return NotImplemented
    from holdall_store.serializers._torch import REDUCERS

    reduce = REDUCERS.get(type(obj))
    return NotImplemented if reduce is None else reduce(obj)


class _ReferringPickler(_Pickler):
    """Refers to objects that are stored elsewhere. By itself, for it is asked about every string and number."""

    def __init__(self, file: Any, buffer_callback: Any, external: Callable[[object], int | None]) -> None:
        super().__init__(file, buffer_callback)
        self._external = external

    def persistent_id(self, obj: object) -> int | None:
        """Return the number of an object that is stored elsewhere."""
        return self._external(obj)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, buffers: Sequence[memoryview], external: Callable[[int], Any]) -> None:
        super().__init__(file, buffers=buffers)
        self._external = external

    def persistent_load(self, number: Any) -> Any:
        """Return an object that is stored elsewhere."""
        if type(number) is not int:
            raise FormatError(f"the pickle refers to {number!r}, which names nothing")
        return self._external(number)


class _Nowhere(io.RawIOBase):
    """Takes bytes and drops them."""

    def write(self, data: Any) -> int:
        return len(data)


def dump(items: list[object], external: Callable[[object], int | None] | None) -> Pickled:
    """Pickle objects together, so that what they share stays shared; `external` numbers those stored elsewhere."""
    buffers: list[pickle.PickleBuffer] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        if memoryview(buffer).nbytes <= INLINE_BYTES:
            return True
        buffers.append(buffer)
        return False

    stream = io.BytesIO()
    pickler = _Pickler(stream, keep_inside) if external is None else _ReferringPickler(stream, keep_inside, external)
    pickler.dump(items)
    return Pickled(stream.getbuffer(), buffers, {root_of(module) for module in pickler.modules})


def _register_script(name: Any) -> None:
    """Have what a script defines travel by value although its module has a name, as in processes that were spawned."""
    module = sys.modules.get(name)
    if module is not None and name == module.__name__ not in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.register_pickle_by_value(module)


def attempt(obj: object, standins: Mapping[int, object]) -> Exception | None:
    """Pickle an object into nothing, leaving out objects by id; return what went wrong."""

    def external(part: object) -> int | None:
        return id(part) if id(part) in standins else None

    try:
        _ReferringPickler(_Nowhere(), lambda _: None, external).dump(obj)
    except Exception as error:  # noqa: BLE001
        return error
    return None


def load(
    stream: memoryview,
    buffers: Sequence[memoryview],
    external: Callable[[int], Any],
    libraries: Mapping[str, str],
) -> Any:
    """Unpickle. This runs whatever code the stream names: the caller has made sure that it may."""
    try:
        return _Unpickler(io.BytesIO(stream), buffers, external).load()
    except (HoldallError, MemoryError):
        raise
    except Exception as error:
        raise _explain(error, libraries) from error


def _explain(error: Exception, libraries: Mapping[str, str]) -> HoldallError:
    """Return an error that says what is missing or has another version."""
    module = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    root = root_of(module)
    if root and root in libraries and installed_version(root) is None:
        return missing(root, libraries[root])
    if root and root not in sys.modules and importlib.util.find_spec(root) is None:
        return unimportable(str(module), libraries)
    message = f"this object cannot be unpickled here: {type(error).__name__}: {str(error)[:300]}"
    other = differences(libraries)
    if not other:
        return FormatError(f"{message}. Its classes may have changed since: load it with the code of that time")
    changes = ", ".join(
        f"{name.partition('==')[0]} {name.partition('==')[2]} (here: {installed_version(library)})"
        for name, library in other.items()
    )
    installs = [name for name, library in other.items() if library != "python"]
    way_out = f": pip install {' '.join(installs)}" if installs else ""
    return FormatError(f"{message}. It was saved with {changes}{way_out}")
