from __future__ import annotations

from collections.abc import Iterator

import pytest

from faaskeeper_client.local import EmbeddedCloud

from .world import World, run


@pytest.fixture
def world(cloud: EmbeddedCloud, account: str) -> Iterator[World]:
    """With a gateway ``home`` and session 1 at it."""
    world = World(cloud.session(account))
    run(world.gateway("home", 1, stand_still=600_000))
    yield world
    world.close()
