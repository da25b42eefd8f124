"""What a reader must know of the machine to judge a figure; nothing that tells whose it is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

__all__ = ["describe_machine", "file_system_of", "load_average", "machine_line"]

PACKAGES: Final = ("blake3", "numpy", "pandas", "pyarrow", "pyfastcdc", "zstandard", "msgspec", "joblib")


def describe_machine(folder: Path) -> dict[str, Any]:
    """Return processor, memory, kernel, file system of `folder`, and versions."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": file_system_of(folder),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Return the machine as one line for people."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['kernel']}, "
        f"{machine['file_system']}, Python {machine['python']}; {packages}"
    )


def load_average() -> list[float]:
    """Return the load averages of the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def file_system_of(folder: Path) -> str:
    """Return the kind of file system that a folder lies on, or ``unknown``."""
    path = os.path.realpath(folder)
    best, kind = "", "unknown"
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    for line in lines:
        _, mount, found, *_ = line.split()
        if (path == mount or path.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
