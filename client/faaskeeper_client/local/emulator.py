"""The emulator's process. Runs in the emulator's own Python environment, so it imports nothing of ours.

It lives as long as its standard input is open: however its parent ends, the operating system closes the pipe, and
then the emulator saves what it has to save, takes the functions' processes with it and leaves no files behind.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Awaitable
from importlib import import_module
from typing import Any

GRACE = 15.0
POLL = 0.01
finished = threading.Event()


def watch_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    if not finished.wait(GRACE):
        os.killpg(0, signal.SIGKILL)


class Impatient:
    """asyncio, but no sleep takes longer than POLL."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def sleep(self, seconds: float) -> Awaitable[None]:
        return asyncio.sleep(min(seconds, POLL))


def hurry() -> None:
    """As it comes, the emulator looks after waiting receivers ten times a second, sleeps 50 ms before it looks for
    work for an idle function, keeps it for 50 ms to see whether it prints something, and lets a failed one rest for a
    second: a write would take 100 ms and more, nearly all of it waiting. And it ends 3 s after it is told to."""
    lambda_runtime: Any = import_module("ministack.core.lambda_runtime")
    lambda_svc: Any = import_module("ministack.services.lambda_svc")
    sqs: Any = import_module("ministack.services.sqs")
    sqs.asyncio = Impatient()
    lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = (0.002, 0.005, 0.25)
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0.002
    lambda_svc._ESM_BACKOFF_SECONDS = 0.1
    server: Any = import_module("hypercorn.config")
    server.Config.graceful_timeout = 0.2


def tag_buckets() -> None:
    """CloudFormation's tags of buckets, which the emulator leaves out: whether a bucket may be emptied hangs on one."""
    provisioners: Any = import_module("ministack.services.cloudformation.provisioners")
    s3: Any = import_module("ministack.services.s3")
    configure = provisioners._s3_apply_configurations

    def configure_and_tag(name: str, properties: dict[str, Any], *before: Any) -> None:
        configure(name, properties, *before)
        s3._bucket_tags.pop(name, None)
        if tags := {tag["Key"]: tag["Value"] for tag in properties.get("Tags", ())}:
            s3._bucket_tags[name] = tags

    provisioners._s3_apply_configurations = configure_and_tag


def main() -> None:
    # Ctrl-C in a terminal reaches the whole foreground group: it is the parent that decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # we were started with signals blocked
    threading.Thread(target=watch_parent, daemon=True).start()
    sys.argv = ["ministack"]
    try:
        from ministack.app import main as serve  # type: ignore[import-not-found]

        hurry()
        tag_buckets()
        with contextlib.suppress(SystemExit):
            serve()
    finally:
        finished.set()
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
