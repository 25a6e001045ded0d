"""Programs that others wrote, as they are: had from this machine or its registries, or left out with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from faaskeeper_client.local.environment import cache_directory, locked

_LONGEST = 300


class NotHere(Exception):
    """The program cannot be had on this machine; the message says what would bring it."""


class Wrong(Exception):
    """The program did not find what it does with a ZooKeeper; the message has what it printed."""


def need(condition: bool, remedy: str) -> None:
    """Raises NotHere."""
    if not condition:
        raise NotHere(remedy)


def run(
    folder: Path, *command: object, environment: Mapping[str, Path | str] | None = None, seconds: float = _LONGEST
) -> str:
    """What the command prints, run in ``folder``. Raises Wrong if it fails or does not end."""
    arguments = [str(part) for part in command]
    more = {name: str(value) for name, value in (environment or {}).items()}
    try:
        done = subprocess.run(
            arguments, cwd=folder, env=os.environ | more, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{' '.join(arguments)}: not done within {seconds} s\n{_text(error.stdout)}") from error
    if done.returncode != 0:
        raise Wrong(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def python_with(scratch: Path, name: str, *packages: str) -> Path:
    """The Python of an environment that has ``packages``; made at first use."""
    folder = cache_directory() / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    with locked(folder):
        if not (folder / "complete").exists():
            run(scratch, sys.executable, "-m", "venv", "--clear", folder)
            run(scratch, python, "-m", "pip", "install", "--quiet", *packages)
            (folder / "complete").touch()
    return python


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
