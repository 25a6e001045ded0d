"""The commands that work on znodes. Each gets the parsed options and a session.

All raise Failed and ServerUnreachable, UsageError where options do not go together, and CommandFailed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from faaskeeper.znode import paths
from faaskeeper.znode.create_mode import CREATE_MODES, CreateMode
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL, EventKind, Stat, ZnodeKind
from faaskeeper_client.cli import zookeeper as zk
from faaskeeper_client.cli.output import (
    CLOSED,
    JsonObject,
    acl_text,
    data_fields,
    replacing,
    show,
    show_data,
    show_json,
    show_lines,
    stat_fields,
    stat_lines,
    table,
    when,
)
from faaskeeper_client.cli.transfer import (
    Node,
    TransferError,
    Unreadable,
    moved,
    read_document,
    read_subtree,
    write_document,
)
from faaskeeper_client.cli.transfer import write_subtree as put_subtree
from faaskeeper_client.cli.tree import SYSTEM, above, walk
from faaskeeper_client.cli.zookeeper import Failed, ZooKeeper

Options = argparse.Namespace
Command = Callable[[Options, ZooKeeper], None]

_FLAGS = {mode: flags for flags, mode in CREATE_MODES.items()}
_EVENTS = {
    EventKind.CREATED: "created",
    EventKind.DELETED: "deleted",
    EventKind.DATA: "changed",
    EventKind.CHILDREN: "children",
}


class UsageError(Exception):
    """The options do not go together; the message says which."""


class CommandFailed(Exception):
    """The command cannot do it; the message says why."""


def ls(options: Options, zookeeper: ZooKeeper) -> None:
    names, _ = zookeeper.call(zk.get_children(options.path))
    if not options.long:
        if options.json:
            show_json(names)
        else:
            show_lines(names)
        return
    asked = zookeeper.pipeline(zk.exists(paths.child(options.path, name)) for name in names)
    found: list[tuple[str, Stat | None]] = []
    for name, stat in zip(names, asked, strict=True):
        if not isinstance(stat, Failed):
            found.append((name, stat))
        elif stat.code == Code.NO_AUTH:
            found.append((name, None))
        elif stat.code != Code.NO_NODE:  # which went away in between
            raise stat
    if options.json:
        show_json([{"name": name, **(stat_fields(stat) if stat else {"closed": True})} for name, stat in found])
    elif found:
        show_lines(table([_LONG_HEAD, *(_long_row(name, stat) for name, stat in found)]))


_LONG_HEAD = ("BYTES", "CHILDREN", "VERSION", "CHANGED", "OWNER", "NAME")


def _long_row(name: str, stat: Stat | None) -> tuple[object, ...]:
    if stat is None:
        return ("-",) * (len(_LONG_HEAD) - 1) + (f"{name}  {CLOSED}",)
    owner = hex(stat.ephemeral_owner or 0)
    return stat.data_length, stat.num_children, stat.version, when(stat.mtime), owner, name


def tree(options: Options, zookeeper: ZooKeeper) -> None:
    nodes: dict[str, JsonObject] = {}
    for found in walk(zookeeper, options.path, options.depth):
        stat = found.stat
        node: JsonObject = {"path": found.path, "ephemeralOwner": stat and stat.ephemeral_owner, "children": []}
        if stat is None:
            node["closed"] = True
        if found.path != options.path:
            nodes[paths.parent(found.path)]["children"].append(node)
        nodes[found.path] = node
    root = nodes[options.path]
    if options.json:
        show_json(root)
        return
    lines = [(root, options.path, "")]
    while lines:
        node, text, indent = lines.pop()
        show(text + _mark(node))
        for child in reversed(node["children"]):
            last = child is node["children"][-1]
            name = f"{indent}{'└── ' if last else '├── '}{paths.name(child['path'])}"
            lines.append((child, name, indent + ("    " if last else "│   ")))


def _mark(node: JsonObject) -> str:
    if "closed" in node:
        return f"  {CLOSED}"
    return f"  (ephemeral of {node['ephemeralOwner']:#x})" if node["ephemeralOwner"] else ""


def get(options: Options, zookeeper: ZooKeeper) -> None:
    data, stat = zookeeper.call(zk.get(options.path))
    if options.json:
        show_json({"path": options.path, **data_fields(data), "stat": stat_fields(stat)})
    else:
        show_data(data)


def stat(options: Options, zookeeper: ZooKeeper) -> None:
    found = zookeeper.call(zk.exists(options.path))
    (acl,) = zookeeper.pipeline([zk.get_acl(options.path)])
    if isinstance(acl, Failed) and acl.code != Code.NO_AUTH:
        raise acl
    entries = None if isinstance(acl, Failed) else [acl_text(entry) for entry in acl]
    if options.json:
        show_json({"path": options.path, **stat_fields(found), "acl": entries})
        return
    show_lines(stat_lines(found))
    show_lines(f"{'acl':<15} {entry}" for entry in (["hidden"] if entries is None else entries))


def set_(options: Options, zookeeper: ZooKeeper) -> None:
    data = _data(options)
    if data is None:
        raise UsageError("set: give DATA or --file")
    found = zookeeper.call(zk.set_data(options.path, data, options.version))
    if options.json:
        show_json({"path": options.path, "stat": stat_fields(found)})


def create(options: Options, zookeeper: ZooKeeper) -> None:
    flags = _FLAGS.get(
        CreateMode(options.kind or (ZnodeKind.TTL if options.ttl else ZnodeKind.PERSISTENT), options.sequential)
    )
    if flags is None:
        raise UsageError("create: a container cannot be sequential")
    if (options.kind is ZnodeKind.EPHEMERAL) != options.hold:
        raise UsageError("create: an ephemeral ends with this command, so --ephemeral and --hold go together")
    if options.path.endswith("/") and not options.sequential:
        raise UsageError("create: a path ends with / only for --sequential")
    acl = options.acl or OPEN_ACL
    if options.parents:
        for result in zookeeper.pipeline(zk.create(path, b"", acl) for path in above(options.path)):
            # what is there already may also be closed to us
            if isinstance(result, Failed) and result.code not in (Code.NODE_EXISTS, Code.NO_AUTH):
                raise result
    call = zk.create(options.path, _data(options) or b"", acl, flags=flags, ttl=options.ttl or 0)
    path, found = zookeeper.call(call)
    if options.json:
        show_json({"path": path, "stat": stat_fields(found)})
    else:
        show(path)
    if options.hold:
        _until_interrupted(zookeeper)


def rm(options: Options, zookeeper: ZooKeeper) -> None:
    if options.path in paths.SPECIAL_PATHS:
        raise CommandFailed(f"{options.path}: not deleted, nor what is below it: every server has this znode")
    if not options.recursive:
        zookeeper.call(zk.delete(options.path, options.version))
        return
    if options.version != -1:
        raise UsageError("rm: --version is of one znode, --recursive of many")
    below: list[str] = []
    for found in walk(zookeeper, options.path):
        if found.stat is None:
            raise Failed(Code.NO_AUTH, found.path)
        below.append(found.path)
    for result in zookeeper.pipeline(zk.delete(path) for path in reversed(below)):
        if isinstance(result, Failed) and result.code != Code.NO_NODE:
            raise result


def watch(options: Options, zookeeper: ZooKeeper) -> None:
    zookeeper.call(zk.add_watch(options.path, recursive=options.recursive))
    print(f"watching {options.path}, Ctrl-C ends it", file=sys.stderr, flush=True)
    try:
        for event in zookeeper.events():
            kind = _EVENTS[event.kind]
            if options.json:
                show_json({"event": kind, "path": event.path, "zxid": event.zxid}, compact=True)
            else:
                show(f"{event.zxid:#x}  {kind:<8}  {event.path}")
    except KeyboardInterrupt:
        return


def export(options: Options, zookeeper: ZooKeeper) -> None:
    unread: list[Unreadable] = []

    def readable() -> Iterator[Node]:
        for found in read_subtree(zookeeper, options.path):
            if isinstance(found, Node):
                yield found
            else:
                unread.append(found)
                print(f"faaskeeper: {found}", file=sys.stderr)

    with replacing(options.file) if options.file else nullcontext(sys.stdout) as output:
        count = write_document(options.path, readable(), output)
    print(f"{count} znodes exported", file=sys.stderr)
    if unread:
        raise CommandFailed(f"not exported, with all below: {', '.join(each.path for each in unread)}")


def import_(options: Options, zookeeper: ZooKeeper) -> None:
    if options.source_server:
        root = options.source or "/"
        if not paths.is_valid(root):
            raise UsageError(f"import: {root!r} is not the path of a znode")
        with ZooKeeper(options.source_server, credentials=options.auth, patience=options.timeout) as source:
            nodes = list(_all_readable(read_subtree(source, root)))
    else:
        name = options.source or "-"
        root, nodes = read_document(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
    target = options.to or root
    if target != root:
        nodes = moved(nodes, root, target)
    if SYSTEM in {node.path for node in nodes}:
        raise TransferError(f"{SYSTEM} is the server's own")
    count = put_subtree(zookeeper, target, nodes, overwrite=options.overwrite)
    if options.json:
        show_json({"root": target, "znodes": count})
    else:
        print(f"{count} znodes imported", file=sys.stderr)


def _all_readable(found: Iterable[Node | Unreadable]) -> Iterator[Node]:
    for each in found:
        if isinstance(each, Unreadable):
            raise TransferError(str(each))
        yield each


def _data(options: Options) -> bytes | None:
    if options.data is not None and options.file is not None:
        raise UsageError("give DATA or --file, not both")
    if options.file is None:
        return None if options.data is None else options.data.encode()
    return sys.stdin.buffer.read() if str(options.file) == "-" else options.file.read_bytes()


def _until_interrupted(zookeeper: ZooKeeper) -> None:
    print("held until Ctrl-C", file=sys.stderr, flush=True)
    try:
        for _ in zookeeper.events():
            continue
    except KeyboardInterrupt:
        return
