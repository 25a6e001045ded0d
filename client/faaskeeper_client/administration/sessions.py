"""The sessions of a service, as storage has them: it takes a scan of their table, and so permission for one."""

from __future__ import annotations

from dataclasses import dataclass, field

from faaskeeper.blocks.attributes import get_string
from faaskeeper.blocks.aws import Aws
from faaskeeper.protocol.service import Service
from faaskeeper.storage.keys import EPHEMERAL_PREFIX, GATEWAY, SESSION, gateway_partition, session_partition, unhex64
from faaskeeper.storage.sessions import GatewayItem, gateway_of, session_of
from faaskeeper.znode.model import Session
from faaskeeper_client.administration.scan import scan_all

_SESSIONS = session_partition(0).rstrip("0")
_GATEWAYS = gateway_partition("")


@dataclass(slots=True)
class Listed:
    id: int
    session: Session
    gateway: GatewayItem | None = None
    ephemerals: list[str] = field(default_factory=list[str])

    @property
    def gateway_state(self) -> str:
        """As ``GatewayItem.state``, or gone if nothing is known of it any more."""
        return "gone" if self.gateway is None else self.gateway.state


async def scan_sessions(aws: Aws, service: Service) -> tuple[list[Listed], list[GatewayItem]]:
    """All sessions and all gateways. Not one state of the table, if it changes meanwhile. Raises AwsError."""
    sessions: dict[str, Listed] = {}
    gateways: dict[str, GatewayItem] = {}
    ephemerals: list[tuple[str, str]] = []
    for item in await scan_all(aws, service.sessions):
        partition, part = get_string(item, "id"), get_string(item, "part")
        if part == SESSION and (session := session_of(item)) is not None:
            sessions[partition] = Listed(unhex64(partition.removeprefix(_SESSIONS)), session)
        elif part == GATEWAY and (gateway := gateway_of(partition.removeprefix(_GATEWAYS), item)) is not None:
            gateways[gateway.gateway] = gateway
        elif part.startswith(EPHEMERAL_PREFIX):
            ephemerals.append((partition, get_string(item, "full", part.removeprefix(EPHEMERAL_PREFIX))))
    for partition, path in sorted(ephemerals):
        if partition in sessions:
            sessions[partition].ephemerals.append(path)
    for listed in sessions.values():
        listed.gateway = gateways.get(listed.session.gateway)
    return (
        sorted(sessions.values(), key=lambda listed: (listed.session.gateway, listed.id)),
        sorted(gateways.values(), key=lambda gateway: gateway.gateway),
    )
