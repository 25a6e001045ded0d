"""Tells gateways what a transaction did: replies to those that asked, hints to those whose watches fired."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from faaskeeper.blocks.attributes import get_set
from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AccessDenied, AwsError, NotFound
from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.queues import check_in, list_receivers, send_reply
from faaskeeper.blocks.retry import repeat
from faaskeeper.protocol.messages import ReplyMessage, encode_reply, is_gateway, outcome_size, pack_event
from faaskeeper.protocol.service import Service
from faaskeeper.storage.commit import Watched
from faaskeeper.storage.keys import node_key
from faaskeeper.storage.ledger import Head
from faaskeeper.storage.loading import batch_get
from faaskeeper.znode.operations import Outcome

logger = logging.getLogger(__name__)

_MAX_EVENT_BYTES = 100_000
"""Of events carried in a message; more are read from the ledger."""
_MAX_REPLY_OUTCOME_BYTES = 700_000
"""Of outcomes in one message, if there are several: it needs no claim check then (``queues.MAX_MESSAGE_BYTES``)."""
_NUMBER_BYTES = 22
"""Of a request's number, with what separates it."""
_MAX_INLINE_HINTS = 10
"""Gateways that the sequencer hints itself; for more it asks the notifier, so that writes go on meanwhile."""
_MAX_NAMED_GATEWAYS = 2000
"""Gateways that the notifier is told by name: its message ends at 256 KB."""
_MAX_HANDED_OVER_BYTES = 100_000
"""Of replies that the notifier is given to send; an asynchronous invocation takes 256 KB, escaped quotes included."""
_BETWEEN_ASKING = 1.0
"""Seconds."""
_KEYS_PER_BATCH = 100


Keep: TypeAlias = Callable[[str, str], bool]
"""Whether it brings the gateway that message; else the gateway's queue does."""


