"""What is built from the checkout, and that its environment is pinned whole."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a wheel or an sdist of the project at `source` and return its path."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)], cwd=source, check=True)
    (built,) = target.iterdir()
    return built


def test_the_sdist_builds_the_wheel(tmp_path: Path) -> None:
    """A wheel built from the sdist holds both packages with their types, the command and the licence, and no more."""
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    with zipfile.ZipFile(build("wheel", source, tmp_path / "wheel")) as wheel:
        names = set(wheel.namelist())
        (entry_points,) = (wheel.read(name).decode() for name in names if name.endswith("entry_points.txt"))

    dist_info = f"holdall-{PROJECT['version']}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"holdall", "holdall_store", dist_info}
    assert {"holdall/py.typed", "holdall_store/py.typed", f"{dist_info}/licenses/LICENSE"} <= names
    assert "holdall = holdall._cli:main" in entry_points
    modules = {
        path.relative_to(ROOT / root).as_posix()
        for root in ("client", "datastore")
        for path in (ROOT / root).rglob("*.py")
    }
    assert modules - names == set()


def pins() -> dict[str, str]:
    """Return the pinned version of each package of the development environment."""
    lines = (ROOT / "requirements" / "dev.txt").read_text().splitlines()
    split = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in split}


@pytest.mark.parametrize("extra", ["", "dev", "notebook", "polars", "scipy", "sklearn"])
def test_what_is_required_is_pinned_within_its_range(extra: str) -> None:
    """The pinned environment satisfies what pyproject.toml asks of it."""
    wanted = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    requirements = [Requirement(line) for line in wanted]
    pinned = pins()

    outside = [
        str(requirement)
        for requirement in requirements
        if requirement.name != PROJECT["name"]
        and not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"))
    ]
    assert requirements
    assert outside == []


def test_every_pin_is_exact() -> None:
    """No line of the pinned environment is a range, an address or a path."""
    lines = (ROOT / "requirements" / "dev.txt").read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==[\w.!+]+", line)] == []


def test_the_installed_package_is_this_checkout() -> None:
    """Tests run what lies beside them, not some other version."""
    import holdall
    import holdall_store

    assert metadata.version("holdall") == PROJECT["version"]
    assert [Path(path) for path in holdall.__path__] == [ROOT / "client" / "holdall"]
    assert [Path(path) for path in holdall_store.__path__] == [ROOT / "datastore" / "holdall_store"]
