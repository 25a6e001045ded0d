"""The checker catches every way to break the system that is listed in mutants/README.md."""

from __future__ import annotations

import pytest

from faaskeeper_simulator.checker import check
from faaskeeper_simulator.harness.world import execute
from faaskeeper_simulator.mutants import MUTANTS, Mutant
from faaskeeper_simulator.mutants.__main__ import MAX_SEEDS, table

KNOWN = table()
MENDED = {name: mutant for name, mutant in MUTANTS.items() if mutant.found}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_caught(mutant: Mutant) -> None:
    """By the schedule of the seed in the table; if the code has changed since, by that of another one."""
    known = KNOWN[mutant.name][1]
    assert any(mutant.caught(seed) for seed in (known, *range(MAX_SEEDS)))


@pytest.mark.parametrize("mutant", MENDED.values(), ids=MENDED.keys())
def test_mended(mutant: Mutant) -> None:
    """The code was once like the mutant; in the schedule that shows it, nothing is wrong any more."""
    assert check(execute(mutant.plans(KNOWN[mutant.name][1]))) == []


def test_the_table_is_complete() -> None:
    assert {name: rule for name, (rule, _) in KNOWN.items()} == {
        mutant.name: mutant.rule for mutant in MUTANTS.values()
    }
