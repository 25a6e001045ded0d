"""Single writes against ZooKeeper 3.9.5's answers. Where a case is one of the probe's facts, its id says which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from faaskeeper.znode.acl import Caller, digest_id
from faaskeeper.znode.apply import MAX_LISTED_CHILDREN, MAX_NAME_CHARACTERS, apply
from faaskeeper.znode.errors import Code, ZnodeError
from faaskeeper.znode.model import OPEN_ACL, Acl, Blob, Data, Event, EventKind, Identity, Permission, Stored, ZnodeKind
from faaskeeper.znode.operations import (
    Check,
    Create,
    Delete,
    DeleteContainer,
    ListChildren,
    Multi,
    Operation,
    Outcome,
    SetAcl,
    SetData,
)
from faaskeeper.znode.paths import MAX_PATH_CHARACTERS
from faaskeeper.znode.state import State
from faaskeeper.znode.touched import touched
from tests.znode.tree import Tree

READ, WRITE, CREATE, DELETE, ADMIN = list(Permission)[:5]
BOSS = Identity("digest", digest_id("boss:pw"))
NO_ACL: tuple[Acl, ...] = ()
ME = Caller(1, identities=(Identity("ip", "127.0.0.1"),))
BOSS_TOO = replace(ME, identities=(*ME.identities, BOSS))


def open_to_all(permission: int) -> tuple[Acl, ...]:
    """Everything for BOSS, ``permission`` for the rest."""
    return (Acl(Permission.ALL, *BOSS), Acl(permission, "world", "anyone"))


def create(
    path: str, data: Data = b"", acl: tuple[Acl, ...] = OPEN_ACL, flags: int = 0, ttl: int | None = None
) -> Create:
    return Create(path, data, acl, flags, ttl)


def outcome(tree: Tree, operation: Operation, caller: Caller = ME) -> Outcome:
    return tree.do(operation, caller).outcome


@pytest.fixture
def tree() -> Tree:
    """/a (version 1) with /a/k; /e ephemeral; /closed, all but READ denied, with /closed/open; /c nobody's; /other."""
    tree = Tree(1, 2)
    tree.do(create("/other", flags=1), Caller(2))
    for operation in (
        create("/a"),
        create("/a/k"),
        SetData("/a", b"1"),
        create("/e", flags=1),
        create("/closed", acl=open_to_all(READ)),
        create("/closed/open"),
        create("/c", acl=open_to_all(0)),
        create("/c/e", flags=1),
        create("/shut", acl=open_to_all(0), flags=1),
        create("/max"),
    ):
        tree.do(operation, BOSS_TOO)
    return tree


