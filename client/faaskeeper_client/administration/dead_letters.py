"""The dead-letter queue of a service: what is in it, and what may be done about it.

Three things end there. A **timer** that the reaper could not handle may be sent again: it is checked against the beat
that it saw, and for how long SQS held it counts anew, so one that is late or doubled does nothing. A **request** that
the sequencer could not parse is never sent again: it would be applied behind writes that its session sent after it, to
a caller that was told ConnectionLoss long ago and may have written again itself. A **hint** that the notifier could not
send is worthless: gateways that watch look at the head every third of a session timeout.

Takes permission to receive from the dead-letter queue, to delete there and to change visibility, and to send to the
timers queue.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import InvalidMessage
from faaskeeper.blocks.queues import send_timer
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import GatewayTimer, decode_timer

_HELD = 60
"""Seconds for which letters that are being looked at are hidden from others."""
_WAIT = 1
"""Seconds. A long poll asks all of SQS's servers, one that does not wait only some."""
_PER_CALL = 10
_MAX_SUMMARY = 100


class LetterKind(StrEnum):
    REQUEST = "request"
    TIMER = "timer"
    HINT = "hint"
    UNKNOWN = "unknown"


_WHY_NOT = {
    LetterKind.REQUEST: "a request is not sent again: its caller was told ConnectionLoss, and what its session wrote "
    "since would come first",
    LetterKind.HINT: "a hint is not sent again: gateways have looked at the head since",
    LetterKind.UNKNOWN: "it is nothing that the service sent",
}


class NotRedriven(Exception):
    """What this is must not be sent again; the message says why."""


class NoSuchLetter(Exception):
    """Nothing of that id is in the queue, or somebody else is looking at it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """``sent`` is in ms since the epoch; ``receipt`` is SQS's handle, good for _HELD seconds."""

    id: str
    sent: int
    body: str
    receipt: str

    @property
    def document(self) -> Any:
        """The body as JSON, or as it is if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body

    @property
    def kind(self) -> LetterKind:
        document = self.document
        if isinstance(document, dict):
            if {"reason", "sent", "body"} <= cast(dict[str, Any], document).keys():
                return LetterKind.REQUEST
            if "requestContext" in document:
                return LetterKind.HINT
        try:
            decode_timer(self.body)
        except InvalidMessage:
            return LetterKind.UNKNOWN
        return LetterKind.TIMER

    @property
    def summary(self) -> str:
        """In a line."""
        match self.kind:
            case LetterKind.REQUEST:
                text = f"{self.document['reason']} (from {self.document['sent'].get('SenderId', 'nobody')})"
            case LetterKind.HINT:
                text = f"notifier: {self.document['requestContext'].get('condition', 'failed')}"
            case LetterKind.TIMER:
                timer = decode_timer(self.body)
                text = (
                    f"gateway {timer.gateway} at beat {timer.beat}"
                    if isinstance(timer, GatewayTimer)
                    else f"session {timer.session:#x} at epoch {timer.epoch}"
                )
            case LetterKind.UNKNOWN:
                text = self.body
        line = " ".join(text.split())
        return line if len(line) <= _MAX_SUMMARY else f"{line[:_MAX_SUMMARY]}…"


async def list_letters(aws: Aws, service: Service) -> list[Letter]:
    """All that can be seen, the oldest first, and left there. Raises AwsError."""
    letters = await _take(aws, service)
    await _give_back(aws, service, letters)
    return letters


async def show_letter(aws: Aws, service: Service, id: str) -> Letter:
    """Raises NoSuchLetter, AwsError."""
    (letter,) = _chosen(await list_letters(aws, service), [id])
    return letter


async def redrive(aws: Aws, service: Service, ids: Sequence[str] | None) -> list[Letter]:
    """Sends timers to the timers queue again: those of ``ids``, or all. Returns them.

    Raises NotRedriven before anything is sent if one of ``ids`` is no timer, NoSuchLetter likewise, AwsError.
    """
    letters = await _take(aws, service)
    done: list[Letter] = []
    try:
        chosen = (
            _chosen(letters, ids) if ids is not None else [each for each in letters if each.kind is LetterKind.TIMER]
        )
        for letter in chosen:
            if letter.kind is not LetterKind.TIMER:
                raise NotRedriven(f"{letter.id}: {_WHY_NOT[letter.kind]}; drop it")
        for letter in chosen:
            # a crash between the two doubles the timer, and never loses it
            await send_timer(aws, service, letter.body, 0)
            await _delete(aws, service, letter)
            done.append(letter)
        return done
    finally:
        await _give_back(aws, service, [letter for letter in letters if letter not in done])


async def drop(aws: Aws, service: Service, ids: Sequence[str] | None) -> list[Letter]:
    """Deletes those of ``ids``, or all that can be seen. Returns them. Raises NoSuchLetter before anything is
    deleted, AwsError."""
    letters = await _take(aws, service)
    done: list[Letter] = []
    try:
        for letter in _chosen(letters, ids) if ids is not None else letters:
            await _delete(aws, service, letter)
            done.append(letter)
        return done
    finally:
        await _give_back(aws, service, [letter for letter in letters if letter not in done])


async def _take(aws: Aws, service: Service) -> list[Letter]:
    """Receives until nothing new comes, which hides the letters from others for a while."""
    letters: dict[str, Letter] = {}
    while True:
        response = await repeat(
            lambda: aws.call(
                "sqs",
                "receive_message",
                QueueUrl=service.dead_letters,
                MaxNumberOfMessages=_PER_CALL,
                VisibilityTimeout=_HELD,
                WaitTimeSeconds=_WAIT,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        )
        before = len(letters)
        for message in response.get("Messages", []):
            sent = int(message["Attributes"]["SentTimestamp"])
            letters[message["MessageId"]] = Letter(
                message["MessageId"], sent, message["Body"], message["ReceiptHandle"]
            )
        if len(letters) == before:
            return sorted(letters.values(), key=lambda letter: (letter.sent, letter.id))


async def _give_back(aws: Aws, service: Service, letters: Sequence[Letter]) -> None:
    await asyncio.gather(
        *(
            repeat(
                lambda letter=letter: aws.call(
                    "sqs",
                    "change_message_visibility",
                    QueueUrl=service.dead_letters,
                    ReceiptHandle=letter.receipt,
                    VisibilityTimeout=0,
                )
            )
            for letter in letters
        )
    )


async def _delete(aws: Aws, service: Service, letter: Letter) -> None:
    await repeat(lambda: aws.call("sqs", "delete_message", QueueUrl=service.dead_letters, ReceiptHandle=letter.receipt))


def _chosen(letters: Sequence[Letter], ids: Sequence[str]) -> list[Letter]:
    by_id = {letter.id: letter for letter in letters}
    for id in ids:
        if id not in by_id:
            raise NoSuchLetter(f"{id}: no such dead letter, or somebody else is looking at it")
    return [by_id[id] for id in dict.fromkeys(ids)]
