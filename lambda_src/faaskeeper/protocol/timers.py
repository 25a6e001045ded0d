"""What the delayed messages of the timers queue carry. No message holds a time: each holds what was seen when it was
sent, and what it finds when it comes due tells whether anything moved meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from faaskeeper.blocks.errors import InvalidMessage
from faaskeeper.protocol.messages import checked_gateway, checked_number
from faaskeeper.protocol.service import PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class GatewayTimer:
    """Is the gateway's beat still ``beat``? ``timer`` is the gateway's timer number when this was sent."""

    gateway: str
    beat: int
    timer: int


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """Is the session still attached with ``epoch`` to a gateway that is dead? Then its time is over."""

    session: int
    epoch: int


Timer: TypeAlias = GatewayTimer | SessionTimer

_FIELDS: dict[str, Callable[[Any], Any]] = {
    "gateway": checked_gateway,
    "beat": checked_number,
    "timer": checked_number,
    "session": checked_number,
    "epoch": checked_number,
}
_KINDS: dict[str, type[Timer]] = {"gateway": GatewayTimer, "session": SessionTimer}


def encode_timer(timer: Timer) -> str:
    kind = "gateway" if isinstance(timer, GatewayTimer) else "session"
    return json.dumps({"v": PROTOCOL_VERSION, "kind": kind, **asdict(timer)}, separators=(",", ":"))


def decode_timer(text: str) -> Timer:
    """Raises InvalidMessage."""
    try:
        document = json.loads(text)
        version, kind = document.pop("v"), document.pop("kind")
        if version != PROTOCOL_VERSION:
            raise InvalidMessage(f"timer of protocol version {version!r}, this software speaks {PROTOCOL_VERSION}")
        return _KINDS[kind](**{name: _FIELDS[name](value) for name, value in document.items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidMessage(f"{type(error).__name__}: {error}") from error
