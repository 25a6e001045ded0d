"""A cloud in virtual time that does what AWS permits. One seed decides everything.

    async def main() -> None:
        cloud = Cloud(Faults.swarm(seed))
        cloud.dynamodb.create_table("znodes", ("path", "S"), ("part", "S"))
        gateway = cloud.process("gateway-1")
        await gateway.start(serve(cloud.client(gateway)))

        cloud.functions.register("sequencer", lambda instance: Sequencer(instance.aws).handle, timeout=10)
        url = (await cloud.admin.call("sqs", "create_queue", QueueName="requests.fifo", ...))["QueueUrl"]
        cloud.connect_queue(url, "sequencer")

    run(seed, main())

Processes can be paused, killed, slowed and partitioned (``process.Process``), cut off from each other
(``loop.sockets``), and hit at a certain call (``Faults.script``). asyncio's own servers and connections work between
them. ``cloud.usage`` holds what AWS would bill, ``cloud.faults.trace`` and ``cloud.network.history`` what happened.

Python's hashes of text differ from process to process: run with ``PYTHONHASHSEED=0`` where a schedule must replay and
the code under test iterates over sets of text.
"""

from __future__ import annotations

from .client import Client, Record
from .cloud import Cloud
from .faults import RATES, FaultKind, Faults, Injected, Script, Site
from .lambda_ import Context, Function, FunctionFailed, Instance
from .loop import Deadlock, Livelock, OutOfTime, SimulationError, SimulationLoop, run, running_loop
from .process import Killed, Process
from .usage import Usage

__all__ = [
    "RATES",
    "Client",
    "Cloud",
    "Context",
    "Deadlock",
    "FaultKind",
    "Faults",
    "Function",
    "FunctionFailed",
    "Injected",
    "Instance",
    "Killed",
    "Livelock",
    "OutOfTime",
    "Process",
    "Record",
    "Script",
    "SimulationError",
    "SimulationLoop",
    "Site",
    "Usage",
    "run",
    "running_loop",
]
