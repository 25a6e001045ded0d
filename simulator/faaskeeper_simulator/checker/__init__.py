"""Whether a run kept ZooKeeper's guarantees (Z1 to Z4 in docs/architecture.md). See ``check``."""

from __future__ import annotations

from faaskeeper_simulator.checker.checking import check
from faaskeeper_simulator.checker.violation import Violation

__all__ = ["Violation", "check"]
