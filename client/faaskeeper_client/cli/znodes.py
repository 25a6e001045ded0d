"""The commands that work on znodes. All raise Failed, ServerUnreachable, and TooLarge for what no server accepts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click

from faaskeeper.znode import paths, quotas
from faaskeeper.znode.create_mode import CREATE_MODES, CreateMode
from faaskeeper.znode.errors import Code
from faaskeeper.znode.model import OPEN_ACL, Acl, EventKind, Stat, ZnodeKind
from faaskeeper_client.cli import zookeeper as zk
from faaskeeper_client.cli.endpoint import Endpoint, takes_endpoint
from faaskeeper_client.cli.errors import CommandFailed, UsageError
from faaskeeper_client.cli.output import (
    CLOSED,
    JsonObject,
    acl_text,
    data_fields,
    show,
    show_data,
    show_json,
    show_lines,
    show_parts,
    show_table,
    stat_fields,
    stat_lines,
    when,
)
from faaskeeper_client.cli.parameters import ACL_ENTRY, COUNT, DURATION, FILE, NEW_PATH, ZNODE_PATH, as_json, exclusive
from faaskeeper_client.cli.tree import above, walk
from faaskeeper_client.cli.zookeeper import Event, Failed, ZooKeeper

_FLAGS = {mode: flags for flags, mode in CREATE_MODES.items()}
_EVENTS = {
    EventKind.CREATED: "created",
    EventKind.DELETED: "deleted",
    EventKind.DATA: "changed",
    EventKind.CHILDREN: "children",
}
_LONG_HEAD = ("BYTES", "CHILDREN", "VERSION", "CHANGED", "OWNER", "NAME")

_path = click.argument("path", type=ZNODE_PATH)
_path_or_root = click.argument("path", type=ZNODE_PATH, default="/")
_version = click.option("--version", type=COUNT, default=-1, help="Only if the znode has this version.")
_data = click.argument("data", required=False)
_file = click.option("--file", type=FILE, help="Data from a file, or - for standard input.")


@click.command()
@_path_or_root
@click.option("-l", "--long", is_flag=True, help="With size, version and owner.")
@as_json
@takes_endpoint
def ls(endpoint: Endpoint, path: str, long: bool, as_json: bool) -> None:
    """List the children of a znode."""
    with endpoint.session() as zookeeper:
        names, _ = zookeeper.call(zk.get_children(path))
        if long:
            _show_long(path, names, zookeeper, as_json)
        elif as_json:
            show_json(names)
        else:
            show_lines(names)


def _show_long(path: str, names: Sequence[str], zookeeper: ZooKeeper, as_json: bool) -> None:
    asked = zookeeper.pipeline(zk.exists(paths.child(path, name)) for name in names)
    found: list[tuple[str, Stat | None]] = []
    for name, stat in zip(names, asked, strict=True):
        if not isinstance(stat, Failed):
            found.append((name, stat))
        elif stat.code == Code.NO_AUTH:
            found.append((name, None))
        elif stat.code != Code.NO_NODE:  # which went away in between
            raise stat
    if as_json:
        show_json([{"name": name, **(stat_fields(stat) if stat else {"closed": True})} for name, stat in found])
    elif found:
        show_table(_LONG_HEAD, [_long_row(name, stat) for name, stat in found])


def _long_row(name: str, stat: Stat | None) -> tuple[object, ...]:
    if stat is None:
        return ("-",) * (len(_LONG_HEAD) - 1) + (f"{name}  {CLOSED}",)
    owner = hex(stat.ephemeral_owner or 0)
    return stat.data_length, stat.num_children, stat.version, when(stat.mtime), owner, name


@click.command()
@_path_or_root
@click.option("--depth", type=COUNT, help="How many levels down.")
@as_json
@takes_endpoint
def tree(endpoint: Endpoint, path: str, depth: int | None, as_json: bool) -> None:
    """Show a znode and all below it."""
    nodes: dict[str, JsonObject] = {}
    with endpoint.session() as zookeeper:
        for found in walk(zookeeper, path, depth):
            stat = found.stat
            node: JsonObject = {"path": found.path, "ephemeralOwner": stat and stat.ephemeral_owner, "children": []}
            if stat is None:
                node["closed"] = True
            if found.path != path:
                nodes[paths.parent(found.path)]["children"].append(node)
            nodes[found.path] = node
    if as_json:
        show_json(nodes[path])
    else:
        show_parts(_tree_lines(nodes[path]))


def _tree_lines(root: JsonObject) -> Iterator[list[tuple[str, str]]]:
    """Each line's parts: guides, name, mark; and their styles."""
    lines = [(root, "", str(root["path"]), "")]
    while lines:
        node, guides, name, indent = lines.pop()
        yield [(guides, "dim"), (name, ""), _mark(node)]
        for child in reversed(node["children"]):
            last = child is node["children"][-1]
            guide = f"{indent}{'└── ' if last else '├── '}"
            lines.append((child, guide, paths.name(child["path"]), indent + ("    " if last else "│   ")))


