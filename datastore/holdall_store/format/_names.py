"""Names that people choose, and how they become parts of keys."""

from __future__ import annotations

import re
import unicodedata

from holdall_store.errors import FormatError, InvalidNameError

__all__ = ["check_name", "check_namespace", "escape_name", "unescape_name"]

NAME_CHARACTERS_MAX = 128
"""Names are for people: a longer one is a mistake, and every name must fit in a message on a terminal."""

SEGMENT_BYTES_MAX = 240
"""An escaped name must fit in one file name (255 bytes on every common file system) with room for a suffix."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}")
"""What most names look like: nothing is wrong with these."""

_FORBIDDEN = frozenset("/:@\\")
# Ranges, not properties: what Unicode knows of a character depends on the version of Python, and keys must not.
_LITERAL = re.compile("[a-z0-9_.\\-\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]")
_ESCAPED = re.compile(r"%([0-9a-f]{2})|\^([a-z])|([^%^])")


def check_name(name: object, what: str) -> str:
    """Return `name` in Unicode normal form C if it can name a flow, an artifact or an alias (`what`).

    Raises `InvalidNameError` for what is not a string, is empty or longer than 128 characters, is ``.`` or ``..``,
    begins or ends with a space, or holds a slash, a colon, an at sign, a backslash, or a control or invisible
    character: these are the grammar of references, or no file system and no terminal bears them, or nobody sees them.
    A metric may have slashes between names (``train/loss``): no reference and no key holds it.
    """
    if isinstance(name, str) and _PLAIN.fullmatch(name):
        return name
    if what == "metric" and isinstance(name, str) and "/" in name and len(name) <= NAME_CHARACTERS_MAX:
        return "/".join(check_name(part, what) for part in name.split("/"))
    if not isinstance(name, str):
        raise InvalidNameError(f"{what} names are strings, not {type(name).__name__}: {name!r:.80}")
    shown = _shown(name)
    if not name or name.isspace():
        raise InvalidNameError(f"An empty string cannot name {_article(what)}.")
    if len(name) > NAME_CHARACTERS_MAX:
        raise InvalidNameError(
            f"{shown} cannot name {_article(what)}: it has {len(name)} characters, and {NAME_CHARACTERS_MAX} are allowed."
        )
    if name in (".", ".."):
        raise InvalidNameError(f"{shown} cannot name {_article(what)}: it means a folder.")
    if name != name.strip():
        raise InvalidNameError(f"{shown} cannot name {_article(what)}: it begins or ends with white space.")
    bad = sorted({c for c in name if c in _FORBIDDEN or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")})
    if bad:
        listed = " ".join(repr(c) for c in bad)
        raise InvalidNameError(
            f"{shown} cannot name {_article(what)}: it holds {listed}. "
            "References are written [namespace/]flow[/artifact][:alias|@run]; use - or _ or . instead."
        )
    normal = unicodedata.normalize("NFC", name)
    if len(escape_name(normal).encode()) > SEGMENT_BYTES_MAX:
        raise InvalidNameError(
            f"{shown} cannot name {_article(what)}: it is too long once it is made safe for a file name."
        )
    return normal


def check_namespace(name: object) -> str:
    """Return `name` if it can be a namespace: ``kind:name``, such as ``user:ana`` or ``production:churn``."""
    if not isinstance(name, str):
        raise InvalidNameError(f"Namespaces are strings such as 'user:ana', not {type(name).__name__}: {name!r:.80}")
    kind, colon, rest = name.partition(":")
    if not colon or not kind or not rest:
        raise InvalidNameError(
            f"{_shown(name)} is no namespace: write kind:name, for example 'user:ana', 'production:churn', 'team:fraud'."
        )
    kind, rest = check_name(kind, "namespace"), check_name(rest, "namespace")
    if len(escape_name(f"{kind}:{rest}").encode()) > SEGMENT_BYTES_MAX:
        raise InvalidNameError(f"{_shown(name)} is too long for a namespace.")
    return f"{kind}:{rest}"


def escape_name(name: str) -> str:
    """Return `name` as one segment of a key, so that no two names meet on any file system.

    Lower-case ASCII letters, digits, ``-``, ``_`` and ``.`` (but not at the start) stand for themselves, and so do kana,
    Chinese characters and Hangul syllables. ``A`` becomes ``^a``, because some file systems do not tell the two apart.
    All else becomes ``%hh`` for each byte of its UTF-8.
    """
    out = []
    for index, char in enumerate(name):
        if _LITERAL.match(char) and not (char == "." and index == 0):
            out.append(char)
        elif "A" <= char <= "Z":
            out.append("^" + char.lower())
        else:
            out.extend(f"%{byte:02x}" for byte in char.encode())
    return "".join(out)


def unescape_name(segment: str) -> str:
    """Return the name that `escape_name` made `segment` of; raise `FormatError` where it made it of none."""
    out = bytearray()
    end = 0
    for match in _ESCAPED.finditer(segment):
        if match.start() != end:
            break
        end = match.end()
        byte, upper, char = match.groups()
        if byte:
            out.append(int(byte, 16))
        else:
            out += (upper.upper() if upper else char).encode("utf-8", "surrogatepass")
    try:
        name = out.decode() if end == len(segment) else None
    except UnicodeDecodeError:
        name = None
    if name is None or escape_name(name) != segment:
        raise FormatError(f"{segment!r:.80} is no name that holdall wrote.")
    return name


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:57] + "…")


def _article(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
