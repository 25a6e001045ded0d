"""The primary key of every item, and the short names by which the head of the ledger lists what was written.

A partition key ends at 2,048 bytes and a sort key at 1,024 (DynamoDB limits): longer paths and names are replaced
by a digest, and the item carries the real one in ``full``. A digest begins with "%/", as no path and no name can.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256

from faaskeeper.blocks.attributes import Attribute, string
from faaskeeper.protocol.service import Service
from faaskeeper.znode.paths import name, parent

_MAX_PARTITION_KEY_BYTES = 2048
_MAX_SORT_KEY_BYTES = 1024

NODE = "node"
VALUE = "value"
CHILD_PREFIX = "child#"
SESSION = "session"
EPHEMERAL_PREFIX = "eph#"
GATEWAY = "gateway"
GATEWAY_SESSION_PREFIX = "session#"
HEAD = "head"
EVENT = "event"
SUBTREE = "subtree"
REFERENCE = "blob"
CANDIDATE = "due"
"""The value is part of DATA_VERSION: tables of deployed services have it."""
JANITOR = "janitor"


@dataclass(frozen=True, slots=True)
class Key:
    """A primary key. ``table`` is the field of ``Service`` that names its table; ``full`` is the path or name that
    did not fit into the key, else None. Keys are equal if DynamoDB takes them for one."""

    table: str
    partition: str
    sort: str
    full: str | None = field(default=None, compare=False)

    def table_name(self, service: Service) -> str:
        return str(getattr(service, self.table))

    @property
    def size(self) -> int:
        """Bytes, about, that it takes in the head."""
        return len(json.dumps(pack_key(self)))

    @property
    def attributes(self) -> dict[str, Attribute]:
        partition, sort = KEY_NAMES[self.table]
        return {partition: string(self.partition), sort: string(self.sort)}


KEY_NAMES = {"znodes": ("path", "part"), "sessions": ("id", "part"), "ledger": ("pk", "sk")}


def node_key(path: str) -> Key:
    """The znode itself: stat, acl, small data, watch sets."""
    partition, full = _fit(path, _MAX_PARTITION_KEY_BYTES, "")
    return Key("znodes", partition, NODE, full)


def value_key(path: str) -> Key:
    """Data too large for the znode's item and too small for the bucket."""
    return Key("znodes", _fit(path, _MAX_PARTITION_KEY_BYTES, "")[0], VALUE)


def child_key(path: str) -> Key:
    """The edge from the parent of ``path`` to it."""
    sort, full = _fit(name(path), _MAX_SORT_KEY_BYTES, CHILD_PREFIX)
    return Key("znodes", _fit(parent(path), _MAX_PARTITION_KEY_BYTES, "")[0], sort, full)


def session_key(session: int) -> Key:
    return Key("sessions", session_partition(session), SESSION)


def ephemeral_key(session: int, path: str) -> Key:
    sort, full = _fit(path, _MAX_SORT_KEY_BYTES, EPHEMERAL_PREFIX)
    return Key("sessions", session_partition(session), sort, full)


def gateway_key(gateway: str) -> Key:
    return Key("sessions", gateway_partition(gateway), GATEWAY)


def gateway_session_key(gateway: str, session: int) -> Key:
    """One for each session attached to the gateway, so that the sessions of a dead gateway can be listed."""
    return Key("sessions", gateway_partition(gateway), f"{GATEWAY_SESSION_PREFIX}{hex64(session)}")


def head_key() -> Key:
    return Key("ledger", HEAD, HEAD)


def event_key(zxid: int, part: int = 0) -> Key:
    """The events of the transaction that ends at ``zxid``; ``part`` counts items when they do not fit into one."""
    return Key("ledger", EVENT, f"{event_sort(zxid)}#{part:04d}")


def recursive_key(path: str, gateway: str) -> Key:
    """A gateway with a persistent-recursive watch on ``path``; both are in attributes too."""
    return Key("ledger", SUBTREE, f"{sha256(path.encode()).hexdigest()}#{gateway}")


def quota_key(path: str) -> Key:
    """One for each path that has a quota; it is in an attribute too."""
    return Key("ledger", SUBTREE, f"{sha256(path.encode()).hexdigest()}#quota")


def reference_key(blob: str) -> Key:
    """One for each blob that a znode's data is in."""
    return Key("ledger", REFERENCE, blob)


def candidate_key(time: int, path: str) -> Key:
    """Tells the janitor to look at the container or TTL znode at ``path`` when ``time`` (ms) has come."""
    sort, full = _fit(path, _MAX_SORT_KEY_BYTES, candidate_sort(time))
    return Key("ledger", CANDIDATE, sort, full)


def candidate_sort(time: int) -> str:
    return f"{time:015d}#"


def janitor_key(what: str) -> Key:
    return Key("ledger", JANITOR, what)


def event_sort(zxid: int) -> str:
    return f"{zxid:020d}"


def session_partition(session: int) -> str:
    return f"session#{hex64(session)}"


def gateway_partition(gateway: str) -> str:
    return f"gateway#{gateway}"


def hex64(session: int) -> str:
    """A session id as ZooKeeper's tools print it, without 0x."""
    return f"{session & 0xFFFFFFFFFFFFFFFF:016x}"


def unhex64(text: str) -> int:
    value = int(text, 16)
    return value - (1 << 64) if value >> 63 else value


def _fit(text: str, limit: int, prefix: str) -> tuple[str, str | None]:
    """(key, the text itself if the key is a digest)."""
    if len(prefix) + len(text.encode()) <= limit:
        return prefix + text, None
    return f"{prefix}%/{sha256(text.encode()).hexdigest()}", text


_SHORT = {"znodes": "z", "sessions": "s", "ledger": "l"}
_LONG = {short: table for table, short in _SHORT.items()}


def pack_key(key: Key) -> list[str]:
    """The key as the head lists it: JSON-ready."""
    return [_SHORT[key.table], key.partition, key.sort]


def unpack_key(packed: list[str]) -> Key:
    short, partition, sort = packed
    return Key(_LONG[short], partition, sort)
