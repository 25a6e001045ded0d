"""The judges in ``kit``, each as a function: what of an endpoint's behaviour differs from a ZooKeeper 3.9.5's.

They run as they are, in processes of their own. What ``accepted.json`` names, with what FaaSKeeper does instead, is a
difference that ``docs/differences.md`` gives the reason for; anything else is a fault.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from faaskeeper_client.addresses import Address
from faaskeeper_client.local.environment import cache_directory, locked

KIT = Path(__file__).parent / "kit"
ACCEPTED = Path(__file__).with_name("accepted.json")
_FACTS = KIT / "probe" / "facts-3.9.5.json"
_BASELINE = KIT / "kazoo" / "baseline-zk3.9.5.tsv"
_COUNTS = ("consumes_zxid", "consumed_by_session")
_ABSENT = "absent"


class JudgeFailed(Exception):
    """A judge could not do its work; the message has what it printed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``differences`` are those that nothing accepts, ``accepted`` names those that were seen and are accepted."""

    judge: str
    checked: str
    differences: tuple[str, ...]
    accepted: tuple[str, ...]
    seconds: float


def probe(endpoint: Address, *, slow: bool = False) -> Verdict:
    """The semantics probe; ``slow`` adds the facts about expiry (30 s).

    Its facts that count zxids take it that nobody else writes, but its own abandoned sessions expire meanwhile, with a
    zxid each, on any server. So such a fact counts only if it differs twice.
    """
    began = time.monotonic()
    expected = json.loads(_FACTS.read_text())
    accepted = _accepted("probe")
    found = _probed(endpoint, slow)
    wrong = _wrong_facts(expected, found, accepted, slow)
    if wrong and all(any(word in fact for word in _COUNTS) for fact in wrong):
        again = _wrong_facts(expected, _probed(endpoint, slow), accepted, slow)
        wrong = {fact: text for fact, text in again.items() if fact in wrong or not any(w in fact for w in _COUNTS)}
    return Verdict(
        "probe",
        f"{len(found)} facts",
        tuple(wrong.values()),
        tuple(fact for fact in accepted if found.get(fact, _ABSENT) != expected[fact]),
        time.monotonic() - began,
    )


def fuzz(oracle: Address, endpoint: Address, *, seed: int, operations: int) -> Verdict:
    """The differential fuzzer: the same operations into a real ZooKeeper and into ours."""
    began = time.monotonic()
    run = _run(
        sys.executable, KIT / "fuzz" / "difffuzz.py", str(oracle), str(endpoint), "--seed", seed, "--ops", operations
    )
    if run.returncode not in (0, 1) or f"seed {seed}:" not in run.stdout:
        raise JudgeFailed(f"difffuzz.py --seed {seed} --ops {operations}:\n{run.stdout}{run.stderr}")
    return Verdict(
        "fuzzer",
        f"{operations} operations",
        (run.stdout.strip(),) if run.returncode else (),
        (),
        time.monotonic() - began,
    )


def kazoo(endpoint: Address, output: Path, *, only: str = "") -> Verdict:
    """kazoo's own suite, all of it or what pytest selects for ``-k ONLY``. ``output`` gets its logs."""
    began = time.monotonic()
    run = _run(
        KIT / "kazoo" / "run.sh",
        endpoint.host,
        endpoint.port,
        *(("-k", only) if only else ()),
        environment={"PY": str(_kazoo_python()), "OUT": str(output)},
    )
    results = output / "results.tsv"
    if not results.exists():
        log = output / "pytest.log"
        raise JudgeFailed(run.stdout + run.stderr + (log.read_text(errors="replace") if log.exists() else ""))
    expected, found = _outcomes(_BASELINE), _outcomes(results)
    if only:
        expected = {test: expected[test] for test in found if test in expected}
    accepted = _accepted("kazoo")
    wrong = {
        test: f"{test}: {expected.get(test, (_ABSENT,))[0]} on ZooKeeper, here {' '.join(found.get(test, (_ABSENT,)))}"
        for test in sorted(expected.keys() | found.keys())
        if expected.get(test, (_ABSENT,))[0] != found.get(test, (_ABSENT,))[0]
    }
    passed = sum(outcome[0] == "passed" for outcome in found.values())
    return Verdict(
        "kazoo's suite",
        f"{len(found)} tests, {passed} passed",
        tuple(text for test, text in wrong.items() if test not in accepted),
        tuple(test for test in wrong if test in accepted),
        time.monotonic() - began,
    )


def accepted_differences() -> dict[str, dict[str, dict[str, object]]]:
    """By judge and by its name for what was checked: ``ours``, what FaaSKeeper does, and ``reason``."""
    document: dict[str, dict[str, dict[str, object]]] = json.loads(ACCEPTED.read_text())
    return document


def _accepted(judge: str) -> dict[str, object]:
    return {name: entry["ours"] for name, entry in accepted_differences().get(judge, {}).items()}


def _probed(endpoint: Address, slow: bool) -> dict[str, object]:
    with TemporaryDirectory() as scratch:
        facts = Path(scratch, "facts.json")
        script = KIT / "probe" / "semantics_probe.py"
        run = _run(sys.executable, script, endpoint.host, endpoint.port, "-o", facts, *(("--slow",) if slow else ()))
        if run.returncode != 0:
            raise JudgeFailed(f"{script.name}:\n{run.stdout}{run.stderr}")
        found: dict[str, object] = json.loads(facts.read_text())
        return found


def _wrong_facts(
    expected: Mapping[str, object], found: Mapping[str, object], accepted: Mapping[str, object], slow: bool
) -> dict[str, str]:
    """Facts that are neither as on ZooKeeper nor as accepted, each with what was expected and found."""
    wrong: dict[str, str] = {}
    for fact in sorted(expected.keys() | found.keys()):
        if fact.startswith("expiry.") and not slow:
            continue
        there, here = expected.get(fact, _ABSENT), found.get(fact, _ABSENT)
        if here != there and not (fact in accepted and here == accepted[fact]):
            wrong[fact] = f"{fact}: {json.dumps(there)} on ZooKeeper, here {json.dumps(here)}"
    return wrong


def _outcomes(listing: Path) -> dict[str, tuple[str, str]]:
    """By test: its outcome, and why."""
    rows = [line.split("\t") for line in listing.read_text().splitlines()]
    return {row[0]: (row[1], row[4]) for row in rows}


def _kazoo_python() -> Path:
    """The Python of an environment with what kazoo's suite needs, made at first use."""
    requirements = KIT / "kazoo" / "requirements.txt"
    environment = cache_directory() / f"kazoo-suite-py{sys.version_info.major}.{sys.version_info.minor}"
    python = environment / "bin" / "python"
    complete = environment / "complete"
    with locked(environment):
        if not complete.exists() or complete.read_text() != requirements.read_text():
            for command in (
                (sys.executable, "-m", "venv", "--clear", environment),
                (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements),
            ):
                run = _run(*command)
                if run.returncode != 0:
                    raise JudgeFailed(f"kazoo's suite cannot be installed:\n{run.stdout}{run.stderr}")
            complete.write_text(requirements.read_text())
    return python


def _run(*command: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    arguments: Sequence[str] = [str(part) for part in command]
    return subprocess.run(
        arguments, env=os.environ | (environment or {}), capture_output=True, text=True, errors="replace", check=False
    )
