"""What DynamoDB's expressions mean: closures over an item and the values of the request."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from .values import ORDERED, SETS, InvalidValue, Item, Value, add, comparable, equal, kind

Path: TypeAlias = tuple[str | int, ...]
Values: TypeAlias = Mapping[str, Value]
Operand: TypeAlias = Callable[[Item, Values], Value | None]
Condition: TypeAlias = Callable[[Item, Values], bool]

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class InvalidExpression(ValueError):
    """An expression, or its use on this item, that DynamoDB refuses with ValidationException."""


# operands


def lookup(item: Item, path: Path) -> Value | None:
    """The value at a document path, None where there is none."""
    value = item.get(path[0])  # type: ignore[call-overload, arg-type]  # pyright: ignore
    for step in path[1:]:
        if value is None:
            return None
        if isinstance(step, str):
            value = value["M"].get(step) if "M" in value else None
        else:
            elements = value.get("L", ())
            value = elements[step] if step < len(elements) else None
    return value


def attribute(path: Path) -> Operand:
    if len(path) == 1:
        name: Any = path[0]
        return lambda item, values: item.get(name)
    return lambda item, values: lookup(item, path)


def required_attribute(path: Path) -> Operand:
    def get(item: Item, values: Values) -> Value:
        value = lookup(item, path)
        if value is None:
            raise InvalidExpression("The provided expression refers to an attribute that does not exist in the item")
        return value

    return get


def literal(name: str) -> Operand:
    def get(item: Item, values: Values) -> Value:
        try:
            return values[name]
        except KeyError:
            raise InvalidExpression(f"An expression attribute value is not defined; attribute value: {name}") from None

    return get


def size_of(path: Path) -> Operand:
    """Text by characters, binary by bytes, collections by elements; other types have no size."""

    def get(item: Item, values: Values) -> Value | None:
        value = lookup(item, path)
        if value is None:
            return None
        ((name, content),) = value.items()
        return None if name in ("N", "BOOL", "NULL") else {"N": str(len(content))}

    return get


# conditions


def exists(path: Path) -> Condition:
    if len(path) == 1:
        name: Any = path[0]
        return lambda item, values: name in item
    return lambda item, values: lookup(item, path) is not None


def negation(inner: Condition) -> Condition:
    return lambda item, values: not inner(item, values)


def all_of(terms: Sequence[Condition]) -> Condition:
    return lambda item, values: all(term(item, values) for term in terms)


def any_of(terms: Sequence[Condition]) -> Condition:
    return lambda item, values: any(term(item, values) for term in terms)


def comparison(comparator: str, left: Operand, right: Operand) -> Condition:
    if comparator == "=":

        def same(item: Item, values: Values) -> bool:
            first, second = left(item, values), right(item, values)
            return first is not None and second is not None and equal(first, second)

        return same
    if comparator == "<>":

        def different(item: Item, values: Values) -> bool:
            first, second = left(item, values), right(item, values)
            return first is None or second is None or not equal(first, second)

        return different
    holds = _ORDER[comparator]
    return lambda item, values: _ordered(holds, left(item, values), right(item, values))


def _ordered(holds: Callable[[Any, Any], bool], first: Value | None, second: Value | None) -> bool:
    if first is None or second is None or first.keys() != second.keys() or kind(first) not in ORDERED:
        return False
    return holds(comparable(first), comparable(second))


def between(value: Operand, low: Operand, high: Operand, literals: tuple[str | None, str | None]) -> Condition:
    def holds(item: Item, values: Values) -> bool:
        lowest, highest = low(item, values), high(item, values)
        if None not in literals and lowest is not None and highest is not None:
            if kind(lowest) != kind(highest):
                raise InvalidExpression("The BETWEEN operator requires same data type for lower and upper bounds")
            if comparable(lowest) > comparable(highest):
                raise InvalidExpression(
                    "The BETWEEN operator requires upper bound to be greater than or equal to lower bound"
                )
        found = value(item, values)
        return _ordered(operator.ge, found, lowest) and _ordered(operator.le, found, highest)

    return holds


def one_of(value: Operand, options: Sequence[Operand]) -> Condition:
    def holds(item: Item, values: Values) -> bool:
        found = value(item, values)
        candidates = [option(item, values) for option in options]
        return found is not None and any(candidate is not None and equal(found, candidate) for candidate in candidates)

    return holds


def begins_with(value: Operand, prefix: Operand) -> Condition:
    def holds(item: Item, values: Values) -> bool:
        found, start = value(item, values), prefix(item, values)
        if found is None or start is None or found.keys() != start.keys() or kind(found) not in ("S", "B"):
            return False
        return comparable(found).startswith(comparable(start))

    return holds


def contains(value: Operand, part: Operand) -> Condition:
    def holds(item: Item, values: Values) -> bool:
        found, sought = value(item, values), part(item, values)
        if found is None or sought is None:
            return False
        ((name, content),) = found.items()
        if name in ("S", "B"):
            return name in sought and sought[name] in content
        if name in SETS:
            return SETS[name] in sought and sought[SETS[name]] in content
        return name == "L" and any(equal(element, sought) for element in content)

    return holds


def has_type(value: Operand, name: Operand) -> Condition:
    def holds(item: Item, values: Values) -> bool:
        found, wanted = value(item, values), name(item, values)
        return found is not None and wanted is not None and kind(found) == wanted.get("S")

    return holds


# updates


def total(left: Operand, right: Operand, factor: int) -> Operand:
    def get(item: Item, values: Values) -> Value:
        first, second = left(item, values), right(item, values)
        if first is None or second is None or "N" not in first or "N" not in second:
            raise InvalidExpression("An operand in the update expression has an incorrect data type")
        return _sum(first["N"], second["N"], factor)

    return get


def _sum(first: str, second: str, factor: int = 1) -> Value:
    try:
        return {"N": add(first, second, factor)}
    except InvalidValue as error:
        raise InvalidExpression(str(error)) from error


def if_not_exists(path: Path, otherwise: Operand) -> Operand:
    def get(item: Item, values: Values) -> Value | None:
        value = lookup(item, path)
        return otherwise(item, values) if value is None else value

    return get


def list_append(left: Operand, right: Operand) -> Operand:
    def get(item: Item, values: Values) -> Value:
        first, second = left(item, values), right(item, values)
        if first is None or second is None or "L" not in first or "L" not in second:
            raise InvalidExpression("An operand in the update expression has an incorrect data type")
        return {"L": first["L"] + second["L"]}

    return get


class Program:
    """The actions of an update expression. Every right side sees the item as it was before."""

    def __init__(self) -> None:
        self._sets: list[tuple[Path, Operand]] = []
        self._removals: list[Path] = []
        self._additions: list[tuple[str, str]] = []
        self._deletions: list[tuple[str, str]] = []

    def set(self, path: Path, value: Operand) -> None:
        self._sets.append((path, value))

    def remove(self, path: Path) -> None:
        self._removals.append(path)
        # elements go from the back, so that indexes keep meaning the list as it was
        self._removals.sort(key=lambda path: [(isinstance(step, int), step) for step in path], reverse=True)

    def add(self, name: str, value: str) -> None:
        self._additions.append((name, value))

    def delete(self, name: str, value: str) -> None:
        self._deletions.append((name, value))

    @property
    def paths(self) -> tuple[Path, ...]:
        named = [(name,) for name, _ in (*self._additions, *self._deletions)]
        return (*(path for path, _ in self._sets), *self._removals, *named)

    def apply(self, item: Item, values: Values) -> Item:
        """A changed copy of ``item``; unchanged parts are shared. Raises InvalidExpression."""
        result = dict(item)
        appended: list[tuple[Path, Value]] = []
        for path, operand in self._sets:
            value = operand(item, values)
            assert value is not None
            if len(path) == 1:
                result[path[0]] = value  # type: ignore[index]  # pyright: ignore
            elif isinstance(path[-1], int) and lookup(item, path) is None:
                appended.append((path, value))
            else:
                _change(result, path, value)
        for path in self._removals:
            if len(path) == 1:
                result.pop(path[0], None)  # type: ignore[call-overload, arg-type]  # pyright: ignore
            else:
                _change(result, path, None)
        for path, value in sorted(appended, key=lambda entry: entry[0][-1]):
            _change(result, path, value)
        for name, placeholder in self._additions:
            result[name] = _added(item.get(name), literal(placeholder)(item, values))
        for name, placeholder in self._deletions:
            _delete(result, name, item.get(name), literal(placeholder)(item, values))
        return result


def _added(old: Value | None, new: Value | None) -> Value:
    assert new is not None
    if old is None:
        return new
    if old.keys() != new.keys():
        raise InvalidExpression("An operand in the update expression has an incorrect data type")
    name = kind(new)
    if name == "N":
        return _sum(old["N"], new["N"])
    return {name: list(dict.fromkeys([*old[name], *new[name]]))}


def _delete(result: Item, name: str, old: Value | None, gone: Value | None) -> None:
    assert gone is not None
    if old is None:
        return
    if old.keys() != gone.keys():
        raise InvalidExpression("An operand in the update expression has an incorrect data type")
    elements = [element for element in old[kind(old)] if element not in gone[kind(gone)]]
    if elements:
        result[name] = {kind(old): elements}
    else:
        del result[name]  # an empty set does not exist


def _change(result: Item, path: Path, value: Value | None) -> None:
    """Sets or, with None, removes a nested value, copying the containers on the way to it."""
    container: Any = result
    for step, following in itertools.pairwise(path):
        inside = container.get(step) if isinstance(step, str) else (container[step] if step < len(container) else None)
        wanted = "M" if isinstance(following, str) else "L"
        if inside is None or wanted not in inside:
            raise InvalidExpression("The document path provided in the update expression is invalid for update")
        inside = {wanted: inside[wanted].copy()}
        container[step] = inside
        container = inside[wanted]
    last = path[-1]
    if isinstance(last, str):
        if value is None:
            container.pop(last, None)
        else:
            container[last] = value
    elif value is None:
        del container[last : last + 1]
    elif last < len(container):
        container[last] = value
    else:
        container.append(value)


def refuse_overlaps(paths: Sequence[Path]) -> None:
    """Raises InvalidExpression if two paths overlap, or treat one place as a map and as a list."""
    for index, first in enumerate(paths):
        for second in paths[:index]:
            shared = 0
            while shared < min(len(first), len(second)) and first[shared] == second[shared]:
                shared += 1
            if shared == min(len(first), len(second)):
                raise InvalidExpression(
                    "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                    f"path one: {list(first)}, path two: {list(second)}"
                )
            if shared and type(first[shared]) is not type(second[shared]):
                raise InvalidExpression(f"Two document paths conflict with each other: {list(first)}, {list(second)}")


def project(item: Item, paths: Sequence[Path]) -> Item:
    """The part of an item that the paths select; elements of a list close up, as DynamoDB returns them."""
    if all(len(path) == 1 for path in paths):
        return {path[0]: item[path[0]] for path in paths if path[0] in item}  # type: ignore[index, misc]  # pyright: ignore
    wanted = [path for path in paths if lookup(item, path) is not None]
    return _project({"M": item}, wanted)["M"]


def _project(value: Value, paths: Sequence[Path]) -> Value:
    if () in paths:
        return value
    steps = {path[0] for path in paths}
    inner = {step: [path[1:] for path in paths if path[0] == step] for step in steps}
    if "M" in value:
        return {"M": {key: _project(part, inner[key]) for key, part in value["M"].items() if key in inner}}
    return {"L": [_project(part, inner[index]) for index, part in enumerate(value["L"]) if index in inner]}
