"""An ECS task whose application finds ZooKeeper at 127.0.0.1:2181."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs
from constructs import Construct

from faaskeeper_cdk import CoordinationService, EcsGateway, Tier


class EcsStack(cdk.Stack):
    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id)
        service = CoordinationService(self, "Coordination", tier=Tier.development(), service_name="beside-tasks")
        self.task = ecs.FargateTaskDefinition(self, "Task", cpu=256, memory_limit_mib=1024)
        self.gateway = EcsGateway(self, "Gateway", service=service, task_definition=self.task)
        application = self.task.add_container(
            "Application",
            image=ecs.ContainerImage.from_registry("zookeeper:3.9"),
            command=["zkCli.sh", "-server", self.gateway.hosts, "ls", "/"],
            logging=ecs.LogDrivers.aws_logs(stream_prefix="application", log_retention=logs.RetentionDays.ONE_WEEK),
        )
        self.gateway.serve(application)
