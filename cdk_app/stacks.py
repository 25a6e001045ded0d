"""One stack a region, each with one service: an ensemble is regional."""

from __future__ import annotations

from aws_cdk import App, Environment, Stack, Tags
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk_app.settings import Settings, of_region
from faaskeeper_cdk import TIERS, CoordinationService


class FaaSKeeperStack(Stack):
    """``coordination`` is the service."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings, region: str | None) -> None:
        super().__init__(
            scope,
            id,
            env=Environment(account=settings.account, region=region),
            description=f"FaaSKeeper service {settings.name}, tier {settings.tier}",
            termination_protection=TIERS[settings.tier]().deletion_protection,
        )
        topics = of_region(settings.alarm_topics, region)
        self.coordination = CoordinationService(
            self,
            "Service",
            tier=TIERS[settings.tier](),
            service_name=settings.name,
            super_digest=settings.super_digest,
            former_keys=[
                kms.Key.from_key_arn(self, f"FormerKey{number}", arn)
                for number, arn in enumerate(of_region(settings.former_keys, region))
            ],
            alarm_topic=sns.Topic.from_topic_arn(self, "AlarmTopic", topics[0]) if topics else None,
        )
        Tags.of(self).add("faaskeeper:service", settings.name)


def add_stacks(app: App, settings: Settings) -> list[FaaSKeeperStack]:
    """Named after the service, and after the region where there are several."""
    if not settings.regions:
        return [FaaSKeeperStack(app, settings.name, settings=settings, region=None)]
    return [
        FaaSKeeperStack(app, f"{settings.name}-{region}", settings=settings, region=region)
        for region in settings.regions
    ]