CODES: list[tuple[str, Operation, Code]] = [
    # create, in the order of its checks
    ("create.flags.-1", create("/n", flags=-1), Code.BAD_ARGUMENTS),
    ("create.flags.7", create("/n", flags=7), Code.BAD_ARGUMENTS),
    ("create.flags.100", create("/n", flags=100), Code.BAD_ARGUMENTS),
    ("create(op1).flags5(ttl)", create("/n", flags=5), Code.BAD_ARGUMENTS),
    ("create ttl sequential without ttl", create("/n", flags=6), Code.BAD_ARGUMENTS),
    ("ttl.create.0", create("/n", flags=5, ttl=0), Code.BAD_ARGUMENTS),
    ("ttl.create.neg", create("/n", flags=5, ttl=-1), Code.BAD_ARGUMENTS),
    ("ttl.create.max+1", create("/n", flags=5, ttl=2**40), Code.BAD_ARGUMENTS),
    ("create ttl 0 with another flag", create("/n", ttl=0), Code.BAD_ARGUMENTS),
    ("ttl.create.wrongflag", create("/n", flags=0, ttl=5000), Code.BAD_ARGUMENTS),
    ("create flags+badacl", create("/n", flags=7, acl=NO_ACL), Code.BAD_ARGUMENTS),
    ("create flags+noparent", create("/zz/n", flags=7), Code.BAD_ARGUMENTS),
    ("path.create.noslash", create("foo"), Code.BAD_ARGUMENTS),
    ("path.create.empty", create(""), Code.BAD_ARGUMENTS),
    ("path.create.empty sequential", create("", flags=2), Code.BAD_ARGUMENTS),
    ("path.create.nul", create("/a/a\0b"), Code.BAD_ARGUMENTS),
    ("create nul+noparent", create("/zz/a\0b"), Code.BAD_ARGUMENTS),
    ("create noslash+badacl", create("foo", acl=NO_ACL), Code.BAD_ARGUMENTS),
    ("create.acl.empty", create("/n", acl=NO_ACL), Code.INVALID_ACL),
    ("create.acl.badscheme", create("/n", acl=(Acl(31, "foo", "bar"),)), Code.INVALID_ACL),
    ("create.acl.auth_noauth", create("/n", acl=(Acl(31, "auth", ""),)), Code.INVALID_ACL),
    ("create.noparent+badacl", create("/zz/y", acl=NO_ACL), Code.INVALID_ACL),
    ("create.exists+badacl", create("/a", acl=NO_ACL), Code.INVALID_ACL),
    ("create closed+badacl", create("/closed/n", acl=NO_ACL), Code.INVALID_ACL),
    ("create.noparent", create("/zz/y"), Code.NO_NODE),
    ("path.create.noslash2", create("foo/bar"), Code.NO_NODE),
    ("path.create.dslash", create("/a//k"), Code.NO_NODE),
    ("path.create.trail", create("/t/"), Code.NO_NODE),
    ("path.create.dot_mid", create("/./b"), Code.NO_NODE),
    ("path.create.dotdot_mid", create("/a/../b"), Code.NO_NODE),
    ("create.under_ephemeral.missing_grandparent", create("/e/k/j"), Code.NO_NODE),
    ("create closed", create("/closed/n"), Code.NO_AUTH),
    ("create closed sequential", create("/closed/n", flags=2), Code.NO_AUTH),
    ("acl.create_exists_without_create_perm", create("/closed/open"), Code.NO_AUTH),
    ("create closed+path", create("/closed/."), Code.NO_AUTH),
    ("create closed+ephemeral parent", create("/shut/n"), Code.NO_AUTH),
    ("path.create.trail_parent_exists", create("/a/"), Code.BAD_ARGUMENTS),
    ("create //x", create("//x"), Code.BAD_ARGUMENTS),
    ("path.create.dot", create("/a/."), Code.BAD_ARGUMENTS),
    ("path.create.dotdot", create("/a/.."), Code.BAD_ARGUMENTS),
    ("path.create.x01", create("/a/a\x01b"), Code.BAD_ARGUMENTS),
    ("path.create.emoji", create("/a/\U0001f600"), Code.BAD_ARGUMENTS),
    ("create path+ephemeral parent", create("/e/."), Code.BAD_ARGUMENTS),
    ("create path sequential", create("/a/\x01", flags=2), Code.BAD_ARGUMENTS),
    ("create.exists", create("/a"), Code.NODE_EXISTS),
    ("create.root", create("/"), Code.NODE_EXISTS),
    ("create./zookeeper", create("/zookeeper"), Code.NODE_EXISTS),
    ("create.under_ephemeral", create("/e/k"), Code.NO_CHILDREN_FOR_EPHEMERALS),
    ("create under another session's ephemeral", create("/other/k"), Code.NO_CHILDREN_FOR_EPHEMERALS),
    ("create under ephemeral, sequential", create("/e/k", flags=3), Code.NO_CHILDREN_FOR_EPHEMERALS),
    ("create./zookeeper/x", create("/zookeeper/x"), Code.OK),
    ("create.acl.perms_255", create("/n", acl=(Acl(255, "world", "anyone"),)), Code.OK),
    ("create.acl.ip_cidr", create("/n", acl=(Acl(31, "ip", "127.0.0.0/8"),)), Code.OK),
    ("path.create.long", create("/" + "n" * 5000), Code.OK),
    ("path.create.zookeeper_name", create("/a/zookeeper"), Code.OK),
    ("create(op1).flags4(container)", create("/n", flags=4), Code.OK),
    ("ttl.create.max", create("/n", flags=5, ttl=2**40 - 1), Code.OK),
    ("ttl 1", create("/n", flags=5, ttl=1), Code.OK),
    # delete
    ("delete./", Delete("/"), Code.BAD_ARGUMENTS),
    ("delete./zookeeper", Delete("/zookeeper"), Code.BAD_ARGUMENTS),
    ("delete./zookeeper/quota", Delete("/zookeeper/quota"), Code.BAD_ARGUMENTS),
    ("delete /zookeeper/config", Delete("/zookeeper/config"), Code.BAD_ARGUMENTS),
    ("delete.''", Delete(""), Code.BAD_ARGUMENTS),
    ("path.delete.noslash", Delete("foo"), Code.BAD_ARGUMENTS),
    ("path.delete.nul", Delete("/a/a\0b"), Code.BAD_ARGUMENTS),
    ("delete nul+noparent", Delete("/zz/a\0b"), Code.BAD_ARGUMENTS),
    ("delete.noparent", Delete("/zz/y"), Code.NO_NODE),
    ("path.delete.trail", Delete("/a/"), Code.NO_NODE),
    ("path.delete.dslash", Delete("/a//k"), Code.NO_NODE),
    ("path.delete.dot", Delete("/a/."), Code.NO_NODE),
    ("path.delete.x01", Delete("/a/a\x01b"), Code.NO_NODE),
    ("acl.delete_open_child_of_closed_parent", Delete("/closed/open"), Code.NO_AUTH),
    ("acl.delete_missing_without_perm", Delete("/closed/nope"), Code.NO_AUTH),
    ("delete.nonode", Delete("/zz"), Code.NO_NODE),
    ("delete nonode+version", Delete("/zz", 7), Code.NO_NODE),
    ("delete.badversion", Delete("/a/k", 3), Code.BAD_VERSION),
    ("delete.version_-2", Delete("/a/k", -2), Code.BAD_VERSION),
    ("delete.notempty+badversion", Delete("/a", 7), Code.BAD_VERSION),
    ("delete.notempty", Delete("/a"), Code.NOT_EMPTY),
    ("delete of a closed node in an open parent", Delete("/shut"), Code.OK),
    ("delete with its version", Delete("/a/k", 0), Code.OK),
    # setData
    ("path.set.empty", SetData("", b""), Code.BAD_ARGUMENTS),
    ("path.set.noslash", SetData("foo", b""), Code.BAD_ARGUMENTS),
    ("path.set.trail", SetData("/a/", b""), Code.BAD_ARGUMENTS),
    ("path.set.dslash", SetData("/a//k", b""), Code.BAD_ARGUMENTS),
    ("path.set.dot", SetData("/a/.", b""), Code.BAD_ARGUMENTS),
    ("path.set.nul", SetData("/a/\0", b""), Code.BAD_ARGUMENTS),
    ("set.nonode", SetData("/q", b""), Code.NO_NODE),
    ("set nonode+version", SetData("/q", b"", 7), Code.NO_NODE),
    ("set./zookeeper/config", SetData("/zookeeper/config", b""), Code.NO_AUTH),
    ("acl.set_badversion_without_perm", SetData("/closed", b"", 99), Code.NO_AUTH),
    ("set.badversion_old", SetData("/a", b"", 0), Code.BAD_VERSION),
    ("set.badversion_future", SetData("/a", b"", 9), Code.BAD_VERSION),
    ("set.version_-2", SetData("/a", b"", -2), Code.BAD_VERSION),
    ("set./", SetData("/", b""), Code.OK),
    ("set./zookeeper", SetData("/zookeeper", b""), Code.OK),
    ("set with its version", SetData("/a", b"", 1), Code.OK),
    ("set in a closed parent", SetData("/closed/open", b""), Code.OK),
    # setACL
    ("path.setacl.empty", SetAcl("", OPEN_ACL), Code.BAD_ARGUMENTS),
    ("path.setacl.trail", SetAcl("/a/", OPEN_ACL), Code.BAD_ARGUMENTS),
    ("setacl path+badacl", SetAcl("/a/", NO_ACL), Code.BAD_ARGUMENTS),
    ("setacl.empty", SetAcl("/a", NO_ACL), Code.INVALID_ACL),
    ("setacl.nonode+badacl", SetAcl("/q", NO_ACL), Code.INVALID_ACL),
    ("setacl closed+badacl", SetAcl("/closed", NO_ACL), Code.INVALID_ACL),
    ("setacl.nonode", SetAcl("/q", OPEN_ACL), Code.NO_NODE),
    ("setacl closed", SetAcl("/closed", OPEN_ACL), Code.NO_AUTH),
    ("setacl closed+version", SetAcl("/closed", OPEN_ACL, 7), Code.NO_AUTH),
    ("setacl /zookeeper/config", SetAcl("/zookeeper/config", OPEN_ACL), Code.NO_AUTH),
    ("setacl.badversion", SetAcl("/a", OPEN_ACL, 1), Code.BAD_VERSION),
    ("setacl version -2", SetAcl("/a", OPEN_ACL, -2), Code.BAD_VERSION),
    ("setacl with its aversion, not its version", SetAcl("/a", OPEN_ACL, 0), Code.OK),
    # op.13.standalone
    ("check alone", Check("/a"), Code.UNIMPLEMENTED),
]


