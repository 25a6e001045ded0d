"""Celery with ZooKeeper as its broker (kombu's transport): a worker takes tasks from a queue of sequential znodes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.foreign import Wrong, python_with, run
from tests.systems.stage import Stage

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = ("celery[zookeeper]==5.7.0", "kombu==5.7.0")


def celery(stage: Stage) -> str:
    python = python_with(stage.scratch, "celery", *PACKAGES)
    results = stage.scratch / "celery-results"
    results.mkdir()
    environment = {
        "CELERY_BROKER": f"zookeeper://{stage.hosts}/celery",
        "CELERY_RESULTS": str(results),
        "PYTHONPATH": str(PROGRAMS),
    }
    log = stage.scratch / "celery.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [python, "-m", "celery", "-A", "celery_tasks", "worker", "--pool", "solo", "--without-mingle"],
            cwd=stage.scratch,
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
    try:
        said = run(stage.scratch, python, PROGRAMS / "celery_tasks.py", environment=environment)
    except Wrong as error:
        raise Wrong(f"{error}\n--- worker\n{log.read_text(errors='replace')[-3000:]}") from error
    finally:
        worker.terminate()
        worker.wait(30)
    return f"{', '.join(PACKAGES)}: {said.strip()}"
