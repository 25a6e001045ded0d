"""The template and code of a service, as ``cdk synth`` makes them, kept so that the next run need not make them again.

Synthesis runs in a process of its own (``template``): it takes seconds, needs node and the AWS CDK, and is only needed
when something in the packages changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faaskeeper_client.local.environment import cache_directory, locked
from faaskeeper_client.local.errors import CloudError

_TEMPLATE = "faaskeeper_client.local.template"
_STACK = "FaaSKeeper"
_KEPT = 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the template expects in a bucket; names may hold ``${AWS::AccountId}`` and ``${AWS::Region}``."""

    source: Path
    bucket: str
    key: str

    def content(self) -> bytes:
        """The file, or the zipped folder."""
        if self.source.is_file():
            return self.source.read_bytes()
        with tempfile.TemporaryFile() as buffer:
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(self.source.rglob("*")):
                    if path.is_file():
                        name = path.relative_to(self.source).as_posix()
                        archive.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED)
            buffer.seek(0)
            return buffer.read()


@dataclass(frozen=True, slots=True)
class Assembly:
    """One stack of a CDK cloud assembly. Raises CloudError if ``directory`` does not hold it."""

    directory: Path
    stack: str

    @property
    def template_file(self) -> Path:
        return self.directory / f"{self.stack}.template.json"

    @property
    def template(self) -> str:
        return self.template_file.read_text()

    def assets(self) -> Iterator[Asset]:
        """The template is one of them."""
        try:
            document: dict[str, Any] = json.loads((self.directory / f"{self.stack}.assets.json").read_text())
        except FileNotFoundError as error:
            raise CloudError(f"no stack {self.stack!r} in the cloud assembly {self.directory}") from error
        for file in document["files"].values():
            for destination in file["destinations"].values():
                yield Asset(
                    self.directory / file["source"]["path"], destination["bucketName"], destination["objectKey"]
                )


def synthesized(name: str, tier: str, overrides: Mapping[str, object], super_digest: str = "") -> Assembly:
    """A stack with one service of that name and tier (``development``, ...) and overrides of the tier's fields.
    Raises CloudError."""
    wanted = json.dumps(
        {"name": name, "tier": tier, "overrides": dict(overrides), "super_digest": super_digest}, sort_keys=True
    )
    digest = sha256(wanted.encode())
    for package in ("faaskeeper", "faaskeeper_cdk"):
        for path in _sources(package):
            digest.update(str(path).encode() + b"\0" + path.read_bytes())
    directory = cache_directory() / "assemblies" / digest.hexdigest()[:32]
    with locked(directory):
        if not directory.exists():
            _synthesize(directory, wanted)
            _forget_old(directory.parent)
    return Assembly(directory, _STACK)


def _sources(package: str) -> list[Path]:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise CloudError(f"the package {package} is not installed: pip install 'faaskeeper[local]'")
    return sorted(Path(spec.origin).parent.rglob("*.py"))


def _synthesize(directory: Path, wanted: str) -> None:
    if find_spec("aws_cdk") is None:
        raise CloudError("the AWS CDK is not installed, and makes the template: pip install 'faaskeeper[local]'")
    if shutil.which("node") is None:
        raise CloudError("node is not on the PATH, and the AWS CDK runs on it: install Node.js 22 or later")
    with tempfile.TemporaryDirectory(dir=directory.parent, ignore_cleanup_errors=True) as scratch:
        result = subprocess.run(
            [sys.executable, "-m", _TEMPLATE, scratch, _STACK, wanted],
            env=os.environ | {"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise CloudError(f"cannot synthesize {wanted}: {result.stderr.strip()}")
        Path(scratch).rename(directory)


def _forget_old(assemblies: Path) -> None:
    for lock in sorted(assemblies.glob("*.lock"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
