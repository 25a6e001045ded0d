"""The simulated DynamoDB gives the answers that an emulator gives, for the expressions FaaSKeeper uses.

The emulator is ministack; with ``DYNAMODB_LOCAL_ENDPOINT`` set to the URL of a running DynamoDB Local, that too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import boto3
import botocore.exceptions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faaskeeper.blocks.aws import typed_error
from faaskeeper.blocks.errors import AwsError, TransactionCancelled
from faaskeeper_client.local.cloud import EmbeddedCloud
from faaskeeper_client.local.errors import CloudError
from faaskeeper_simulator.cloud import Cloud, Faults, run

TABLE = "compared"
KEY = {"pk": {"S": "p"}, "sk": {"S": "node"}}


@dataclass(frozen=True)
class Emulator:
    """``call`` an operation as at the seam; ``strict``: it refuses whatever DynamoDB refuses."""

    call: Callable[..., dict[str, Any]]
    strict: bool


DYNAMODB_LOCAL = os.environ.get("DYNAMODB_LOCAL_ENDPOINT")


@pytest.fixture(scope="module", params=["ministack", "dynamodb-local"] if DYNAMODB_LOCAL else ["ministack"])
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    if request.param == "ministack":
        cloud = EmbeddedCloud()
        try:
            cloud.start()
        except CloudError as error:
            pytest.skip(f"the emulator cannot be installed or started here: {error}")
        yield Emulator(_seam(cloud.session().client("dynamodb")), strict=False)
        cloud.stop()
    else:
        client: Any = boto3.client(  # pyright: ignore[reportUnknownMemberType]
            "dynamodb",
            endpoint_url=DYNAMODB_LOCAL,
            region_name="us-east-1",
            aws_access_key_id="simulated",
            aws_secret_access_key="simulated",
        )
        yield Emulator(_seam(client), strict=True)


def _seam(client: Any) -> Callable[..., dict[str, Any]]:
    with suppress(botocore.exceptions.ClientError):
        client.delete_table(TableName=TABLE)
    client.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def call(operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            return getattr(client, operation)(**parameters)
        except botocore.exceptions.ClientError as error:
            raise typed_error("dynamodb", operation, error) from error

    return call


def simulated(*calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """What the simulation answers to the calls, one after the other."""

    async def main() -> list[Any]:
        cloud = Cloud(Faults.none())
        cloud.dynamodb.create_table(TABLE, ("pk", "S"), ("sk", "S"))
        answers: list[Any] = []
        for operation, parameters in calls:
            try:
                answers.append(await cloud.admin.call("dynamodb", operation, **parameters))
            except AwsError as error:
                answers.append(error)
        return answers

    return run(1, main())


def emulated(emulator: Emulator, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    answers: list[Any] = []
    for operation, parameters in calls:
        try:
            answers.append(emulator.call(operation, **parameters))
        except AwsError as error:
            answers.append(error)
    return answers


def compare(emulator: Emulator, calls: list[tuple[str, dict[str, Any]]], *, last: int) -> None:
    """The last answers must be alike.

    ministack executes some of what DynamoDB refuses; and what AWS gives as the reason ValidationError of a cancelled
    transaction, DynamoDB Local gives as an error of the whole call.
    """
    ours = [comparable(answer) for answer in simulated(*calls)[-last:]]
    theirs = [comparable(answer) for answer in emulated(emulator, *calls)[-last:]]
    if ours[0] == ("refused", "ValidationException") and not emulator.strict:
        return
    if ours[0][0] == "cancelled" and any(code == "ValidationError" for code, _ in ours[0][1]):
        assert theirs[0][0] in ("cancelled", "refused") or not emulator.strict
        return
    for our, their in zip(ours, theirs, strict=True):
        if our[0] == their[0] == "done" and "LastEvaluatedKey" not in their[1]:
            our[1].pop("LastEvaluatedKey", None)  # at a limit it may be there though nothing follows
    assert ours == theirs


def comparable(answer: Any) -> Any:
    """The part of an answer that both must agree on."""
    if isinstance(answer, TransactionCancelled):
        return "cancelled", [(reason.code, _normal(reason.item)) for reason in answer.reasons]
    if isinstance(answer, AwsError):
        return "refused", answer.code
    ignored = {"ResponseMetadata", "ConsumedCapacity", "ItemCollectionMetrics"}
    return "done", {key: _normal(value) for key, value in answer.items() if key not in ignored}


def _normal(value: Any) -> Any:
    """Sets have no order."""
    if isinstance(value, dict):
        parts = cast(dict[str, Any], value)
        return {key: sorted(part) if key in ("SS", "NS", "BS") else _normal(part) for key, part in parts.items()}
    if isinstance(value, list):
        elements = cast(list[Any], value)
        return [_normal(element) for element in elements]
    return value


numbers = st.integers(-5, 5).map(lambda number: {"N": str(number)})
texts = st.sampled_from(["", "a", "ab", "b", "child#x", "child#xy", "data", "node", "é"]).map(lambda text: {"S": text})
binaries = st.sampled_from([b"a", b"ab", b"\x00", b"\xff"]).map(lambda content: {"B": content})
sets = st.sets(st.sampled_from(["a", "b", "c"]), min_size=1).map(lambda members: {"SS": sorted(members)})
flags = st.booleans().map(lambda flag: {"BOOL": flag})
maps = st.dictionaries(st.sampled_from(["x", "y"]), numbers, max_size=2).map(lambda content: {"M": content})
lists = st.lists(numbers, max_size=3).map(lambda content: {"L": content})
anything = st.one_of(numbers, texts, binaries, sets, flags, maps, lists)

Values = st.SearchStrategy[dict[str, Any]]

MIXED: dict[str, Values] = dict.fromkeys("abcd", anything)
"""Any attribute may be of any type, and operators may meet the wrong one."""
TYPED: dict[str, Values] = {"a": numbers, "b": numbers, "c": texts, "d": sets}
"""Each attribute has its type, as in FaaSKeeper's items: ministack does not follow DynamoDB beyond."""


