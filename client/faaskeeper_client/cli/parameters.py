"""Arguments and options that several commands take: how they are written, and what is wrong with those that are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from faaskeeper.znode import paths
from faaskeeper.znode.create_mode import MAX_TTL_MS
from faaskeeper_client.addresses import Address
from faaskeeper_client.cli.output import parse_acl

T = TypeVar("T")

_UNITS = {"": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MAX_COUNT = (1 << 31) - 1


class Parsed(click.ParamType[T]):
    """An argument that ``parse`` makes of the text; it raises ValueError with the reason."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from None


def parse_path(text: str) -> str:
    """Raises ValueError."""
    if not paths.is_valid(text):
        raise ValueError(f"{text!r} is not the path of a znode")
    return text


def parse_duration(text: str) -> int:
    """ms of ``90s``, ``500ms``, ``2h``; without a unit it is ms. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)(ms|s|m|h|d|)", text)
    milliseconds = float(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= milliseconds <= MAX_TTL_MS or milliseconds != int(milliseconds):
        raise ValueError(f"{text!r} is not a time such as 90s, 500ms or 2h, from 1 ms to {MAX_TTL_MS} ms")
    return int(milliseconds)


def _new_path(text: str) -> str:
    parse_path(text.removesuffix("/") or text)
    return text


def _servers(text: str) -> list[Address]:
    return [Address.parse(part) for part in text.split(",")]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_COUNT:
        raise ValueError(f"{text!r} is not a number from 0 to 2^31-1")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise ValueError(f"{text!r} is not a number of seconds")
    return float(text)


ZNODE_PATH = Parsed("path", parse_path)
NEW_PATH = Parsed("path", _new_path)
"""Ends with "/" for a sequential znode without a name of its own."""
SERVERS = Parsed("servers", _servers)
ADDRESS = Parsed("address", Address.parse)
ACL_ENTRY = Parsed("acl", parse_acl)
COUNT = Parsed("count", _count)
SECONDS = Parsed("seconds", _seconds)
DURATION = Parsed("duration", parse_duration)
FILE = click.Path(path_type=Path)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def exclusive(**given: object) -> None:
    """Raises UsageError if more than one is there; ``_`` in names stands for ``-``."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other")
