"""Who, when, where, with what: what a run records of the process that made it."""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdall._values import clean_text

if TYPE_CHECKING:
    import subprocess

__all__ = ["Provenance", "current_commit", "installed_packages", "mask_secrets", "process_info", "process_is_gone"]

STAT_FIELDS: Final = 20
"""Behind the name in /proc/<pid>/stat: the first is the state, the twentieth the time at which the process began."""

GIT_SECONDS_MAX: Final = 5.0
"""A repository on a slow disk must not hold a run up for longer than this."""

_DIST_ENDS: Final = (".dist-info", ".egg-info")
_DIST_INFO: Final = re.compile(r"(.+?)-([^-]+)\.(?:dist-info|egg-info)$")


_SECRET: Final = (
    r"(?:password|passwd|passphrase|\bpwd|secret|token(?!i[sz])|api[-_]?key|credential|private[-_]?key|\bauth\b)"
)


@functools.cache
def _secret_patterns() -> tuple[re.Pattern[str], ...]:
    """Return what an option that sounds like a secret, its value, an authorization, and a password in a URL look like.

    Compiled for the first command line with arguments: most have none, and it takes as long as writing a run.
    """
    option = rf"(?i)^--?[\w-]*{_SECRET}[\w-]*$"
    value = rf"(?is)([\w-]*{_SECRET}[\w-]*[\"']?\s*[=:]\s*)(.+)"
    authorization = r"(?i)\b(bearer\s+|basic\s+(?=[a-z0-9+/]{8,}=*$))\S.*"
    return tuple(map(re.compile, (option, value, authorization, r"(\w+://[^/\s:@]*:)[^/\s@]+(@)")))


