"""What an operation reads and changes, as far as that is known before it is applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from faaskeeper.znode import paths
from faaskeeper.znode.create_mode import CREATE_MODES
from faaskeeper.znode.operations import (
    AttachSession,
    Check,
    CloseSession,
    Create,
    CreateSession,
    Delete,
    DeleteContainer,
    ExpireSession,
    ListChildren,
    Multi,
    Operation,
    SetAcl,
    SetData,
    UnwatchSubtree,
    WatchSubtree,
)


@dataclass(frozen=True, slots=True)
class Touched:
    """What to load into a State: nodes by path, sessions by id, and whose lists of ephemerals.

    The rest is asked for by NotLoaded: the nodes of a session that closes, once ``ephemerals`` told which
    (``with_parents`` of them), and nothing else. A sequential create's target is not here, its name is not known.
    """

    paths: frozenset[str]
    sessions: frozenset[int]
    ephemerals: frozenset[int]


def touched(operation: Operation, session_id: int) -> Touched:
    """``session_id`` is the caller's. Paths at which no znode can be are left out; ``apply`` does not ask for them."""
    closes = isinstance(operation, CloseSession | ExpireSession)
    return Touched(
        paths=frozenset(path for path in _paths(operation) if paths.is_valid(path)),
        sessions=frozenset() if isinstance(operation, DeleteContainer) else frozenset({session_id}),
        ephemerals=frozenset({session_id}) if closes else frozenset(),
    )


def with_parents(nodes: frozenset[str]) -> frozenset[str]:
    return nodes | {paths.parent(path) for path in nodes}


def _paths(operation: Operation) -> Iterator[str]:
    match operation:
        case Create(path=path, flags=flags) if "/" in path:
            yield paths.parent(path)
            if flags in CREATE_MODES and not CREATE_MODES[flags].sequential:
                yield path
        case Delete(path=path) | DeleteContainer(path=path) if "/" in path:
            yield paths.parent(path)
            yield path
        case SetData(path=path) | SetAcl(path=path) | Check(path=path) | ListChildren(path=path):
            yield path
        case Multi(operations=operations):
            for each in operations:
                yield from _paths(each)
        case (
            Create()
            | Delete()
            | DeleteContainer()
            | CreateSession()
            | AttachSession()
            | CloseSession()
            | ExpireSession()
        ):
            pass
        case WatchSubtree() | UnwatchSubtree():
            pass
