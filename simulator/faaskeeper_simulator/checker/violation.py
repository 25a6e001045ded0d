"""What the checker finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Violation:
    """``rule`` names what was broken, ``time`` is the instant of the virtual clock at which it showed, if it did at
    one, ``evidence`` the requests, events and steps concerned."""

    rule: str
    text: str
    time: float | None = None
    evidence: Sequence[object] = field(default=())

    def __str__(self) -> str:
        when = "" if self.time is None else f" at {self.time:.6f}"
        return "\n".join((f"[{self.rule}]{when} {self.text}", *(f"    {each}" for each in self.evidence)))
