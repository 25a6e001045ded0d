"""The distribution as a consumer gets it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.synthesize import Assembly

from .reading import resources

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (built,) = directory.glob("*.whl")
    assert len(list(directory.glob("*.tar.gz"))) == 1
    return built


def test_no_package_shadows_the_library_constructs() -> None:
    assert not (ROOT / "constructs" / "__init__.py").exists()


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "faaskeeper",
        "faaskeeper_client",
        "faaskeeper_cdk",
    }
    for package in ("faaskeeper", "faaskeeper_client", "faaskeeper_cdk"):
        assert f"{package}/py.typed" in names
    assert not [name for name in names if "__pycache__" in name]


def test_installing_brings_the_client_and_not_the_cdk(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    required = re.findall(r"^Requires-Dist: (\S+?)(?=[<>=]).*$", archive.read(metadata).decode(), re.MULTILINE)
    always = re.findall(r"^Requires-Dist: ([a-z0-9-]+)[^;\n]*$", archive.read(metadata).decode(), re.MULTILINE)
    assert set(always) == {"boto3", "click", "kazoo"}
    assert "aws-cdk-lib" in required


CONSUMER = """
import sys, aws_cdk as cdk, faaskeeper
from faaskeeper_cdk import CoordinationService, Tier
app = cdk.App(outdir=sys.argv[1], analytics_reporting=False)
synthesizer = cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False)
stack = cdk.Stack(app, "Consumer", synthesizer=synthesizer)
CoordinationService(stack, "Coordination", tier=Tier.development(), service_name="consumer")
app.synth()
print(faaskeeper.__file__)
"""


@pytest.fixture(scope="module")
def consumer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it. Of other packages it sees ours, which pip would download again; the checkout
    is not among them, as no .pth file of theirs is read."""
    directory = tmp_path_factory.mktemp("consumer") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    python = directory / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
    )
    (packages,) = directory.glob("lib/*/site-packages")
    for path in packages.rglob("*.py"):
        os.utime(path, (0, 0))
        path.chmod(0o600)
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    return directory


def test_a_consumer_composes_deploys_and_uses_the_wheel(
    consumer: Path, template: Callable[[str], dict[str, Any]], cloud: EmbeddedCloud, account: str, tmp_path: Path
) -> None:
    """Outside the repository; the asset's hash is that of the checkout's, whatever the times and modes of the files."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}

    def run(*command: str) -> str:
        result = subprocess.run(
            [consumer / "bin" / command[0], *command[1:]],
            env=inherited | cloud.environment(account),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert run("python", "-c", CONSUMER, "cdk.out").startswith(str(consumer))
    assembly = Assembly(tmp_path / "cdk.out", "Consumer")
    assert code_of(json.loads(assembly.template)) == code_of(template("development"))
    cloud.deploy_assembly(assembly, "consumer", account=account)
    assert run("faaskeeper", "create", "/hello", "world", "--service", "consumer") == "/hello\n"
    assert run("faaskeeper", "get", "/hello", "--service", "consumer") == "world"


def code_of(template: dict[str, Any]) -> str:
    functions = resources(template, "AWS::Lambda::Function").values()
    (key,) = {function["Properties"]["Code"]["S3Key"] for function in functions}
    return str(key)


def test_functions_import_nothing_that_lambda_does_not_have(tmp_path: Path) -> None:
    """Lambda's Python has the standard library and boto3; the emulator's would hide anything else."""
    script = """
import sys
sys.path[:0] = [sys.argv[1]]
before = set(sys.modules)
for name in ("sequencer", "direct", "notifier", "reaper", "janitor", "emptier"):
    __import__(f"faaskeeper.functions.{name}")
print(*{name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names) - {"__mp_main__"})
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "lambda_src")], check=True, capture_output=True, text=True
    )
    with_boto3 = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3", "certifi"}
    assert set(result.stdout.split()) - {"faaskeeper"} <= with_boto3


def test_lock_file_names_no_registry() -> None:
    assert "http" not in (ROOT / "package-lock.json").read_text()
    assert json.loads((ROOT / "package.json").read_text())["devDependencies"] == {"aws-cdk": "2.1148.1"}
