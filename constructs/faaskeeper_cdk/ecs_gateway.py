"""A gateway beside the containers of an ECS task."""

# jsii gives parameters of a class other names than those of the interface it implements
# pyright: reportArgumentType=false

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs
from constructs import Construct

from faaskeeper_cdk.packages import CLIENT, cache_environment, client_requirements, copied
from faaskeeper_cdk.review import acknowledge_resource
from faaskeeper_cdk.service import CoordinationService

LISTEN = "127.0.0.1:2181"
RESTART_PERIOD = Duration.seconds(60)
"""The least that ECS takes: for how long the container must have run to be started again (ContainerRestartPolicy)."""
_DOCKERFILE = """\
FROM python:3.13-slim
RUN pip install --no-cache-dir {requirements}
COPY packages /opt/faaskeeper
ENV PYTHONPATH=/opt/faaskeeper PYTHONDONTWRITEBYTECODE=1
USER 65534
ENTRYPOINT ["python", "-m", "faaskeeper_client.cli"]
"""
_ASK = "; ".join(
    (
        "import socket",
        "s = socket.create_connection(('127.0.0.1', 2181), 2)",
        "s.sendall(b'ruok')",
        "assert s.recv(4) == b'imok'",
    )
)
"""ZooKeeper's own health check, by the four-letter word."""


class InvalidTask(ValueError):
    """The containers of the task do not share a loopback interface."""


class EcsGateway(Construct):
    """Adds ``container`` to ``task_definition``: a gateway that the task's other containers reach at ``hosts``, with
    ``grant_client`` (of a ``subtree``) for the task's role. ``serve(container)`` makes one wait for the gateway.

    ``image`` runs ``faaskeeper`` with the command it is given, and has Python. Unless there is one, it is built from
    ``dockerfile`` for ``platform`` when the stack is deployed; a synthesis never takes Docker. ``platform`` must be
    that of the task's runtime platform, or of the instances it runs on: Fargate's own is LINUX_AMD64, and an image of
    another one does not start. ``memory`` is in MiB. ``log_group`` is kept as those of the functions are: with the key
    of the service, for the retention of its tier. ``cache_bytes`` of what was read stay in memory
    to answer from. Raises InvalidTask, and ValueError if that is negative.
    """

    hosts = LISTEN

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        service: CoordinationService,
        task_definition: ecs.TaskDefinition,
        subtree: str | None = None,
        image: ecs.ContainerImage | None = None,
        platform: ecr_assets.Platform = ecr_assets.Platform.LINUX_AMD64,
        memory: int = 256,
        cache_bytes: int | None = None,
    ) -> None:
        super().__init__(scope, id)
        if task_definition.network_mode is not ecs.NetworkMode.AWS_VPC:
            raise InvalidTask(
                f"network mode {task_definition.network_mode.value}: containers share {LISTEN} in AWS_VPC only"
            )
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            retention=service.tier.log_retention,
            encryption_key=service.encryption_key,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.container = task_definition.add_container(
            f"{id}Container",
            container_name="faaskeeper",
            image=image or ecs.ContainerImage.from_docker_image_asset(self._asset(platform)),
            command=[
                "gateway",
                *("--service", service.service_name),
                *("--region", Stack.of(service).region),
                *("--listen", LISTEN),
            ],
            memory_limit_mib=memory,
            environment=cache_environment(cache_bytes) or None,
            # the others go on without a gateway until it is back; one that cannot start ends the task
            enable_restart_policy=True,
            restart_attempt_period=RESTART_PERIOD,
            readonly_root_filesystem=True,
            health_check=ecs.HealthCheck(
                command=["CMD", "python", "-c", _ASK],
                interval=Duration.seconds(5),
                timeout=Duration.seconds(3),
                start_period=Duration.seconds(15),
            ),
            logging=ecs.LogDrivers.aws_logs(stream_prefix="faaskeeper", log_group=self.log_group),
        )
        acknowledge_resource(
            task_definition.obtain_execution_role(), "*", "ecr:GetAuthorizationToken knows no resources"
        )
        service.grant_client(task_definition.task_role, subtree)

    def serve(self, container: ecs.ContainerDefinition) -> None:
        container.add_container_dependencies(
            ecs.ContainerDependency(container=self.container, condition=ecs.ContainerDependencyCondition.HEALTHY)
        )

    def _asset(self, platform: ecr_assets.Platform) -> ecr_assets.DockerImageAsset:
        with copied(*CLIENT, below="packages") as directory:
            Path(directory, "Dockerfile").write_text(dockerfile())
            return ecr_assets.DockerImageAsset(self, "Image", directory=str(directory), platform=platform)


def dockerfile() -> str:
    """Of an image with the command line as its entry point, for a context whose ``packages`` are ours."""
    return _DOCKERFILE.format(requirements=" ".join(f'"{each}"' for each in client_requirements()))
