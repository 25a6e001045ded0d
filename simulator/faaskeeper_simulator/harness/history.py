"""What clients saw: every request, reply and event of every connection, with its instants of the virtual clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from faaskeeper.znode.model import EventKind
from faaskeeper.znode.operations import CloseSession, Create, Delete, Multi, SetAcl, SetData
from faaskeeper_client.wire.requests import Body
from faaskeeper_simulator.harness.wire import Reply

WRITES = (Create, Delete, SetData, SetAcl, Multi, CloseSession)


@dataclass(slots=True, eq=False)
class Call:
    """A request. ``answered``, ``zxid`` (the header's) and ``reply`` are None while there is no answer."""

    connection: Connection
    number: int
    body: Body
    invoked: float
    answered: float | None = None
    zxid: int | None = None
    reply: Reply | None = None

    @property
    def is_write(self) -> bool:
        return isinstance(self.body, WRITES)

    def __str__(self) -> str:
        until = "      ...   " if self.answered is None else f"{self.answered:12.6f}"
        shown = "no answer" if self.reply is None else f"{self.zxid}: {_short(self.reply)}"
        return f"{self.invoked:12.6f} {until} {self.connection.label} #{self.number} {_short(self.body)} -> {shown}"


@dataclass(slots=True, eq=False)
class Notification:
    """A watch event. ``zxid`` is the header's: -1 for what setWatches found to have been missed."""

    connection: Connection
    received: float
    zxid: int
    kind: EventKind
    path: str

    def __str__(self) -> str:
        return f"{'':12} {self.received:12.6f} {self.connection.label} event {self.zxid}: {self.kind.name} {self.path}"


@dataclass(slots=True, eq=False)
class Pong:
    """The answer to a ping."""

    sent: float
    received: float
    zxid: int


Received: TypeAlias = Call | Notification | Pong


@dataclass(slots=True, eq=False)
class Connection:
    """One connection of a client. ``address`` is its alone: by it its requests are known in the queue.

    ``last_zxid`` is what the client told it had seen. ``established`` is when the session was granted, None if it
    was not. ``frames`` are in the order of their arrival, ``calls`` in that of their sending.
    """

    number: int
    client: str
    gateway: str
    address: str
    session: int
    last_zxid: int
    opened: float
    established: float | None = None
    timeout: int = 0
    refused: bool = False
    closed: float | None = None
    calls: list[Call] = field(default_factory=list[Call])
    frames: list[Received] = field(default_factory=list["Received"])

    @property
    def label(self) -> str:
        return f"{self.client}/{self.number}@{self.gateway}"

    def __str__(self) -> str:
        state = "refused" if self.refused else f"closed {self.closed}" if self.closed is not None else "open"
        return (
            f"{self.opened:12.6f} {'':12} {self.label} session {self.session:#x} last {self.last_zxid} "
            f"established {self.established} {state}"
        )


@dataclass(slots=True)
class History:
    connections: list[Connection] = field(default_factory=list[Connection])
    complaints: list[str] = field(default_factory=list[str])
    """What clients themselves saw to be wrong: replies out of order, frames that cannot be read."""

    @property
    def calls(self) -> list[Call]:
        return [call for connection in self.connections for call in connection.calls]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:200]}...{text[-80:]}"
