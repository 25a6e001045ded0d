"""What the gateway tells administrators about itself."""

from __future__ import annotations

import platform
import time

from faaskeeper import __version__
from faaskeeper_client.gateway.connection import Connection
from faaskeeper_client.gateway.gateway import Gateway
from faaskeeper_client.gateway.sessions import MAX_SESSION_TIMEOUT, MIN_SESSION_TIMEOUT, TICK
from faaskeeper_client.gateway.watches import AS_CHILD_WATCHES, AS_DATA_WATCHES
from faaskeeper_client.wire import four_letter
from faaskeeper_client.wire.four_letter import ZOOKEEPER_VERSION
from faaskeeper_client.wire.statistics import Statistics

_BUILT = "2026-11-23 00:00 UTC"
"""Agents parse the version by this suffix."""


def answer(gateway: Gateway, command: four_letter.Command) -> bytes:
    """To a four-letter word, which it obeys."""
    if gateway.life.liveness.is_alive:
        if command.word == "srst":
            gateway.statistics = gateway.statistics.reset()
        if command.word == "crst":
            for connection in gateway.connections:
                connection.statistics = Statistics()
    return four_letter.answer(command, snapshot(gateway))


def snapshot(gateway: Gateway) -> four_letter.Snapshot:
    life = gateway.life
    now = gateway.clock()
    wall = int(time.time() * 1000)
    sessions = {session.id: wall + int(1000 * (session.heard - now)) + session.timeout for session in life.sessions}
    return four_letter.Snapshot(
        version=f"{ZOOKEEPER_VERSION}-faaskeeper-{__version__}, built on {_BUILT}",
        zxid=life.observer.complete,
        serving=life.liveness.is_alive,
        connections=[_connection(connection, wall, now) for connection in gateway.connections],
        sessions=sessions,
        watches=dict(life.watches.by_session(AS_DATA_WATCHES)),
        child_watches=sum(len(paths) for _, paths in life.watches.by_session(AS_CHILD_WATCHES)),
        statistics=gateway.statistics,
        outstanding=len(life.outbox),
        uptime=int(1000 * (now - gateway.started)),
        configuration={
            "secureClientPort" if gateway.secure else "clientPort": gateway.port,
            "tickTime": TICK,
            "maxClientCnxns": 0,
            "minSessionTimeout": MIN_SESSION_TIMEOUT,
            "maxSessionTimeout": MAX_SESSION_TIMEOUT,
            "service": gateway.service.name,
            "region": gateway.service.region,
            "gateway": life.id,
        },
        environment=_environment(),
        elapsed=int(1000 * now),
        wall=wall,
        secure=gateway.secure,
        cache=life.cache.statistics,
    )


def _environment() -> dict[str, str]:
    return {
        "host.name": platform.node(),
        "python.version": platform.python_version(),
        "os.name": platform.system(),
        "os.arch": platform.machine(),
        "os.version": platform.release(),
    }


def _connection(connection: Connection, wall: int, now: float) -> four_letter.Connection:
    session = connection.session
    return four_letter.Connection(
        address=connection.address,
        session=session.id if session else 0,
        queued=connection.unanswered,
        established=wall - int(1000 * (now - connection.established)),
        timeout=session.timeout if session else 0,
        expires=wall + (session.timeout if session else 0),
        statistics=connection.statistics,
    )
