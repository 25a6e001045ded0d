"""The examples, and the gateways that they put beside a function, a task and an instance."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import cdk_nag
import pytest
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk.assertions import Template

from examples.app import add_examples
from examples.ec2_instance import Ec2Stack
from faaskeeper_cdk import CoordinationService, EcsGateway, InvalidTask, Tier, ec2_gateway
from faaskeeper_client.cli.serving import gateway as gateway_command
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.synthesize import Assembly

from .calls import actions_of
from .reading import flat, resources, statements
from .test_permissions import DISCOVERY, ENTRIES, OF_THE_SAME_NAME
from .test_review import cfn_lint

EXAMPLES = ("plain", "composed", "lambda", "ecs", "ec2")


@pytest.fixture(scope="module")
def assembly(flags: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all examples; a finding of cdk-nag's or of the CDK's own rules would be an error here."""
    directory = tmp_path_factory.mktemp("cdk.out")
    app = cdk.App(outdir=str(directory), context=flags, analytics_reporting=False)
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app), cdk_nag.ServerlessChecks(app))
    add_examples(app)
    app.synth()
    return directory


@pytest.fixture(scope="module")
def template(assembly: Path) -> Callable[[str], dict[str, Any]]:
    return lambda stack: json.loads((assembly / f"{stack}.template.json").read_text())


def asset(assembly: Path, stack: str, holds: str) -> Path:
    """The folder of the stack's only asset with a file of this name."""
    files = json.loads((assembly / f"{stack}.assets.json").read_text())
    sources = [each["source"].get("path") or each["source"]["directory"] for each in files["files"].values()]
    sources += [each["source"]["directory"] for each in files.get("dockerImages", {}).values()]
    (found,) = [assembly / source for source in sources if (assembly / source / holds).exists()]
    return found


def options_of(name: str, arguments: list[str]) -> tuple[str, str]:
    """The service and the address of a ``faaskeeper gateway`` with these arguments."""
    assert name == gateway_command.name
    options = gateway_command.make_context(name, arguments).params
    return options["service"], str(options["listen"])


def test_each_is_synthesized_without_a_finding(assembly: Path) -> None:
    report = json.loads((assembly / "validation-report.json").read_text())
    assert len(report["pluginReports"]) >= 2
    assert [violation for plugin in report["pluginReports"] for violation in plugin["violations"]] == []
    names = {path.name.split(".")[0] for path in assembly.glob("*.template.json")} | {
        path.name.removeprefix("assembly-") for path in assembly.glob("assembly-*")
    }
    assert names == set(EXAMPLES)


def test_cfn_lint_finds_nothing(assembly: Path) -> None:
    assert cfn_lint(*assembly.rglob("*.template.json")) == ""


@pytest.mark.parametrize(
    ("stack", "role", "besides"), [("lambda", "Role", "logs:"), ("ecs", "TaskTaskRole", ""), ("ec2", "Instance", "s3:")]
)
def test_a_gateway_brings_the_grant_of_a_client_and_nothing_else(
    template: Callable[[str], dict[str, Any]], stack: str, role: str, besides: str
) -> None:
    granted = [each for each in statements(template(stack)) if each.role.startswith(role)]
    client = actions_of(*ENTRIES["Client"]).needed - OF_THE_SAME_NAME["Client"] | DISCOVERY
    assert client <= {action for each in granted for action in each.actions}
    for each in granted:
        assert each.actions <= client or (besides and all(action.startswith(besides) for action in each.actions))
        assert "*" not in each.resources


def test_a_function_and_its_gateway_at_work(assembly: Path, cloud: EmbeddedCloud, account: str) -> None:
    cloud.session(account).client("ssm").put_parameter(  # as `cdk bootstrap` does
        Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String"
    )
    cloud.deploy_assembly(Assembly(assembly, "lambda"), "lambda", account=account)
    client = cloud.session(account).client("lambda")
    (name,) = [
        function["FunctionName"]
        for function in client.list_functions()["Functions"]
        if function["Handler"] == "index.handler"
    ]
    for visits in (1, 2):
        answer = client.invoke(FunctionName=name)["Payload"].read()
        assert json.loads(answer) == visits, answer


