"""The ``faaskeeper`` command."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from faaskeeper import __version__
from faaskeeper.protocol.service import InvalidService, Service
from faaskeeper.storage.aws import BotoAws
from faaskeeper.storage.errors import AwsError
from faaskeeper_client.discovery import DiscoveryError, find_service
from faaskeeper_client.listening import Address, ListenError, check_free
from faaskeeper_client.serving import serving

DEFAULT_LISTEN = "127.0.0.1:2181"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for what went wrong, 2 for wrong usage, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    # docker, systemd and make end us with SIGTERM: the same way out as Ctrl-C
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt:
        return 130
    except (AwsError, InvalidService, ListenError, DiscoveryError) as error:
        return _fail(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faaskeeper", description="ZooKeeper without servers, on AWS")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    gateway = commands.add_parser("gateway", help="serve the ZooKeeper protocol in front of a deployed service")
    gateway.add_argument("--service", required=True, metavar="NAME", help="name the service was deployed with")
    gateway.add_argument("--region", help="AWS region; the environment's if not given")
    gateway.set_defaults(run=_gateway)

    local = commands.add_parser("local", help="run everything on this machine: an embedded AWS, the service, a gateway")
    local.add_argument("--data", type=Path, metavar="DIR", help="keep the tree here from one run to the next")
    local.add_argument("--name", default="local", help="name of the service")
    local.add_argument("--tier", default="development", choices=("development", "standard", "critical"))
    local.set_defaults(run=_local)

    for command in (gateway, local):
        command.add_argument(
            "--listen",
            type=Address.parse,
            default=Address.parse(DEFAULT_LISTEN),
            metavar="HOST:PORT",
            help=f"where ZooKeeper clients connect to ({DEFAULT_LISTEN})",
        )
    return parser


def _gateway(options: argparse.Namespace) -> None:
    check_free(options.listen)
    service = find_service(options.service, region=options.region)
    asyncio.run(_serve(BotoAws(options.region), service, options.listen))


def _local(options: argparse.Namespace) -> int:
    try:
        from faaskeeper_client.local import CloudError, EmbeddedCloud
    except ImportError as error:
        return _fail(f"{error}: pip install 'faaskeeper[local]'")
    check_free(options.listen)
    try:
        with EmbeddedCloud(data=options.data) as cloud:
            print(f"embedded AWS at {cloud.endpoint_url}, account {cloud.account}, {cloud.region}", file=sys.stderr)
            service = cloud.deploy(options.name, tier=options.tier)
            asyncio.run(_serve(BotoAws(session=cloud.session()), service, options.listen))
    except CloudError as error:
        return _fail(error)
    return 0


async def _serve(aws: BotoAws, service: Service, address: Address) -> None:
    """Until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with serving(aws, service, address) as listening:
            print(f"ready {listening}", flush=True)
            await stop.wait()
    finally:
        aws.close()


def _interrupt(number: int, frame: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _fail(error: object) -> int:
    print(f"faaskeeper: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
