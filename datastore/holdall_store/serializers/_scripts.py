"""Scripts: modules that another process does not have, or has another one under the same name."""

from __future__ import annotations

import sys
import types

__all__ = ["found_at", "is_script"]

_MAIN = ("__main__", "__mp_main__")
"""What Python calls the script that it runs, and multiprocessing in the processes that it spawns."""


def is_script(module: object) -> bool:
    """Tell whether a name of a module means only this process's: a script, or what ``runpy`` ran as if it were one."""
    if not isinstance(module, str):
        return False
    if module in _MAIN or module.startswith("<"):
        return True
    found = sys.modules.get(module)
    if not isinstance(found, types.ModuleType):
        return False
    known = vars(found)  # of what was imported, at least one says how; a module made by hand has no file
    return known.get("__spec__") is None and known.get("__loader__") is None and isinstance(known.get("__file__"), str)


def found_at(module: object, name: str) -> object:
    """Follow a qualified name, running neither a module's ``__getattr__`` nor a descriptor; None where nothing is."""
    found = sys.modules.get(module) if isinstance(module, str) else module
    for part in name.split("."):
        if not isinstance(found, (type, types.ModuleType)):
            return None
        found = vars(found).get(part)
    return found
