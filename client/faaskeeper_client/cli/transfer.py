"""Subtrees as JSON documents, from one server to a file and from a file or a server to another server.

A document is ``{"format": "faaskeeper-subtree", "version": 1, "root": PATH, "znodes": [...]}``, one znode a line:
``path``, ``data`` (text or null) or ``data64`` (base64), and ``acl`` as a list of ``scheme:id:perms``. Versions, times
and sequence counters belong to a server and are not carried over; ephemerals belong to sessions and are left out. The
protocol does not tell containers and znodes with a time to live from others: they become persistent.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TextIO, cast

from faaskeeper.znode import paths
from faaskeeper.znode.acl import digest_id
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL, Acl, Permission, Stat
from faaskeeper_client.administration.progress import Progress, untold
from faaskeeper_client.cli.output import acl_text, data_fields, parse_acl
from faaskeeper_client.cli.tree import above, batches, walk
from faaskeeper_client.cli.zookeeper import (
    Call,
    Failed,
    ZooKeeper,
    check_size,
    create,
    exists,
    get,
    get_acl,
    set_acl,
    set_data,
)

FORMAT = "faaskeeper-subtree"
VERSION = 1
_KEY = Acl(Permission.ALL, "digest", digest_id("import:" + secrets.token_urlsafe()))
"""Like the entry that an import adds to the ACLs of parents for a while."""
_MASKED = "x"
"""What a server shows in place of a digest to those without ADMIN permission (ReferenceCountedACLCache's clients)."""


class InvalidDocument(Exception):
    """Not a document of ours; the message says where and why."""


class TransferError(Exception):
    """The subtree cannot be taken or put as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class Node:
    path: str
    data: bytes | None
    acl: tuple[Acl, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A znode that these credentials cannot read whole. Nothing below it is taken either: it would have no parent."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}: use --auth"


def read_subtree(zookeeper: ZooKeeper, root: str, tell: Progress = untold) -> Iterator[Node | Unreadable]:
    """Parents first, without ephemerals. Not one state of the tree, if it changes meanwhile. Raises Failed."""
    lasting: list[str] = []
    for number, found in enumerate(walk(zookeeper, root), 1):
        tell("listed", number)
        if found.stat is None or found.stat.ephemeral_owner == 0:
            lasting.append(found.path)
    unread: set[str] = set()
    read = 0
    for batch in batches(lasting):
        data = list(zookeeper.pipeline(map(get, batch)))
        acls = list(zookeeper.pipeline(map(get_acl, batch)))
        read += len(batch)
        tell("read", read, len(lasting))
        for path, datum, acl in zip(batch, data, acls, strict=True):
            if path != root and paths.parent(path) in unread:
                unread.add(path)
                continue
            node = _node_read(path, root, datum, acl)
            if isinstance(node, Unreadable):
                unread.add(path)
            if node is not None:
                yield node


def _node_read(
    path: str, root: str, data: tuple[bytes | None, Stat] | Failed, acl: tuple[Acl, ...] | Failed
) -> Node | Unreadable | None:
    """None if it is gone. Raises Failed."""
    if isinstance(data, Failed) or isinstance(acl, Failed):
        codes = {result.code for result in (data, acl) if isinstance(result, Failed)}
        if path != root and Code.NO_NODE in codes:
            return None
        if path != root and codes == {Code.NO_AUTH}:
            return Unreadable(path, "its ACL does not allow reading")
        raise next(result for result in (data, acl) if isinstance(result, Failed))
    if any(entry.scheme == "digest" and entry.id.endswith(f":{_MASKED}") for entry in acl):
        return Unreadable(path, "its ACL is shown to those with ADMIN permission only")
    return Node(path, data[0], acl)


def write_document(root: str, nodes: Iterable[Node], output: TextIO) -> int:
    """How many znodes were written."""
    output.write(f'{{"format": "{FORMAT}", "version": {VERSION}, "root": {json.dumps(root)}, "znodes": [')
    count = 0
    for count, node in enumerate(nodes, 1):
        fields = {"path": node.path, **data_fields(node.data), "acl": [acl_text(entry) for entry in node.acl]}
        output.write((",\n" if count > 1 else "\n") + json.dumps(fields, ensure_ascii=False))
    output.write("\n]}\n")
    output.flush()
    return count


def read_document(text: bytes) -> tuple[str, list[Node]]:
    """(root, znodes). Raises InvalidDocument."""
    try:
        document = cast(dict[str, Any], json.loads(text))
    except ValueError as error:
        raise InvalidDocument(f"not JSON: {error}") from error
    try:
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise InvalidDocument(f"{document['format']} {document['version']}, and {FORMAT} {VERSION} is understood")
        root = document["root"]
        if not paths.is_valid(root):
            raise InvalidDocument(f"root {root!r} is not a path")
        return root, [_node(fields, root, number) for number, fields in enumerate(document["znodes"], 1)]
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidDocument(f"not a document of faaskeeper export: {error!r}") from error


def moved(nodes: Iterable[Node], root: str, target: str) -> list[Node]:
    """The same below ``target`` in place of ``root``."""
    below, place = root.rstrip("/"), target.rstrip("/")
    return [
        replace(node, path=target if node.path == root else f"{place}{node.path.removeprefix(below)}") for node in nodes
    ]


def write_subtree(
    zookeeper: ZooKeeper, root: str, nodes: Iterable[Node], *, overwrite: bool, tell: Progress = untold
) -> int:
    """Makes ``nodes``, all at or below ``root``, and what is missing above it; how many nodes those were.

    Raises Failed, and before anything is written TooLarge, and TransferError if one is there already, unless
    ``overwrite``, by which data and ACL are replaced. The root of the tree is always there, and only changed by
    ``overwrite``.
    """
    nodes = [node for node in sorted(nodes, key=lambda node: node.path.split("/")) if overwrite or node.path != "/"]
    for node in nodes:
        check_size(create(node.path, node.data, (*node.acl, _KEY)))
    higher = [Node(path, b"", OPEN_ACL) for path in above(root)]
    asked = [node.path for node in (*higher, *nodes)]
    there = {
        path
        for path, result in zip(asked, zookeeper.pipeline(map(exists, asked)), strict=True)
        if not isinstance(result, Failed)
    }
    existing = [node for node in nodes if node.path in there]
    if existing and not overwrite:
        raise TransferError(f"{existing[0].path}: the znode exists already; --overwrite replaces data and ACLs")
    # while children are being made, a key of our own lets us in beside whom the ACL lets in
    secret = f"import:{secrets.token_urlsafe()}"
    zookeeper.authenticate(secret)
    key = Acl(Permission.ALL, "digest", digest_id(secret))
    parents = {paths.parent(node.path) for node in nodes}
    missing = [node for node in (*higher, *nodes) if node.path not in there]
    final = [node for node in nodes if node.path in there or node.path in parents]
    calls: list[Callable[[], Call[Any]]] = [
        *(partial(set_data, node.path, node.data) for node in existing),
        *(
            partial(create, node.path, node.data, (*node.acl, key) if node.path in parents else node.acl)
            for node in missing
        ),
        *(partial(set_acl, node.path, node.acl) for node in reversed(final)),
    ]
    for done, result in enumerate(zookeeper.pipeline(call() for call in calls), 1):
        if isinstance(result, Failed):
            raise result
        tell("written", done, len(calls))
    return len(nodes)


def _node(fields: Any, root: str, number: int) -> Node:
    try:
        path: str = fields["path"]
        data = base64.b64decode(fields["data64"], validate=True) if "data64" in fields else fields["data"]
        if isinstance(data, str):
            data = data.encode()
        if not isinstance(data, bytes | None):
            raise ValueError('"data" is neither text nor null')
        if not paths.is_valid(path) or not f"{path}/".startswith(f"{root.rstrip('/')}/"):
            raise ValueError(f"path {path!r} is not below {root}")
        return Node(path, data, tuple(parse_acl(entry) for entry in fields["acl"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidDocument(f"znode {number}: {error!r}") from error
    except (ValueError, binascii.Error) as error:
        raise InvalidDocument(f"znode {number}: {error}") from error