@pytest.mark.parametrize(("operation", "code"), [case[1:] for case in CODES], ids=[case[0] for case in CODES])
def test_code_and_nothing_changed_by_an_error(tree: Tree, operation: Operation, code: Code) -> None:
    before = tree.contents
    assert tree.code(operation, ME) == code
    assert (tree.contents == before) is (code != Code.OK)


@pytest.mark.parametrize("path", ["/c/new", "/closed/open", "/zookeeper/config"])
def test_the_super_user_may_do_everything(tree: Tree, path: str) -> None:
    caller = Caller(1, superuser=True)
    if path == "/c/new":
        tree.do(create(path), caller)
    tree.do(SetData(path, b"1"), caller)
    tree.do(SetAcl(path, OPEN_ACL), caller)
    assert tree.code(Delete(path), caller) == (Code.BAD_ARGUMENTS if path.startswith("/zookeeper") else Code.OK)


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [(READ, ["check"]), (WRITE, ["set"]), (CREATE, ["create"]), (DELETE, ["delete"]), (ADMIN, ["setACL"])],
)
def test_what_each_permission_allows(permission: Permission, allowed: list[str]) -> None:
    """acl.only_*.allows: CREATE and DELETE are asked of the parent, whatever the child says."""
    tree = Tree(1)
    tree.do(create("/n", acl=open_to_all(permission)), BOSS_TOO)
    tree.do(create("/n/kid", acl=(Acl(31, *BOSS),)), BOSS_TOO)

    operations: dict[str, Operation] = {
        "check": Multi((Check("/n"),)),
        "set": SetData("/n", b""),
        "create": create("/n/new"),
        "delete": Delete("/n/kid"),
        "setACL": SetAcl("/n", open_to_all(permission)),
    }

    def is_allowed(operation: Operation) -> bool:
        code = tree.codes(operation, ME)[0] if isinstance(operation, Multi) else tree.code(operation, ME)
        assert code in (Code.OK, Code.NO_AUTH)
        return code == Code.OK

    assert [name for name, operation in operations.items() if is_allowed(operation)] == allowed


