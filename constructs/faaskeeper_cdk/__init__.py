"""AWS CDK constructs that deploy FaaSKeeper, whole or block by block."""

from faaskeeper_cdk.access import Access, InvalidSubtree
from faaskeeper_cdk.discovery import Discovery, InvalidServiceName
from faaskeeper_cdk.ec2_gateway import Ec2Gateway
from faaskeeper_cdk.ecs_gateway import EcsGateway, InvalidTask
from faaskeeper_cdk.encryption import Key
from faaskeeper_cdk.functions import Functions
from faaskeeper_cdk.lambda_gateway import LambdaGateway
from faaskeeper_cdk.monitoring import InvalidMetric, Monitoring, ServiceMetrics
from faaskeeper_cdk.queues import Queues
from faaskeeper_cdk.service import CoordinationService
from faaskeeper_cdk.storage import BlobBucket, Storage, SynchronizationTable
from faaskeeper_cdk.tier import TIERS, InvalidTier, Tier
from faaskeeper_cdk.worker import Worker, runtime_code

__all__ = [
    "TIERS",
    "Access",
    "BlobBucket",
    "CoordinationService",
    "Discovery",
    "Ec2Gateway",
    "EcsGateway",
    "Functions",
    "InvalidMetric",
    "InvalidServiceName",
    "InvalidSubtree",
    "InvalidTask",
    "InvalidTier",
    "Key",
    "LambdaGateway",
    "Monitoring",
    "Queues",
    "ServiceMetrics",
    "Storage",
    "SynchronizationTable",
    "Tier",
    "Worker",
    "runtime_code",
]