def _mark(node: JsonObject) -> tuple[str, str]:
    if "closed" in node:
        return f"  {CLOSED}", "yellow"
    return f"  (ephemeral of {node['ephemeralOwner']:#x})" if node["ephemeralOwner"] else "", "cyan"


@click.command()
@_path
@as_json
@takes_endpoint
def get(endpoint: Endpoint, path: str, as_json: bool) -> None:
    """Print the data of a znode."""
    with endpoint.session() as zookeeper:
        data, stat = zookeeper.call(zk.get(path))
        if as_json:
            show_json({"path": path, **data_fields(data), "stat": stat_fields(stat)})
        else:
            show_data(data)


@click.command()
@_path
@as_json
@takes_endpoint
def stat(endpoint: Endpoint, path: str, as_json: bool) -> None:
    """Print the Stat and the ACL of a znode."""
    with endpoint.session() as zookeeper:
        found = zookeeper.call(zk.exists(path))
        (acl,) = zookeeper.pipeline([zk.get_acl(path)])
    if isinstance(acl, Failed) and acl.code != Code.NO_AUTH:
        raise acl
    entries = None if isinstance(acl, Failed) else [acl_text(entry) for entry in acl]
    if as_json:
        show_json({"path": path, **stat_fields(found), "acl": entries})
        return
    show_lines(stat_lines(found))
    show_lines(f"{'acl':<15} {entry}" for entry in (["hidden"] if entries is None else entries))


@click.command("set")
@_path
@_data
@_file
@_version
@as_json
@takes_endpoint
def set_(endpoint: Endpoint, path: str, data: str | None, file: Path | None, version: int, as_json: bool) -> None:
    """Replace the data of a znode, by the text DATA or a file."""
    content = _content(data, file)
    if content is None:
        raise UsageError("set: give DATA or --file")
    with endpoint.session() as zookeeper:
        found = zookeeper.call(zk.set_data(path, content, version))
    if as_json:
        show_json({"path": path, "stat": stat_fields(found)})


@click.command()
@click.argument("path", type=NEW_PATH)
@_data
@_file
@click.option("-e", "--ephemeral", is_flag=True, help="Of this session: see --hold.")
@click.option("-c", "--container", is_flag=True, help="Goes with its last child.")
@click.option("--ttl", type=DURATION, help="Goes when unchanged for so long and childless: 90s, 2h; a number is in ms.")
@click.option("-s", "--sequential", is_flag=True, help="Append a number that only grows.")
@click.option("-p", "--parents", is_flag=True, help="Make missing znodes above it too.")
@click.option("--hold", is_flag=True, help="Keep the session until Ctrl-C.")
@click.option(
    "--acl",
    type=ACL_ENTRY,
    multiple=True,
    metavar="SCHEME:ID:PERMS",
    help="Such as world:anyone:r; may be repeated.",
)
@as_json
@takes_endpoint
def create(
    endpoint: Endpoint,
    path: str,
    data: str | None,
    file: Path | None,
    ephemeral: bool,
    container: bool,
    ttl: int | None,
    sequential: bool,
    parents: bool,
    hold: bool,
    acl: tuple[Acl, ...],
    as_json: bool,
) -> None:
    """Make a znode and print its path. Its data is the text DATA, a file, or empty."""
    exclusive(ephemeral=ephemeral, container=container, ttl=ttl)
    kinds = ((ephemeral, ZnodeKind.EPHEMERAL), (container, ZnodeKind.CONTAINER), (ttl, ZnodeKind.TTL))
    kind = next((kind for chosen, kind in kinds if chosen), ZnodeKind.PERSISTENT)
    flags = _FLAGS.get(CreateMode(kind, sequential))
    if flags is None:
        raise UsageError("create: a container cannot be sequential")
    if ephemeral != hold:
        raise UsageError("create: an ephemeral ends with this command, so --ephemeral and --hold go together")
    if path.endswith("/") and not sequential:
        raise UsageError("create: a path ends with / only for --sequential")
    acl = acl or OPEN_ACL
    call = zk.create(path, _content(data, file) or b"", acl, flags=flags, ttl=ttl or 0)
    with endpoint.session() as zookeeper:
        if parents:
            _make_parents(zookeeper, path, acl)
        made, found = zookeeper.call(call)

        def tell() -> None:
            if as_json:
                show_json({"path": made, "stat": stat_fields(found)})
            else:
                show(made)

        if hold:
            _until_interrupted(zookeeper, tell)
        else:
            tell()


