from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faaskeeper_client.wire.four_letter import WORDS, Command
from faaskeeper_client.wire.frames import MAX_FRAME, Frames
from faaskeeper_client.wire.jute import MarshallingError
from tests.wire.raw import int32


def framed(body: bytes) -> bytes:
    return int32(len(body)) + body


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 300), max_size=12))
def test_frames_come_out_whole_however_the_bytes_come_in(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(framed, bodies))
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    frames = Frames()
    found = [frame for start, end in pairwise(edges) for frame in frames.feed(stream[start:end])]
    assert found == bodies


def test_a_frame_is_delivered_with_its_last_byte_and_not_before() -> None:
    frames = Frames()
    for byte in framed(b"body")[:-1]:
        assert list(frames.feed(bytes([byte]))) == []
    assert list(frames.feed(b"y")) == [b"body"]


def test_the_longest_frame() -> None:
    frames = Frames()
    body = bytes(MAX_FRAME)
    stream = framed(body) + framed(b"next")
    found = [frame for start in range(0, len(stream), 65536) for frame in frames.feed(stream[start : start + 65536])]
    assert found == [body, b"next"]


@pytest.mark.parametrize("length", [MAX_FRAME + 1, 2**31 - 1, -1, -(2**31)])
def test_a_bad_length_ends_it_after_the_frames_before(length: int) -> None:
    found: list[bytes | Command] = []
    with pytest.raises(MarshallingError, match=str(length)):
        found.extend(Frames().feed(framed(b"one") + framed(b"two") + int32(length) + b"rest"))
    frames = Frames()
    feed = frames.feed(framed(b"one") + int32(length))
    assert next(feed) == b"one"
    with pytest.raises(MarshallingError):
        next(feed)


def test_a_bad_length_is_known_before_its_frame_arrives() -> None:
    with pytest.raises(MarshallingError):
        list(Frames().feed(int32(MAX_FRAME + 1)))


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_connection_may_begin_with_a_word(word: str) -> None:
    assert list(Frames().feed(word.encode())) == [Command(word, b"")]
    split = Frames()
    assert [item for byte in word.encode() for item in split.feed(bytes([byte]))] == [Command(word, b"")]


def test_a_word_takes_what_came_with_it() -> None:
    assert list(Frames().feed(b"ruok\r\n")) == [Command("ruok", b"\r\n")]
    assert list(Frames().feed(b"stmk\0\0\0\0\0\0\1\x32")) == [Command("stmk", b"\0\0\0\0\0\0\1\x32")]


def test_a_word_is_only_a_word_at_the_beginning() -> None:
    frames = Frames()
    assert list(frames.feed(framed(b"connect"))) == [b"connect"]
    with pytest.raises(MarshallingError):
        list(frames.feed(b"ruok"))


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"RUOK", b"kill", b"\x16\x03\x01\x02\x00"])
def test_what_is_no_client_is_sent_away(start: bytes) -> None:
    with pytest.raises(MarshallingError):
        list(Frames().feed(start))


def test_bytes_inside_a_frame_are_not_words() -> None:
    assert list(Frames().feed(framed(b"ruok") + framed(b"stat"))) == [b"ruok", b"stat"]
