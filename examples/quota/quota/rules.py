"""What the service decides, without doing anything: the commands, the state of a tenant, and the one from the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from faaskeeper.blocks.transactions import Position

OK = "ok"
EXCEEDED = "exceeded"
EXPIRED = "the lease is over"
UNKNOWN = "unknown command"


@dataclass(frozen=True, slots=True)
class Command:
    """``number`` is the client's own; ``lease`` a random name; ``to`` the tenant that is given what this one gives."""

    position: Position
    client: str
    number: int
    do: str
    tenant: str
    units: int = 0
    lease: str = ""
    to: str = ""

    @property
    def tenants(self) -> set[str]:
        return {self.tenant, self.to} - {""}


@dataclass(slots=True)
class Tenant:
    """``leases`` are units by lease. Their sum never grows above ``limit``."""

    limit: int = 0
    leases: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def free(self) -> int:
        return self.limit - sum(self.leases.values())


def apply(command: Command, tenants: dict[str, Tenant], *, alive: bool) -> dict[str, Any]:
    """The outcome; ``tenants`` become what they are then. ``alive`` tells of the lease that is acquired."""
    tenant = tenants[command.tenant]
    match command.do:
        case "limit":
            tenant.limit = command.units
        case "transfer" if 0 <= command.units <= tenant.free:
            tenant.limit -= command.units
            tenants[command.to].limit += command.units
        case "acquire" if not alive:
            return {"result": EXPIRED}
        case "acquire" if 0 < command.units <= tenant.free:
            tenant.leases[command.lease] = command.units
        case "release":
            tenant.leases.pop(command.lease, None)
        case "report":
            return {"result": OK, "report": asdict(tenant)}
        case "transfer" | "acquire":
            return {"result": EXCEEDED}
        case _:
            return {"result": UNKNOWN}
    return {"result": OK}
