from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Generator

import pytest

from faaskeeper_client.local import EmbeddedCloud

# a shell that starts pytest in the background has SIGINT ignored, and so would every program that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")


@pytest.fixture(scope="session")
def cloud() -> Generator[EmbeddedCloud]:
    """One embedded cloud for the whole run; tests keep apart by their accounts."""
    with EmbeddedCloud() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def new_account() -> Callable[[], str]:
    """Makes accounts in which nothing is deployed yet."""
    numbers = itertools.count(100_000_000_001)
    return lambda: str(next(numbers))


@pytest.fixture
def account(new_account: Callable[[], str]) -> str:
    return new_account()
