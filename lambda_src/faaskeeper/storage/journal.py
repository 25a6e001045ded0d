"""Transactions too large for one TransactWriteItems: written down whole, then carried out in steps.

From the step that puts the journal's key into the head until the one that takes it out, nobody commits anything
else, and whoever finds the key carries on from the step that the head names. The zxid moves with the last step
only, so readers, who wait for the zxid of whatever they see, see all or nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from faaskeeper.blocks.attributes import Attribute, number, string
from faaskeeper.blocks.aws import MAX_OBJECT_BYTES, Aws
from faaskeeper.blocks.blobs import read_blob, write_blob
from faaskeeper.blocks.errors import TooLarge
from faaskeeper.protocol.service import Service
from faaskeeper.storage.commit import (
    MAX_TRANSACTION_BYTES,
    MAX_TRANSACTION_ITEMS,
    MAX_TRANSACTION_KEY_BYTES,
    MAX_TRANSACTION_UNITS,
    Plan,
    head_update,
)
from faaskeeper.storage.keys import Key, pack_key, unpack_key
from faaskeeper.storage.ledger import Head

PREFIX = "journal/"
"""Of all journals in the bucket."""


@dataclass(frozen=True, slots=True)
class Journal:
    """``steps`` are (keys, actions) of one TransactWriteItems each, ``head`` the attributes that the last one sets."""

    key: str
    steps: tuple[tuple[tuple[Key, ...], tuple[dict[str, Any], ...]], ...]
    head: Mapping[str, Attribute]


def journal_key(service: Service, zxid: int) -> str:
    """Of a new journal. Begins with the service's name, so that services with different names can share a bucket."""
    return f"{PREFIX}{service.name}/{zxid}-{uuid4().hex}"


def journal_of(key: str, planned: Plan, head: Head) -> Journal:
    """Cuts ``planned`` into steps that fit. ``head`` is the one that follows; its keys are set to the last step's."""
    steps: list[tuple[list[Key], list[dict[str, Any]]]] = []
    size = key_size = units = 0
    writes = zip(planned.keys, planned.actions, planned.sizes, planned.units, strict=True)
    for write_key, action, action_size, action_units in writes:
        key_size += write_key.size
        size += action_size
        units += action_units
        full = steps and (
            len(steps[-1][0]) >= MAX_TRANSACTION_ITEMS - 1
            or size > MAX_TRANSACTION_BYTES
            or units > MAX_TRANSACTION_UNITS
            or key_size > MAX_TRANSACTION_KEY_BYTES
        )
        if not steps or full:
            steps.append(([], []))
            size, key_size, units = action_size, write_key.size, action_units
        steps[-1][0].append(write_key)
        steps[-1][1].append(action)
    following = replace(head, keys=tuple(steps[-1][0]))
    return Journal(key, tuple((tuple(keys), tuple(actions)) for keys, actions in steps), following.attributes())


async def write_journal(aws: Aws, service: Service, journal: Journal) -> None:
    """Raises TooLarge if nobody could read it again."""
    steps = [[[pack_key(key) for key in keys], list(actions)] for keys, actions in journal.steps]
    text = json.dumps({"steps": steps, "head": journal.head}, default=_pack_bytes)
    content = text.encode()
    if len(content) > MAX_OBJECT_BYTES:
        raise TooLarge("s3", "put_object", "TooLarge", f"{len(content)} bytes, {MAX_OBJECT_BYTES} at most")
    await write_blob(aws, service, journal.key, content)


async def read_journal(aws: Aws, service: Service, key: str) -> Journal:
    """Raises NotFound."""
    document = json.loads(await read_blob(aws, service, key), object_hook=_unpack_bytes)
    steps = tuple((tuple(unpack_key(k) for k in keys), tuple(actions)) for keys, actions in document["steps"])
    return Journal(key, steps, document["head"])


def opening(service: Service, planned: Plan, previous: Head, journal: Journal) -> list[dict[str, Any]]:
    """TransactItems that put the journal into the head, if ``previous`` is still the head."""
    attributes = {"journal": string(journal.key), "journal_step": number(0)}
    return [head_update(service, attributes, previous), *planned.checks]


def abandoning(service: Service, journal: Journal) -> dict[str, Any]:
    """The TransactItem that takes the journal out of the head, if none of its steps is done."""
    return head_update(service, {"journal_step": number(0)}, (journal.key, 0), ("journal",))


def step(service: Service, journal: Journal, index: int) -> list[dict[str, Any]]:
    """TransactItems of step ``index``, if it is the next."""
    last = index == len(journal.steps) - 1
    following = journal.head if last else {"journal_step": number(index + 1)}
    removed = ("journal", "journal_step") if last else ()
    return [
        head_update(service, following, (journal.key, index), removed),
        *journal.steps[index][1],
    ]


def _pack_bytes(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} in a journal")
    return {"base64": base64.b64encode(value).decode("ascii")}


def _unpack_bytes(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value
