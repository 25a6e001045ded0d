from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from faaskeeper_client.addresses import Address
from faaskeeper_client.local import EmbeddedCloud
from tests.conformance.servers import NO_JANITOR, SUPER_DIGEST, NoOracle, Spread, gateways, zookeeper


@pytest.fixture(scope="session")
def gateway_addresses(cloud: EmbeddedCloud, new_account: Callable[[], str]) -> Generator[list[Address]]:
    """Two gateways of one service, which has a super user."""
    account = new_account()
    service = cloud.deploy("conformance", account=account, super_digest=SUPER_DIGEST, **NO_JANITOR)
    with gateways(cloud, service, account, 2) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def gateway(gateway_addresses: list[Address]) -> Address:
    return gateway_addresses[0]


@pytest.fixture(scope="session")
def both_gateways(gateway_addresses: list[Address]) -> Generator[Address]:
    """One address behind which connections take turns between the two."""
    with Spread(gateway_addresses) as spread:
        yield spread.address


@pytest.fixture(scope="session")
def oracle() -> Generator[Address]:
    """A real ZooKeeper 3.9.5."""
    try:
        with zookeeper() as address:
            yield address
    except NoOracle as reason:
        pytest.skip(str(reason))
