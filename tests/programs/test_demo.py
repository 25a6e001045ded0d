"""The demonstration ends by itself, well, and leaves nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "faaskeeper_client.demo"]


def test_all_of_it(tmp_path: Path) -> None:
    result = subprocess.run(
        COMMAND, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False, timeout=110
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    shown = result.stdout
    assert len(re.findall(r"read after their watches fired: session 1 .*, session 2 .*, session 3 ", shown)) == 2
    holders = re.findall(r"^  ([AB]) has the lock", shown, re.MULTILINE)
    assert sorted(holders) == ["A", "A", "B", "B"]
    leaders = re.findall(r"process (\d+) leads", shown)
    killed = re.findall(r"process (\d+) killed", shown)
    assert len(set(leaders)) == 2
    assert killed == leaders[:1]
    assert "the same 900,000 bytes" in shown
    bill = re.search(r"together +(\d+\.\d+)\n", shown)
    assert bill is not None
    assert 0 < float(bill[1]) < 0.01
    lines = re.findall(r"^  (?:gateways|functions|pollers) .* (\d+\.\d+)$", shown, re.MULTILINE)
    assert sum(map(float, lines)) == pytest.approx(float(bill[1]), abs=1e-6)
    assert list(tmp_path.iterdir()) == []


def test_interrupted(tmp_path: Path) -> None:
    process = subprocess.Popen(
        COMMAND, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "leads" in line:
            break
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert time.monotonic() - began < 30
    assert "Traceback" not in process.communicate()[1]
    assert list(tmp_path.iterdir()) == []
