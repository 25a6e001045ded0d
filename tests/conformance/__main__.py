"""FaaSKeeper before every judge: those that others wrote for any ZooKeeper, and dialogues with a real one beside it."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.addresses import Address
from faaskeeper_client.gateway_thread import GatewayThread
from faaskeeper_client.http.options import HttpOptions
from faaskeeper_client.local import EmbeddedCloud
from tests.conformance.admin import admin
from tests.conformance.admin_oracle import zookeeper_with_admin
from tests.conformance.dialogues import dialogues
from tests.conformance.judges import JudgeFailed, Verdict, fuzz, kazoo, probe
from tests.conformance.servers import LOOPBACK, NO_JANITOR, SUPER_DIGEST, NoOracle, Spread, gateways, zookeeper

_FUZZERS_AT_ONCE = 2


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 if nothing differs but what is accepted, 1 if something does, 2 if a judge could not be heard."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000, help="of the fuzzer, over all seeds (10000)")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds (10)")
    parser.add_argument("--seed", type=int, help="the first seed; random if not given")
    parser.add_argument("--dialogues", type=int, default=500, help="number of random dialogues (500)")
    parser.add_argument("--without-oracle", action="store_true", help="leave out what needs a real ZooKeeper")
    parser.add_argument("--kazoo-logs", type=Path, help="keep the logs of kazoo's suite in this folder")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    account = "100000000000"
    verdicts: list[Verdict | None] = []

    def hear(name: str, judge: Callable[[], Verdict]) -> None:
        print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
        try:
            verdicts.append(judge())
        except JudgeFailed as error:
            print(f"{name} could not be heard: {error}", file=sys.stderr, flush=True)
            verdicts.append(None)

    with ExitStack() as stack:
        cloud = stack.enter_context(EmbeddedCloud())
        service = cloud.deploy("conformance", account=account, super_digest=SUPER_DIGEST, **NO_JANITOR)
        addresses = stack.enter_context(gateways(cloud, service, account, 2))
        both = stack.enter_context(Spread(addresses)).address
        logs = options.kazoo_logs or Path(stack.enter_context(TemporaryDirectory()))
        hear("semantics probe, one gateway", lambda: probe(addresses[0], slow=True))
        if not options.without_oracle:
            try:
                oracle = stack.enter_context(zookeeper())
            except NoOracle as error:
                parser.exit(2, f"{error}\n--without-oracle leaves out what needs a real ZooKeeper\n")
            seeds = range(seed, seed + options.seeds)
            each = -(-options.operations // options.seeds)
            hear(f"fuzzer, two gateways, seeds {seeds[0]} to {seeds[-1]}", lambda: _fuzz_all(oracle, both, seeds, each))
            hear("dialogues, two gateways", lambda: dialogues(oracle, both, number=options.dialogues))
            hear("AdminServer's commands, a gateway of its own", lambda: _admin(cloud))
        hear("kazoo's suite, two gateways", lambda: kazoo(both, logs))
    heard = [verdict for verdict in verdicts if verdict is not None]
    _print(heard)
    if any(verdict.differences for verdict in heard):
        return 1
    return 0 if len(heard) == len(verdicts) else 2


def _fuzz_all(oracle: Address, endpoint: Address, seeds: range, operations: int) -> Verdict:
    """Several fuzzers beside each other, so that their requests meet in the sequencer's batches."""
    began = time.monotonic()
    with ThreadPoolExecutor(_FUZZERS_AT_ONCE) as threads:
        found = list(threads.map(lambda seed: fuzz(oracle, endpoint, seed=seed, operations=operations), seeds))
    return Verdict(
        "fuzzer",
        f"{operations * len(seeds)} operations, {len(seeds)} seeds",
        tuple(difference for verdict in found for difference in verdict.differences),
        (),
        time.monotonic() - began,
    )


def _admin(cloud: EmbeddedCloud) -> Verdict:
    """A service of its own: sessions of other judges would show."""
    account = "100000000001"
    service = cloud.deploy("admin", account=account, **NO_JANITOR)
    with closing(BotoAws(session=cloud.session(account))) as aws, _admin_oracle() as oracle:
        http = HttpOptions(Address(LOOPBACK, 0))
        with GatewayThread(aws, service, http=http) as gateway:
            return admin(oracle, (gateway.address, gateway.http_address))


@contextmanager
def _admin_oracle() -> Iterator[tuple[Address, Address]]:
    """Raises JudgeFailed."""
    try:
        with zookeeper_with_admin() as oracle:
            yield oracle
    except NoOracle as error:
        raise JudgeFailed(error) from error


def _print(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        for difference in verdict.differences:
            print(f"\n{verdict.judge}: {difference}")
    print(f"\n{'judge':<16}{'checked':<34}{'accepted':>10}{'differences':>14}{'seconds':>10}")
    for verdict in verdicts:
        print(
            f"{verdict.judge:<16}{verdict.checked:<34}"
            f"{len(verdict.accepted):>10}{len(verdict.differences):>14}{verdict.seconds:>10.0f}"
        )
    for verdict in verdicts:
        if verdict.accepted:
            print(f"\naccepted, see docs/differences.md ({verdict.judge}): {', '.join(verdict.accepted)}")


if __name__ == "__main__":
    sys.exit(main())