def process_info(user: str) -> dict[str, Any]:
    """Return who runs this process, where it runs, and what tells it from a later one of the same number."""
    return {
        "user": user,
        "host": clean_text(os.uname().nodename),
        "pid": os.getpid(),
        "process": _process_mark(os.getpid()),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def process_is_gone(info: Mapping[str, Any]) -> bool:
    """Tell whether the process that `info` describes ran on this machine, and is no more; where it cannot be known, not.

    The mark tells the process from a later one of the same number, and this machine since it was started from others that
    have its name. A process that ended and was not waited for by its parent, is no more.
    """
    pid, mark = info.get("pid"), info.get("process")
    if type(pid) is not int or not isinstance(mark, str) or not mark or pid <= 0:
        return False
    boot = _boot_id()
    if not boot or not mark.startswith(f"{boot}/"):
        return False
    return _process_mark(pid) != mark


def _process_mark(pid: int) -> str:
    """Return when a process of this machine began, in the machine's own ticks since it was started, behind the id of that start.

    Empty where it is not there any more, or where the system does not tell.
    """
    boot = _boot_id()
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if not boot or len(fields) < STAT_FIELDS or fields[0] in "ZX" else f"{boot}/{fields[19]}"


@functools.cache
def _boot_id() -> str:
    """Return the id of this start of this machine, and the namespace in which its processes are numbered."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


class Provenance:
    """Gathers what is worth knowing about this process; git is asked in the background, while the caller computes."""

    def __init__(self, user: str) -> None:
        self._user = user
        self._git: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._ask_git, name="holdall-git", daemon=True)
        self._thread.start()

    def info(self) -> Mapping[str, Any]:
        """Return all of it as plain JSON values."""
        machine = os.uname()
        info: dict[str, Any] = {
            **process_info(self._user),
            "command": [clean_text(argument) for argument in mask_secrets(_command_line())],
            "folder": clean_text(_folder_name()),
            "platform": f"{machine.sysname} {machine.release} {machine.machine}",
            "packages": installed_packages(),
        }
        self._thread.join(GIT_SECONDS_MAX)  # last: all of the above is done while git is at work
        if self._git:
            info["git"] = self._git
        return info

    def _ask_git(self) -> None:
        if not _in_repository():
            return
        # Two questions that git answers at once: commit, branch and what differs; and whether it knows the script.
        script = _script()
        asked = [_begin_git("status", "--porcelain=v2", "--branch", "--untracked-files=no")]
        if script:
            asked.append(_begin_git("ls-files", "--others", "--exclude-standard", "--", script))
        status, *untracked = [_end_git(process) for process in asked]
        if not status:
            return
        lines = status.splitlines()
        heads: dict[str, str] = {}
        for line in lines:
            if line.startswith("# "):
                key, _, value = line[2:].partition(" ")
                heads[key] = value
        if heads.get("branch.oid", "(initial)") == "(initial)":
            return
        found: dict[str, Any] = {"commit": heads["branch.oid"]}
        if heads.get("branch.head", "(detached)") != "(detached)":
            found["branch"] = heads["branch.head"]
        found["dirty"] = any(untracked) or any(not line.startswith("#") for line in lines)
        self._git = found


def current_commit() -> str:
    """Return the commit of the working directory's repository, or an empty string."""
    return (_end_git(_begin_git("rev-parse", "HEAD")) or "") if _in_repository() else ""


def mask_secrets(arguments: Sequence[str]) -> list[str]:
    """Return a command line in which the values of options that sound like secrets are ``***``.

    Hidden are: what follows an option such as ``--password``, all that follows ``token=`` or ``"token":`` in one argument,
    what follows ``Bearer`` or ``Basic``, and passwords in URLs. What ``-p`` means is the program's own affair.
    """
    if len(arguments) <= 1 and not any(mark in argument for argument in arguments for mark in "=:@ "):
        return list(arguments)
    secret_option, secret_value, authorization, url_password = _secret_patterns()
    masked: list[str] = []
    hide = False
    for argument in arguments:
        if hide and not argument.startswith("-"):
            masked.append("***")
            hide = False
            continue
        hide = bool(secret_option.match(argument))
        shown = authorization.sub(r"\1***", secret_value.sub(r"\1***", argument))
        masked.append(url_password.sub(r"\1***\2", shown))
    return masked


def installed_packages() -> dict[str, str]:
    """Return the versions of the installed packages, by their normalized names.

    The names of their metadata folders tell both: to read each of them would take a hundred times as long.
    """
    packages: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            # Told by their ends first: most names there are no metadata folders.
            match = _DIST_INFO.match(name) if name.endswith(_DIST_ENDS) else None
            if match:
                packages.setdefault(clean_text(re.sub(r"[-_.]+", "-", match[1]).lower()), clean_text(match[2]))
    return dict(sorted(packages.items()))


def _folder_name() -> str:
    try:
        return os.path.basename(os.getcwd())
    except OSError:
        return ""  # the working directory was removed


def _command_line() -> list[str]:
    if "ipykernel" in sys.modules:
        return ["notebook"]
    arguments = list(sys.argv)
    if arguments and arguments[0]:
        path = Path(arguments[0])
        # Where somebody keeps their files is nobody's business; how they called the script is.
        arguments[0] = path.name if path.is_absolute() else str(path)
    return arguments or ["python"]


def _in_repository() -> bool:
    """Tell whether git would find a repository here: to ask it costs a process."""
    try:
        folder = os.getcwd()
    except OSError:
        return False
    while not os.path.exists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return True


def _script() -> str | None:
    """Return the file of the program, where it is one."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.abspath(file) if isinstance(file, str) and os.path.isfile(file) else None


def _begin_git(*arguments: str) -> subprocess.Popen[str] | None:
    import subprocess

    # Found here, because subprocess would look for it inside `warnings.catch_warnings`, which must not be used in a
    # thread: it puts filters back that another thread has changed, and has brought the interpreter down.
    places = [os.path.join(folder, "git") for folder in os.get_exec_path()]
    git = next((place for place in places if os.access(place, os.X_OK)), None)
    if git is None:
        return None
    try:
        # Without optional locks, looking never disturbs a git command that the user runs meanwhile.
        return subprocess.Popen(
            [git, "--no-optional-locks", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError:
        return None


def _end_git(process: subprocess.Popen[str] | None) -> str | None:
    """Return what a question was answered, or ``None`` where it was not."""
    if process is None:
        return None
    import subprocess

    with process:
        try:
            answer, _ = process.communicate(timeout=GIT_SECONDS_MAX)
        except (OSError, UnicodeDecodeError, subprocess.SubprocessError):
            process.kill()
            return None
    return answer.strip() if process.returncode == 0 else None
