"""What ``cdk deploy -c name=... -c tier=... -c regions=a,b`` says, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

from constructs import Node

from faaskeeper_cdk import TIERS, InvalidServiceName
from faaskeeper_cdk.discovery import checked_name

_KEYS = frozenset(("account", "alarmTopic", "formerKeys", "name", "regions", "superDigest", "tier"))
_OF_THE_CLI = frozenset(("acknowledged-issue-numbers", "cli-telemetry"))
"""What commands of the CDK's own keep in the context."""
_SUPER_DIGEST = re.compile(r"[^:]+:[A-Za-z0-9+/]{27}=")
_TOPIC = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]+(\.fifo)?")
_KEY = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+")
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d")


class InvalidSettings(ValueError):
    """The context holds a value that makes no sense; the message names the key, the value and the rule."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``regions`` empty: one stack for the account and region of whoever deploys it. ``alarm_topics`` and
    ``former_keys`` are ARNs, of each stack those that ``of_region`` leaves."""

    name: str = "faaskeeper"
    tier: str = "standard"
    regions: tuple[str, ...] = ()
    account: str | None = None
    super_digest: str = ""
    alarm_topics: tuple[str, ...] = ()
    former_keys: tuple[str, ...] = ()

    @classmethod
    def from_context(cls, node: Node) -> Self:
        """Raises InvalidSettings."""
        _refuse_unknown(node)
        default = cls()
        tier = _text(node, "tier") or default.tier
        if tier not in TIERS:
            raise InvalidSettings(f"-c tier={tier}: one of {', '.join(TIERS)}")
        name = _text(node, "name") or default.name
        try:
            checked_name(name)
        except InvalidServiceName as error:
            raise InvalidSettings(f"-c name={error}") from error
        regions = _list(node, "regions")
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
        topics = _arns(node, "alarmTopic", _TOPIC, "the ARN of an SNS topic", regions)
        given = f"-c alarmTopic={','.join(topics)}"
        if topics and not TIERS[tier]().alarms:
            raise InvalidSettings(f"{given}: tier {tier} has no alarms")
        # CloudWatch tells alarms to topics of their own region only
        for region in regions or (None,):
            found = len(of_region(topics, region))
            if topics and found != 1:
                where = f"region {region}" if region else "a stack without -c regions="
                raise InvalidSettings(f"{given}: one topic for {where}, of its region, is expected, and not {found}")
        former_keys = _arns(node, "formerKeys", _KEY, "the ARN of a KMS key", regions)
        return cls(name, tier, regions, account, super_digest, topics, former_keys)


def _refuse_unknown(node: Node) -> None:
    """Keys of the CDK and of its lookups have other signs than letters in them. Raises InvalidSettings."""
    found: dict[str, object] = node.get_all_context()
    for key in sorted(found.keys() - _KEYS - _OF_THE_CLI):
        if re.fullmatch(r"[A-Za-z_-]+", key):
            like = get_close_matches(key, _KEYS, 1)
            raise InvalidSettings(
                f"-c {key}: " + (f"{like[0]} is meant?" if like else f"one of {', '.join(sorted(_KEYS))}")
            )


def of_region(arns: tuple[str, ...], region: str | None) -> tuple[str, ...]:
    """Those of resources in the region; all where it is not known."""
    return tuple(arn for arn in arns if region is None or _region(arn) == region)


def _region(arn: str) -> str:
    return arn.split(":")[3]


def _arns(node: Node, key: str, pattern: re.Pattern[str], what: str, regions: tuple[str, ...]) -> tuple[str, ...]:
    arns = _list(node, key)
    for arn in arns:
        if not pattern.fullmatch(arn):
            raise InvalidSettings(f"-c {key}={','.join(arns)}: {arn!r} is not {what}")
        if regions and _region(arn) not in regions:
            raise InvalidSettings(f"-c {key}={arn}: its region is none of -c regions={','.join(regions)}")
    return arns


def _list(node: Node, key: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in (_text(node, key) or "").split(",") if each.strip())


def _text(node: Node, key: str) -> str | None:
    value = node.try_get_context(key)
    # the CLI gives text; cdk.json could give anything
    if value is not None and not isinstance(value, str):
        raise InvalidSettings(f"context {key!r} is {value!r}: text is expected")
    return value or None
