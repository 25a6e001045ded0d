"""Smaller schedules that fail, too: without a kind of fault, with fewer clients, fewer requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from faaskeeper_simulator.harness.plan import Plan


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, runs: int = 200) -> Plan:
    """The smallest plan found with at most ``runs`` tries; ``fails`` holds for it as for ``plan``.

    A smaller plan is another schedule, so what fails need not fail in the same way: any failure will do.
    """
    while True:
        for smaller in _smaller(plan):
            if runs == 0:
                return plan
            runs -= 1
            if fails(smaller):
                plan = smaller
                break
        else:
            return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Large steps first."""
    if plan.chaos:
        yield replace(plan, chaos=())
    if plan.rates:
        yield replace(plan, rates=())
    if plan.mortal:
        yield replace(plan, mortal=False)
    if len(plan.workloads) > 1:
        for name in plan.workloads:
            yield replace(plan, workloads=(name,))
    if plan.operations > 2:
        yield replace(plan, operations=plan.operations // 2)
        yield replace(plan, operations=plan.operations * 3 // 4)
    if plan.clients > 1:
        yield replace(plan, clients=plan.clients - 1)
    if plan.gateways > 1:
        yield replace(plan, gateways=plan.gateways - 1)
    for half in (plan.rates[: len(plan.rates) // 2], plan.rates[len(plan.rates) // 2 :]):
        if 0 < len(half) < len(plan.rates):
            yield replace(plan, rates=half)
    for index in range(len(plan.rates)):
        yield replace(plan, rates=plan.rates[:index] + plan.rates[index + 1 :])
    for index in range(len(plan.chaos)):
        yield replace(plan, chaos=plan.chaos[:index] + plan.chaos[index + 1 :])
    if len(plan.timeouts) > 1:
        for timeout in plan.timeouts:
            yield replace(plan, timeouts=(timeout,))
