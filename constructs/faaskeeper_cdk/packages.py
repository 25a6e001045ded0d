"""Our packages as assets: for functions, layers, images and instances. Copied from where they are installed, so that a
synthesis takes neither Docker nor a network, and hashes depend on their text alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path

from faaskeeper.protocol.service import CACHE_BYTES_VARIABLE

CLIENT = ("faaskeeper", "faaskeeper_client")
"""A gateway and the command line. They take ``client_requirements()`` besides."""
_LEFT_OUT = ("__pycache__", "*.pyc", "py.typed", "tests", "testing")


class PackageNotFound(ImportError):
    """A package that is to be copied is not installed."""


def package_directory(name: str) -> Path:
    """Raises PackageNotFound."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise PackageNotFound(f"the package {name!r} is not installed")
    return Path(spec.origin).parent


def client_requirements() -> list[str]:
    """As pip is told; extras are left out."""
    return [each for each in requires("faaskeeper") or () if ";" not in each]


def cache_environment(cache_bytes: int | None) -> dict[str, str]:
    """Environment variables that tell a gateway so; none where nothing is said. Raises ValueError."""
    if cache_bytes is None:
        return {}
    if cache_bytes < 0:
        raise ValueError(f"cache_bytes={cache_bytes}: at least 0, which turns the cache off")
    return {CACHE_BYTES_VARIABLE: str(cache_bytes)}


def copy_package(package: Path, directory: Path) -> None:
    """The package becomes a folder of ``directory``."""
    shutil.copytree(
        package,
        directory / package.name,
        ignore=shutil.ignore_patterns(*_LEFT_OUT),
        copy_function=shutil.copyfile,
    )


@contextmanager
def copied(*names: str, below: str = "") -> Generator[Path]:
    """A folder that holds these packages, or whose folder ``below`` does, for as long as it takes to make an asset of
    it. Raises PackageNotFound."""
    with tempfile.TemporaryDirectory(prefix="faaskeeper-") as directory:
        for name in names:
            copy_package(package_directory(name), Path(directory, below))
        yield Path(directory)
