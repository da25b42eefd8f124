"""Writes docs/reference/api.md from the signatures and docstrings of holdall's public names.

python docs/build_reference.py
"""

import inspect
import re
from pathlib import Path

import holdall

PAGE = Path(__file__).resolve().parent / "reference" / "api.md"
HEAD = """# Reference: the names of `holdall`

Made by `docs/build_reference.py` from signatures and docstrings. Errors have [a page of their own](errors.md); the engine's
names are in `holdall.store`, which is `holdall_store`.
"""
RETURNS = {"ActiveRun": "Made by `holdall.run`."}


def page() -> str:
    """Return the text of the page."""
    names = [name for name in holdall.__all__ if not name.startswith("__") and name != "store"]
    errors = [
        name for name in names if inspect.isclass(found := getattr(holdall, name)) and issubclass(found, Exception)
    ]
    sections = [section(name, getattr(holdall, name)) for name in names if name not in errors]
    listed = "\n".join(f"- [`{name}`](errors.md): {first_line(getattr(holdall, name))}" for name in errors)
    return "\n".join([HEAD, *sections, f"## Errors\n\n{listed}\n"])


def section(name: str, found: object) -> str:
    """Return what there is to say of one name."""
    if not inspect.isclass(found):
        return f"## `holdall.{name}`\n\n{signature(name, found)}\n\n{prose(found)}\n"
    lines = [f"## `holdall.{name}`", RETURNS.get(name) or signature(name, found), prose(found)]
    for member, value in members(found).items():
        told = isinstance(value, property) or inspect.isroutine(value)
        if told and not member.startswith("_") and inspect.getdoc(value):
            lines.append(described(member, value))
    return "\n\n".join(lines) + "\n"


def members(found: type) -> dict[str, object]:
    """Return what a class and those of ours that it is made of define."""
    ours = [each for each in found.__mro__ if each.__module__.partition(".")[0] in ("holdall", "holdall_store")]
    return {member: value for each in reversed(ours) for member, value in vars(each).items()}


def described(member: str, value: object) -> str:
    """Return what there is to say of a method or a property."""
    if isinstance(value, property):
        returns = inspect.signature(value.fget).return_annotation if value.fget else ""
        return f"### `.{member}`\n\n`{returns}`. {prose(value)}"
    return f"### `.{member}()`\n\n{signature(member, value)}\n\n{prose(value)}"


def signature(name: str, found: object) -> str:
    """Return a signature as code."""
    text = str(inspect.signature(found))  # type: ignore[arg-type]
    text = re.sub(r"\(self(, /)?(, )?", "(", text)
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)  # of a named tuple
    text = re.sub(r"<object object at 0x[0-9a-f]+>", "…", text.replace("'", ""))
    return f"```text\n{name}{text}\n```"


def prose(found: object) -> str:
    """Return a docstring as Markdown: its examples in fences, its quotes single."""
    parts = re.split(r"(?m)(^>>> .*(?:\n.+)*)", inspect.getdoc(found) or "")
    shown = [f"```text\n{part}\n```" if part.startswith(">>>") else quoted(part) for part in parts]
    return "\n\n".join(part.strip() for part in shown if part.strip())


def quoted(text: str) -> str:
    """Return text with reStructuredText's double quotes of code as single ones."""
    return text.replace("``", "`")


def first_line(found: object) -> str:
    """Return the first sentence of a docstring."""
    return quoted((inspect.getdoc(found) or "").partition("\n")[0])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
