"""Other projects' own test suites over their ZooKeeper drivers, test by test beside a real ZooKeeper."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from faaskeeper_client.addresses import Address
from tests.foreign import Wrong, python_with
from tests.systems.stage import Stage

_LONGEST = 900
_TESTING = ("fixtures==4.3.2", "oslotest==6.1.1", "testscenarios==0.7.0", "testtools==2.9.1", "ddt==1.7.2")


@dataclass(frozen=True, slots=True)
class Suite:
    """``modules`` are pytest's, by their packages' names; ``variables`` tell them the server, as HOST and PORT."""

    name: str
    packages: Sequence[str]
    modules: Sequence[str]
    variables: Mapping[str, str]

    @property
    def version(self) -> str:
        name, _, version = self.packages[0].partition("==")
        return f"{name.partition('[')[0]} {version}"

    def results(self, stage: Stage, address: Address) -> dict[str, str]:
        """passed, failed or skipped by test. Raises NotHere."""
        python = python_with(stage.scratch, f"{self.name}-suite", *self.packages, "pytest==9.0.2")
        report = stage.scratch / f"{self.name}-{address.port}.xml"
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--pyargs"]
        environment = {
            name: value.replace("HOST", address.host).replace("PORT", str(address.port))
            for name, value in self.variables.items()
        }
        done = subprocess.run(
            [*map(str, command), *self.modules],
            cwd=stage.scratch,
            env={"PATH": "/usr/bin:/bin", "HOME": str(stage.scratch), **environment},
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
        if not report.exists():
            raise Wrong(f"{self.name}: its tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return _results(report)


TOOZ = Suite(
    "tooz",
    ("tooz[zookeeper,etcd3gw,ipc,memcached,mysql,redis]==9.1.0", "psycopg2-binary==2.9.13", *_TESTING),
    ("tooz.tests.test_coordination", "tooz.tests.test_partitioner"),
    {"TOOZ_TEST_URL": "kazoo://HOST:PORT?timeout=5"},
)
TASKFLOW = Suite(
    "taskflow",
    (
        "taskflow[zookeeper,etcd,redis]==6.5.0",
        "sqlalchemy==2.1.9",
        "alembic==1.20.1",
        "sqlalchemy-utils==0.43.0",
        *_TESTING,
    ),
    (
        "taskflow.tests.unit.jobs.test_zk_job",
        "taskflow.tests.unit.persistence.test_zk_persistence",
        "taskflow.tests.unit.utils.test_kazoo_utils",
    ),
    {"TASKFLOW_TEST_ZOOKEEPER_PORT": "PORT"},
)


def tooz(stage: Stage) -> str:
    return _beside(stage, TOOZ)


def taskflow(stage: Stage) -> str:
    return _beside(stage, TASKFLOW)


def _beside(stage: Stage, suite: Suite) -> str:
    ours = suite.results(stage, stage.address)
    if not any(result == "passed" for result in ours.values()):
        raise Wrong(f"no test of {suite.version} passed: {Counter(ours.values())}")
    said = f"{suite.version}: {_counted(ours)}"
    oracle = stage.zookeeper
    if oracle is None:
        failed = sorted(test for test, result in ours.items() if result == "failed")
        if failed:
            raise Wrong(f"{said}; failed: {', '.join(failed)}")
        return f"{said}; no real ZooKeeper beside: {stage.no_zookeeper}"
    theirs = suite.results(stage, oracle)
    different = sorted(test for test in ours | theirs if ours.get(test) != theirs.get(test))
    if different:
        rows = "\n".join(f"  {test}: here {ours.get(test)}, ZooKeeper {theirs.get(test)}" for test in different)
        raise Wrong(f"{said}; with ZooKeeper 3.9.5 {_counted(theirs)}\n{rows}")
    return f"{said}; the same result for each test with ZooKeeper 3.9.5"


def _counted(results: Mapping[str, str]) -> str:
    return ", ".join(f"{number} {result}" for result, number in sorted(Counter(results.values()).items()))


def _results(report: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = "passed"
        for child in case:
            if child.tag in ("failure", "error"):
                outcome = "failed"
            elif child.tag == "skipped":
                outcome = "skipped"
        found[f"{case.get('classname')}.{case.get('name')}"] = outcome
    return found
