"""Where the emulator and synthesized templates are kept between runs, and how the emulator gets there."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from faaskeeper_client.local.errors import CloudError

REQUIREMENTS = ("ministack==1.5.33", "boto3==1.43.106")
"""The functions run on the emulator's Python and see its boto3."""


def cache_directory() -> Path:
    """Inside the virtual environment if there is one, so that removing it removes everything."""
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        return Path(sys.prefix, "share", "faaskeeper")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "faaskeeper")


def emulator_python() -> Path:
    """The Python of the emulator's environment, which is made at first use. Raises CloudError."""
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    environment = cache_directory() / "-".join((*REQUIREMENTS, version)).replace("==", "-")
    python = environment / "bin" / "python"
    complete = environment / "complete"
    with locked(environment):
        if not complete.exists():
            shutil.rmtree(environment, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(environment)])
            _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS])
            complete.touch()
    return python


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Excludes other processes that make ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CloudError(
            f"cannot set up the emulator's environment: {' '.join(command)} failed with {result.returncode}:\n"
            f"{result.stdout}{result.stderr}"
        )