class TestCreate:
    def test_the_new_node(self, tree: Tree) -> None:
        """create.stat, create.czxid==mzxid==pzxid==reply.zxid, create.ctime==mtime"""
        result = outcome(tree, create("/a/n", b"abc"))
        assert result.zxid == tree.zxid
        assert result.path == "/a/n"
        node = tree.nodes["/a/n"]
        assert node.stat == result.stat
        assert (node.czxid, node.mzxid, node.pzxid, node.zxid) == (tree.zxid,) * 4
        assert (node.ctime, node.mtime) == (tree.time,) * 2
        assert (node.version, node.stat.cversion, node.aversion, node.owner, node.children) == (0, 0, 0, 0, 0)
        assert (node.data, node.stat.data_length, node.acl, node.kind) == (b"abc", 3, OPEN_ACL, ZnodeKind.PERSISTENT)

    def test_the_parent(self, tree: Tree) -> None:
        """create.parent.delta, create.parent.pzxid==zxid,mzxid same,mtime same"""
        before = tree.nodes["/a"].stat
        outcome(tree, create("/a/n"))
        expected = before._replace(cversion=before.cversion + 1, num_children=2, pzxid=tree.zxid)
        assert tree.nodes["/a"].stat == expected
        assert tree.nodes["/a"].zxid == tree.zxid

    @pytest.mark.parametrize(("data", "length"), [(None, 0), (b"", 0), (b"xy", 2), (Blob("key", 7), 7), (Stored(9), 9)])
    def test_data(self, tree: Tree, data: Data, length: int) -> None:
        """create.null.get,len, create.empty.get,len, set.null.get: null and empty are different and both of length 0"""
        for operation in (create("/n", data), SetData("/n", data)):
            result = outcome(tree, operation)
            assert result.stat is not None
            assert result.stat.data_length == length
            assert tree.nodes["/n"].data == data
            assert type(tree.nodes["/n"].data) is type(data)

    def test_kinds(self, tree: Tree) -> None:
        """create.ephemeral.owner==sid, container.create, ttl.create.5000"""
        for flags, kind, owner, ttl in [
            (0, ZnodeKind.PERSISTENT, 0, 0),
            (1, ZnodeKind.EPHEMERAL, 1, 0),
            (2, ZnodeKind.PERSISTENT, 0, 0),
            (3, ZnodeKind.EPHEMERAL, 1, 0),
            (4, ZnodeKind.CONTAINER, 0, 0),
            (5, ZnodeKind.TTL, 0, 5000),
            (6, ZnodeKind.TTL, 0, 5000),
        ]:
            path = outcome(tree, create(f"/{flags}-", flags=flags, ttl=ttl or None)).path
            assert path is not None
            node = tree.nodes[path]
            assert (node.kind, node.owner, node.ttl, node.stat.ephemeral_owner) == (kind, owner, ttl, owner)
            assert path == (f"/{flags}-" if flags in (0, 1, 4, 5) else f"/{flags}-{tree.nodes['/'].creates - 1:010d}")

    @pytest.mark.parametrize("flags", [4, 5])
    def test_containers_and_ttl_nodes_may_have_children(self, tree: Tree, flags: int) -> None:
        outcome(tree, create("/n", flags=flags, ttl=1 if flags == 5 else None))
        assert outcome(tree, create("/n/k")).path == "/n/k"

    def test_the_acl_is_fixed_up(self, tree: Tree) -> None:
        """create.acl.dedup, acl.auth_expands_to"""
        acl = (Acl(31, "auth", ""), Acl(1, "world", "anyone"), Acl(1, "world", "anyone"))
        fixed = (Acl(31, *BOSS), Acl(1, "world", "anyone"))
        outcome(tree, create("/n", acl=acl), BOSS_TOO)
        assert tree.nodes["/n"].acl == fixed
        outcome(tree, SetAcl("/a", acl), BOSS_TOO)
        assert tree.nodes["/a"].acl == fixed

    def test_an_ephemeral_needs_its_session(self, tree: Tree) -> None:
        """Such a node would never go. SessionTracker.checkGlobalSession comes before the path and after the flags."""
        assert tree.code(create("/zz/y", flags=1), Caller(99)) == Code.SESSION_EXPIRED
        assert tree.code(create("/n", flags=7), Caller(99)) == Code.BAD_ARGUMENTS
        assert tree.code(create("/n"), Caller(99)) == Code.OK


