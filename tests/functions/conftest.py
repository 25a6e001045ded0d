from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.local import EmbeddedCloud

from .world import World, run


@pytest.fixture(scope="session")
def aws(cloud: EmbeddedCloud, new_account: Callable[[], str]) -> Iterator[BotoAws]:
    """One account for all: each test has tables and queues of its own names, and clients are dear to make."""
    aws = BotoAws(session=cloud.session(new_account()))
    yield aws
    aws.close()


@pytest.fixture
def world(cloud: EmbeddedCloud, account: str) -> Iterator[World]:
    """In an account of its own, with a gateway ``home`` and session 1 at it."""
    world = World(cloud.session(account))
    run(world.gateway("home", 1, stand_still=600_000))
    yield world
    world.close()
