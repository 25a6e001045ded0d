"""The simulated cloud: services, processes, and the seams between them."""

from __future__ import annotations

from typing import Final

from .client import READ_TIMEOUT, Client, Network
from .dynamodb import DynamoDb
from .faults import FaultKind, Faults
from .lambda_ import Instance, Lambda
from .limits import Limits
from .loop import running_loop
from .mapping import Mapping
from .process import Process
from .s3 import S3
from .sqs import Sqs
from .ssm import Ssm
from .usage import Usage

SDK_ATTEMPTS: Final = 1
"""As ``faaskeeper.blocks.aws.BotoAws`` configures the SDK: no retry."""


class Cloud:
    """Must be made inside ``loop.run``. Faults come from ``faults``, everything else from the loop's seed."""

    def __init__(self, faults: Faults | None = None, *, sdk_attempts: int = SDK_ATTEMPTS, limits: bool = False) -> None:
        """``limits``: AWS's throughput limits hold, and those of ``dynamodb.limit``."""
        self.loop = running_loop()
        self.faults = faults if faults is not None else Faults.none()
        self.faults.follow(self.loop.time)
        self.usage = Usage()
        enforced = Limits(enforced=limits)
        self.dynamodb = DynamoDb(self.loop, self.faults, self.usage, enforced)
        self.sqs = Sqs(self.loop, self.faults, self.usage, enforced)
        self.s3 = S3(self.loop, self.faults, self.usage)
        self.ssm = Ssm(self.usage)
        self.functions = Lambda(self.loop, self.faults, self.usage, self._make_instance)
        self.network = Network(
            self.loop,
            self.faults,
            self.usage,
            {
                "dynamodb": self.dynamodb,
                "sqs": self.sqs,
                "s3": self.s3,
                "ssm": self.ssm,
                "lambda": self.functions,
            },
            self.loop.stream("network"),
            sdk_attempts,
        )
        self._processes: dict[str, Process] = {}
        self.admin: Final = Client(self.network, Process(self.loop, "admin"), ideal=True)
        """A seam without latency and call faults, for set-up and assertions."""

    def process(self, name: str, *, mortal: bool = False) -> Process:
        """The process of that name, made at first use and again after its death; ``mortal``: faults may kill and
        stall it."""
        process = self._processes.get(name)
        if process is None or process.dead:
            skew = self.faults.strike(FaultKind.CLOCK_SKEW, name)
            sign = 1.0 if self.faults.share() < 0.5 else -1.0
            process = Process(
                self.loop, name, mortal=mortal, clock_skew=sign * skew.seconds if skew is not None else 0.0
            )
            self._processes[name] = process
        return process

    def client(self, process: Process | str, *, timeout: float = READ_TIMEOUT) -> Client:
        """The seam as a process sees it, which waits ``timeout`` seconds for an answer."""
        return Client(self.network, process if isinstance(process, Process) else self.process(process), timeout=timeout)

    def connect_queue(
        self, queue: str, function: str, *, batch_size: int = 10, pollers: int = 5, reports_failures: bool = True
    ) -> Mapping:
        """An event source mapping from a queue, by URL, ARN or name. Raises ValueError for what AWS refuses."""
        mapping = Mapping(
            self.loop,
            self.faults,
            self.sqs,
            self.functions,
            self.sqs.named("create_event_source_mapping", queue),
            function,
            batch_size,
            pollers,
            reports_failures,
        )
        mapping.start()
        return mapping

    def _make_instance(self, name: str) -> Instance:
        process = self.process(name, mortal=True)
        return Instance(process, self.client(process))
