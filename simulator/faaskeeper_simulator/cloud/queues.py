"""Queues as data: which messages may be received now, and when others will be.

Sources: SQS developer guide, "FIFO queue delivery logic", "Exactly-once processing", "Visibility timeout",
"At-least-once delivery".
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

DEDUPLICATION_WINDOW: Final = 300.0
_FIRST_SEQUENCE_NUMBER: Final = 18849496460467696128
NEVER: Final = float("inf")
_BATCH: Final = 10


@dataclass(slots=True, eq=False)
class Message:
    """``visible_at``: when it can be received, next or again. ``receipt`` is that of the latest delivery."""

    id: str
    body: str
    attributes: dict[str, Any]
    sent_at: float
    visible_at: float
    group: str = ""
    deduplication_id: str = ""
    sequence_number: str = ""
    receives: int = 0
    first_received: float = 0.0
    receipt: str = ""
    deleted: bool = False

    def in_flight(self, now: float) -> bool:
        return self.receives > 0 and self.visible_at > now


@dataclass(slots=True)
class Settings:
    """A queue's attributes that matter here; times in seconds."""

    visibility_timeout: float = 30.0
    delay: float = 0.0
    retention: float = 345_600.0
    wait: float = 0.0
    content_based_deduplication: bool = False
    max_receives: int = 0
    dead_letters: str = ""


class Queue(Protocol):
    name: str
    settings: Settings
    created: float
    attributes: dict[str, str]
    tags: dict[str, str]
    known_from: float
    """Until then some calls do not find it."""
    accepted: int
    """Messages ever accepted, duplicates that were dropped not counted; for assertions."""

    def add(self, message: Message) -> Message:
        """The message as accepted; an earlier one if this is a duplicate of it."""
        ...

    def receivable(self, now: float) -> list[Message]:
        """Messages that one receive may return, in the order it must return them (a FIFO queue: ten a group)."""
        ...

    def expired(self, now: float) -> list[Message]:
        """Messages past the retention period."""
        ...

    def next_change(self, now: float) -> float:
        """When, after now, more may become receivable by itself; NEVER if nothing will."""
        ...

    def messages(self) -> list[Message]: ...

    def remove(self, message: Message) -> None: ...


@dataclass(slots=True, eq=False)
class FifoQueue:
    """Messages of a group are received in order, and none while an earlier delivery of the group is in flight."""

    name: str
    settings: Settings
    created: float
    chance: random.Random
    attributes: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    known_from: float = 0.0
    accepted: int = 0
    _groups: dict[str, list[Message]] = field(default_factory=dict[str, list[Message]])
    _recent: dict[str, Message] = field(default_factory=dict[str, Message])
    _sequence: int = _FIRST_SEQUENCE_NUMBER

    def add(self, message: Message) -> Message:
        earlier = self._recent.get(message.deduplication_id)
        if earlier is not None and message.sent_at < earlier.sent_at + DEDUPLICATION_WINDOW:
            return earlier
        self._sequence += self.chance.randrange(1, 1 << 10)
        message.sequence_number = f"{self._sequence:020d}"
        self._recent.pop(message.deduplication_id, None)
        self._recent[message.deduplication_id] = message
        self._forget_old(message.sent_at)
        self._groups.setdefault(message.group, []).append(message)
        self.accepted += 1
        return message

    def _forget_old(self, now: float) -> None:
        while self._recent:
            oldest = next(iter(self._recent.values()))
            if oldest.sent_at + DEDUPLICATION_WINDOW > now:
                return
            del self._recent[oldest.deduplication_id]

    def receivable(self, now: float) -> list[Message]:
        groups = [group for group in self._groups.values() if not any(m.visible_at > now for m in _front(group))]
        self.chance.shuffle(groups)
        result: list[Message] = []
        for group in groups:
            for message in group[:_BATCH]:
                if message.visible_at > now:
                    break  # delayed: what follows it in the group waits too
                result.append(message)
        return result

    def next_change(self, now: float) -> float:
        fronts = (message for group in self._groups.values() for message in _front(group))
        return min((message.visible_at for message in fronts if message.visible_at > now), default=NEVER)

    def expired(self, now: float) -> list[Message]:
        return [group[0] for group in self._groups.values() if group[0].sent_at + self.settings.retention < now]

    def messages(self) -> list[Message]:
        return [message for group in self._groups.values() for message in group]

    def remove(self, message: Message) -> None:
        group = self._groups[message.group]
        group.remove(message)
        if not group:
            del self._groups[message.group]


def _front(group: list[Message]) -> Iterator[Message]:
    """The messages that decide whether a group is blocked: those delivered before, and the first that was not."""
    for message in group:
        yield message
        if not message.receives:
            return


@dataclass(slots=True, eq=False)
class StandardQueue:
    """At least once, in any order."""

    name: str
    settings: Settings
    created: float
    attributes: dict[str, str] = field(default_factory=dict[str, str])
    tags: dict[str, str] = field(default_factory=dict[str, str])
    known_from: float = 0.0
    accepted: int = 0
    _messages: dict[Message, None] = field(default_factory=dict[Message, None])

    def add(self, message: Message) -> Message:
        self._messages[message] = None
        self.accepted += 1
        return message

    def receivable(self, now: float) -> list[Message]:
        return [message for message in self._messages if message.visible_at <= now]

    def next_change(self, now: float) -> float:
        return min((m.visible_at for m in self._messages if m.visible_at > now), default=NEVER)

    def expired(self, now: float) -> list[Message]:
        oldest = next(iter(self._messages), None)
        return [oldest] if oldest is not None and oldest.sent_at + self.settings.retention < now else []

    def messages(self) -> list[Message]:
        return list(self._messages)

    def remove(self, message: Message) -> None:
        del self._messages[message]
