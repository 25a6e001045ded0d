"""ACLs and identities: the probe's facts ``acl.*`` and ``create.acl.*``, and what 3.9.5 answers to odd ids."""

from __future__ import annotations

from itertools import permutations

import pytest

from faaskeeper.znode.acl import Caller, allows, check, digest_id, fixup, in_order, masked_for_reader, may_read
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Acl, Identity, Permission

BOSS = Identity("digest", digest_id("boss:pw"))
MATE = Identity("digest", digest_id("mate:pw"))
LOCAL = Identity("ip", "127.0.0.1")
WORLD = Acl(Permission.ALL, "world", "anyone")


def of(*entries: tuple[int, str, str]) -> tuple[Acl, ...]:
    return tuple(Acl(*entry) for entry in entries)


@pytest.mark.parametrize(
    ("credentials", "identity"),
    [
        ("super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
        ("joe", "joe:FqmlTd9CWZUuPBGMdjE46DaT1/0="),
        ("ü:ö", "ü:O84ILhFNJimzTsVS2edPcW6gGs8="),
        ("", ":2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
        ("a:b:c", "a:cLzgnoJ6mP5qz3w+mwvPE2vDgu0="),
    ],
)
def test_digest_id(credentials: str, identity: str) -> None:
    assert digest_id(credentials) == identity


@pytest.mark.parametrize(
    ("scheme", "id"),
    [
        ("world", "anyone"),
        ("digest", "user:hash"),
        ("digest", ":hash"),
        ("digest", "user:hash::"),
        ("digest", "user: "),
        ("ip", "127.0.0.1"),
        ("ip", "01.2.3.4"),
        ("ip", "+1.2.3.4"),
        ("ip", "10.0.0.0/8"),
        ("ip", "0.0.0.0/0"),
        ("ip", "1.2.3.4/32"),
        ("ip", "1.2.3.4/+8"),
        ("ip", "::1"),
        ("ip", "::"),
        ("ip", "1:2:3:4:5:6:7::"),
        ("ip", "2001:DB8::/32"),
        ("ip", "1:2:3:4:5:6:7:8/128"),
    ],
)
def test_valid_ids_are_kept_as_they_are(scheme: str, id: str) -> None:
    assert fixup(of((31, scheme, id)), Caller(1)) == of((31, scheme, id))


@pytest.mark.parametrize(
    ("scheme", "id"),
    [
        ("world", "bob"),
        ("world", ""),
        ("nosuch", "x"),
        ("super", ""),
        ("sasl", "x"),
        ("x509", "x"),
        ("", ""),
        ("auth", ""),
        ("digest", "joe"),
        ("digest", "user:"),
        ("digest", "a:b:c"),
        ("digest", ":"),
        ("digest", ""),
        ("ip", ""),
        ("ip", "localhost"),
        ("ip", "999.1.1.1"),
        ("ip", "1.2.3"),
        ("ip", "1.2.3.4.5"),
        ("ip", "1.2.3.-4"),
        ("ip", "1.2.3. 4"),
        ("ip", "1.2.3.1_0"),
        ("ip", "1.2.3.4/33"),
        ("ip", "1.2.3.4/-1"),
        ("ip", "1.2.3.4/"),
        ("ip", "1.2.3.4/8/9"),
        ("ip", "1::2::3"),
        ("ip", "1:2:3:4:5:6:7"),
        ("ip", "1:2:3:4:5:6:7:8:9"),
        ("ip", "1:2:3:4:5:6:7:8::"),
        ("ip", ":1:2:3:4:5:6:7"),
        ("ip", ":::"),
        ("ip", "12345::"),
        ("ip", "g::"),
        ("ip", "::ffff:1.2.3.4"),
        ("ip", "::1/129"),
        ("ip", "fe80::1%eth0"),
    ],
)
def test_invalid_ids(scheme: str, id: str) -> None:
    for acl in (of((31, scheme, id)), (WORLD, Acl(31, scheme, id))):
        with pytest.raises(ZnodeError) as raised:
            fixup(acl, Caller(1, identities=(LOCAL,)))
        assert raised.value.code is Code.INVALID_ACL
        assert f"{scheme}:{id}" in str(raised.value)


def test_an_empty_acl_is_invalid() -> None:
    with pytest.raises(ZnodeError) as raised:
        fixup((), Caller(1, identities=(BOSS,)))
    assert raised.value.code is Code.INVALID_ACL


def test_repetitions_go_and_the_order_stays() -> None:
    acl = of((31, "world", "anyone"), (31, "world", "anyone"), (1, "world", "anyone"))
    assert fixup(acl, Caller(1)) == of((31, "world", "anyone"), (1, "world", "anyone"))


def test_perms_are_not_range_checked() -> None:
    acl = of((255, "world", "anyone"), (0, "world", "anyone"), (-1, "world", "anyone"))
    assert fixup(acl, Caller(1)) == acl


def test_auth_becomes_every_authenticated_id_with_its_perms() -> None:
    """acl.auth_expands_to, acl.auth.two_users"""
    acl = of((6, "auth", "ignored"), (1, "world", "anyone"))
    assert fixup(acl, Caller(1, identities=(LOCAL, MATE, BOSS))) == (
        Acl(6, *MATE),
        Acl(6, *BOSS),
        Acl(1, "world", "anyone"),
    )


@pytest.mark.parametrize(
    "users",
    [
        ("u2:p", "u1:p"),
        ("bob:secret", "ann:secret"),
        ("a:b", "super:test"),
        ("b18:3", "z57:0", "y37:1", "z92:4", "ü37:2"),
    ],
)
def test_ids_stand_in_the_order_of_a_java_hash_set_whatever_their_age(users: tuple[str, ...]) -> None:
    """As a ZooKeeper 3.9.5 was seen to answer whoAmI and getACL."""
    identities = [Identity("digest", digest_id(user)) for user in users]
    for order in permutations(identities):
        assert in_order((*order, *order)) == identities


def test_to_authenticate_twice_is_to_authenticate_once() -> None:
    assert fixup((Acl(31, "auth", ""),), Caller(1, identities=(BOSS, LOCAL, BOSS))) == (Acl(31, *BOSS),)


def test_an_expanded_id_is_not_merged_with_one_that_stands_there() -> None:
    assert fixup((Acl(31, *BOSS), Acl(31, "auth", "")), Caller(1, identities=(BOSS,))) == (
        Acl(31, *BOSS),
        Acl(31, *BOSS),
    )


@pytest.mark.parametrize("permission", list(Permission)[:5])
def test_each_permission_stands_alone(permission: Permission) -> None:
    acl = of((permission, "world", "anyone"))
    assert [other for other in list(Permission)[:5] if allows(acl, other, ())] == [permission]


@pytest.mark.parametrize(
    ("acl", "identities", "superuser", "allowed"),
    [
        ((), (), False, True),
        (of((31, "world", "anyone")), (), False, True),
        (of((0, "world", "anyone")), (), False, False),
        (of((0, "world", "anyone")), (), True, True),
        (of((255, "world", "anyone")), (), False, True),
        ((Acl(31, *BOSS),), (LOCAL, BOSS), False, True),
        ((Acl(31, *BOSS),), (LOCAL, MATE), False, False),
        ((Acl(30, *BOSS), Acl(1, *MATE)), (BOSS,), False, False),
        ((Acl(30, *BOSS), Acl(1, *MATE)), (BOSS, MATE), False, True),
        (of((31, "ip", "127.0.0.1")), (LOCAL,), False, True),
        (of((31, "ip", "127.0.0.2")), (LOCAL,), False, False),
        (of((31, "ip", "127.0.0.0/8")), (LOCAL,), False, True),
        (of((31, "ip", "126.0.0.0/7")), (LOCAL,), False, True),
        (of((31, "ip", "10.0.0.0/8")), (LOCAL,), False, False),
        (of((31, "ip", "0.0.0.0/0")), (LOCAL,), False, True),
        (of((31, "ip", "10.1.2.3/8")), (Identity("ip", "10.255.0.9"),), False, True),
        (of((31, "ip", "::/0")), (LOCAL,), False, False),
        (of((31, "ip", "::1")), (Identity("ip", "0:0:0:0:0:0:0:1"),), False, True),
        (of((31, "ip", "fe80::/10")), (Identity("ip", "febf::1"),), False, True),
        (of((31, "ip", "fe80::/10")), (Identity("ip", "fec0::1"),), False, False),
        (of((31, "ip", "0.0.0.0/0")), (Identity("ip", "not an address"),), False, False),
        (of((31, "ip", "127.0.0.1")), (Identity("digest", "127.0.0.1"),), False, False),
        (of((31, "world", "bob")), (), False, False),
    ],
)
def test_read(acl: tuple[Acl, ...], identities: tuple[Identity, ...], superuser: bool, allowed: bool) -> None:
    caller = Caller(1, identities=identities, superuser=superuser)
    assert allows(acl, Permission.READ, identities, superuser) is allowed
    assert may_read(acl, caller) is allowed
    if allowed:
        check(acl, Permission.READ, caller)
    else:
        with pytest.raises(ZnodeError) as raised:
            check(acl, Permission.READ, caller)
        assert raised.value.code is Code.NO_AUTH


def test_get_acl_hides_digests_from_those_without_admin() -> None:
    acl = (Acl(31, *BOSS), *of((1, "world", "anyone"), (1, "ip", "10.0.0.0/8")))
    hidden = (Acl(31, "digest", "boss:x"), *acl[1:])
    assert masked_for_reader(acl, Caller(1, identities=(LOCAL,))) == hidden
    assert masked_for_reader(acl, Caller(1, identities=(LOCAL, BOSS))) == acl
    assert masked_for_reader(acl, Caller(1, superuser=True)) == acl
    assert masked_for_reader(of((16, "world", "anyone")), Caller(1)) == of((16, "world", "anyone"))


def test_get_acl_needs_read_or_admin() -> None:
    with pytest.raises(ZnodeError) as raised:
        masked_for_reader(of((2 | 4 | 8, "world", "anyone")), Caller(1))
    assert raised.value.code is Code.NO_AUTH


def test_the_open_acl_lets_everybody_do_everything() -> None:
    assert all(allows(OPEN_ACL, permission, ()) for permission in Permission)
