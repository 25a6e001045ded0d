"""What the gateway tells administrators about itself."""

from __future__ import annotations

import platform
import time
from typing import cast

from faaskeeper import __version__
from faaskeeper_client.gateway.connection import Connection
from faaskeeper_client.gateway.gateway import TICK, Gateway
from faaskeeper_client.wire import four_letter
from faaskeeper_client.wire.four_letter import ZOOKEEPER_VERSION

_BUILT = "2026-11-23 00:00 UTC"
"""Agents parse the version by this suffix."""


def snapshot(gateway: Gateway) -> four_letter.Snapshot:
    now = gateway.clock()
    wall = int(time.time() * 1000)
    sessions = {
        session.id: four_letter.Session(expires=wall + int(1000 * (session.heard - now)) + session.timeout)
        for session in gateway.sessions
    }
    watches = {
        connection.session.id: paths
        for connection, paths in ((cast(Connection, watcher), paths) for watcher, paths in gateway.watches.by_watcher())
        if connection.session is not None
    }
    return four_letter.Snapshot(
        version=f"{ZOOKEEPER_VERSION}-faaskeeper-{__version__}, built on {_BUILT}",
        zxid=gateway.observer.complete,
        serving=gateway.liveness.is_alive,
        connections=[_connection(connection, wall, now) for connection in gateway.connections],
        sessions=sessions,
        watches=watches,
        received=gateway.received,
        sent=gateway.sent,
        outstanding=len(gateway.outbox),
        uptime=int(1000 * (now - gateway.started)),
        configuration={
            "clientPort": gateway.port,
            "tickTime": TICK,
            "minSessionTimeout": 2 * TICK,
            "maxSessionTimeout": 20 * TICK,
            "service": gateway.service.name,
            "region": gateway.service.region,
            "gateway": gateway.id,
        },
        environment={"python.version": platform.python_version(), "os.name": platform.system()},
    )


def _connection(connection: Connection, wall: int, now: float) -> four_letter.Connection:
    session = connection.session
    return four_letter.Connection(
        address=connection.address,
        session=session.id if session else 0,
        queued=connection.unanswered,
        received=connection.received,
        sent=connection.sent,
        established=wall - int(1000 * (now - connection.established)),
        timeout=session.timeout if session else 0,
        expires=wall + (session.timeout if session else 0),
        last_zxid=connection.seen,
    )
