"""Which container and TTL znodes go away by the janitor, and when (ContainerManager.getCandidates)."""

from __future__ import annotations

from faaskeeper.znode.model import Znode, ZnodeKind


def waits_only_for_time(node: Znode | None) -> bool:
    """Whether the node goes away unless something changes: a container that lost its last child, a TTL node without
    children."""
    if node is None or node.children:
        return False
    return node.kind is ZnodeKind.TTL or (node.kind is ZnodeKind.CONTAINER and node.creates > 0)


def candidate_from(node: Znode) -> int:
    """From when on a node that waits only for time may go, in ms since the epoch; 0 for a container."""
    return node.mtime + node.ttl if node.kind is ZnodeKind.TTL else 0
