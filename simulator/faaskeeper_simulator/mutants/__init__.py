"""Ways to break the system, by which the checker is tested: each must be caught. See ``registry`` and README.md."""

from __future__ import annotations

from faaskeeper_simulator.mutants import calling, living, ordering, reading, remembering, watching
from faaskeeper_simulator.mutants.registry import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant", "calling", "living", "ordering", "reading", "remembering", "watching"]
