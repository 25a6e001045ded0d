"""DynamoDB attribute values: {"N": "5"}, {"S": "text"}, {"B": bytes}, {"SS": [...]}, to and from Python's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Attribute = dict[str, Any]
Item = Mapping[str, Attribute]


def number(value: int) -> Attribute:
    return {"N": str(value)}


def string(value: str) -> Attribute:
    return {"S": value}


def binary(value: bytes) -> Attribute:
    return {"B": value}


def string_set(values: Iterable[str]) -> Attribute:
    """DynamoDB has no empty sets: ``values`` must not be empty."""
    return {"SS": sorted(values)}


def get_number(item: Item, name: str, default: int = 0) -> int:
    return int(item[name]["N"]) if name in item else default


def get_string(item: Item, name: str, default: str = "") -> str:
    return str(item[name]["S"]) if name in item else default


def get_set(item: Item, name: str) -> frozenset[str]:
    """Empty if the attribute is missing or NULL."""
    return frozenset(item.get(name, {}).get("SS", ()))


def item_size(attributes: Item) -> int:
    """In bytes, as DynamoDB counts it, or a little more."""
    total = 0
    for name, value in attributes.items():
        kind, content = next(iter(value.items()))
        total += len(name)
        if kind in ("B", "N"):
            total += len(content)
        elif kind == "S":
            total += len(content) if content.isascii() else len(content.encode())
        elif kind == "SS":
            total += sum(len(member) for member in content)
    return total
