"""What is given to the verbs of a table, checked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdall_store.errors import InvalidNameError, UnsupportedTypeError
from holdall_store.tables._expression import Expression

__all__ = ["check_condition", "check_count", "check_names", "check_options", "names_given"]


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


def check_options(options: Any) -> None:
    """Raise `InvalidNameError` unless these are options of a storage by name."""
    if options is None:
        return
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise InvalidNameError(f"storage_options= are options by name, {{'region': …}}, not {type(options).__name__}.")
    for name, value in options.items():
        if name.lower().endswith(("endpoint", "endpoint_url", "region")) and not isinstance(value, str | None):
            raise InvalidNameError(f"storage_options: {name} is a text, not {value!r:.80}.")


def names_given(names: Any, what: str) -> tuple[str, ...]:
    """Return the names of columns that a caller gives, one or many or none."""
    if names is None:
        return ()
    if isinstance(names, str):
        return (names,)
    if not isinstance(names, Iterable):
        raise InvalidNameError(f"{what}= are names of columns, not {names!r:.80}.")
    return tuple(names)