class TestSequence:
    def names(self, tree: Tree, *operations: Operation) -> list[str | None]:
        return [path and path.rsplit("/", 1)[1] for path in (outcome(tree, each).path for each in operations)]

    def test_every_create_counts_and_nothing_else(self) -> None:
        """seq.counts_every_create, seq.visible_cversion_after_*, seq.after_delete, seq.after_failed_create"""
        tree = Tree(1)
        outcome(tree, create("/p"))
        s = create("/p/s-", flags=2)
        assert self.names(tree, s, s, create("/p/plain"), s) == [
            "s-0000000000",
            "s-0000000001",
            "plain",
            "s-0000000003",
        ]
        assert tree.nodes["/p"].stat.cversion == 4
        outcome(tree, Delete("/p/plain"))
        assert tree.nodes["/p"].stat.cversion == 5
        assert self.names(tree, s) == ["s-0000000004"]
        outcome(tree, create("/p/plain2"))
        assert tree.code(create("/p/plain2")) == Code.NODE_EXISTS
        outcome(tree, SetData("/p", b"1"))
        outcome(tree, SetAcl("/p", OPEN_ACL))
        assert self.names(tree, s, create("/p/", flags=2), create("/p/e-", flags=3)) == [
            "s-0000000006",
            "0000000007",
            "e-0000000008",
        ]

    def test_a_collision_is_an_error_and_keeps_the_number(self) -> None:
        """seq.collide_is_error,then_same_number_reused"""
        tree = Tree(1)
        outcome(tree, create("/s0000000001"))
        assert tree.code(create("/s", flags=2)) == Code.NODE_EXISTS
        assert self.names(tree, create("/t", flags=2)) == ["t0000000001"]

    def test_it_starts_again_with_a_new_parent(self) -> None:
        """seq.reset_when_parent_recreated"""
        tree = Tree(1)
        for operation in (create("/p"), create("/p/a"), Delete("/p/a"), Delete("/p"), create("/p")):
            outcome(tree, operation)
        assert self.names(tree, create("/p/n", flags=2)) == ["n0000000000"]

    def test_at_the_root(self) -> None:
        assert self.names(Tree(1), create("/", flags=2)) == ["0000000000"]

    def test_it_sticks_at_the_largest_number(self) -> None:
        tree = Tree(1)
        outcome(tree, create("/p"))
        tree.nodes["/p"] = replace(tree.nodes["/p"], creates=2**31 - 2)
        s = create("/p/s", flags=2)
        assert self.names(tree, s, s) == ["s2147483646", "s2147483647"]
        assert tree.code(s) == Code.NODE_EXISTS
        assert self.names(tree, create("/p/t", flags=2), create("/p/plain")) == ["t2147483647", "plain"]
        assert tree.nodes["/p"].creates == 2**31 - 1
        assert tree.nodes["/p"].children == 4
        assert tree.nodes["/p"].pzxid == tree.zxid


