"""What the README tells to type exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from faaskeeper_client.cli import command_parser

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
LINES = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```shell\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = [line for line in LINES if re.match(r"(\.venv/bin/)?faaskeeper ", line)]
TARGETS = [line.split()[1] for line in LINES if line.startswith("make ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    assert command_parser().parse_args(shlex.split(command)[1:]).run


@pytest.mark.parametrize("target", TARGETS)
def test_targets_are_made(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_there_is_something_to_check() -> None:
    assert COMMANDS
    assert "demo" in TARGETS
