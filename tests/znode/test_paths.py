"""The paths of the probe's facts (``path.create.*``), and PathUtils' edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faaskeeper.znode import paths
from faaskeeper.znode.errors import Code, ZnodeError

LEGAL = [
    "/",
    "/a",
    "/a/b",
    "/...",
    "/.b",
    "/..b",
    "/b.",
    "/b..",
    "/a/.../b",
    "/ ",
    "/a:b%*?",
    "/a\xa0b",
    "/a\ud7ffb",
    "/a\uf900b",
    "/a\uffefb",
    "/\u00fc\u4e2d",
    "/" + "n" * 5000,
    "/zookeeper",
]
ILLEGAL = {
    "": "start with /",
    "foo": "start with /",
    "foo/bar": "start with /",
    "/a/": "end with /",
    "//": "empty",
    "//a": "empty",
    "/a//b": "empty",
    "/.": ". and ..",
    "/..": ". and ..",
    "/./b": ". and ..",
    "/a/../b": ". and ..",
    "/a/..": ". and ..",
    "/a\0b": "U+0000 at 2",
    "/a\x01b": "U+0001",
    "/a\x1fb": "U+001F",
    "/a\tb": "U+0009",
    "/a\nb": "U+000A",
    "/a\x7fb": "U+007F",
    "/a\x80b": "U+0080",
    "/a\x9fb": "U+009F",
    "/a\ud800b": "U+D800",
    "/a\ue000b": "U+E000",
    "/a\uf8ffb": "U+F8FF",
    "/a\ufff0b": "U+FFF0",
    "/a\uffffb": "U+FFFF",
    "/a\U0001f600b": "U+1F600",
    "/a\U0010ffff": "U+10FFFF",
}


@pytest.mark.parametrize("path", LEGAL)
def test_legal(path: str) -> None:
    paths.validate(path)
    assert paths.is_valid(path)


@pytest.mark.parametrize(("path", "reason"), ILLEGAL.items())
def test_illegal(path: str, reason: str) -> None:
    assert not paths.is_valid(path)
    with pytest.raises(ZnodeError) as raised:
        paths.validate(path)
    assert raised.value.code is Code.BAD_ARGUMENTS
    assert repr(path) in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("path", "parent", "name"),
    [
        ("/a", "/", "a"),
        ("/a/b", "/a", "b"),
        ("/a/", "/a", ""),
        ("/a//b", "/a/", "b"),
        ("//x", "/", "x"),
        ("/", "/", ""),
    ],
)
def test_parent_and_name(path: str, parent: str, name: str) -> None:
    assert (paths.parent(path), paths.name(path)) == (parent, name)


@pytest.mark.parametrize("path", ["/a", "/a/b", "/a/b/c"])
def test_child_undoes_parent_and_name(path: str) -> None:
    assert paths.child(paths.parent(path), paths.name(path)) == path


some = st.lists(st.sampled_from(["a", "b", "ab", "%"]), max_size=4).map(lambda names: f"/{'/'.join(names)}")


@given(tops=st.lists(some), dropped=st.lists(some), path=some)
def test_what_is_above_a_path(tops: list[str], dropped: list[str], path: str) -> None:
    index = paths.Tops(tops)
    for top in dropped:
        index.discard(top)
    above = {top for top in set(tops) - set(dropped) if f"{path}/".startswith(f"{top.rstrip('/')}/")}
    assert list(index.over(path)) == sorted(above, key=len)


def test_what_is_above_the_longest_path() -> None:
    """Which has so much above it that as texts it would not come to an end."""
    index = paths.Tops(["/a/a", "/a/b", "/"])
    assert list(index.over("/a" * 4_000_000)) == ["/", "/a/a"]
