"""How work that takes long tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told that of ``what`` so much is ``done``, out of ``total`` if that is known."""

    def __call__(self, what: str, done: int, total: int | None = None) -> None: ...


def untold(what: str, done: int, total: int | None = None) -> None:
    """For whoever does not want to know."""