def _make_parents(zookeeper: ZooKeeper, path: str, acl: Sequence[Acl]) -> None:
    for result in zookeeper.pipeline(zk.create(path, b"", acl) for path in above(path)):
        # what is there already may also be closed to us
        if isinstance(result, Failed) and result.code not in (Code.NODE_EXISTS, Code.NO_AUTH):
            raise result


@click.command()
@_path
@click.option("-r", "--recursive", is_flag=True, help="And all below it.")
@_version
@takes_endpoint
def rm(endpoint: Endpoint, path: str, recursive: bool, version: int) -> None:
    """Delete a znode."""
    if path in paths.SPECIAL_PATHS:
        raise CommandFailed(f"{path}: not deleted, nor what is below it: every server has this znode")
    if recursive and version != -1:
        raise UsageError("rm: --version is of one znode, --recursive of many")
    with endpoint.session() as zookeeper:
        if not recursive:
            zookeeper.call(zk.delete(path, version))
            return
        below: list[str] = []
        for found in walk(zookeeper, path):
            if found.stat is None:
                raise Failed(Code.NO_AUTH, found.path)
            below.append(found.path)
        _all(zookeeper.pipeline(zk.delete(path) for path in reversed(below)), unless=Code.NO_NODE)


@click.command("set-acl")
@_path
@click.argument("acl", type=ACL_ENTRY, nargs=-1, required=True, metavar="SCHEME:ID:PERMS...")
@click.option("-r", "--recursive", is_flag=True, help="And of all below it, the lowest first.")
@click.option("--version", type=COUNT, default=-1, help="Only if the ACL has this version (aversion).")
@takes_endpoint
def set_acl(endpoint: Endpoint, path: str, acl: tuple[Acl, ...], recursive: bool, version: int) -> None:
    """Replace the ACL of a znode. Entries are such as world:anyone:r or auth::cdrwa."""
    if recursive and version != -1:
        raise UsageError("set-acl: --version is of one znode, --recursive of many")
    with endpoint.session() as zookeeper:
        # above the lowest, an ACL may close what is below it
        below = [found.path for found in walk(zookeeper, path)] if recursive else [path]
        _all(zookeeper.pipeline(zk.set_acl(path, acl, version) for path in reversed(below)), unless=Code.NO_NODE)


