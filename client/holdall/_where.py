"""Filters over runs, such as ``metrics.auc > 0.9 and "nightly" in tags``: a small grammar, read by hand, never run as code.

::

    filter  = term {"or" term}            term  = factor {"and" factor}
    factor  = "not" factor | "(" filter ")" | test
    test    = field compare value | value compare field | field ["not"] "in" list | value ["not"] "in" field
            | field "is" ["not"] "None"
    compare = "==" | "=" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    list    = "[" value {"," value} "]", or the same in parentheses
    value   = number | string | "True" | "False" | "None"

What a run does not have is neither greater nor smaller nor equal, and ``not`` does not make it so: as in SQL, such a run
does not match. ``== None`` asks for what is missing.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from holdall._moments import STATUSES, parse_duration, parse_moment
from holdall._where_tests import (
    Test,
    against,
    among,
    begins,
    both,
    compared,
    either,
    holds,
    metric,
    missing,
    negated,
    param,
)
from holdall.store import InvalidFilterError, nearest
from holdall_store.repository import RunRow

__all__ = ["Filter", "parse_where"]

CHARACTERS_MAX: Final = 10_000
"""A longer filter was made by a program that should choose for itself."""

DEPTH_MAX: Final = 100
"""So many parentheses nest; each takes a few frames of Python's stack."""

DIGITS_MAX: Final = 21
"""An integer of more digits has more than 64 bits."""

_WORD: Final = r"[^\W\d][\w/\-]*"
_TOKEN: Final = re.compile(
    rf"""\s*(?:
    (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>{_WORD}(?:\.(?:[\w/\-]+|"[^"]*"|'[^']*'))*)
    |(?P<mark>==|!=|<>|<=|>=|[=<>()\[\],])
    )""",
    re.VERBOSE,
)
_PART: Final = re.compile(r"\"[^\"]*\"|'[^']*'|[^.]+")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SAME: Final = {"=": "==", "<>": "!="}
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}

_CONSTANTS: Final[dict[str, Any]] = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "null": None,
    "nan": math.nan,
    "inf": math.inf,
}
_WORDS: Final = ("and", "or", "not", "in", "is")

SHORT_COMMIT: Final = re.compile(r"[0-9a-f]{7,39}")
"""What Git writes for short of a commit: it equals every commit that begins so."""

_FIELDS: Final[dict[str, Callable[[RunRow], Any]]] = {
    "run": lambda row: row.run,
    "namespace": lambda row: row.namespace,
    "status": lambda row: row.status,
    "started": lambda row: row.started_s,
    "finished": lambda row: None if row.status == "running" else row.updated_s,
    "duration": lambda row: row.updated_s - row.started_s,
    "user": lambda row: row.user or None,
    "host": lambda row: row.host or None,
    "exception": lambda row: row.exception or None,
    "git.commit": lambda row: row.git_commit or None,
    "git.branch": lambda row: row.git_branch or None,
    "git.dirty": lambda row: row.git_dirty,
    "tags": lambda row: row.tags,
    "artifacts": lambda row: row.artifacts,
}
_SETS: Final = ("tags", "artifacts")
_MOMENTS: Final = ("started", "finished")
_GROUPS: Final = ("metrics", "params")


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


class _Field(NamedTuple):
    name: str
    get: Callable[[RunRow], Any]
    column: int


class _Value(NamedTuple):
    value: Any
    column: int


class Filter(NamedTuple):
    """A filter that was read: whether a run matches, and which metrics and parameters it asks for."""

    text: str
    matches: Test
    asks: tuple[tuple[str, str], ...]


def parse_where(text: object) -> Filter:
    """Return the filter that `text` writes; `InvalidFilterError` points at what is wrong with it."""
    if not isinstance(text, str):
        raise InvalidFilterError(
            f"where= takes a filter as text, such as 'metrics.auc > 0.9', not {type(text).__name__}: {text!r:.60}"
        )
    if len(text) > CHARACTERS_MAX:
        raise InvalidFilterError(f"A filter has at most {CHARACTERS_MAX} characters; this one has {len(text)}.")
    return _Parser(text).filter()


