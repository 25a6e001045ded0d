"""The protocol written by hand, byte by byte: what the tests send and read without the code under test."""

from __future__ import annotations

from struct import pack, unpack_from

OPEN = ((31, "world", "anyone"),)


def int32(value: int) -> bytes:
    return pack(">i", value)


def int64(value: int) -> bytes:
    return pack(">q", value)


def boolean(value: bool) -> bytes:
    return pack(">?", value)


def string(value: str | bytes | None) -> bytes:
    if value is None:
        return int32(-1)
    data = value.encode() if isinstance(value, str) else value
    return int32(len(data)) + data


def strings(*values: str) -> bytes:
    return int32(len(values)) + b"".join(map(string, values))


def acl(*entries: tuple[int, str | None, str | None]) -> bytes:
    return int32(len(entries)) + b"".join(
        int32(perms) + string(scheme) + string(user) for perms, scheme, user in entries
    )


def create(path: str | None, flags: int = 0, ttl: int | None = None, *, data: bytes | None = b"d") -> bytes:
    return string(path) + string(data) + acl(*OPEN) + int32(flags) + (b"" if ttl is None else int64(ttl))


def multi(*operations: tuple[int, bytes]) -> bytes:
    parts = [int32(op) + boolean(False) + int32(-1) + body for op, body in operations]
    return b"".join(parts) + int32(-1) + boolean(True) + int32(-1)


def request(op: int, body: bytes = b"", xid: int = 7) -> bytes:
    return int32(xid) + int32(op) + body


def connect(
    session: int = 0,
    password: bytes | None = bytes(16),
    timeout: int = 10_000,
    read_only: bool | None = False,
    last_zxid: int = 0,
) -> bytes:
    tail = b"" if read_only is None else boolean(read_only)
    return int32(0) + int64(last_zxid) + int32(timeout) + int64(session) + string(password) + tail


class Values:
    """Reads values off a frame that is known to be good."""

    def __init__(self, frame: bytes) -> None:
        self.frame, self.offset = frame, 0

    def take(self, layout: str, size: int) -> tuple[int, ...]:
        self.offset += size
        return unpack_from(layout, self.frame, self.offset - size)

    def int32(self) -> int:
        return self.take(">i", 4)[0]

    def int64(self) -> int:
        return self.take(">q", 8)[0]

    def boolean(self) -> bool:
        return self.take("b", 1) == (1,)

    def buffer(self) -> bytes | None:
        length = self.int32()
        if length == -1:
            return None
        self.offset += length
        return self.frame[self.offset - length : self.offset]

    def string(self) -> str:
        value = self.buffer()
        assert value is not None
        # ZooKeeper writes what is above U+FFFF as Java has it, as two surrogates
        return value.decode("utf-8", "surrogatepass")

    def strings(self) -> list[str]:
        return [self.string() for _ in range(self.int32())]

    def stat(self) -> tuple[int, ...]:
        return self.take(">qqqqiiiqiiq", 68)

    def acl(self) -> list[tuple[int, str, str]]:
        return [(self.int32(), self.string(), self.string()) for _ in range(self.int32())]

    @property
    def rest(self) -> bytes:
        return self.frame[self.offset :]