class TestDelete:
    def test_the_parent(self, tree: Tree) -> None:
        """delete.parent.delta, delete.parent.pzxid==zxid,mzxid same, delete.reply.body"""
        before = tree.nodes["/a"].stat
        result = outcome(tree, Delete("/a/k"))
        assert result == Outcome(Code.OK, tree.zxid)
        expected = before._replace(cversion=before.cversion + 1, num_children=0, pzxid=tree.zxid)
        assert tree.nodes["/a"].stat == expected
        assert tree.nodes["/a"].zxid == tree.zxid
        assert "/a/k" not in tree.nodes


class TestSetData:
    def test_the_node(self, tree: Tree) -> None:
        """set.version,len, set.mzxid==reply.zxid,czxid same,pzxid same"""
        before = tree.nodes["/a"].stat
        result = outcome(tree, SetData("/a", b"22", 1))
        expected = before._replace(version=2, data_length=2, mzxid=tree.zxid, mtime=tree.time)
        assert result == Outcome(Code.OK, tree.zxid, stat=expected)
        assert tree.nodes["/a"].stat == expected
        assert tree.nodes["/a"].zxid == tree.zxid

    def test_the_same_data_bumps_the_version(self, tree: Tree) -> None:
        """set.same_data_bumps"""
        for version in (2, 3):
            result = outcome(tree, SetData("/a", b"1"))
            assert result.stat is not None
            assert result.stat.version == version

    def test_the_version_wraps(self, tree: Tree) -> None:
        tree.nodes["/a"] = replace(tree.nodes["/a"], version=2**31 - 1)
        result = outcome(tree, SetData("/a", b"", 2**31 - 1))
        assert result.stat is not None
        assert result.stat.version == -(2**31)
        assert tree.code(SetData("/a", b"", -(2**31))) == Code.OK


