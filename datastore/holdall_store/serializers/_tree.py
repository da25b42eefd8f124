"""What the serializers of Python's own types need beyond the public protocol, and the bounds on trees."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from holdall_store.serializers._protocol import Decoder, Node, Serializer

__all__ = ["MAX_DEPTH", "BuiltinSerializer", "ContainerSerializer", "TreeDecoder", "describe"]

MAX_DEPTH = 64
"""Levels of nesting that are kept as a tree: a level takes up to eight Python frames of the thousand that there are."""


class TreeDecoder(Decoder):
    """A decoder that also finds classes, and bounds the work of hashing."""

    @property
    @abstractmethod
    def trusted(self) -> bool:
        """Whether the reader allows code to run."""

    @abstractmethod
    def hashable(self, node: Node) -> Any:
        """Decode a key of a dict or an element of a set: it must be hashable, and not take forever to hash."""

    @abstractmethod
    def resolve(self, name: str) -> type:
        """Return the class that ``module:Qualified.name`` names, if its module is loaded or the store is trusted."""


class BuiltinSerializer(Serializer):
    """A serializer of types that come with Python; its tag has no dot."""

    identity: ClassVar[bool] = True
    """Whether an object that occurs twice must come back as one object."""

    leaf: ClassVar[bool] = False
    """Whether the object is mutable and holds no others: a pickle may then refer to the one in the tree."""

    mutable: ClassVar[bool] = False
    """Whether a copy of the object in a pickle, beside the one in the tree, would be seen to be another object."""

    def handles(self, obj: object) -> bool:  # noqa: ARG002
        """Take every object of the exact type."""
        return True

    def is_value(self, obj: object) -> bool:  # noqa: ARG002
        """Tell whether nobody cares if an object that occurs twice comes back as two equal ones."""
        return not self.identity

    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        """Return the object."""
        if not isinstance(decoder, TreeDecoder):
            raise TypeError(f"{self.tag!r} nodes are decoded by a TreeDecoder alone")
        return self.read(node, decoder)

    @abstractmethod
    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        """Return the object."""


class ContainerSerializer(BuiltinSerializer):
    """A serializer of mutable containers: made empty, then filled, so that they may contain themselves."""

    mutable = True

    @abstractmethod
    def empty(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        """Return the container with nothing in it."""

    @abstractmethod
    def fill(self, container: Any, node: dict[str, Node], decoder: TreeDecoder) -> None:
        """Put into the container what belongs in it."""

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        """Return the object."""
        container = self.empty(node, decoder)
        self.fill(container, node, decoder)
        return container


def describe(obj: object) -> str:
    """Return what to call an object in a message, with its article (``an open file`` reads better than a type)."""
    kind = obj if isinstance(obj, type) else type(obj)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(obj, type):
        return f"the class {name}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
