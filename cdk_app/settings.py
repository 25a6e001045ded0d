"""What ``cdk deploy -c name=... -c tier=... -c regions=a,b`` says, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from constructs import Node

from faaskeeper_cdk import TIERS

_SUPER_DIGEST = re.compile(r"[^:]+:[A-Za-z0-9+/]{27}=")
_TOPIC = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+(\.fifo)?")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


class InvalidSettings(ValueError):
    """The context holds a value that makes no sense; the message names the key, the value and the rule."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``regions`` empty: one stack for the account and region of whoever deploys it. ``alarm_topic`` is an ARN."""

    name: str = "faaskeeper"
    tier: str = "standard"
    regions: tuple[str, ...] = ()
    account: str | None = None
    super_digest: str = ""
    alarm_topic: str | None = None

    @classmethod
    def from_context(cls, node: Node) -> Self:
        """Raises InvalidSettings."""
        default = cls()
        tier = _text(node, "tier") or default.tier
        if tier not in TIERS:
            raise InvalidSettings(f"-c tier={tier}: one of {', '.join(TIERS)}")
        regions = tuple(region.strip() for region in (_text(node, "regions") or "").split(",") if region.strip())
        for region in regions:
            if not _REGION.fullmatch(region):
                raise InvalidSettings(f"-c regions={','.join(regions)}: {region!r} is not the name of a region")
        if len(set(regions)) < len(regions):
            raise InvalidSettings(f"-c regions={','.join(regions)}: a region is named twice")
        account = _text(node, "account")
        if account is not None and not re.fullmatch(r"\d{12}", account):
            raise InvalidSettings(f"-c account={account}: an account has 12 digits")
        super_digest = _text(node, "superDigest") or ""
        if super_digest and not _SUPER_DIGEST.fullmatch(super_digest):
            raise InvalidSettings(f"-c superDigest={super_digest}: super:base64(sha1(super:password)) is expected")
        alarm_topic = _text(node, "alarmTopic")
        if alarm_topic is not None and not _TOPIC.fullmatch(alarm_topic):
            raise InvalidSettings(f"-c alarmTopic={alarm_topic}: the ARN of an SNS topic is expected")
        return cls(_text(node, "name") or default.name, tier, regions, account, super_digest, alarm_topic)


def _text(node: Node, key: str) -> str | None:
    value = node.try_get_context(key)
    # the CLI gives text; cdk.json could give anything
    if value is not None and not isinstance(value, str):
        raise InvalidSettings(f"context {key!r} is {value!r}: text is expected")
    return value or None