class TestSetAcl:
    def test_the_node(self, tree: Tree) -> None:
        """setacl.aversion,version,mzxid same, setacl.mtime same,ctime same, setacl.okversion"""
        before = tree.nodes["/a"].stat
        result = outcome(tree, SetAcl("/a", open_to_all(17), 0))
        expected = before._replace(aversion=1)
        assert result == Outcome(Code.OK, tree.zxid, stat=expected)
        assert tree.nodes["/a"].stat == expected
        assert tree.nodes["/a"].acl == open_to_all(17)
        assert tree.nodes["/a"].zxid == tree.zxid
        assert tree.code(SetAcl("/a", OPEN_ACL, 0)) == Code.BAD_VERSION
        assert tree.code(SetAcl("/a", OPEN_ACL, 1)) == Code.OK

    def test_it_counts_for_the_next_operation(self, tree: Tree) -> None:
        outcome(tree, SetAcl("/a", open_to_all(READ)))
        assert tree.code(SetData("/a", b""), ME) == Code.NO_AUTH
        assert tree.code(SetData("/a", b""), BOSS_TOO) == Code.OK


class TestEvents:
    """watch.create.order(node,parent), watch.delete.order(node,parent), watch.data.on_setACL, and whose ACL decides"""

    def test_each_operation(self, tree: Tree) -> None:
        closed, owned, parent = open_to_all(READ), (Acl(31, *BOSS),), tree.nodes["/a"].acl
        for operation, expected in [
            (create("/a/n", acl=owned), [("/a/n", EventKind.CREATED, owned), ("/a", EventKind.CHILDREN, parent)]),
            (SetData("/a/n", b"1"), [("/a/n", EventKind.DATA, owned)]),
            (SetAcl("/a/n", closed), []),
            (SetData("/a/n", b"1"), [("/a/n", EventKind.DATA, closed)]),
            (Delete("/a/n"), [("/a/n", EventKind.DELETED, closed), ("/a", EventKind.CHILDREN, parent)]),
        ]:
            events = tree.do(operation, BOSS_TOO).events
            assert events == tuple(Event(tree.zxid, *each) for each in expected)

    def test_at_the_root(self, tree: Tree) -> None:
        events = tree.do(create("/n")).events
        assert [(event.path, event.kind) for event in events] == [("/n", EventKind.CREATED), ("/", EventKind.CHILDREN)]


