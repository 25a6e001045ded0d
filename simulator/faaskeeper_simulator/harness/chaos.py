"""What befalls gateways, clients and the networks between them, besides the cloud's own faults."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from faaskeeper_simulator.cloud import Cloud, Process
from faaskeeper_simulator.harness.client import Client
from faaskeeper_simulator.harness.gateways import Slot


class Chaos(StrEnum):
    GATEWAY_KILL = "gateway kill"
    GATEWAY_PAUSE = "gateway pause"
    GATEWAY_CUT = "gateway cut off from AWS"
    GATEWAY_HALF_CUT = "gateway cut off from one service"
    FUNCTION_CUT = "function cut off from one service"
    CLIENT_CUT = "client cut off from gateway"
    CLIENT_PAUSE = "client pause"
    CLIENT_KILL = "client kill"
    CLIENT_MOVE = "client moves"


_LENGTHS = (0.05, 180.0)
"""Shortest and longest, in seconds; every order of magnitude occurs."""
_SERVICES = ("dynamodb", "sqs", "s3")


class Troubles:
    """``stop`` ends them and mends what can be mended; what they did is in ``done``."""

    def __init__(
        self, cloud: Cloud, kinds: Sequence[Chaos], pace: float, slots: Sequence[Slot], clients: Sequence[Client]
    ) -> None:
        self.done: list[tuple[float, Chaos, str]] = []
        self._cloud = cloud
        self._kinds = sorted(kinds)
        self._pace = pace
        self._slots = slots
        self._clients = clients
        self._chance: random.Random = cloud.loop.stream("chaos")
        self._killed: Counter[str] = Counter()
        self._touched: list[Process] = []

    async def run(self) -> None:
        while self._kinds:
            await asyncio.sleep(self._chance.expovariate(1 / self._pace))
            self._strike(self._chance.choice(self._kinds))

    def mend(self) -> None:
        for process in self._touched:
            process.heal()
            process.resume()
            for slot in self._slots:
                if slot.process is not None:
                    self._cloud.loop.sockets.heal(process, slot.process)

    def _strike(self, kind: Chaos) -> None:
        slot, client = self._chance.choice(self._slots), self._chance.choice(self._clients)
        low, high = _LENGTHS
        seconds = low * (high / low) ** self._chance.random()
        gateway = slot.process
        if gateway is None or gateway.dead or client.process.dead:
            return
        match kind:
            case Chaos.GATEWAY_KILL:
                gateway.kill()
            case Chaos.GATEWAY_PAUSE:
                gateway.pause(seconds)
            case Chaos.GATEWAY_CUT:
                gateway.partition(seconds)
            case Chaos.GATEWAY_HALF_CUT:
                gateway.partition(seconds, self._chance.choice(_SERVICES))
            case Chaos.FUNCTION_CUT:
                instances = self._cloud.functions.processes()
                if not instances:
                    return
                struck = self._chance.choice(instances)
                struck.partition(seconds, self._chance.choice(_SERVICES))
                self._note(kind, struck.name, seconds)
                self._touched.append(struck)
                return
            case Chaos.CLIENT_CUT:
                self._cloud.loop.sockets.cut(client.process, gateway, seconds)
            case Chaos.CLIENT_PAUSE:
                client.process.pause(seconds)
            case Chaos.CLIENT_KILL:
                client.process.kill()
            case Chaos.CLIENT_MOVE:
                client.preferred = slot
                client.process.post(client.disconnect)
        self._touched += [gateway, client.process]
        self._note(kind, client.name if kind.startswith("client") else slot.name, seconds)

    def _note(self, kind: Chaos, name: str, seconds: float) -> None:
        self.done.append((self._cloud.loop.time(), kind, f"{name} for {seconds:.3f} s"))
