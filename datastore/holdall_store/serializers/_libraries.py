"""Libraries: by what name they are installed, which version is here, and what to say when one is missing."""

from __future__ import annotations

import functools
import platform
import sys
from typing import TYPE_CHECKING

from holdall_store.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "add_version",
    "differences",
    "distribution",
    "install_command",
    "installed_version",
    "missing",
    "root_of",
    "unimportable",
]

_DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "google": "protobuf",
    "igraph": "python-igraph",
    "imblearn": "imbalanced-learn",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}


def root_of(module: object) -> str:
    """Return the top package of a dotted module name; an empty string where the name is no name."""
    return module.partition(".")[0] if isinstance(module, str) else ""


def distribution(library: str) -> str:
    """Return the name under which a library is installed (``scikit-learn`` for ``sklearn``)."""
    return _DISTRIBUTIONS.get(library, library)


def install_command(library: str, version: str | None = None) -> str:
    """Return the line that installs a library."""
    return f"pip install {distribution(library)}" + (f"=={version}" if version else "")


def installed_version(library: str) -> str | None:
    """Return the version of a library that is here, without importing it; None where it cannot be told."""
    if library == "python":
        return platform.python_version()
    version = getattr(sys.modules.get(library), "__version__", None)
    if isinstance(version, str):
        return str(version)  # torch's is of a type of its own
    return _distribution_version(distribution(library))


@functools.lru_cache(maxsize=256)
def _distribution_version(name: str) -> str | None:
    """Return what is installed under a name; remembered, because it searches the whole path."""
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None


def add_version(libraries: dict[str, str], library: str) -> None:
    """Note a library and its version, unless it comes with Python or has no version."""
    if not library or library == "__main__" or library in libraries or library in sys.stdlib_module_names:
        return
    version = installed_version(library)
    if version is not None:
        libraries[library] = version


def differences(libraries: Mapping[str, str]) -> dict[str, str]:
    """Return what to install to have the versions that were written with (``name==version``), and the library."""
    return {
        f"{distribution(library)}=={version}": library
        for library, version in libraries.items()
        if installed_version(library) not in (None, version)
    }


def missing(library: str, version: str | None = None) -> MissingDependencyError:
    """Return the error for an object whose library is not installed."""
    saved = f"was saved with {distribution(library)} {version}" if version else f"needs {distribution(library)}"
    return MissingDependencyError(
        f"this object {saved}, which is not installed here: {install_command(library, version)}", name=library
    )


def unimportable(module: str, libraries: Mapping[str, str]) -> MissingDependencyError:
    """Return the error for a module that is not found; only of what is known as a library it says how to install it.

    `libraries` are those that the object was saved with. Another's package may have the name of a module of one's own.
    """
    root = root_of(module)
    if root in libraries or root in _DISTRIBUTIONS:
        return missing(root, libraries.get(root))
    return MissingDependencyError(
        f"this object needs the module {module!r:.200}, which cannot be imported here: put the code that defines it on "
        "the path (PYTHONPATH)",
        name=module,
    )
