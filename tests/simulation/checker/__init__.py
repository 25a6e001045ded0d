"""Whether a run kept ZooKeeper's guarantees (Z1 to Z4 in docs/architecture.md). See ``check``."""

from __future__ import annotations

from tests.simulation.checker.checking import check
from tests.simulation.checker.violation import Violation

__all__ = ["Violation", "check"]
