"""Which serializer takes an object, and which one wrote a node; a library is imported only for what is its own."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import TYPE_CHECKING

from holdall_store.errors import FormatError, MissingDependencyError, nearest
from holdall_store.serializers._libraries import distribution, missing, root_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint

    from holdall_store.serializers._protocol import Serializer

__all__ = ["ENTRY_POINTS", "LIBRARIES", "find_for", "find_tag"]

ENTRY_POINTS = "holdall.serializers"
"""The group of entry points: the name is a library's top package, the value a tuple of its `Serializer` objects."""

_CACHED = 256
"""Libraries whose serializers are remembered: bounded, because nodes may name any number that do not exist."""

LIBRARIES: Mapping[str, str] = {
    library: f"holdall_store.serializers.{module}"
    for library, module in {
        "numpy": "_numpy",
        "pandas": "_pandas",
        "polars": "_polars",
        "pyarrow": "_arrow",
        "scipy": "_scipy",
        "torch": "_torch",
    }.items()
} | dict.fromkeys(("holdall_store", "holdall"), "holdall_store.tables._saved")
"""Top package of a type → our module with its `SERIALIZERS`. Those of our own types, and of the classes that the face
derives from them, are above this layer, as those of other libraries are beside it: known by name, and imported for what
is their own."""


def find_for(kind: type) -> tuple[Serializer, ...]:
    """Return the serializers of the library that a type belongs to; which of them `handles` an object, ask them."""
    library = root_of(kind.__module__)
    if not library or library == "__main__" or library in sys.stdlib_module_names:
        return ()
    return _of_library(library)


def find_tag(tag: str, versions: Mapping[str, str]) -> Serializer:
    """Return the serializer of a library that writes `tag`; `versions` are those that the object was written with."""
    library = root_of(tag)
    try:
        serializers = _of_library(library)
    except ModuleNotFoundError as error:
        raise missing(root_of(error.name) or library, versions.get(root_of(error.name))) from error
    except ImportError as error:
        raise MissingDependencyError(
            f"{tag[:80]!r} cannot be decoded with the {library} that is installed ({error}): pip install -U "
            f"{distribution(library)}",
            name=library,
        ) from error
    tags = {serializer.tag: serializer for serializer in serializers}
    if tag in tags:
        return tags[tag]
    if not tags:
        raise FormatError(
            f"nothing here knows how to decode {tag[:80]!r}: install what registers a serializer for {library[:40]!r} "
            f"(entry point group {ENTRY_POINTS!r}), or a newer holdall"
        )
    raise FormatError(f"{tag[:80]!r} is not known here: upgrade holdall.{nearest(tag[:80], tags)}")


@functools.lru_cache(maxsize=_CACHED)
def _of_library(library: str) -> tuple[Serializer, ...]:
    """Return the serializers of one library: ours, or those of an entry point."""
    if library in LIBRARIES:
        serializers: tuple[Serializer, ...] = importlib.import_module(LIBRARIES[library]).SERIALIZERS
        return serializers
    return tuple(serializer for entry in _entry_points().get(library, ()) for serializer in entry.load())


@functools.cache
def _entry_points() -> dict[str, list[EntryPoint]]:
    """Return the installed entry points by library; read once, for it looks at every installed distribution."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        found.setdefault(entry.name, []).append(entry)
    return found
