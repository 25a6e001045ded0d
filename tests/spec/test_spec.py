"""The TLA+ models in docs/spec: their table is complete, and TLC says of them what it claims. ``make spec`` runs all
of it; here is one model that holds and one that must not."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

SPEC = Path(__file__).resolve().parents[2] / "docs" / "spec"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spec_check", SPEC / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


check = _load()


def _variants(module: Path) -> set[str]:
    """The names that the module compares Broken with."""
    text = module.read_text()
    names: set[str] = set(re.findall(r'Broken [=#] "(\w+)"', text))
    for group in re.findall(r"Broken \\in \{([^}]*)\}", text):
        names |= set(re.findall(r'"(\w+)"', group))
    return names


@pytest.mark.parametrize("module", sorted(SPEC.glob("*.tla")), ids=lambda path: path.stem)
def test_every_rule_that_can_be_switched_off_is_refuted_and_explained(module: Path) -> None:
    refuted = {
        each.constants["Broken"] for each in check.checks() if each.module == module.stem and "Broken" in each.constants
    }
    assert refuted == _variants(module)
    section = (SPEC / "README.md").read_text().split(f"\n### {module.stem}")[1].split("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == refuted


def test_every_configuration_is_checked_as_it_is() -> None:
    assert {each.config for each in check.checks() if each.expect == "holds"} == {
        path.name for path in SPEC.glob("*.cfg")
    }


@pytest.mark.parametrize("each", check.checks(), ids=str)
def test_configurations_can_be_made(each: object) -> None:
    check.configuration(each)


@pytest.mark.parametrize("line", ["Observe-floor.cfg holds", "Observe.cfg refutes Whole Broken=skipObserve"])
def test_models(line: str) -> None:
    try:
        check.tools()
    except check.NoTools as error:
        pytest.skip(str(error))
    (each,) = (each for each in check.checks() if str(each) == line)
    result = check.run(each)
    assert result.ok, check.counterexample(result.output)


def test_a_variant_that_is_not_refuted_fails() -> None:
    """Guards the judge: a rule that costs nothing to break must not pass for refuted."""
    try:
        check.tools()
    except check.NoTools as error:
        pytest.skip(str(error))
    harmless = check.Check("Requests.cfg", "refutes", "FifoOnce", {"Broken": "nothingOfTheKind", "Operations": "1"})
    assert not check.run(harmless).ok
