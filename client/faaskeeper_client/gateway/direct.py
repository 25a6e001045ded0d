"""Direct calls: a gateway's requests to the direct function, and what became of each."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.errors import AwsError, Unavailable
from faaskeeper.blocks.retry import delay
from faaskeeper.protocol.calls import (
    SECRET_BYTES,
    Answer,
    CallId,
    Refusal,
    decode_answer,
    encode_call,
    encode_probe,
)
from faaskeeper.protocol.messages import ReplyMessage

logger = logging.getLogger(__name__)

_GIVE_UP = 60.0
"""Seconds after which a call whose fate is unknown is not repeated any more."""
_FIRST_REST = 1.0
_LONGEST_REST = 30.0
"""Seconds for which the queue is used after a call that was not run."""
_MOST_STALE = 3


class DirectCalls:
    """One gateway's. ``function`` is a name, "" where there is none. ``complete`` gives a zxid that is committed,
    ``clock`` seconds, and goes on while the machine sleeps.

    The function is not called before it has answered a call without requests: one that does not work, or that this
    gateway may not invoke, would leave the fate of requests unknown, and costs nobody anything but one log line.
    """

    def __init__(
        self,
        aws: Aws,
        function: str,
        gateway_id: str,
        entropy: random.Random,
        clock: Callable[[], float],
        complete: Callable[[], int],
    ) -> None:
        self.answered = 0
        """Calls that were."""
        self._aws = aws
        self._function = function
        self._gateway_id = gateway_id
        self._secret = entropy.randbytes(SECRET_BYTES)
        self._clock = clock
        self._complete = complete
        self._number = 0
        self._works = False
        self._probing: asyncio.Task[None] | None = None
        self._resting_until = float("-inf")
        self._rest = _FIRST_REST
        self._stale = 0
        """Calls in a row that were stale: with more gateways than lanes, all of them are."""

    def ready(self) -> bool:
        """Whether the next requests may go by a call. If that is not known, it is found out meanwhile."""
        if not self._function or self._clock() < self._resting_until:
            return False
        if not self._works and self._probing is None:
            self._probing = asyncio.get_running_loop().create_task(self._probe())
        return self._works

    def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()

    async def commit(self, message: str) -> tuple[ReplyMessage, ...] | None:
        """Has the requests of ``message`` committed; what the sequencer replies. None if nothing of it was done, nor
        will be. Raises Unavailable when what became of it cannot be found out, InvalidMessage, IncompatibleVersion.

        A copy that follows one of unknown fate says so; only its own answer counts, and only an outcome: whatever says
        that it was not run says nothing of the copy before.
        """
        self._number += 1
        first = since = self._complete()
        repeated = False
        until, attempt = self._clock() + _GIVE_UP, 0
        while True:
            try:
                answer = await self._invoke(encode_call(CallId(self._secret, self._number, since, repeated), message))
            except Unavailable as error:
                repeated, reason = True, str(error)
            except AwsError as error:
                reason = str(error)
                if not repeated:
                    self._works = False
            else:
                if answer.refusal is None:
                    self.answered += 1
                    self._rest = _FIRST_REST
                    self._stale = self._stale if since > first else 0
                    return answer.replies
                reason = answer.refusal.value
                if answer.refusal is Refusal.STALE:
                    if repeated:
                        raise Unavailable("lambda", "invoke", "Stale", "whether a call was applied is forgotten")
                    self._stale += 1
                    if self._stale < _MOST_STALE:
                        since = answer.zxid
                        continue
                    self._stale = 0
            if not repeated:
                self._use_queue(reason)
                return None
            logger.warning("a call is repeated: %s", reason)
            await asyncio.sleep(delay(attempt))
            attempt += 1
            if self._clock() > until:
                raise Unavailable("lambda", "invoke", "GivenUp", reason)

    async def _probe(self) -> None:
        try:
            await self._invoke(encode_probe(self._gateway_id))
            self._works = True
        except Exception as error:  # whatever it is, the function is of no use
            self._use_queue(f"{type(error).__name__}: {error}")
        finally:
            self._probing = None

    async def _invoke(self, payload: bytes) -> Answer:
        response = await self._aws.call("lambda", "invoke", FunctionName=self._function, Payload=payload)
        if "FunctionError" in response:
            raise Unavailable("lambda", "invoke", response["FunctionError"], str(response["Payload"][:500]))
        return decode_answer(response["Payload"])

    def _use_queue(self, reason: str) -> None:
        """For a while, longer each time until a call is answered."""
        log = logger.warning if self._rest == _FIRST_REST else logger.debug
        log("writes of gateway %s go by the queue for %g s: %s", self._gateway_id, self._rest, reason)
        self._resting_until = self._clock() + self._rest
        self._rest = min(_LONGEST_REST, 2 * self._rest)
