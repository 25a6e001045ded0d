"""Records what a real ZooKeeper answers, for the tests to hold this code against.

    python -m tests.wire.record PORT        # of a server on loopback with no data, extended types and all words enabled

writes ``recorded/*.json``; committed are the answers of ZooKeeper 3.9.5.
"""

from __future__ import annotations

import json
import random
import socket
import sys
from pathlib import Path
from typing import Any

from tests.wire import raw
from tests.wire.raw import acl, boolean, create, int32, int64, multi, string, strings

RECORDED = Path(__file__).with_name("recorded")
WORDS = (
    *("ruok", "srvr", "stat", "mntr", "conf", "cons", "dump", "isro", "wchs", "wchc", "wchp", "dirs", "hash", "gtmk"),
    *("stmk", "crst", "srst", "envi"),
)
SUSPECTS = b"\x80\x8f\x90\x9f\xa0\xbf\xbb\xc0\xc1\xc2\xe0\xed\xed\xed\xef\xf0\xf1\xf4\xf5\xf8\xff"
"""Bytes at which decoders of UTF-8 differ."""
QUIET = 0.3
"""Seconds without a byte after which a server is taken to have nothing more to say."""


class Connection:
    def __init__(self, port: int, hello: bytes | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        if hello is not None:
            self.send(hello)
            self.granted = self.frame()

    def send(self, body: bytes) -> None:
        self.socket.sendall(int32(len(body)) + body)

    def frame(self) -> bytes | None:
        """None when the server has closed."""
        length = self._read(4)
        return None if length is None else self._read(int.from_bytes(length, "big"))

    def _read(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                chunk = self.socket.recv(size - len(data))
            except ConnectionError:
                return None
            if not chunk:
                return None
            data += chunk
        return data

    def answers(self, body: bytes) -> tuple[list[bytes], bool]:
        """Everything the server says to one request, and whether it closes then."""
        self.send(body)
        frames: list[bytes] = []
        self.socket.settimeout(5)
        while True:
            try:
                frame = self.frame()
            except TimeoutError:
                return frames, False
            if frame is None:
                return frames, True
            frames.append(frame)
            self.socket.settimeout(QUIET)


def exchanges(port: int) -> list[dict[str, Any]]:
    """One session's life. The same requests and their answers, events included, in order."""
    records: list[dict[str, Any]] = []

    def record(name: str, connection: Connection, body: bytes) -> None:
        frames, closed = connection.answers(body)
        entry = {"name": name, "request": body.hex(), "answers": [frame.hex() for frame in frames], "closed": closed}
        records.append(entry)

    record("connect", Connection(port), raw.connect())
    record("connect.old", Connection(port), raw.connect(read_only=None))
    record("connect.refused", Connection(port), raw.connect(session=77))
    record("connect.refused.old", Connection(port), raw.connect(session=77, read_only=None))

    connection = Connection(port, raw.connect())
    reader = raw.acl((1, "digest", "bob:hash"), (31, "ip", "127.0.0.1"))
    everything = multi(
        (1, create("/r/m1")),
        (15, create("/r/m2")),
        (19, create("/r/m3", 4)),
        (21, create("/r/m4", 5, 60_000)),
        (1, create("/r/m-", 2)),
        (5, string("/r/m1") + string("x") + int32(0)),
        (13, string("/r/m1") + int32(1)),
        (2, string("/r/m1") + int32(-1)),
    )
    failing = multi(
        (1, create("/r/n")), (13, string("/r") + int32(99)), (2, string("/nothing") + int32(-1)), (1, create("/r/o"))
    )
    reads = multi(
        (4, string("/r/a") + boolean(False)), (8, string("/r/a") + boolean(False)), (4, string("/no") + boolean(False))
    )
    steps: list[tuple[str, int, bytes, int]] = [
        ("ping", 11, b"", -2),
        ("ping.xid_ignored", 11, b"", 5),
        ("exists.missing.watch", 3, string("/r") + boolean(True), 1),
        ("create", 1, create("/r"), 2),
        ("getChildren.watch", 8, string("/r") + boolean(True), 3),
        ("create2", 15, create("/r/a", data=None), 4),
        ("createContainer", 19, create("/r/c", 4), 5),
        ("createTTL", 21, create("/r/t", 5, 60_000), 6),
        ("create.sequential", 1, create("/r/s-", 2), 7),
        ("create2.ephemeral", 15, create("/r/e-é", 1), 8),
        ("create.exists", 1, create("/r"), 9),
        ("create.flags_4", 1, create("/r/flags4", 4), 10),
        ("createContainer.flags_7", 19, create("/r/flags7", 7), 11),
        ("createTTL.flags_0", 21, create("/r/flags0", 0, 60_000), 12),
        ("exists", 3, string("/r/e-é") + boolean(False), 13),
        ("getData.null", 4, string("/r/a") + boolean(True), 14),
        ("setData", 5, string("/r/a") + string("new") + int32(0), 15),
        ("setData.bad_version", 5, string("/r/a") + string("new") + int32(0), 16),
        ("getData", 4, string("/r/a") + boolean(True), 17),
        ("setData.empty", 5, string("/r/a") + string("") + int32(-1), 18),
        ("getData.empty", 4, string("/r/a") + boolean(False), 19),
        ("getData.missing", 4, string("/nothing") + boolean(False), 20),
        ("getChildren", 8, string("/r") + boolean(False), 21),
        ("getChildren.none", 8, string("/r/a") + boolean(False), 22),
        ("getChildren2", 12, string("/r") + boolean(False), 23),
        ("getAllChildrenNumber", 104, string("/r"), 24),
        ("getEphemerals", 103, string("/"), 25),
        ("sync", 9, string("/r"), 26),
        ("setACL", 7, string("/r/c") + reader + int32(0), 27),
        ("getACL", 6, string("/r/c"), 28),
        ("auth", 100, int32(0) + string("digest") + string("bob:secret"), -4),
        ("whoAmI", 107, b"", 29),
        ("sasl.unconfigured", 102, string("token"), 30),
        ("addWatch.recursive", 106, string("/r/a") + int32(1), 31),
        ("create.recursive_watch", 1, create("/r/a/k"), 32),
        ("checkWatches", 17, string("/r/a") + int32(3), 33),
        ("checkWatches.none", 17, string("/none") + int32(3), 34),
        ("removeWatches", 18, string("/r/a") + int32(3), 35),
        ("delete.not_empty", 2, string("/r/a") + int32(-1), 36),
        ("delete", 2, string("/r/a/k") + int32(-1), 37),
        ("multi", 14, everything, 38),
        ("multi.failing", 14, failing, 39),
        ("multi.empty", 14, multi(), 40),
        ("multi.getData", 14, multi((4, string("/r") + boolean(False))), 41),
        ("multiRead", 22, reads, 42),
        ("multiRead.empty", 22, multi(), 43),
        ("multiRead.mixed", 22, multi((4, string("/r") + boolean(False)), (13, string("/r") + int32(-1))), 44),
        ("reconfig", 16, string(None) * 3 + int64(-1), 45),
        ("setWatches", 101, int64(1) + strings("/r", "/gone") + strings("/r/t") + strings("/r/c"), -8),
        (
            "setWatches2",
            105,
            int64(1 << 40) + strings("/r") + strings() + strings("/r") + strings("/r/c") + strings("/"),
            -8,
        ),
        ("deleteContainer", 20, string("/"), 46),
        ("closeSession", -11, b"", 47),
    ]
    for name, op, body, xid in steps:
        record(name, connection, raw.request(op, body, xid))
    for op in (-9, -1, 0, 10, 13, 23, 99, 108):
        record(f"unknown.{op}", Connection(port, raw.connect()), raw.request(op, string("/") + int32(-1)))
    return records


def bodies(path: str) -> dict[int, bytes]:
    """A good body for every operation."""
    return {
        1: create(path),
        2: string("/missing") + int32(-1),
        3: string("/") + boolean(False),
        4: string("/") + boolean(False),
        5: string("/missing") + string("x") + int32(-1),
        6: string("/"),
        7: string("/missing") + acl(*raw.OPEN) + int32(-1),
        8: string("/") + boolean(False),
        9: string("/"),
        12: string("/") + boolean(False),
        14: multi((1, create(path)), (5, string(path) + string("x") + int32(-1)), (13, string("/") + int32(-1))),
        15: create(path),
        16: string("a") + string("b") + string("c") + int64(-1),
        17: string("/") + int32(3),
        18: string("/") + int32(3),
        19: create(path, 4),
        20: string("/"),
        21: create(path, 5, 60_000),
        22: multi((4, string("/") + boolean(False)), (8, string("/") + boolean(False))),
        100: int32(0) + string("digest") + string("a:b"),
        101: int64(0) + strings("/q") * 3,
        102: string("x"),
        103: string("/"),
        104: string("/"),
        105: int64(0) + strings("/q") * 5,
        106: string("/q") + int32(0),
    }


def verdicts(port: int) -> list[dict[str, Any]]:
    """Doubtful bodies: cut short, with lengths that are not lengths, with nulls, with flags and types out of range."""
    cases: list[tuple[str, int, bytes]] = []
    for op, body in bodies("/v/cut").items():
        cases += [(f"{op}.cut.{size}", op, body[:size]) for size in sorted({0, 3, 4, len(body) // 2, len(body) - 1})]
    for length in (-2, 2**31 - 1, 1_048_576):
        cases += [
            (f"{op}.length.{length}", op, int32(length) + bodies("/v/length")[op][4:]) for op in (2, 3, 5, 9, 103)
        ]
    nulls = {
        op: int32(-1) + bodies("/v")[op][4 + int.from_bytes(bodies("/v")[op][:4], "big") :]
        for op in (2, 3, 4, 6, 8, 12, 104)
    }
    cases += [(f"{op}.null_path", op, body) for op, body in nulls.items()]
    cases += [("1.null_path", 1, create(None)), ("5.null_path", 5, string(None) + string("x") + int32(-1))]
    cases += [("7.null_path", 7, string(None) + acl(*raw.OPEN) + int32(-1))]
    cases += [(f"{op}.kind.{kind}", op, string("/") + int32(kind)) for op in (17, 18) for kind in range(-1, 8)]
    cases += [(f"106.mode.{mode}", 106, string("/q") + int32(mode)) for mode in (-1, 0, 1, 2)]
    cases += [("3.watch.2", 3, string("/") + b"\2"), ("3.trailing", 3, string("/") + boolean(False) + b"more")]
    for name, entries in {
        "null": int32(-1),
        "negative": int32(-2),
        "empty": int32(0),
        "absurd": int32(2**30),
        "null_scheme": acl((31, None, "x")),
    }.items():
        cases.append((f"1.acl.{name}", 1, string("/v/acl" + name) + string("d") + entries + int32(0)))
        cases.append((f"7.acl.{name}", 7, string("/") + entries + int32(-1)))
        cases.append((f"14.acl.{name}", 14, multi((1, string("/v/acl" + name) + string("d") + entries + int32(0)))))
    cases += [
        ("101.null_list", 101, int64(0) + int32(-1) * 3),
        ("101.null_path", 101, int64(0) + int32(1) + string(None) + int32(0) * 2),
    ]
    cases += [("101.negative_list", 101, int64(0) + int32(-2) * 3), ("102.null", 102, string(None))]
    for flags in range(-1, 8):
        for op in (1, 15, 19, 21):
            body = create(f"/v/{op}f{flags}", flags, 60_000 if op == 21 else None)
            if not (op == 19 and flags in (2, 3)):
                cases.append((f"{op}.flags.{flags}", op, body))
                cases.append((f"14.{op}.flags.{flags}", 14, multi((op, body.replace(b"/v/", b"/m/")))))
    cases += [(f"14.with.{op}", 14, multi((op, bodies("/v/w")[op]))) for op in (3, 4, 7, 8, 9, 12, 20, 104)]
    cases += [(f"22.with.{op}", 22, multi((op, bodies("/v/w")[op]))) for op in (2, 3, 5, 12)]
    cases += [
        ("14.no_end", 14, int32(13) + boolean(False) + int32(-1) + string("/") + int32(-1)),
        ("14.end_type_1", 14, int32(1) + boolean(True) + int32(0)),
    ]

    setup = Connection(port, raw.connect())
    for path in ("/v", "/m"):
        setup.answers(raw.request(1, create(path)))
    records: list[dict[str, Any]] = []
    for name, op, body in cases:
        frames, closed = Connection(port, raw.connect()).answers(raw.request(op, body))
        entry = {
            "name": name,
            "request": raw.request(op, body).hex(),
            "answers": [frame.hex() for frame in frames],
            "closed": closed,
        }
        records.append(entry)
    return records


def words(port: int) -> dict[str, str]:
    """Two sessions with ephemerals and watches, and what an administrator hears of them."""
    one, two = Connection(port, raw.connect()), Connection(port, raw.connect(timeout=20_000))
    for op, body in (
        (1, create("/e1", 1)),
        (1, create("/e2", 1)),
        (4, string("/e1") + boolean(True)),
        (4, string("/") + boolean(True)),
    ):
        one.answers(raw.request(op, body))
    two.answers(raw.request(4, string("/e1") + boolean(True)))
    answers: dict[str, str] = {}
    for word in WORDS:
        asking = Connection(port)
        asking.socket.sendall(word.encode())
        answers[word] = b"".join(iter(lambda asking=asking: asking.socket.recv(65536), b"")).decode()
    answers["mntr"] = "".join(answers["mntr"].splitlines(keepends=True)[:25])
    for word, private in (("conf", ("dataDir=", "dataLogDir=")), ("envi", ("java.", "user.", "host.", "os."))):
        lines = answers[word].splitlines(keepends=True)
        answers[word] = "".join(line for line in lines if not line.startswith(private))
    return answers


def echoes(port: int) -> list[list[str]]:
    """Malformed UTF-8 and what the server made of it, as sync's answer shows."""
    connection = Connection(port, raw.connect())
    pieces = [b"a", "é".encode(), "€".encode(), "😀".encode(), b"\0", *(bytes([byte]) for byte in SUSPECTS)]
    chance = random.Random(3)
    pairs: list[list[str]] = []
    for _ in range(400):
        sent = b"".join(chance.choices(pieces, k=chance.randint(1, 6)))
        connection.send(raw.request(9, string(sent)))
        frame = connection.frame()
        assert frame is not None
        utf16 = frame[20:].decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass")
        pairs.append([sent.hex(), utf16.decode("utf-16")])
    return pairs


def main(port: int) -> None:
    for name, record in (("words", words), ("exchanges", exchanges), ("verdicts", verdicts), ("echoes", echoes)):
        recorded = record(port)
        entries = [json.dumps(entry, ensure_ascii=False) for entry in recorded] if isinstance(recorded, list) else None
        text = (
            json.dumps(recorded, indent=1, ensure_ascii=False)
            if entries is None
            else f"[{f',{chr(10)}'.join(entries)}]"
        )
        (RECORDED / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
