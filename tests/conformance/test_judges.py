"""The judges, most of them written by others, as far as CI has time for them; ``make conformance`` hears them out."""

from __future__ import annotations

import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faaskeeper_client.addresses import Address
from tests.conformance.dialogues import dialogues
from tests.conformance.judges import KIT, accepted_differences, fuzz, kazoo, probe

pytestmark = pytest.mark.timeout(900)  # of which the first run installs the judges
RECIPES = "test_lock or test_election or test_watchers"
DIFFERENCES = Path(__file__).parents[2] / "docs" / "differences.md"


def test_semantics(gateway: Address) -> None:
    assert list(probe(gateway).differences) == []


@pytest.mark.parametrize("seed", [20, pytest.param(secrets.randbelow(1_000_000), id="fresh")])
def test_random_operations(oracle: Address, both_gateways: Address, seed: int) -> None:
    print(f"seed {seed}")
    assert list(fuzz(oracle, both_gateways, seed=seed, operations=300).differences) == []


def test_dialogues(oracle: Address, both_gateways: Address) -> None:
    assert list(dialogues(oracle, both_gateways, number=30).differences) == []


def test_recipes_over_two_gateways(both_gateways: Address, tmp_path: Path) -> None:
    assert list(kazoo(both_gateways, tmp_path, only=RECIPES).differences) == []


@contextmanager
def wrong_in_one_way(server: Address, mode: str) -> Generator[Address]:
    """A proxy before ``server`` that falsifies what ``mode`` says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = Address(*free.getsockname())
    process = subprocess.Popen([sys.executable, KIT / "control" / "mutant.py", str(address.port), str(server), mode])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((address.host, address.port)).close()
                break
            except OSError:
                assert time.monotonic() < deadline, f"mutant.py {mode} does not listen"
                time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("mode", ["lateevent", "cver", "badversion_ok"])
def test_a_wrong_server_is_noticed(oracle: Address, mode: str) -> None:
    with wrong_in_one_way(oracle, mode) as mutant:
        assert fuzz(oracle, mutant, seed=1, operations=1000).differences


def test_what_is_accepted_is_explained() -> None:
    """Fields of AdminServer's documents are explained where they are listed, and the page names that file."""
    page = DIFFERENCES.read_text()
    differences = accepted_differences()
    assert all(entry["reason"] for entry in differences.pop("admin").values())
    assert "`tests/conformance/accepted.json`" in page
    assert {name for judge in differences.values() for name in judge} <= set(re.findall(r"`([^`]+)`", page))
