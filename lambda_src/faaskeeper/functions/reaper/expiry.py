"""Finds gateways that stopped beating, and ends their sessions."""

from __future__ import annotations

import asyncio
import logging

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.metrics import Metrics
from faaskeeper.blocks.primitives.heartbeat import TIMER_SLACK_MS
from faaskeeper.blocks.queues import send_timer
from faaskeeper.functions.requests import send_to_sequencer
from faaskeeper.protocol.service import Service
from faaskeeper.protocol.timers import GatewayTimer, SessionTimer, Timer, encode_timer
from faaskeeper.storage.sessions import ENDED, gateway_heartbeat, list_gateway_sessions, read_gateway, read_session
from faaskeeper.znode.model import Session
from faaskeeper.znode.operations import ExpireSession

logger = logging.getLogger(__name__)


async def check_timer(aws: Aws, service: Service, timer: Timer, waited: int, metrics: Metrics) -> None:
    """A timer came due, perhaps late, perhaps not for the first time.

    ``waited`` is for how many ms SQS held the message, by its own clock: nobody can make a timer come due before its
    time by sending it without a delay.
    """
    if isinstance(timer, GatewayTimer):
        await _check_gateway(aws, service, timer, waited, metrics)
    else:
        await _check_session(aws, service, timer, waited)


async def _check_gateway(aws: Aws, service: Service, timer: GatewayTimer, waited: int, metrics: Metrics) -> None:
    async def arm(beat: int, number: int, seconds: float) -> None:
        await send_timer(aws, service, encode_timer(GatewayTimer(timer.gateway, beat, number)), seconds)

    heartbeat = gateway_heartbeat(aws, service, timer.gateway)
    pulse = await heartbeat.check(timer.beat, timer.timer, waited, arm)
    if pulse is None:
        return
    if pulse.alive and pulse.timeout != ENDED:
        metrics.add("ExpiredGateways")
        logger.warning("gateway %s stood still for %d ms at beat %d", timer.gateway, pulse.timeout, pulse.beat)
    await _end_sessions(aws, service, timer.gateway, pulse.timeout)


async def _end_sessions(aws: Aws, service: Service, gateway: str, stood_still: int) -> None:
    """The gateway is dead, so nobody attaches to it any more. Its sessions get some time to come back through another
    gateway."""
    ids = await list_gateway_sessions(aws, service, gateway)
    found = await asyncio.gather(*(read_session(aws, service, session) for session in ids))
    waiting = [
        send_timer(
            aws, service, encode_timer(SessionTimer(session_id, session.epoch)), _rest(session, stood_still) / 1000
        )
        for session_id, session in zip(ids, found, strict=True)
        if session is not None and session.gateway == gateway
    ]
    await asyncio.gather(*waiting)
    if not ids:
        await gateway_heartbeat(aws, service, gateway).forget_dead()


async def _check_session(aws: Aws, service: Service, timer: SessionTimer, waited: int) -> None:
    session = await read_session(aws, service, timer.session)
    if session is None or session.epoch != timer.epoch:
        return
    gateway = await read_gateway(aws, service, session.gateway)
    if gateway is not None and gateway.alive:
        return
    if gateway is not None and waited + TIMER_SLACK_MS < _rest(session, gateway.timeout):
        await send_timer(aws, service, encode_timer(timer), _rest(session, gateway.timeout) / 1000)
        return
    # the sequencer leaves a session alone that has been attached anew in the meantime
    await send_to_sequencer(aws, service, [(timer.session, ExpireSession(timer.epoch))])


def _rest(session: Session, stood_still: int) -> int:
    """ms from the gateway's death to the session's. The gateway stood still until then, but may have answered its
    clients all the while; where that was longer than half the session's timeout, for there are no ephemerals, the
    timeout begins anew."""
    return session.timeout - stood_still if 2 * stood_still <= session.timeout else session.timeout
