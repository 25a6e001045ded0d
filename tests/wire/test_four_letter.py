"""Answers to four-letter words against those of a real server in the same situation (``record.words``)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from kazoo.client import ENVI_VERSION, ENVI_VERSION_KEY

from faaskeeper_client.wire.four_letter import (
    WORDS,
    ZOOKEEPER_VERSION,
    Command,
    Connection,
    Snapshot,
    answer,
)
from faaskeeper_client.wire.statistics import ServerStatistics, Statistics
from tests.wire.replay import load

RECORDED: dict[str, str] = load("words")
ONE, TWO = 0x10000263C490000, 0x10000263C490001
NOON = 1_795_435_200_000
"""2026-11-23 12:00 UTC, the day of the recording, in ms."""


def seconds(minute: int, second: int) -> int:
    return NOON + (minute * 60 + second) * 1000


CLIENTS = (
    Connection(
        ("127.0.0.1", 53746),
        expires=seconds(20, 23),
        session=ONE,
        timeout=10_000,
        established=1_795_436_409_796,
        statistics=Statistics(
            received=5,
            sent=5,
            replies=5,
            total_latency=18,
            max_latency=6,
            last_op=4,
            last_xid=7,
            last_zxid=4,
            last_response=2_507_152,
        ),
    ),
    Connection(
        ("127.0.0.1", 53762),
        expires=seconds(20, 33) - 999,
        session=TWO,
        timeout=20_000,
        established=1_795_436_409_812,
        statistics=Statistics(
            received=2,
            sent=2,
            replies=2,
            total_latency=1,
            max_latency=1,
            last_op=4,
            last_xid=7,
            last_zxid=4,
            last_response=2_507_454,
        ),
    ),
)
SNAPSHOT = Snapshot(
    version=RECORDED["envi"].splitlines()[1].partition("=")[2],
    zxid=4,
    connections=CLIENTS,
    sessions={ONE: seconds(20, 21), TWO: seconds(20, 31) - 1},
    watches={ONE: ("/e1", "/"), TWO: ("/e1",), 3: ()},
)


def counted(received: int, sent: int) -> ServerStatistics:
    return ServerStatistics(received, sent, replies=7, total_latency=16, max_latency=6)


def unknown(text: str) -> str:
    """Without what storage knows and a gateway does not."""
    text = re.sub(r"(Sessions with Ephemerals) \(1\):\n0x\w+:\n\t/e1\n\t/e2\n", r"\1 (0):\n", text)
    return text.replace("Node count: 7", "Node count: -1")


def said(word: str, snapshot: Snapshot = SNAPSHOT, argument: bytes = b"") -> str:
    return answer(Command(word, argument), snapshot).decode()


def with_asker(text: str) -> tuple[Connection, ...]:
    """A real server lists the connection that asks, too."""
    (port,) = set(re.findall(r":(\d+)(?:\[0\]| sessionId: 0x0\n)", text))
    asking = Connection(("127.0.0.1", int(port)), expires=seconds(20, 23), statistics=Statistics(received=1))
    return tuple(sorted((*CLIENTS, asking), key=lambda each: text.index(f":{each.address[1]}")))


@pytest.mark.parametrize(
    "word", ["ruok", "isro", "wchs", "wchc", "wchp", "hash", "gtmk", "stmk", "crst", "srst", "envi"]
)
def test_the_answer_is_the_server_s(word: str) -> None:
    assert said(word) == RECORDED[word]


@pytest.mark.parametrize(
    ("word", "received", "sent"), [("srvr", 18, 17), ("stat", 19, 18), ("cons", 0, 0), ("dump", 0, 0)]
)
def test_the_answer_about_connections_is_the_server_s(word: str, received: int, sent: int) -> None:
    """But for the interest of the asking one: a real server reads no more from it ([0]); and for what is unknown."""
    text = RECORDED[word]
    connections = with_asker(text) if word != "srvr" else (*CLIENTS, CLIENTS[0])
    snapshot = replace(SNAPSHOT, statistics=counted(received, sent), connections=connections)
    assert said(word, snapshot) == unknown(text).replace("[0]", "[1]")


def test_mntr_is_the_server_s_line_by_line() -> None:
    """But for those of which a gateway has no notion."""
    recorded = dict(line.split("\t") for line in RECORDED["mntr"].splitlines())
    asked = with_asker(RECORDED["stat"])
    sizes = {
        f"{each}_response_size": int(recorded[f"zk_{each}_client_response_size"]) for each in ("last", "min", "max")
    }
    statistics = replace(counted(20, 19), **sizes)
    snapshot = replace(SNAPSHOT, connections=asked, statistics=statistics, uptime=2296)
    said_of = dict(line.split("\t") for line in said("mntr", snapshot).splitlines())
    own = {name: value for name, value in said_of.items() if not name.startswith("zk_cache_")}
    assert own.items() <= recorded.items()
    assert {name.removeprefix("zk_") for name in recorded.keys() - own.keys()} == {
        *("znode_count", "approximate_data_size", "ephemerals_count"),
        *("non_mtls_remote_conn_count", "connection_drop_probability"),
        *("auth_failed_count", "max_file_descriptor_count", "open_file_descriptor_count", "outstanding_tls_handshake"),
    }


@pytest.mark.parametrize("word", ["conf", "dirs"])
def test_settings_have_the_server_s_form(word: str) -> None:
    settings = dict(line.split("=") for line in RECORDED["conf"].splitlines())
    own = said(word, replace(SNAPSHOT, configuration=settings))
    assert re.sub(r"\d+", "0", own) == re.sub(r"\d+", "0", RECORDED[word])


def test_stmk_repeats_the_mask() -> None:
    assert said("stmk", argument=(306).to_bytes(8, "big")) == "306"
    assert said("stmk", argument=(-1).to_bytes(8, "big", signed=True) + b"\n") == "-1"
    assert said("stmk", argument=b"\0\0\0") == ""


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_gateway_that_must_not_answer_says_so(word: str) -> None:
    """ruok, envi and the trace mask are about the process, not about its service."""
    expected = {
        **dict.fromkeys(WORDS, "This ZooKeeper instance is not currently serving requests\n"),
        **{each: RECORDED[each] for each in ("ruok", "envi", "gtmk", "stmk")},
        "isro": "null",
    }
    assert said(word, replace(SNAPSHOT, serving=False)) == expected[word]


def test_every_recorded_word_is_known() -> None:
    assert set(RECORDED) == WORDS


def test_a_gateway_without_clients() -> None:
    idle = Snapshot("3.9.5-x, built on 2026-01-31 00:00 UTC", 0)
    assert said("wchs", idle) == "0 connections watching 0 paths\nTotal watches:0\n"
    assert said("wchc", idle) == said("wchp", idle) == said("cons", idle) == "\n"
    assert said("dump", idle) == (
        "SessionTracker dump:\nSession Sets (0)/(0):\nephemeral nodes dump:\nSessions with Ephemerals (0):\n"
        "Connections dump:\nConnections Sets (0)/(0):\n"
    )
    assert said("srvr", idle).endswith(
        "Latency min/avg/max: 0/0.0/0\nReceived: 0\nSent: 0\nConnections: 0\nOutstanding: 0\nZxid: 0x0\n"
        "Mode: standalone\nNode count: -1\n"
    )
    assert "znode_count" not in said("mntr", idle)


def test_a_connection_after_its_counters_were_reset() -> None:
    """As a real server prints it after crst."""
    reset = replace(CLIENTS[0], statistics=Statistics())
    assert said("cons", replace(SNAPSHOT, connections=[reset])) == (
        " /127.0.0.1:53746[1](queued=0,recved=0,sent=0,sid=0x10000263c490000,lop=NA,est=1795436409796,to=10000,"
        "lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)\n\n"
    )


def test_addresses_and_ids_beyond_the_usual() -> None:
    connection = replace(CLIENTS[0], address=("::1", 5), session=-2)
    listed = said("cons", replace(SNAPSHOT, connections=[connection]))
    assert listed.startswith(" /[::1]:5[1](queued=0,")
    assert ",sid=0xfffffffffffffffe," in listed


def test_a_day_of_one_digit() -> None:
    third = replace(SNAPSHOT, sessions={5: NOON - 20 * 86_400_000})
    assert "\n1 expire at Tue Nov 03 12:00:00 UTC 2026:\n\t0x5\n" in said("dump", third)


def test_what_tools_look_for() -> None:
    """kazoo's server_version, and the expressions of agents that read srvr, stat and mntr."""
    snapshot = replace(SNAPSHOT, version=f"{ZOOKEEPER_VERSION}-faaskeeper-1.0.0, built on 2026-01-31 00:00 UTC")
    settings = dict(line.split("=", 1) for line in said("envi", snapshot).splitlines() if "=" in line)
    found = ENVI_VERSION.match(settings[ENVI_VERSION_KEY])
    assert found is not None
    assert found[1] == "3.9.5"
    for word in ("srvr", "stat"):
        text = said(word, snapshot)
        assert re.match(
            r"Zookeeper version: (\d+)\.(\d+)\.(\d+)-[^,]*, built on (\d{4}-\d\d-\d\d \d\d:\d\d) UTC\n", text
        )
        assert re.search(r"^Latency min/avg/max: (\d+)/(\d+\.\d+)/(\d+)$", text, re.MULTILINE)
        assert re.search(r"^Zxid: 0x[0-9a-f]+$", text, re.MULTILINE)
    assert all(re.fullmatch(r"zk_\w+\t[\w.-]+", line) for line in said("mntr", snapshot).splitlines()[1:])
