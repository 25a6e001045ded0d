"""What the commands of a service show of it, for people and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from faaskeeper.storage.ledger import Head
from faaskeeper_client.administration.dead_letters import Letter
from faaskeeper_client.administration.logs import HOURS
from faaskeeper_client.administration.restore import Restored
from faaskeeper_client.administration.sessions import Listed
from faaskeeper_client.administration.status import Status
from faaskeeper_client.cli.output import JsonObject, show_table, table, when

Memory = Mapping[str, Mapping[str, int]]
"""By the address of a gateway, the figures of ``administration.memory``."""


def status_json(status: Status, memory: Memory) -> JsonObject:
    """Ages are in seconds, timeouts in ms."""
    counts = _sessions_by_gateway(status)
    return {
        "service": status.service.name,
        "region": status.service.region,
        "healthy": not status.problems,
        "problems": status.problems,
        "zxid": _zxid(status.head),
        "requests": {
            "oldest": status.age,
            "waiting": status.requests.waiting,
            "taken": status.requests.taken,
        },
        "timers": {
            "waiting": status.timers.waiting,
            "taken": status.timers.taken,
            "delayed": status.timers.delayed,
        },
        "deadLetters": status.dead_letters.all,
        "gateways": [
            {
                "gateway": gateway.gateway,
                "alive": gateway.state == "alive",
                "state": gateway.state,
                "beat": gateway.beat,
                "timeout": gateway.timeout,
                "sessions": counts[gateway.gateway],
            }
            for gateway in status.gateways
        ],
        "sessions": len(status.sessions),
        "memory": {address: dict(figures) for address, figures in memory.items()},
        "lastErrors": [
            {"time": error.time.isoformat(), "logger": error.logger, "message": error.message}
            for error in status.errors
        ],
    }


def status_parts(status: Status, memory: Memory) -> Iterator[list[tuple[str, str]]]:
    """Lines, as ``show_parts`` takes them."""
    requests, timers, problems = status.requests, status.timers, status.problems
    age = "" if status.age is None else f", the oldest for {status.age:g} s"
    fields = (
        ("service", f"{status.service.name} in {status.service.region}", ""),
        ("health", "; ".join(problems) or "healthy", "bold red" if problems else "green"),
        ("head", _zxid(status.head), ""),
        ("requests", f"{requests.waiting} waiting, {requests.taken} at the sequencer{age}", ""),
        ("timers", f"{timers.waiting} due, {timers.taken} at the reaper, {timers.delayed} running", ""),
        ("dead letters", str(status.dead_letters.all), "red" if status.dead_letters.all else ""),
        ("sessions", str(len(status.sessions)), ""),
        ("gateways", str(len(status.gateways)), ""),
    )
    yield from ([(f"{name:<14}", "dim"), (text, style)] for name, text, style in fields)
    if status.gateways:
        counts = _sessions_by_gateway(status)
        rows = [(g.gateway, g.state, g.beat, f"{g.timeout / 1000:g} s", counts[g.gateway]) for g in status.gateways]
        head, *lines = table([("GATEWAY", "STATE", "BEAT", "TIMEOUT", "SESSIONS"), *rows])
        yield [(f"  {head}", "bold")]
        yield from ([(f"  {line}", "")] for line in lines)
    for address, figures in memory.items():
        reads = figures["hits"] + figures["misses"]
        share = f" ({figures['hits'] / reads:.0%})" if reads else ""
        text = (
            f"{figures['hits']} of {reads} reads{share}, {figures['entries']} entries in {figures['bytes']} bytes, "
            f"{figures['invalidations']} invalidations"
        )
        yield [(f"{'memory':<14}", "dim"), (f"at {address}: {text}", "")]
    yield [(f"{'last errors':<14}", "dim"), (str(len(status.errors) or f"none in {HOURS} h"), "")]
    yield from ([(f"  {error.time:%H:%M:%S} {error.logger}: {error.message}", "red")] for error in status.errors)


def _zxid(head: Head | None) -> str:
    return f"{head.zxid if head else 0:#x}"


def _sessions_by_gateway(status: Status) -> Counter[str]:
    return Counter(listed.session.gateway for listed in status.sessions)


def sessions_json(found: Sequence[Listed]) -> list[JsonObject]:
    return [
        {
            "session": f"{listed.id:#x}",
            "timeout": listed.session.timeout,
            "gateway": listed.session.gateway,
            "gatewayState": listed.gateway_state,
            "ephemerals": listed.ephemerals,
        }
        for listed in found
    ]


def sessions_lines(found: Sequence[Listed]) -> Iterator[str]:
    """A table, and below each session its ephemerals."""
    rows = [
        (
            f"{listed.id:#x}",
            f"{listed.session.timeout / 1000:g} s",
            listed.session.gateway,
            listed.gateway_state,
            len(listed.ephemerals),
        )
        for listed in found
    ]
    head, *lines = table([("SESSION", "TIMEOUT", "GATEWAY", "STATE", "EPHEMERALS"), *rows])
    if lines:
        yield head
    for line, listed in zip(lines, found, strict=True):
        yield line
        yield from (f"  {path}" for path in listed.ephemerals)


def letters_json(letters: Iterable[Letter]) -> list[JsonObject]:
    return [
        {"id": each.id, "kind": str(each.kind), "sent": when(each.sent), "summary": each.summary} for each in letters
    ]


def show_letters(letters: Sequence[Letter]) -> None:
    """A table."""
    show_table(
        ("ID", "KIND", "SENT", "WHAT"), [(each.id, each.kind, when(each.sent), each.summary) for each in letters]
    )


def letter_json(letter: Letter) -> JsonObject:
    (fields,) = letters_json([letter])
    return {**fields, "document": letter.document}


def letter_lines(letter: Letter) -> Iterator[str]:
    yield f"id      {letter.id}"
    yield f"kind    {letter.kind}"
    yield f"sent    {when(letter.sent)}"
    yield from json.dumps(letter.document, indent=2, ensure_ascii=False).splitlines()


def restored_json(restored: Restored) -> JsonObject:
    return {
        "zxid": f"{restored.zxid:#x}",
        "znodes": restored.znodes,
        "sessions": restored.sessions,
        "blobs": restored.blobs,
        "repaired": restored.problems,
        "lostData": restored.lost,
    }


def restored_lines(restored: Restored) -> Iterator[str]:
    yield (
        f"{restored.znodes} znodes, {restored.sessions} sessions, {restored.blobs} blobs up to zxid {restored.zxid:#x}"
    )
    yield from (f"repaired: {problem}" for problem in restored.problems)
    yield from (f"lost: the data of {path}" for path in restored.lost)
