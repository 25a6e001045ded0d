"""What a gateway knows of a znode, of one state."""

from __future__ import annotations

from dataclasses import dataclass, field

from faaskeeper.blocks.fan_out import EVERYBODY
from faaskeeper.storage.znodes import WATCH_SETS, NodeItem
from faaskeeper.znode.model import Znode


@dataclass(frozen=True, slots=True)
class NodeState:
    """``znode`` is None where there is none, ``zxid`` that of the last transaction that touched it, 0 if none is known;
    ``watched`` are the watch sets that then named this gateway, or everybody."""

    path: str
    zxid: int = 0
    znode: Znode | None = None
    watched: frozenset[str] = field(default_factory=frozenset[str])

    @classmethod
    def of(cls, item: NodeItem, gateway: str) -> NodeState:
        meant = {gateway, EVERYBODY}
        watched = frozenset(name for name in WATCH_SETS if item.watchers(name) & meant)
        return cls(item.path, item.zxid, item.znode, watched)


@dataclass(frozen=True, slots=True)
class NodeData:
    """A node and its data."""

    node: NodeState
    data: bytes | None


@dataclass(frozen=True, slots=True)
class NodeChildren:
    """A node and the names of its children, in no particular order."""

    node: NodeState
    names: tuple[str, ...]
