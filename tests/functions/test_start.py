"""What Lambda sees of a function before and besides its invocations: its import, and the lines of its log."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from faaskeeper.blocks.runtime import KEEP_WARM, JsonFormatter


def test_a_line_tells_lambda_its_level_and_its_time() -> None:
    """In RFC 3339; without that it would count as INFO (Lambda developer guide, "Log-level filtering")."""
    record = logging.LogRecord("faaskeeper", logging.ERROR, __file__, 1, "it %s", ("failed",), None)
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["message"]) == ("ERROR", "it failed")
    time = datetime.fromisoformat(line["timestamp"])
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ["sequencer", "direct", "notifier", "reaper", "janitor"])
def test_a_new_instance_is_ready_before_its_first_invocation(name: str) -> None:
    """So a wrong description shows at the import, which Lambda reports as such; elsewhere an import needs none."""
    code = f"import faaskeeper.functions.{name}"
    assert run(code).returncode == 0
    failed = run(
        code,
        AWS_LAMBDA_FUNCTION_NAME=name,
        AWS_DEFAULT_REGION="us-east-1",
        FAASKEEPER_SERVICE="{}",
    )
    assert failed.returncode == 1
    assert "InvalidService" in failed.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["sequencer", "direct"])
def test_to_keep_it_warm_is_to_do_nothing(name: str) -> None:
    """No service is described here, so whatever it did would fail."""
    code = f"from faaskeeper.functions.{name} import handler; handler({KEEP_WARM!r}, None)"
    assert run(code).returncode == 0
