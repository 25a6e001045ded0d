"""Who may do what: identities and ACLs (ZooKeeperServer.checkACL, PrepRequestProcessor.fixupACL)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from struct import unpack

from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import Acl, Identity, Permission


@dataclass(frozen=True)
class Caller:
    """Who asks: a session, the gateway it is attached through, and what its connection has proved, oldest first.

    ``superuser`` is true once the connection authenticated with the service's super digest.
    """

    session: int
    gateway: str = ""
    identities: tuple[Identity, ...] = ()
    superuser: bool = False

    @cached_property
    def authenticated(self) -> tuple[Identity, ...]:
        """What ``auth`` in an ACL stands for."""
        return tuple(identity for identity in in_order(self.identities) if identity.scheme == "digest")

    @cached_property
    def allowed(self) -> dict[tuple[int, int], tuple[bool, tuple[Acl, ...]]]:
        """What ``check`` found, by permission and the ``id`` of the ACL, which is kept so that no other gets its id."""
        return {}


def caller_of(session: int, gateway: str, credentials: Iterable[tuple[str, str]], super_digest: str) -> Caller:
    """Who a connection is by the (scheme, credential) with which it authenticated. ``super_digest`` is the identity
    that passes every ACL, ``""`` if there is none (DigestAuthenticationProvider)."""
    identities = tuple(
        Identity(scheme, digest_id(credential) if scheme == "digest" else credential)
        for scheme, credential in credentials
    )
    superuser = bool(super_digest) and Identity("digest", super_digest) in identities
    return Caller(session, gateway, identities, superuser)


def digest_id(user_and_password: str) -> str:
    """``"user:password"`` as the digest scheme stores it: ``"user:base64(sha1(user:password))"``.

    The user is what precedes the first colon; there need not be one (DigestAuthenticationProvider).
    """
    user = user_and_password.partition(":")[0]
    return f"{user}:{b64encode(sha1(user_and_password.encode()).digest()).decode()}"


def fixup(acl: Iterable[Acl], caller: Caller) -> tuple[Acl, ...]:
    """``acl`` as a node keeps it: without repetitions, ``auth`` replaced by the caller's authenticated ids.

    Raises ZnodeError(INVALID_ACL): no entry at all, an id its scheme does not accept, an unknown scheme, or
    ``auth`` on a connection that has not authenticated.
    """
    fixed: list[Acl] = []
    for entry in dict.fromkeys(acl):
        if entry.scheme == "auth" and caller.authenticated:
            fixed.extend(Acl(entry.perms, *identity) for identity in caller.authenticated)
        elif _is_valid(entry):
            fixed.append(entry)
        else:
            raise ZnodeError(Code.INVALID_ACL, f"{entry.scheme}:{entry.id}")
    if not fixed:
        raise ZnodeError(Code.INVALID_ACL, "empty")
    return tuple(fixed)


def in_order(identities: Iterable[Identity]) -> list[Identity]:
    """A connection's distinct ids as a ZooKeeper lists them, which keeps them in a hash set (ServerCnxn.authInfo,
    java.util.concurrent.ConcurrentHashMap): by bin, then by age."""
    distinct = list(dict.fromkeys(identities))
    bins = 16
    while 4 * len(distinct) >= 3 * bins:
        bins *= 2

    def bin_of(identity: Identity) -> int:
        code = (37 * (37 * 17 + _java_hash(identity.scheme)) + _java_hash(identity.id)) & 0xFFFFFFFF
        return (code ^ code >> 16) & (bins - 1)

    return sorted(distinct, key=bin_of)


def allows(acl: Iterable[Acl], permission: int, identities: Iterable[Identity], superuser: bool = False) -> bool:
    """Whether ``acl`` grants any bit of ``permission``. An empty ACL grants everything, and so does being super."""
    entries, known = tuple(acl), tuple(identities)
    if superuser or not entries:
        return True
    return any(entry.perms & permission and (_is_world(entry) or _means(entry, known)) for entry in entries)


def check(acl: tuple[Acl, ...], permission: int, caller: Caller) -> None:
    """Raises ZnodeError(NO_AUTH) unless ``acl`` grants ``caller`` any bit of ``permission``. The caller, made for a
    batch, remembers it."""
    # an ACL may have many thousand entries, and a batch may ask for one as often
    key = id(acl), int(permission)
    if key not in caller.allowed:
        caller.allowed[key] = allows(acl, permission, caller.identities, caller.superuser), acl
    if not caller.allowed[key][0]:
        raise ZnodeError(Code.NO_AUTH, f"no {Permission(permission).name} permission")


def may_read(acl: Iterable[Acl], caller: Caller) -> bool:
    """For reads, and for events: nobody is told of a node that it may not read."""
    return allows(acl, Permission.READ, caller.identities, caller.superuser)


def masked_for_reader(acl: tuple[Acl, ...], caller: Caller) -> tuple[Acl, ...]:
    """What getACL answers: without ADMIN, digests are hidden. Raises ZnodeError(NO_AUTH) without READ and ADMIN."""
    if not allows(acl, Permission.READ | Permission.ADMIN, caller.identities, caller.superuser):
        raise ZnodeError(Code.NO_AUTH, "no READ or ADMIN permission")
    if allows(acl, Permission.ADMIN, caller.identities, caller.superuser):
        return acl
    return tuple(
        entry._replace(id=f"{entry.id.partition(':')[0]}:x") if entry.scheme == "digest" else entry for entry in acl
    )


def _java_hash(text: str) -> int:
    """java.lang.String.hashCode, modulo 2^32."""
    utf16 = text.encode("utf-16-be", "surrogatepass")
    code = 0
    for unit in unpack(f">{len(utf16) // 2}H", utf16):
        code = (31 * code + unit) & 0xFFFFFFFF
    return code


def _is_world(entry: Acl) -> bool:
    return entry.scheme == "world" and entry.id == "anyone"


def _is_valid(entry: Acl) -> bool:
    match entry.scheme:
        case "world":
            return entry.id == "anyone"
        case "digest":
            # Java's split forgets trailing empty parts: "user:" has one, "user:hash:" two.
            return len(entry.id.rstrip(":").split(":")) == 2
        case "ip":
            return _network(entry.id) is not None
        case _:
            return False


def _means(entry: Acl, identities: tuple[Identity, ...]) -> bool:
    if entry.scheme != "ip":
        return Identity(entry.scheme, entry.id) in identities
    network = _network(entry.id)
    if network is None:
        return False
    (width, value), prefix = network
    addresses = (_address(identity.id) for identity in identities if identity.scheme == "ip")
    return any(
        address is not None and width == address[0] and value >> (width - prefix) == address[1] >> (width - prefix)
        for address in addresses
    )


# What Integer.parseInt accepts, which is how IPAuthenticationProvider reads addresses.
_DECIMAL = re.compile(r"[+-]?\d{1,12}")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{1,4}")


def _network(text: str) -> tuple[tuple[int, int], int] | None:
    """The address and the prefix length in bits of ``address[/prefix]``; None if it is none."""
    before, slash, after = text.partition("/")
    address = _address(before)
    if address is None:
        return None
    if not slash:
        return address, address[0]
    if not _DECIMAL.fullmatch(after) or not 0 <= int(after) <= address[0]:
        return None
    return address, int(after)


def _address(text: str) -> tuple[int, int] | None:
    """Width in bits and value of an IPv4 or IPv6 address; None if it is none (IPAuthenticationProvider)."""
    if ":" in text:
        return _ipv6(text)
    parts = text.split(".")
    if len(parts) != 4 or not all(_DECIMAL.fullmatch(part) and 0 <= int(part) <= 255 for part in parts):
        return None
    return 32, int.from_bytes(int(part) for part in parts)


def _ipv6(text: str) -> tuple[int, int] | None:
    before, compressed, after = text.partition("::")
    first, last = (half.split(":") if half else [] for half in (before, after))
    zeros = 8 - len(first) - len(last)
    if (zeros < 1) if compressed else (zeros != 0):
        return None
    groups = [*first, *["0"] * zeros, *last]
    if not all(_HEXADECIMAL.fullmatch(group) for group in groups):
        return None
    return 128, int("".join(group.zfill(4) for group in groups), 16)