@pytest.mark.parametrize(("stack", "below"), [("lambda", "python"), ("ecs", "packages"), ("ec2", "")])
def test_the_packages_suffice_with_what_is_required_besides(assembly: Path, stack: str, below: str) -> None:
    """Neither the CDK nor anything else of the checkout is needed."""
    packages = asset(assembly, stack, f"{below}/faaskeeper_client".lstrip("/")) / below
    script = f"""
import sys
sys.path[:] = [each for each in sys.path if "site-packages" in each or each.startswith(sys.base_prefix)]
sys.path.insert(0, {str(packages)!r})
sys.modules["aws_cdk"] = sys.modules["jsii"] = None
import faaskeeper_client, faaskeeper_client.kazoo_client
from faaskeeper_client.cli import main
assert faaskeeper_client.__file__.startswith({str(packages)!r})
main(["gateway", "--service", "nobody", "--region", "us-east-1"])
"""
    result = subprocess.run(
        [sys.executable, "-I", "-c", script],
        env={"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    # it came as far as looking for the service
    assert "'nobody' in us-east-1 cannot be looked up" in result.stderr, result.stderr


class TestTask:
    def container(self, template: dict[str, Any], name: str) -> dict[str, Any]:
        (task,) = resources(template, "AWS::ECS::TaskDefinition").values()
        (found,) = [each for each in task["Properties"]["ContainerDefinitions"] if each["Name"] == name]
        return dict(found)

    def test_the_command_is_one(self, template: Callable[[str], dict[str, Any]]) -> None:
        gateway = self.container(template("ecs"), "faaskeeper")
        name, *arguments = (flat(each) for each in gateway["Command"])
        assert options_of(name, arguments) == ("beside-tasks", "127.0.0.1:2181")
        assert gateway["ReadonlyRootFilesystem"] is True

    def test_the_application_starts_when_the_gateway_answers(self, template: Callable[[str], dict[str, Any]]) -> None:
        application = self.container(template("ecs"), "Application")
        assert application["DependsOn"] == [{"ContainerName": "faaskeeper", "Condition": "HEALTHY"}]

    def test_the_image_is_built_when_deployed(self, assembly: Path) -> None:
        lines = (asset(assembly, "ecs", "Dockerfile") / "Dockerfile").read_text().splitlines()
        assert 'RUN pip install --no-cache-dir "boto3<2,>=1.43" "click<9,>=8.5" "kazoo<3,>=2.10"' in lines
        assert lines[-1] == 'ENTRYPOINT ["python", "-m", "faaskeeper_client.cli"]'
        assert "USER 65534" in lines

    @pytest.mark.parametrize(
        ("options", "platform"),
        [({}, "linux/amd64"), ({"platform": ecr_assets.Platform.LINUX_ARM64}, "linux/arm64")],
    )
    def test_the_image_is_of_the_task_s_platform_whoever_builds_it(
        self, options: dict[str, Any], platform: str, tmp_path: Path
    ) -> None:
        app = cdk.App(outdir=str(tmp_path), analytics_reporting=False)
        stack = cdk.Stack(app, "Test")
        service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
        task = ecs.FargateTaskDefinition(stack, "Task")
        EcsGateway(stack, "Gateway", service=service, task_definition=task, **options)
        app.synth()
        (image,) = json.loads((tmp_path / "Test.assets.json").read_text())["dockerImages"].values()
        assert image["source"]["platform"] == platform

    def test_its_logs_are_kept_like_the_functions(self, synthesize: Callable[..., tuple[dict[str, Any], Path]]) -> None:
        def fill(stack: cdk.Stack) -> None:
            service = CoordinationService(stack, "Service", tier=Tier.critical(), service_name="tests")
            EcsGateway(stack, "Gateway", service=service, task_definition=ecs.FargateTaskDefinition(stack, "Task"))

        template, _ = synthesize(fill)
        own = self.container(template, "faaskeeper")["LogConfiguration"]["Options"]["awslogs-group"]["Ref"]
        kept = {
            id: (group["Properties"]["KmsKeyId"], group["Properties"]["RetentionInDays"], group["DeletionPolicy"])
            for id, group in resources(template, "AWS::Logs::LogGroup").items()
        }
        assert len(kept) > 1
        assert {str(each) for each in kept.values()} == {str(kept[own])}

    def test_a_gateway_that_ends_does_not_end_its_task(self) -> None:
        stack = cdk.Stack()
        service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
        EcsGateway(
            stack,
            "Gateway",
            service=service,
            task_definition=ecs.FargateTaskDefinition(stack, "Task"),
            image=ecs.ContainerImage.from_registry("of/the-team:1"),
        )
        (task,) = Template.from_stack(stack).find_resources("AWS::ECS::TaskDefinition").values()
        (container,) = task["Properties"]["ContainerDefinitions"]
        assert container["RestartPolicy"] == {"Enabled": True, "RestartAttemptPeriod": 60}

    def test_an_image_can_be_given(self) -> None:
        stack = cdk.Stack()
        service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
        EcsGateway(
            stack,
            "Gateway",
            service=service,
            task_definition=ecs.FargateTaskDefinition(stack, "Task"),
            image=ecs.ContainerImage.from_registry("of/the-team:1"),
        )
        assert not stack.node.find_child("Gateway").node.try_find_child("Image")

    def test_containers_that_share_no_loopback_are_refused(self) -> None:
        stack = cdk.Stack()
        service = CoordinationService(stack, "Service", tier=Tier.development(), service_name="tests")
        task = ecs.Ec2TaskDefinition(stack, "Task", network_mode=ecs.NetworkMode.BRIDGE)
        with pytest.raises(InvalidTask, match="network mode BRIDGE"):
            EcsGateway(stack, "Gateway", service=service, task_definition=task)


class TestInstance:
    def script(self, template: dict[str, Any]) -> str:
        (instance,) = resources(template, "AWS::EC2::Instance").values()
        return flat(instance["Properties"]["UserData"]["Fn::Base64"])

    def test_the_user_data_is_a_script(self, template: Callable[[str], dict[str, Any]]) -> None:
        text = re.sub(r"<[\w:.]+>", "value", self.script(template("ec2")))
        subprocess.run(["bash", "-n"], input=text, text=True, check=True, capture_output=True)
        assert "systemctl enable --now faaskeeper-gateway.service" in text

    def test_a_new_version_of_the_packages_comes_with_a_new_instance(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def instance(directory: Path) -> str:
            app = cdk.App(outdir=str(directory), analytics_reporting=False)
            Ec2Stack(app, "ec2")
            app.synth()
            (id,) = resources(json.loads((directory / "ec2.template.json").read_text()), "AWS::EC2::Instance")
            return id

        before = instance(tmp_path / "before")
        assert instance(tmp_path / "again") == before
        monkeypatch.setattr(ec2_gateway, "CLIENT", ("faaskeeper",))
        assert instance(tmp_path / "after") != before

    def test_the_unit_starts_a_gateway(self, template: Callable[[str], dict[str, Any]]) -> None:
        (command,) = re.findall(r"^ExecStart=(.*)$", self.script(template("ec2")), re.MULTILINE)
        python, *rest = shlex.split(command)
        assert (python, rest[:2]) == ("/opt/faaskeeper/bin/python", ["-m", "faaskeeper_client.cli"])
        assert options_of(rest[2], rest[3:]) == ("on-instances", "127.0.0.1:2181")
