"""``make mutants`` looks for the first seed that catches each mutant, and writes README.md."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from faaskeeper_simulator.mutants import MUTANTS

README = Path(__file__).with_name("README.md")
MAX_SEEDS = 100
_HEAD = """# Mutants

Ways to break the system, each by one small piece of the real code, by which the checker is tested
(`tests/simulator/test_mutants.py`). `make mutants` makes this table anew: the first seed whose
schedule catches each, and the rule of the checker that does. The last column names the schedules in which the real code
once had this fault: the numbers are of the day, later changes gave them other schedules. These mutants are how that
stays found.

| mutant | the rule that it breaks | seed | caught by | once found by |
|---|---|---|---|---|
"""


def table() -> dict[str, tuple[str, int]]:
    """(rule, seed) by mutant, as README.md has them."""
    found: dict[str, tuple[str, int]] = {}
    for line in README.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[2].isdigit():
            found[cells[0]] = (cells[1], int(cells[2]))
    return found


def main() -> int:
    rows: list[str] = []
    missed: list[str] = []
    for mutant in MUTANTS.values():
        began = time.process_time()
        for seed in range(MAX_SEEDS):
            violations = mutant.caught(seed)
            if violations:
                rows.append(f"| {mutant.name} | {mutant.rule} | {seed} | {violations[0].rule} | {mutant.found} |")
                break
        else:
            missed.append(mutant.name)
        print(f"{time.process_time() - began:6.1f} s {rows[-1] if rows else mutant.name}", flush=True)
    README.write_text(_HEAD + "\n".join(rows) + "\n")
    print(f"missed: {missed}" if missed else f"all {len(rows)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
