from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from faaskeeper.blocks.attributes import Attribute
from faaskeeper.blocks.aws import BotoAws
from faaskeeper_client.local import EmbeddedCloud
from faaskeeper_client.local.cloud import CloudSession
from tests.dynamodb_local import NotAvailable, dynamodb_local

TABLE = "primitives"
KEYS = ("partition", "sort")
Key = dict[str, Attribute]


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Generator[str]:
    with dynamodb_local() as url:
        yield url


@pytest.fixture(scope="module", params=["ministack", "dynamodb-local"])
def session(request: pytest.FixtureRequest) -> CloudSession:
    """Where DynamoDB is, with a table that is nothing of FaaSKeeper's."""
    if request.param == "ministack":
        cloud: EmbeddedCloud = request.getfixturevalue("cloud")
        session = cloud.session(request.getfixturevalue("new_account")())
    else:
        try:
            session = CloudSession(request.getfixturevalue("dynamodb_local_url"), "embedded", "us-east-1")
        except NotAvailable as reason:
            pytest.skip(str(reason))
    client: Any = session.client("dynamodb")
    with suppress(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=TABLE,
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in KEYS],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind} for name, kind in zip(KEYS, ("HASH", "RANGE"), strict=True)
            ],
            BillingMode="PAY_PER_REQUEST",
        )
    return session


@pytest.fixture
def aws(session: CloudSession) -> Iterator[BotoAws]:
    aws = BotoAws(session=session)
    yield aws
    aws.close()


@pytest.fixture
def new_key() -> Callable[[], Key]:
    """Keys of items that do not exist yet."""
    test, numbers = uuid4().hex, itertools.count()
    return lambda: {"partition": {"S": test}, "sort": {"S": str(next(numbers))}}


@pytest.fixture
def key(new_key: Callable[[], Key]) -> Key:
    return new_key()
