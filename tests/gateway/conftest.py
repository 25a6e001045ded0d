from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.local import EmbeddedCloud


@pytest.fixture(scope="session")
def aws(cloud: EmbeddedCloud, new_account: Callable[[], str]) -> Iterator[BotoAws]:
    """One account for all: each test has tables and queues of its own names, and clients are dear to make."""
    aws = BotoAws(session=cloud.session(new_account()), most=64)
    yield aws
    aws.close()