@click.command()
@_path
@click.option("--znodes", type=COUNT, help="How many znodes there may be, the top included.")
@click.option("--bytes", "bytes_", type=COUNT, help="How many bytes of data they may have together.")
@click.option("--delete", is_flag=True, help="Remove the quota.")
@as_json
@takes_endpoint
def quota(endpoint: Endpoint, path: str, znodes: int | None, bytes_: int | None, delete: bool, as_json: bool) -> None:
    """Show, set or remove the quota of a subtree. It counts and forbids nothing."""
    if delete and (znodes is not None or bytes_ is not None):
        raise UsageError("quota: --delete excludes --znodes and --bytes")
    limits, stats = quotas.limits_path(path), quotas.stats_path(path)
    with endpoint.session() as zookeeper:
        if delete:
            zookeeper.call(zk.delete(limits))
            _all(zookeeper.pipeline([zk.delete(stats)]), unless=Code.NO_NODE)
            return
        if znodes is not None or bytes_ is not None:
            zookeeper.call(zk.exists(path))
            text = f"count={-1 if znodes is None else znodes},bytes={-1 if bytes_ is None else bytes_}".encode()
            _make_parents(zookeeper, limits, OPEN_ACL)
            (made,) = zookeeper.pipeline([zk.create(limits, text, OPEN_ACL)])
            if isinstance(made, Failed):
                if made.code != Code.NODE_EXISTS:
                    raise made
                zookeeper.call(zk.set_data(limits, text))
            _all(zookeeper.pipeline([zk.create(stats, b"count=0,bytes=0", OPEN_ACL)]), unless=Code.NODE_EXISTS)
        shown = {name: _counts(zookeeper.call(zk.get(each))[0]) for name, each in (("limit", limits), ("used", stats))}
    if as_json:
        show_json({"path": path, **shown})
    else:
        rows = [(name, *("-" if number < 0 else number for number in shown[name].values())) for name in shown]
        show_table(("", "ZNODES", "BYTES"), rows)


def _counts(data: bytes | None) -> dict[str, int]:
    """-1 for what is not limited (StatsTrack). Raises CommandFailed."""
    pairs = dict(pair.split("=", 1) for pair in (data or b"").decode(errors="replace").split(";")[0].split(","))
    try:
        return {"znodes": int(pairs["count"]), "bytes": int(pairs["bytes"].rstrip("="))}
    except (KeyError, ValueError):
        raise CommandFailed(f"the quota is none that ZooKeeper wrote: {data!r}") from None


@click.command()
@_path
@click.option("-r", "--recursive", is_flag=True, help="And below it.")
@click.option(
    "--exec",
    "command",
    metavar="COMMAND",
    help="Run this by the shell at each event, one after the other, with $EVENT, $ZNODE and $ZXID.",
)
@as_json
@takes_endpoint
def watch(endpoint: Endpoint, path: str, recursive: bool, command: str | None, as_json: bool) -> None:
    """Print what changes at a znode, until Ctrl-C."""
    with endpoint.session() as zookeeper:
        zookeeper.call(zk.add_watch(path, recursive=recursive))
        print(f"watching {path}, Ctrl-C ends it", file=sys.stderr, flush=True)
        try:
            for event in zookeeper.events():
                if command is not None:
                    _execute(command, event)
                elif as_json:
                    show_json({"event": _EVENTS[event.kind], "path": event.path, "zxid": event.zxid}, compact=True)
                else:
                    show(f"{event.zxid:#x}  {_EVENTS[event.kind]:<8}  {event.path}")
        except KeyboardInterrupt:
            return


def _execute(command: str, event: Event) -> None:
    """Raises CommandFailed when it fails: whoever follows changes must not miss one."""
    variables = {"EVENT": _EVENTS[event.kind], "ZNODE": event.path, "ZXID": str(event.zxid)}
    status = subprocess.run(command, shell=True, check=False, env={**os.environ, **variables}).returncode
    if status != 0:
        raise CommandFailed(f"{command!r} at {event.path} ended with {status}")


def _content(data: str | None, file: Path | None) -> bytes | None:
    if data is not None and file is not None:
        raise UsageError("give DATA or --file, not both")
    if file is None:
        return None if data is None else data.encode()
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def _all(results: Iterable[object], *, unless: Code) -> None:
    """Raises the first failure that is not ``unless``."""
    for result in results:
        if isinstance(result, Failed) and result.code != unless:
            raise result


def _until_interrupted(zookeeper: ZooKeeper, tell: Callable[[], None]) -> None:
    """An interrupt that comes while it tells is the end that was waited for too."""
    try:
        tell()
        print("held until Ctrl-C", file=sys.stderr, flush=True)
        for _ in zookeeper.events():
            continue
    except KeyboardInterrupt:
        return