def items(attributes: dict[str, Values]) -> Values:
    return st.fixed_dictionaries({}, optional=attributes)


class Builder:
    """Collects the values of one request while expressions are drawn."""

    def __init__(self, draw: st.DrawFn, attributes: dict[str, Values]) -> None:
        self.draw = draw
        self.attributes = attributes
        self.names = sorted(attributes)
        self.mixed = attributes is MIXED
        self.values: dict[str, Any] = {}

    def value(self, strategy: Values) -> str:
        name = f":v{len(self.values)}"
        self.values[name] = self.draw(strategy)
        return name

    def _one_of(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def _name(self, *types: Values) -> str:
        """An attribute, of one of the types if types are kept."""
        return self._one_of(*(name for name in self.names if self.mixed or self.attributes[name] in types))

    def condition(self, depth: int = 2) -> str:
        kind = self._one_of("leaf", *(("and", "or", "not") if depth else ()))
        if kind == "not":
            return f"NOT {self._grouped(self.condition(depth - 1))}"
        if kind in ("and", "or"):
            left, right = self.condition(depth - 1), self.condition(depth - 1)
            return f"{self._grouped(left)} {kind.upper()} {self._grouped(right)}"
        return self._leaf()

    def _grouped(self, text: str) -> str:
        return f"({text})" if " AND " in text or " OR " in text else text

    def _leaf(self) -> str:
        sign = self._one_of("<", "<=", ">", ">=")
        match self._one_of("exists", "missing", "equal", "order", "two", "begins", "contains", "size", "in", "between"):
            case "exists":
                return f"attribute_exists({self._one_of(*self.names)})"
            case "missing":
                return f"attribute_not_exists({self._one_of(*self.names)})"
            case "equal":
                name = self._one_of(*self.names)
                return f"{name} {self._one_of('=', '<>')} {self.value(self.attributes[name])}"
            case "order":
                name = self._name(numbers, texts)
                return f"{name} {sign} {self.value(st.one_of(numbers, texts, binaries) if self.mixed else TYPED[name])}"
            case "two":
                return f"a {sign} b"
            case "begins":
                prefix = self.value(st.one_of(texts, binaries) if self.mixed else texts)
                return f"begins_with({self._name(texts)}, {prefix})"
            case "contains":
                return f"contains({self._name(texts, sets)}, {self.value(texts)})"
            case "size":
                return f"size({self._name(texts, sets)}) {sign} {self.value(numbers)}"
            case "in":
                name = self._one_of(*self.names)
                return f"{name} IN ({self.value(self.attributes[name])}, {self.value(self.attributes[name])})"
            case _:
                low, high = sorted(self.draw(st.tuples(st.integers(-5, 5), st.integers(-5, 5))))
                bounds = [self.value(st.just({"N": str(bound)})) for bound in (low, high)]
                return f"{self._name(numbers)} BETWEEN {bounds[0]} AND {bounds[1]}"

    def update(self) -> str:
        names = self.draw(st.permutations(self.names))
        sections: dict[str, list[str]] = {}
        for name in names[: self.draw(st.integers(1, 4))]:
            section, action = self._action(name)
            sections.setdefault(section, []).append(action)
        return " ".join(f"{section} {', '.join(actions)}" for section, actions in sections.items())

    def _action(self, name: str) -> tuple[str, str]:
        kinds = ["set", "copy", "default", "remove"]
        if self.mixed or TYPED[name] is numbers:
            kinds += ["sum", "counter", "add"]
        if self.mixed or TYPED[name] is sets:
            kinds += ["join", "leave"]
        if self.mixed:
            kinds += ["append"]
        other = self._name(self.attributes[name])
        match self._one_of(*kinds):
            case "set":
                return "SET", f"{name} = {self.value(self.attributes[name])}"
            case "copy":
                return "SET", f"{name} = {other}"
            case "sum":
                return "SET", f"{name} = {other} {self._one_of('+', '-')} {self.value(numbers)}"
            case "default":
                return "SET", f"{name} = if_not_exists({other}, {self.value(self.attributes[name])})"
            case "counter":
                return "SET", f"{name} = if_not_exists({other}, {self.value(numbers)}) + {self.value(numbers)}"
            case "append":
                return "SET", f"{name} = list_append({other}, {self.value(lists)})"
            case "remove":
                return "REMOVE", name
            case "add":
                return "ADD", f"{name} {self.value(numbers)}"
            case "join":
                return "ADD", f"{name} {self.value(sets)}"
            case _:
                return "DELETE", f"{name} {self.value(sets)}"


@st.composite
def updates(draw: st.DrawFn, attributes: dict[str, Values]) -> dict[str, Any]:
    builder = Builder(draw, attributes)
    parameters: dict[str, Any] = {"UpdateExpression": builder.update()}
    if draw(st.booleans()):
        parameters["ConditionExpression"] = builder.condition()
    if builder.values:
        parameters["ExpressionAttributeValues"] = builder.values
    return parameters


@st.composite
def queries(draw: st.DrawFn, attributes: dict[str, Values]) -> dict[str, Any]:
    builder = Builder(draw, attributes)
    low, high = sorted(draw(st.tuples(*[st.sampled_from(["child#", "child#x", "data", "event", "node"])] * 2)))
    operator = draw(st.sampled_from(["", "=", "<", "<=", ">", ">=", "begins_with", "BETWEEN"]))
    condition = "pk = :pk"
    builder.values[":pk"] = {"S": "p"}
    if operator:
        builder.values[":low"] = {"S": low}
        condition += " AND begins_with(sk, :low)" if operator == "begins_with" else f" AND sk {operator} :low"
    if operator == "BETWEEN":
        builder.values[":high"] = {"S": high}
        condition += " AND :high"
    parameters: dict[str, Any] = {"KeyConditionExpression": condition}
    if draw(st.booleans()):
        parameters["FilterExpression"] = builder.condition(1)
    if draw(st.booleans()):
        parameters["ProjectionExpression"] = "sk, #first, b"
        parameters["ExpressionAttributeNames"] = {"#first": "a"}
    if draw(st.booleans()):
        parameters["Limit"] = draw(st.integers(1, 4))
    if draw(st.booleans()):
        parameters["ExclusiveStartKey"] = {
            "pk": {"S": "p"},
            "sk": {"S": draw(st.sampled_from(["child#xy", "child#z"]))},
        }
    return {
        **parameters,
        "ExpressionAttributeValues": builder.values,
        "ScanIndexForward": draw(st.booleans()),
        "ConsistentRead": True,
    }


thorough = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def put(key: dict[str, Any], item: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    if item is None:
        return "delete_item", {"TableName": TABLE, "Key": key}
    return "put_item", {"TableName": TABLE, "Item": {**key, **item}}


def update_and_read(item: dict[str, Any] | None, update: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        put(KEY, item),
        ("update_item", {"TableName": TABLE, "Key": KEY, "ReturnValues": "ALL_NEW", **update}),
        ("get_item", {"TableName": TABLE, "Key": KEY, "ConsistentRead": True}),
    ]


@thorough
@given(data=st.data())
def test_an_update_changes_and_refuses_the_same(emulator: Emulator, data: st.DataObject) -> None:
    attributes = MIXED if emulator.strict else TYPED
    item = data.draw(st.none() | items(attributes), "item")
    compare(emulator, update_and_read(item, data.draw(updates(attributes), "update")), last=2)


@pytest.mark.parametrize(
    "update",
    [
        {"UpdateExpression": "DELETE d :v", "ExpressionAttributeValues": {":v": {"SS": ["x"]}}},
        {
            "UpdateExpression": "SET fired = if_not_exists(d, :v) REMOVE d",
            "ExpressionAttributeValues": {":v": {"NULL": True}},
        },
        {"UpdateExpression": "ADD watch :v", "ExpressionAttributeValues": {":v": {"SS": ["gateway"]}}},
    ],
    ids=lambda update: update["UpdateExpression"],
)
@pytest.mark.parametrize("item", [None, {}, {"d": {"SS": ["x"]}}, {"d": {"SS": ["x", "y"]}}], ids=str)
def test_the_updates_of_watch_sets(emulator: Emulator, item: dict[str, Any] | None, update: dict[str, Any]) -> None:
    compare(emulator, update_and_read(item, update), last=2)


@thorough
@given(data=st.data())
def test_a_query_finds_the_same(emulator: Emulator, data: st.DataObject) -> None:
    attributes = MIXED if emulator.strict else TYPED
    sorts = ("child#x", "child#xy", "child#z", "data", "event", "node")
    contents = {sort: data.draw(st.none() | items(attributes), sort) for sort in sorts}
    calls = [put({"pk": {"S": "p"}, "sk": {"S": sort}}, item) for sort, item in contents.items()]
    calls.append(("query", {"TableName": TABLE, **data.draw(queries(attributes), "query")}))
    compare(emulator, calls, last=1)


@thorough
@given(data=st.data())
def test_a_transaction_happens_or_is_cancelled_for_the_same_reasons(emulator: Emulator, data: st.DataObject) -> None:
    attributes = MIXED if emulator.strict else TYPED
    keys = [{"pk": {"S": f"p{number}"}, "sk": {"S": "node"}} for number in range(2)]
    calls = [put(key, data.draw(st.none() | items(attributes), "item")) for key in keys]
    actions: list[dict[str, Any]] = []
    for key in keys:
        update = data.draw(updates(attributes), "update")
        shown = "ALL_OLD" if "ConditionExpression" in update else "NONE"
        actions.append(
            {"Update": {"TableName": TABLE, "Key": key, "ReturnValuesOnConditionCheckFailure": shown, **update}}
        )
    calls.append(("transact_write_items", {"TransactItems": actions}))
    calls.append(("transact_get_items", {"TransactItems": [{"Get": {"TableName": TABLE, "Key": key}} for key in keys]}))
    compare(emulator, calls, last=2)


@pytest.mark.parametrize(
    "update",
    [
        {"UpdateExpression": "SET name = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
        {"UpdateExpression": "SET a = :v, a = :w", "ExpressionAttributeValues": {":v": {"N": "1"}, ":w": {"N": "1"}}},
        {"UpdateExpression": "SET a = :v", "ExpressionAttributeValues": {":v": {"N": "1"}, ":w": {"N": "1"}}},
        {"UpdateExpression": "SET a = :v"},
        {"UpdateExpression": "SET #a = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
        {
            "UpdateExpression": "SET a = :v",
            "ExpressionAttributeValues": {":v": {"N": "1"}},
            "ExpressionAttributeNames": {"#b": "b"},
        },
        {"UpdateExpression": "SET sk = :v", "ExpressionAttributeValues": {":v": {"S": "1"}}},
        {"UpdateExpression": "SET a = :v", "ExpressionAttributeValues": {":v": {"SS": []}}},
        {"UpdateExpression": "SET a = :v", "ExpressionAttributeValues": {":v": {"N": "many"}}},
        {"UpdateExpression": "ADD a :v", "ExpressionAttributeValues": {":v": {"S": "x"}}},
        {"UpdateExpression": "DELETE a :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
        {"UpdateExpression": "SET a = b"},
        {"UpdateExpression": "SET a.b = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
        {"UpdateExpression": "SET a = :v SET b = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
        {"UpdateExpression": ""},
    ],
    ids=lambda update: update["UpdateExpression"],
)
def test_what_an_update_refuses(emulator: Emulator, update: dict[str, Any]) -> None:
    call = ("update_item", {"TableName": TABLE, "Key": {"pk": {"S": "none"}, "sk": {"S": "x"}}, **update})
    expected = ("refused", "ValidationException")
    assert comparable(simulated(call)[0]) == expected
    assert not emulator.strict or comparable(emulated(emulator, call)[0]) == expected
