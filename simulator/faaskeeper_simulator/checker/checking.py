"""All checks of a run, in one pass over the order of its writes and one over each connection."""

from __future__ import annotations

from faaskeeper_simulator.checker import clients, lives, order, promptness, reads, storage, watches
from faaskeeper_simulator.checker.model import Model
from faaskeeper_simulator.checker.violation import Violation
from faaskeeper_simulator.harness.history import Call
from faaskeeper_simulator.harness.world import Run


def check(run: Run) -> list[Violation]:
    """What is wrong about it; first what is most likely the cause of the rest.

    Z1: every outcome and every read is that of whole operations in the pure core (``order``, ``reads``), and so is what
    storage holds at last (``storage``). Z2: the order is the queue's, the queue's is each session's (``order``), and it
    agrees with real time (``clients``). Z3: zxids never go back, and each shows its state exactly (``clients``,
    ``reads``). Z4: ``watches``. Sessions and ephemerals: ``lives``.
    """
    found = [Violation("error", text) for text in run.errors]
    found += [Violation("client", text) for text in run.history.complaints]
    if run.stuck:
        found.append(Violation("stuck", run.stuck, run.ended or None))
    if run.witness is None:
        return found
    connections = run.history.connections
    wanted = reads.Reads()
    writes: dict[str, list[Call]] = {}
    for connection in connections:
        wanted.add(connection)
        writes[connection.address] = [call for call in connection.calls if call.is_write]

    def at_zxid(model: Model) -> None:
        wanted.at_zxid(model)
        found.extend(lives.check_ephemerals(model))

    ordered, model = order.build(run.witness, writes, run.blobs, at_zxid)
    found += ordered.violations
    if ordered.violations:
        return found
    wanted.finish(ordered.zxid)
    found += wanted.violations
    present = clients.Present(connections, cached=run.plan.cache_bytes > 0)
    found += clients.check_steps(ordered, present.shown)
    found += clients.check_times(ordered, connections)
    fired = watches.Fired(ordered.events)
    for connection in connections:
        found += clients.check_connection(ordered, present, connection)
        found += watches.check_watches(fired, wanted, connection)
    found += lives.check_lives(ordered, connections)
    if run.plan.is_calm:
        found += promptness.check_promptness(ordered, connections)
    if not run.stuck:
        found += storage.check_storage(model, run.items, run.blobs)
    for workload in run.workloads:
        found += [Violation(workload.name, text) for text in workload.check(run.history)]
    return found


__all__ = ["check"]
