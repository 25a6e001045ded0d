"""The whole service from its blocks."""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aws_cdk import Names, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from faaskeeper.protocol.service import Service
from faaskeeper_cdk.access import Access
from faaskeeper_cdk.discovery import Discovery, checked_name, reply_prefix
from faaskeeper_cdk.encryption import Key
from faaskeeper_cdk.functions import Functions
from faaskeeper_cdk.monitoring import Monitoring, ServiceMetrics
from faaskeeper_cdk.queues import Queues
from faaskeeper_cdk.storage import Storage
from faaskeeper_cdk.tier import Tier


class CoordinationService(ServiceMetrics, Construct):
    """A FaaSKeeper service: one ensemble of ZooKeeper, in one region.

    ``tier`` defaults to ``Tier.standard()``. ``service_name`` is what clients ask for; it is unique in an account and
    region, and derived from the construct's place in the app unless given. It is fixed for the life of the service:
    the keys of its blobs begin with it and grants name it, so under another name its data could not be read.
    ``super_digest``, if given, is ``super:base64(sha1("super:password"))`` as ZooKeeper's DigestAuthenticationProvider
    writes it; whoever may read the service's description can read it, so only a long random password is safe.

    What exists already is passed in: ``encryption_key`` (its policy must let the logs service use it, for log groups
    made here), ``blobs`` (retention, encryption, versions and TLS are then the bucket's affair, and no tier empties
    it), ``log_group`` (of all functions; retention and encryption are its own), ``permissions_boundary`` (of all roles
    made here) and ``alarm_topic``, which hears of the alarms in tiers that have them.

    ``former_keys`` are those that data of this service is still encrypted with: S3 encrypts new objects with the
    bucket's present key and leaves the others as they are, SQS likewise messages. Whoever may use the present key may
    use these. The key of a bucket passed as ``blobs`` is granted too, if the bucket tells it: one that was imported by
    its name does not, and its key is passed here, or granted by yourself.

    Every part is reachable: ``storage``, ``queues``, ``functions``, ``discovery``, ``key`` (None unless made here), and
    ``monitoring``, which is None in tiers without alarms; ``metric_*()`` is for alarms and dashboards of one's own.
    Raises InvalidServiceName.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        tier: Tier | None = None,
        service_name: str | None = None,
        encryption_key: kms.IKey | None = None,
        former_keys: Sequence[kms.IKey] = (),
        blobs: s3.IBucket | None = None,
        log_group: logs.ILogGroup | None = None,
        permissions_boundary: iam.IManagedPolicy | None = None,
        super_digest: str = "",
        alarm_topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, id)
        if permissions_boundary:
            iam.PermissionsBoundary.of(self).apply(permissions_boundary)
        self.tier = tier or Tier.standard()
        name = checked_name(
            service_name
            or Names.unique_resource_name(self, max_length=32, separator="-", allowed_special_characters="-")
        )
        self.key = Key(self, "Key", tier=self.tier) if self.tier.customer_managed_key and not encryption_key else None
        self.encryption_key = self.key.key if self.key else encryption_key
        self.storage = Storage(
            self,
            "Storage",
            tier=self.tier,
            encryption_key=self.encryption_key,
            former_keys=former_keys,
            blobs=blobs,
        )
        self.queues = Queues(self, "Queues", tier=self.tier, encryption_key=self.encryption_key)
        self.service = Service(
            name=name,
            region=Stack.of(self).region,
            znodes=self.storage.znodes.table_name,
            sessions=self.storage.sessions.table_name,
            ledger=self.storage.ledger.table_name,
            blobs=self.storage.blobs.bucket_name,
            requests=self.queues.requests.queue_url,
            timers=self.queues.timers.queue_url,
            dead_letters=self.queues.dead_letters.queue_url,
            reply_prefix=reply_prefix(name),
            inline_limit=self.tier.inline_limit,
            blob_limit=self.tier.blob_limit,
            super_digest=super_digest,
            encryption_key=self.encryption_key.key_arn if self.encryption_key else "",
        )
        self.functions = Functions(
            self,
            "Functions",
            tier=self.tier,
            service=self.service,
            storage=self.storage,
            queues=self.queues,
            encryption_key=self.encryption_key,
            log_group=log_group,
        )
        log_groups = {function.log_group.log_group_name: function.log_group for function in self.functions.all}
        described = replace(self.service, log_groups=tuple(log_groups), direct=self.functions.direct.function_name)
        self.description = described.to_json()
        self.discovery = Discovery(self, "Discovery", service=described)
        # a sequencer that knows of no direct calls answers without a trace: it is replaced before any gateway makes one
        self.discovery.parameter.node.add_dependency(self.functions.sequencer)
        self._access = Access(
            service=self.service,
            storage=self.storage,
            queues=self.queues,
            direct=self.functions.direct,
            parameter=self.discovery.parameter,
            log_groups=tuple(log_groups.values()),
        )
        self.monitoring = (
            Monitoring(self, "Monitoring", metrics=self, alarm_topic=alarm_topic) if self.tier.alarms else None
        )

    @property
    def service_name(self) -> str:
        return self.service.name

    def grant_client(self, grantee: iam.IGrantable, subtree: str | None = None) -> None:
        """What a gateway needs; see ``Access.grant_client``."""
        self._access.grant_client(grantee, subtree)

    def grant_read(self, grantee: iam.IGrantable, subtree: str | None = None) -> None:
        """Reading the tree; see ``Access.grant_read``."""
        self._access.grant_read(grantee, subtree)

    def grant_admin(self, grantee: iam.IGrantable) -> None:
        """What an operator's command line needs; see ``Access.grant_admin``."""
        self._access.grant_admin(grantee)
