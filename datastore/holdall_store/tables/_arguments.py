"""What is given to the verbs of a table, checked at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdall_store.errors import InvalidNameError, UnsupportedTypeError
from holdall_store.tables._expression import Expression

__all__ = ["check_condition", "check_count", "check_names"]


def check_count(n: Any, least: int, what: str) -> None:
    """Raise `InvalidNameError` unless `n` is a whole number that is large enough."""
    if isinstance(n, bool) or not isinstance(n, int) or n < least:
        raise InvalidNameError(f"{what} from {least} on, not {n!r:.80}.")


def check_names(names: Sequence[Any]) -> None:
    """Raise `InvalidNameError` unless there are names of columns."""
    if not names or not all(isinstance(name, str) and name for name in names):
        raise InvalidNameError(f"select() takes the names of columns, each as an argument, and not {names!r:.200}.")


def check_condition(condition: Any) -> None:
    """Raise `UnsupportedTypeError` for what is no condition."""
    if not isinstance(condition, Expression):
        raise UnsupportedTypeError(
            f"where() takes conditions such as col('x') > 3, or x=[1, 2], not {condition!r:.80}."
        )
