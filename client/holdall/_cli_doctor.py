"""``holdall doctor``: what there is, what chose it, what is wrong, and the way out."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple

from holdall._cli_find import Unreadable, newest_entry, run_reference
from holdall._cli_output import Output, Styled
from holdall._client import Client
from holdall._defaults import _project, default_user
from holdall._provenance import mask_secrets
from holdall._run import Run
from holdall._text import count_text, place_text, size_text
from holdall.store import HoldallError, ObjectNotFoundError, nearest
from holdall_store.config import VARIABLE_PREFIX, VARIABLES, Settings, read_settings
from holdall_store.format import ENTRY_BYTES, FOOTER_BYTES, PackRef, pack_key
from holdall_store.repository import REMOTE_FOLDER, is_private
from holdall_store.storage import LocalStorage

__all__ = ["Check", "doctor"]

PYTHON_MIN: Final = (3, 11)

FREE_BYTES_MIN: Final = 1 << 30
"""With less than this, the next model may not fit."""

CACHE_FILES_MAX: Final = 100_000
"""Files are counted up to here: a diagnosis must not take long."""

FLOWS_READ_MAX: Final = 100
"""The newest run of so many flows is read."""

PACKS_LOOKED_AT_MAX: Final = 200
"""Each may be a round trip."""

PACKS_TOLD_MAX: Final = 10
"""Where more are gone, a longer list says no more."""

TRUST_PATHS_MAX: Final = 100_000
"""So many files and folders of a local store are asked whose they are."""

GIT_SECONDS_MAX: Final = 5.0

REQUIRED: Final = (
    "blake3",
    "cloudpickle",
    "fsspec",
    "msgspec",
    "numpy",
    "obstore",
    "pandas",
    "platformdirs",
    "pyarrow",
    "pyfastcdc",
    "s3fs",
    "xxhash",
    "zstandard",
)
OPTIONAL: Final = ("lightgbm", "polars", "scikit-learn", "scipy", "torch", "xgboost")

Status = Literal["ok", "warn", "fail"]

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)\s*$")


class Check(NamedTuple):
    """What was looked at, how it is, and what to do about it."""

    name: str
    status: Status
    message: str
    hint: str = ""


def doctor(make_client: Callable[[], Client], options: argparse.Namespace, output: Output) -> int:
    """Check everything that holdall stands on; return 1 if anything is broken."""
    checks = list(_checks(make_client, options))
    failed = any(check.status == "fail" for check in checks)
    if output.as_json:
        output.json({"ok": not failed, "checks": [check._asdict() for check in checks]})
    elif output.quiet:
        for check in checks:
            if check.status != "ok":
                output.line(f"{check.name}: {check.status}")
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            output.line(
                Styled(check.status.ljust(4), _STYLES[check.status]), f"  {check.name.ljust(width)}  {check.message}"
            )
            if check.hint:
                output.line(Styled(f"{' ' * (width + 8)}{check.hint}", "dim"))
    return 1 if failed else 0


def _checks(make_client: Callable[[], Client], options: argparse.Namespace) -> Iterator[Check]:
    yield _python()
    yield from _dependencies()
    yield _chunker()
    yield _git()
    try:
        settings = read_settings()
    except HoldallError as error:
        yield Check(
            "settings", "fail", str(error), "Correct or unset that variable; nothing else can be checked before."
        )
        return
    yield from _variables(settings)
    yield _user(settings)
    try:
        client = make_client()
        yield _namespace(client, settings, options)
        yield from _store(client, settings, options)
    except HoldallError as error:
        yield Check("store", "fail", str(error), "Check --store, HOLDALL_STORE and [tool.holdall] in pyproject.toml.")
    yield _cache(settings)


def _python() -> Check:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < PYTHON_MIN:
        return Check("python", "fail", text, f"holdall needs Python {'.'.join(map(str, PYTHON_MIN))} or newer.")
    return Check("python", "ok", text)


def _dependencies() -> Iterator[Check]:
    """Look at what is installed, without importing it."""
    lowest = _lowest_versions()
    found, wrong = [], []
    for name in REQUIRED:
        version = _version(name)
        if version is None:
            wrong.append(name)
            yield Check("library", "fail", f"{name} is not installed", f"pip install '{name}>={lowest.get(name, '0')}'")
        elif _numbers(version) < _numbers(lowest.get(name, "0")):
            wrong.append(name)
            yield Check("library", "fail", f"{name} {version} is too old", f"pip install '{name}>={lowest[name]}'")
        else:
            found.append(f"{name} {version}")
    if not wrong:
        yield Check("libraries", "ok", ", ".join(found))
    versions = {name: _version(name) or _version(f"{name}-cpu") for name in OPTIONAL}
    optional = [f"{name} {version}" for name, version in versions.items() if version]
    absent = [name for name, version in versions.items() if not version]
    message = ", ".join(optional) or "none"
    yield Check("optional", "ok", message + (f" (not installed: {', '.join(absent)})" if absent else ""))


def _lowest_versions() -> dict[str, str]:
    try:
        required = metadata.requires("holdall") or []
    except metadata.PackageNotFoundError:  # imported from its source folder
        return {}
    matches = (_REQUIREMENT.match(line) for line in required if ";" not in line)
    return {match[1].lower(): match[2] for match in matches if match}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _chunker() -> Check:
    """Import the compiled chunker: without it, saving would be 200 times slower."""
    try:
        import_module("holdall_store.format.chunker")
    except ImportError as error:
        return Check("chunker", "fail", str(error), "pip install --force-reinstall --only-binary :all: pyfastcdc")
    return Check("chunker", "ok", "pyfastcdc is compiled")


def _git() -> Check:
    if shutil.which("git") is None:
        return Check("git", "warn", "not installed", "Without it, runs do not record the commit they ran from.")
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("git", "warn", f"does not answer: {error}", "Runs will not record the commit they ran from.")
    if done.returncode != 0:
        return Check("git", "ok", "installed; this folder is in no repository with a commit, so runs record none")
    return Check("git", "ok", f"runs from here record commit {done.stdout.strip()}")


def _variables(settings: Settings) -> Iterator[Check]:
    if not settings.variables:
        yield Check("variables", "ok", f"no {VARIABLE_PREFIX}* variable is set")
    known = [VARIABLE_PREFIX + name for name in VARIABLES]
    for name, value in settings.variables:
        shown = f"{name}={mask_secrets([value])[0]}"
        if name in known:
            yield Check("variable", "ok", shown)
        else:
            yield Check(
                "variable", "warn", f"{name} means nothing to holdall", (nearest(name, known) or " Unset it.").strip()
            )


def _user(settings: Settings) -> Check:
    return Check("user", "ok", f"{default_user(settings)} (from {'HOLDALL_USER' if settings.user else 'the system'})")


def _namespace(client: Client, settings: Settings, options: argparse.Namespace) -> Check:
    if options.all_namespaces:
        return Check("namespace", "ok", "all of them (from --all-namespaces)")
    if options.namespace:
        origin = "--namespace"
    elif settings.namespace:
        origin = "HOLDALL_NAMESPACE"
    elif _project().get("namespace"):
        origin = "[tool.holdall] in pyproject.toml"
    else:
        origin = "the user's name"
    return Check("namespace", "ok", f"{client.namespace} (from {origin})")


def _store(client: Client, settings: Settings, options: argparse.Namespace) -> Iterator[Check]:
    repository = client.repository
    if repository.offline is not None:
        yield Check("store", "ok", f"{place_text(client.url)} ({_store_origin(settings, options, exists=True)})")
        flows = len(client.in_namespace(None).flows)
        yield Check("content", "ok", f"offline: not asked; the cache holds runs of {count_text(flows, 'flow')}")
        return
    exists = repository.exists()
    yield Check("store", "ok", f"{place_text(client.url)} ({_store_origin(settings, options, exists)})")
    if exists:
        record = repository.record()
        spaces = count_text(len(client.namespaces), "namespace")
        yield Check("content", "ok", f"format {record.holdall}, made {record.created}, {spaces}")
    else:
        yield Check(
            "content",
            "warn",
            "there is no store there yet",
            "The first save makes one: holdall.save(value, 'flow/name').",
        )
    if isinstance(repository.storage, LocalStorage):
        yield from _local(repository.storage.path)
    if exists:
        yield from _newest_runs(client)
        yield _trust(client, settings)


def _store_origin(settings: Settings, options: argparse.Namespace, exists: bool) -> str:
    if options.store:
        return "from --store"
    if settings.store:
        return "from HOLDALL_STORE"
    if _project().get("store"):
        return "from [tool.holdall] in pyproject.toml"
    return "found upward from the working directory" if exists else "by default, in the working directory"


def _local(path: Path) -> Iterator[Check]:
    """Check what the first save will meet: the folder, or the nearest one above it that is there."""
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        yield Check("folder", "fail", f"{str(place)!r} is a file", "Name another place with HOLDALL_STORE.")
        return
    if not os.access(place, os.R_OK | os.X_OK):
        yield Check("folder", "fail", f"{str(place)!r} may not be read", "Ask its owner, or name another store.")
        return
    if os.access(place, os.W_OK):
        yield Check("folder", "ok", "may be read and written")
    else:
        yield Check(
            "folder",
            "warn",
            f"{str(place)!r} may be read, not written",
            "Loading works. To save, set HOLDALL_STORE to another place.",
        )
    free = shutil.disk_usage(place).free
    message = f"{size_text(free)} free"
    yield (
        Check("disk", "ok", message)
        if free >= FREE_BYTES_MIN
        else Check("disk", "warn", message, "Free some space, or keep the store on another disk.")
    )


def _newest_runs(client: Client) -> Iterator[Check]:
    """Read the newest run of each flow, which is what most loads begin with, and look whether its packs are there."""
    flows = client.in_namespace(None).flows
    looked_at = flows[:FLOWS_READ_MAX]
    newest = [newest_entry(flow) for flow in looked_at]
    damaged = [run for run in newest if isinstance(run, Unreadable)]
    for run in damaged:
        hint = "Restore the files of that run from a backup; other runs are not touched by it."
        if run.status == "unreadable":
            hint = "Ask the owner of these files for the right to read them."
        yield Check("run", "fail", f"{run_reference(run)} is {run.status}: {run.error}", hint)
    whole = [run for run in newest if isinstance(run, Run)]
    missing = list(_missing_packs(client, whole))
    for holder, key, what in missing[:PACKS_TOLD_MAX]:
        yield Check(
            "pack",
            "fail",
            f"{key} {what}; {run_reference(holder)} refers to it",
            "Restore it from a backup, or from the place that the store was copied from; save again what it held.",
        )
    if not damaged and not missing:
        rest = f" (of {len(flows)})" if len(flows) > len(looked_at) else ""
        yield Check(
            "runs",
            "ok",
            f"the newest run of {count_text(len(looked_at), 'flow')}{rest} was read, and its packs are there; every byte is "
            "verified when it is loaded",
        )


def _missing_packs(client: Client, runs: Iterable[Run]) -> Iterator[tuple[Run, str, str]]:
    """Look at the packs of runs, each once, and yield those that are not there or have another size than they had."""
    first_named: dict[str, tuple[Run, PackRef]] = {}
    for run in runs:
        for artifact in run:
            for pack in artifact._stored.packs:
                first_named.setdefault(pack_key(pack.name), (run, pack))
    for key, (run, pack) in itertools.islice(first_named.items(), PACKS_LOOKED_AT_MAX):
        try:
            size = client.repository.storage.head(key).size
        except ObjectNotFoundError:
            yield run, key, "is gone"
            continue
        expected = pack.table_offset + pack.entries * ENTRY_BYTES + FOOTER_BYTES
        if size != expected:
            yield run, key, f"has {size} bytes instead of {expected}"


def _trust(client: Client, settings: Settings) -> Check:
    if settings.trust:
        return Check("trust", "ok", "pickles are loaded from any store (HOLDALL_TRUST)")
    storage = client.repository.storage
    trusting = "If you trust whoever writes there: HOLDALL_TRUST=1, or load(..., trust=True)."
    if not isinstance(storage, LocalStorage):
        if client.trusted:
            return Check("trust", "ok", "pickles are loaded: nobody else may write to this store")
        return Check("trust", "warn", "pickles are not loaded: others may write to this store", trusting)
    weak = _weak_spot(storage.path)
    if weak is None and client.trusted:
        return Check("trust", "ok", "pickles are loaded: the store is yours, and nobody else may write to it")
    path, owner = weak or (storage.path, "")
    if owner:
        message = f"{place_text(str(path))!r} belongs to {owner}"
    else:
        message = f"others may write to {place_text(str(path))!r}"
        trusting += f" If the store is yours alone: chmod -R go-w {storage.path}"
    what = "pickles are not loaded" if path == storage.path else "pickles that depend on it are not loaded"
    return Check("trust", "warn", f"{what}: {message}", trusting)


def _weak_spot(root: Path) -> tuple[Path, str] | None:
    """Return the first path of a store that is not the user's alone: with its owner if that is somebody else."""
    me = os.geteuid()
    for path in itertools.islice(_paths(root), TRUST_PATHS_MAX):
        try:
            found = path.stat(follow_symlinks=path == root)
        except OSError:
            continue  # removed meanwhile
        if found.st_uid != me:
            return path, _user_name(found.st_uid)
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return path, ""
    return None