class TestDeleteContainer:
    @pytest.fixture
    def tree(self) -> Tree:
        tree = Tree(1)
        for operation in (create("/c", flags=4), create("/c/k"), create("/t", flags=5, ttl=100), create("/p")):
            tree.do(operation)
        return tree

    def delete_container(self, tree: Tree, path: str) -> DeleteContainer:
        node = tree.nodes[path]
        return DeleteContainer(path, node.czxid, node.mzxid, node.pzxid)

    def test_a_container_goes_once_it_has_lost_its_children(self, tree: Tree) -> None:
        assert tree.code(self.delete_container(tree, "/c"), 0) == Code.NOT_EMPTY
        tree.do(Delete("/c/k"))
        before, acl = tree.nodes["/"].stat, tree.nodes["/c"].acl
        applied = tree.do(self.delete_container(tree, "/c"), 0)
        assert "/c" not in tree.nodes
        expected = before._replace(
            num_children=before.num_children - 1, cversion=before.cversion + 1, pzxid=applied.outcome.zxid
        )
        assert tree.nodes["/"].stat == expected
        assert applied.events == (
            Event(tree.zxid, "/c", EventKind.DELETED, acl),
            Event(tree.zxid, "/", EventKind.CHILDREN, OPEN_ACL),
        )

    def test_a_container_that_never_had_children_stays(self, tree: Tree) -> None:
        tree.do(create("/c2", flags=4))
        assert tree.code(self.delete_container(tree, "/c2"), 0) == Code.BAD_VERSION

    def test_a_ttl_node_goes_when_its_time_has_come(self, tree: Tree) -> None:
        born = tree.nodes["/t"].mtime
        tree.time = born + 98
        assert tree.code(self.delete_container(tree, "/t"), 0) == Code.BAD_VERSION
        tree.time = born + 99
        assert tree.code(self.delete_container(tree, "/t"), 0) == Code.OK
        assert "/t" not in tree.nodes

    def test_a_write_gives_a_ttl_node_time(self, tree: Tree) -> None:
        tree.time += 1000
        tree.do(SetData("/t", b""))
        assert tree.code(self.delete_container(tree, "/t"), 0) == Code.BAD_VERSION

    def test_a_ttl_node_with_children_stays(self, tree: Tree) -> None:
        tree.do(create("/t/k"))
        tree.time += 1000
        assert tree.code(self.delete_container(tree, "/t"), 0) == Code.NOT_EMPTY

    def test_only_what_was_seen_goes(self, tree: Tree) -> None:
        tree.do(Delete("/c/k"))
        tree.time += 1000
        for path, field in [("/c", "czxid"), ("/c", "pzxid"), ("/t", "czxid"), ("/t", "mzxid"), ("/t", "pzxid")]:
            seen = self.delete_container(tree, path)
            other = replace(seen, **{field: getattr(seen, field) - 1})
            assert tree.code(other, 0) == Code.BAD_VERSION
        seen = self.delete_container(tree, "/c")
        tree.do(SetData("/c", b"a write does not renew a container"))
        assert tree.code(seen, 0) == Code.OK

    @pytest.mark.parametrize("path", ["/p", "/zookeeper/quota", "/"])
    def test_nothing_else_goes(self, tree: Tree, path: str) -> None:
        tree.time += 1000
        assert tree.code(self.delete_container(tree, path), 0) == Code.BAD_VERSION

    @pytest.mark.parametrize("path", ["/gone", "/no/parent", "no path"])
    def test_what_is_gone_is_gone(self, tree: Tree, path: str) -> None:
        assert tree.code(DeleteContainer(path, 1, 1, 1), 0) == Code.NO_NODE


def test_a_listing_that_would_hold_up_all_writes_is_refused(tree: Tree) -> None:
    tree.nodes["/a"] = replace(tree.nodes["/a"], children=MAX_LISTED_CHILDREN + 1)
    assert tree.code(ListChildren("/a")) == Code.OPERATION_TIMEOUT


def test_a_listing_that_no_gateway_would_read_is_refused(tree: Tree) -> None:
    state = State({"/a": tree.nodes["/a"]}, children={"/a": ("x" * MAX_NAME_CHARACTERS, "y")})
    with pytest.raises(ZnodeError, match="too long") as refused:
        apply(state, ListChildren("/a"), ME, 100, 1000)
    assert refused.value.code == Code.OPERATION_TIMEOUT


def test_a_path_that_cannot_be_stored(tree: Tree) -> None:
    """Nothing is there, and nobody is sent to look."""
    endless = "/" + "n" * MAX_PATH_CHARACTERS
    assert not touched(Multi((create(endless), Delete(endless), Check(endless))), 1).paths - {"/"}
    assert tree.code(create(endless)) == Code.SYSTEM_ERROR
    for operation in (create(f"{endless}/n"), Delete(endless), SetData(endless, b""), SetAcl(endless, OPEN_ACL)):
        assert tree.code(operation) == Code.NO_NODE


def test_an_error_names_what_it_is_about(tree: Tree) -> None:
    for operation, text in [
        (create("/n", flags=7), "flags 7"),
        (create("/n", flags=5, ttl=0), "ttl 0"),
        (create("/n", ttl=5), "ttl, but it is 5"),
        (create("/zz/n"), "/zz"),
        (create("/a"), "/a"),
        (SetData("/a", b"", 7), "/a is at version 1, not 7"),
        (Delete("/zookeeper"), "'/zookeeper'"),
        (SetData("/closed", b""), "no WRITE permission"),
    ]:
        with pytest.raises(ZnodeError, match=text):
            tree.do(operation, ME)