class Announcer:
    """``notifier`` is the name of the function that sends many hints; without it they are all sent here. ``keep`` is
    asked of each message first."""

    def __init__(
        self, aws: Aws, service: Service, notifier: str | None, metrics: Metrics, keep: Keep | None = None
    ) -> None:
        self._keep = keep
        self._metrics = metrics
        self._aws = aws
        self._service = service
        self._notifier = notifier
        self._asked = float("-inf")

    async def announce(
        self,
        head: Head,
        base: int,
        outcomes: Iterable[tuple[str, int, Outcome]],
        watched: Watched,
        detached: Iterable[tuple[str, int, int]] = (),
    ) -> None:
        """Replies ``outcomes``, as (gateway, request number, outcome), and hints: what came of the transactions of
        (``base``, ``head.zxid``]. Returns when SQS has all replies. For the rest see Head. Raises AwsError."""
        events = watched.events if _fits(watched) else None
        by_gateway: dict[str, list[tuple[int, Outcome]]] = defaultdict(list)
        cut: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for gateway, number, outcome in outcomes:
            by_gateway[gateway].append((number, outcome))
        for gateway, session, epoch in detached:
            cut[gateway].append((session, epoch))
        plain = ReplyMessage(
            head.zxid, base, events=events, detached_at=head.detached_at, changes=head.changes.at(head.zxid)
        )
        sending = [
            self._send(gateway, replace(plain, outcomes=tuple(part), detached=tuple(cut.get(gateway, ()))))
            for gateway in sorted(by_gateway.keys() | cut.keys())
            for part in _parts(by_gateway.get(gateway, []))
        ]
        told = frozenset(by_gateway.keys() | cut.keys())
        await asyncio.gather(self._reply_all(sending), self._hint(plain, watched, told))

    async def _reply_all(self, sending: Iterable[Awaitable[tuple[str, str] | None]]) -> None:
        """Of those whose queue is not found the notifier sends the replies, if it is a new queue: writes go on
        meanwhile. It is asked once a second at most, so that forged requests of gateways that never were cannot start
        any number of its runs."""
        unsent = [reply for reply in await asyncio.gather(*sending) if reply is not None]
        if not unsent:
            return
        now = asyncio.get_running_loop().time()
        if self._notifier is None or now < self._asked + _BETWEEN_ASKING:
            logger.info("gateways %s are gone, their replies are dropped", sorted({gateway for gateway, _ in unsent}))
            return
        self._asked = now
        room = _MAX_HANDED_OVER_BYTES // len(unsent)
        replies = [(gateway, await check_in(self._aws, self._service, body, room)) for gateway, body in unsent]
        await self._ask_notifier({"replies": replies})

    async def _hint(self, message: ReplyMessage, watched: Watched, told: frozenset[str]) -> None:
        """A hint that is lost only delays, until its gateway next looks at the head; writes need not wait for it."""
        if not watched.events:
            return
        try:
            await self._hint_all(message, watched, told)
        except AwsError:
            logger.exception("hints of zxid %d are lost", message.zxid)

    async def _hint_all(self, message: ReplyMessage, watched: Watched, told: frozenset[str]) -> None:
        gateways = (await self._watching(watched.sets) | watched.gateways) - told
        if len(gateways) > _MAX_NAMED_GATEWAYS:
            gateways = frozenset((EVERYBODY,))
        if gateways:
            self._metrics.add("Hints", len(gateways))
        if self._notifier is None and EVERYBODY in gateways:
            gateways = await list_receivers(self._aws, self._service) - told
        if self._notifier is None or (len(gateways) <= _MAX_INLINE_HINTS and EVERYBODY not in gateways):
            await asyncio.gather(*(self._send(gateway, message) for gateway in sorted(gateways)))
            return
        # a hint that overtook the reply would pass for all that concerns its gateway
        await self._ask_notifier({"message": encode_reply(message), "gateways": sorted(gateways), "told": sorted(told)})

    async def _ask_notifier(self, event: dict[str, object]) -> None:
        payload = json.dumps(event).encode()
        await repeat(
            lambda: self._aws.call(
                "lambda", "invoke", FunctionName=self._notifier, InvocationType="Event", Payload=payload
            )
        )

    async def _watching(self, sets: Sequence[tuple[str, str]]) -> frozenset[str]:
        """The gateways that the sets (path, attribute) name now, after the transaction moved them."""
        keys = {path: node_key(path) for path, _ in sets}
        ordered = list(keys.values())
        groups = [ordered[start : start + _KEYS_PER_BATCH] for start in range(0, len(ordered), _KEYS_PER_BATCH)]
        loaded = await asyncio.gather(*(batch_get(self._aws, self._service, group) for group in groups))
        items = {key: item for part in loaded for key, item in part.items()}
        found = frozenset[str]().union(*(get_set(items.get(keys[path], {}), name) for path, name in sets))
        return frozenset(id for id in found if id == EVERYBODY or is_gateway(id))

    async def _send(self, gateway: str, message: ReplyMessage) -> tuple[str, str] | None:
        """The gateway and the message again if its queue is not found."""
        if not gateway:
            return None
        body = encode_reply(message)
        if self._keep is not None and self._keep(gateway, body):
            return None
        try:
            await send_reply(self._aws, self._service, gateway, body)
        except NotFound:
            return gateway, body
        except AwsError as error:
            if type(error) is not AwsError and not isinstance(error, AccessDenied):
                raise
            # no repetition changes it, and one gateway, whatever policy its queue has, must not hold up all others
            logger.exception("gateway %s cannot be reached, its reply is dropped", gateway)
        return None


def _fits(watched: Watched) -> bool:
    return sum(len(json.dumps(pack_event(event))) for event in watched.events) <= _MAX_EVENT_BYTES


def _parts(outcomes: list[tuple[int, Outcome]]) -> list[list[tuple[int, Outcome]]]:
    """At least one part, so that a gateway without outcomes gets its detached sessions."""
    parts: list[list[tuple[int, Outcome]]] = [[]]
    room = _MAX_REPLY_OUTCOME_BYTES
    for number, outcome in outcomes:
        size = _NUMBER_BYTES + outcome_size(outcome)
        if size > room and parts[-1]:
            parts.append([])
            room = _MAX_REPLY_OUTCOME_BYTES
        parts[-1].append((number, outcome))
        room -= size
    return parts
