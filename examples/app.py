"""All examples: ``make synth-all``, or ``cdk deploy --app "python -m examples.app" lambda``."""

from __future__ import annotations

import aws_cdk as cdk

from examples.composed import Environment
from examples.ec2_instance import Ec2Stack
from examples.ecs_sidecar import EcsStack
from examples.lambda_function import LambdaStack
from examples.plain import PlainStack


def add_examples(app: cdk.App) -> None:
    PlainStack(app, "plain")
    Environment(app, "composed")
    LambdaStack(app, "lambda")
    EcsStack(app, "ecs")
    Ec2Stack(app, "ec2")


if __name__ == "__main__":
    app = cdk.App()
    add_examples(app)
    app.synth()