class _Parser:
    """Reads one filter from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split())
        self._at = 0
        self._depth = 0
        self._asks: list[tuple[str, str]] = []

    def filter(self) -> Filter:
        """Return all of it."""
        if self._token.kind == "end":
            raise self._error("The filter is empty; write for example metrics.auc > 0.9", self._token.column)
        test = self._any()
        if self._token.kind != "end":
            raise self._error(
                f"Nothing can follow here but 'and' or 'or', not {self._token.text!r}", self._token.column
            )
        return Filter(self._text, test, tuple(dict.fromkeys(self._asks)))

    def _any(self) -> Test:
        tests = [self._all()]
        while self._takes("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else either(tests)

    def _all(self) -> Test:
        tests = [self._factor()]
        while self._takes("and"):
            tests.append(self._factor())
        return tests[0] if len(tests) == 1 else both(tests)

    def _factor(self) -> Test:
        column = self._token.column
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._error(f"The filter nests more than {DEPTH_MAX} levels deep", column)
        try:
            if self._takes("not"):
                return negated(self._factor())
            if self._takes("("):
                test = self._any()
                if not self._takes(")"):
                    raise self._error(f"A ')' is missing for the '(' in column {column + 1}", self._token.column)
                return test
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Test:
        left = self._operand()
        token = self._token
        mark = _SAME.get(token.text, token.text) if token.kind in ("mark", "name") else ""
        if mark in _COMPARE:
            self._at += 1
            return self._comparison(left, mark, self._operand(), token.column)
        if mark in ("in", "not"):
            self._at += 1
            if mark == "not" and not self._takes("in"):
                raise self._error("'not' is followed by 'in' here", self._token.column)
            test = self._membership(left)
            return negated(test) if mark == "not" else test
        if mark == "is":
            self._at += 1
            is_not = self._takes("not")
            if not self._takes("None") or not isinstance(left, _Field):
                raise self._error("'is' asks whether a field is None: write metrics.auc is None", token.column)
            test = self._comparison(left, "==", _Value(None, token.column), token.column)
            return negated(test) if is_not else test
        shown = left.name if isinstance(left, _Field) else "the value"
        raise self._error(f"A comparison is missing after {shown}: ==, !=, <, <=, >, >=, in, not in", token.column)

    def _operand(self) -> _Field | _Value:
        token = self._token
        if token.kind in ("number", "string") or token.text in _CONSTANTS:
            return self._value()
        if token.kind == "name" and token.text not in _WORDS:
            self._at += 1
            return self._field(token)
        if token.kind == "end":
            raise self._error("The filter ends where a field or a value is missing", token.column)
        raise self._error(f"A field or a value is missing here, before {token.text!r}", token.column)

    def _value(self) -> _Value:
        token = self._token
        self._at += 1
        if token.kind == "number":
            whole = int(token.text) if not set(token.text) & set(".eE") and len(token.text) <= DIGITS_MAX else None
            exact = whole is not None and -(1 << 63) <= whole < 1 << 64  # beyond, runs are remembered with such numbers
            return _Value(whole if exact else float(token.text), token.column)
        if token.kind == "string":
            return _Value(_ESCAPE.sub(r"\1", token.text[1:-1]), token.column)
        if token.kind == "name" and token.text in _CONSTANTS:
            return _Value(_CONSTANTS[token.text], token.column)
        self._at -= 1
        quoted = f"; a text is written in quotes: {token.text!r}" if token.kind == "name" else ""
        raise self._error(f"A value is missing here{quoted}", token.column)

    def _field(self, token: _Token) -> _Field:
        parts = [part.strip("\"'") for part in _PART.findall(token.text)]
        group = parts[0]
        if group in _GROUPS and len(parts) > 1:
            key = ".".join(parts[1:])
            self._asks.append((group, key))
            return _Field(token.text, metric(key) if group == "metrics" else param(key), token.column)
        if token.text in _FIELDS:
            return _Field(token.text, _FIELDS[token.text], token.column)
        known = [*_FIELDS, "metrics.<name>", "params.<name>"]
        if group in _GROUPS:
            raise self._error(f"{group} is followed by a dot and a name, such as {group}.auc", token.column)
        rest = "." + ".".join(parts[1:]) if len(parts) > 1 else ""
        hint = nearest(group, _GROUPS) if rest else ""
        hint = hint.replace("'?", f"{rest}'?") or nearest(token.text, _FIELDS)
        if not hint and not rest:
            hint = f" A metric is written metrics.{token.text}, a parameter params.{token.text}, a text in quotes."
        raise self._error(f"There is no field {token.text!r}.{hint} There are: {', '.join(known)}", token.column)

    def _comparison(self, left: _Field | _Value, mark: str, right: _Field | _Value, column: int) -> Test:
        if isinstance(left, _Value) and isinstance(right, _Value):
            raise self._error("A comparison needs a field on one side, such as metrics.auc", left.column)
        if isinstance(left, _Value):
            left, right, mark = right, left, _TURNED.get(mark, mark)
        if not isinstance(left, _Field):
            raise AssertionError("one side is a field")
        for side in (left, right):
            if isinstance(side, _Field) and side.name in _SETS:
                raise self._error(f"{side.name} are many: write 'name' in {side.name}", side.column)
        compare = _COMPARE[mark]
        if isinstance(right, _Field):
            return compared(left.get, compare, right.get)
        value = self._fit(left, right)
        if value is None:
            if mark not in ("==", "!="):
                raise self._error("None can only be compared with == and !=", column)
            return missing(left.get) if mark == "==" else negated(missing(left.get))
        if left.name == "git.commit" and mark in ("==", "!=") and SHORT_COMMIT.fullmatch(str(value)):
            short = begins(left.get, str(value))
            return short if mark == "==" else negated(short)
        return against(left.get, compare, value)

    def _membership(self, left: _Field | _Value) -> Test:
        token = self._token
        if isinstance(left, _Value):
            field = self._operand()
            if not isinstance(field, _Field) or field.name not in _SETS:
                raise self._error("A value can be in tags or in artifacts; a field in a list", token.column)
            if not isinstance(left.value, str):
                raise self._error(f"{field.name} are texts: write them in quotes", left.column)
            return holds(field.get, left.value)
        if left.name in _SETS:
            raise self._error(f"{left.name} are many: write 'name' in {left.name}", left.column)
        closing = {"(": ")", "[": "]"}.get(token.text, "")
        if not closing:
            raise self._error("'in' is followed by a list, such as ['a', 'b'], or by tags or artifacts", token.column)
        self._at += 1
        values = [self._fit(left, self._value())]
        while self._takes(","):
            if self._token.text == closing:
                break
            values.append(self._fit(left, self._value()))
        if not self._takes(closing):
            raise self._error(f"The list is not closed: a {closing!r} is missing", self._token.column)
        return among(left.get, values)

    def _fit(self, field: _Field, value: _Value) -> Any:
        """Return a value as the field has it: times and durations are seconds."""
        if field.name == "status" and value.value is not None and value.value not in STATUSES:
            hint = nearest(str(value.value), STATUSES)
            raise self._error(f"{value.value!r} is no status.{hint} There are: {', '.join(STATUSES)}", value.column)
        if value.value is None or (field.name not in _MOMENTS and field.name != "duration"):
            return value.value
        try:
            if field.name == "duration":
                return parse_duration(value.value)
            return parse_moment(value.value).timestamp()
        except InvalidFilterError as error:
            raise self._error(str(error).rstrip("."), value.column) from None

    @property
    def _token(self) -> _Token:
        return self._tokens[self._at]

    def _takes(self, text: str) -> bool:
        if self._token.text == text and self._token.kind in ("name", "mark"):
            self._at += 1
            return True
        return False

    def _split(self) -> Iterator[_Token]:
        position, text = 0, self._text
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                column = position + len(text[position:]) - len(text[position:].lstrip())
                raise self._error(_misread(text[column:]), column)
            kind = str(match.lastgroup)
            text_of, lower = match.group(kind), match.group(kind).lower()
            if kind == "name" and lower in _WORDS and text_of not in _WORDS:
                raise self._error(f"{text_of!r} is written {lower!r} here", match.start(kind))
            yield _Token(kind, text_of, match.start(kind))
            position = match.end()
        yield _Token("end", "", len(text))

    def _error(self, message: str, column: int) -> InvalidFilterError:
        before = self._text[:column]
        line = self._text[before.rfind("\n") + 1 :].partition("\n")[0]
        caret = " " * (column - before.rfind("\n") - 1) + "^"
        start = max(0, len(caret) - 60)
        return InvalidFilterError(
            f"{message} (column {column + 1} of the filter).\n  {line[start : start + 100]}\n  {caret[start:]}"
        )


def _misread(rest: str) -> str:
    for wrong, right in (("&&", "and"), ("||", "or"), ("&", "and"), ("|", "or"), ("!", "not")):
        if rest.startswith(wrong):
            return f"{wrong!r} is written {right!r} here"
    if rest[0] in "\"'":
        return f"The text is not closed: a second {rest[0]} is missing"
    if rest[0].isdigit():
        return "This is no number, and no name begins with a digit"
    return f"{rest[0]!r} means nothing in a filter"
