"""A gateway inside a Lambda function: ``faaskeeper_client.connect()`` works in it."""

from __future__ import annotations

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from faaskeeper.protocol.service import ENVIRONMENT_VARIABLE, SERVICE_NAME_VARIABLE
from faaskeeper_cdk.packages import CLIENT, cache_environment, copied
from faaskeeper_cdk.service import CoordinationService


class LambdaGateway(Construct):
    """Gives a Python ``function`` the client, as ``layer``, name and description of the service, and ``grant_client``
    (of a ``subtree``)::

        from faaskeeper_client import connect

        def handler(event, context):
            zk = connect()  # a stock KazooClient; the environment names the service
            zk.start()

    Lambda freezes a function between its invocations: a session that is to outlive one (an ephemeral, a watch) belongs
    into a process that runs, so stop the client before the handler returns, or keep it for reads only and mind that its
    session expires (docs/recipes.md). Each ``connect`` that makes a gateway waits a second for its new queue. boto3 is
    that of Lambda's own Python. ``cache_bytes`` of what was read stay in memory to answer from; after a freeze storage
    is asked again. Raises ValueError if that is negative.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        service: CoordinationService,
        function: lambda_.Function,
        subtree: str | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        super().__init__(scope, id)
        with copied(*CLIENT, "kazoo", below="python") as directory:
            self.layer = lambda_.LayerVersion(
                self,
                "Layer",
                description="FaaSKeeper: client and gateway",
                code=lambda_.Code.from_asset(str(directory)),
            )
        function.add_layers(self.layer)
        function.add_environment(SERVICE_NAME_VARIABLE, service.service_name)
        # Parameter Store takes 40 reads a second of a whole account
        function.add_environment(ENVIRONMENT_VARIABLE, service.description)
        for name, value in cache_environment(cache_bytes).items():
            function.add_environment(name, value)
        service.grant_client(function, subtree)
