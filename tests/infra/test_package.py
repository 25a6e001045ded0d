"""The distribution as a consumer gets it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    assert set(always) == {"boto3", "kazoo"}
    assert "aws-cdk-lib" in required


def test_wheel_and_checkout_deploy_the_same_code(
    wheel: Path, template: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    """A consumer's stack, from the wheel alone; the asset's hash is that of the checkout's, whatever the times and
    modes of the files."""
    installed = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel)],
        check=True,
    )
    for path in installed.rglob("*.py"):
        os.utime(path, (0, 0))
        path.chmod(0o600)
    script = """
import sys, aws_cdk as cdk, faaskeeper
from faaskeeper_cdk import CoordinationService, Tier
app = cdk.App(outdir=sys.argv[1], analytics_reporting=False)
stack = cdk.Stack(app, "Consumer")
CoordinationService(stack, "Coordination", tier=Tier.development())
app.synth()
print(faaskeeper.__file__)
"""
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cdk.out")],
        env=os.environ | {"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout.startswith(str(installed))
    consumer = json.loads((tmp_path / "cdk.out" / "Consumer.template.json").read_text())
    assert code_of(consumer) == code_of(template("development"))


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
for name in ("sequencer", "notifier", "reaper", "janitor", "emptier"):
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