def _paths(root: Path) -> Iterator[Path]:
    """Yield the folder of a store and all that is in it, but what is hidden: that is no part of it."""
    yield root
    for base, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(base, name) for name in (*folders, *names) if not name.startswith("."))


def _user_name(number: int) -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(number).pw_name!r}"
    except KeyError:
        return f"user number {number}"


def _cache(settings: Settings) -> Check:
    folder = settings.cache_folder()
    sizes = _sizes(folder)
    count = len(sizes)
    message = f"{folder}: {size_text(sum(sizes))} in {count_text(count, 'file', more=count >= CACHE_FILES_MAX)}"
    message += f"; up to {size_text(settings.cache_bound())}, what was used longest ago goes first"
    if folder.exists() and not os.access(folder, os.W_OK):
        return Check("cache", "warn", f"{folder} may not be written", "Set HOLDALL_HOME to a folder of yours.")
    remote = folder / REMOTE_FOLDER
    if remote.exists() and not is_private(remote):
        return Check("cache", "warn", f"{remote} is not used: others may write there", f"chmod 700 {remote}")
    return Check("cache", "ok", message)


def _sizes(folder: Path) -> list[int]:
    sizes: list[int] = []
    for base, _, names in os.walk(folder):
        for name in names:
            if len(sizes) >= CACHE_FILES_MAX:
                return sizes
            try:
                sizes.append(os.lstat(os.path.join(base, name)).st_size)
            except OSError:
                continue  # removed meanwhile
    return sizes
