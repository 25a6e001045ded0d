"""DynamoDB's attribute values in the JSON form of the low-level API: validity, size, order, copies.

A value is a dict of one entry, ``{"S": "text"}``. Sources of the rules: DynamoDB developer guide, "Naming rules and
data types", "Item sizes and formats", and "Constraints".
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Underflow
from functools import lru_cache
from typing import Any, Final, TypeAlias

Value: TypeAlias = dict[str, Any]
Item: TypeAlias = dict[str, Value]

SCALARS: Final = frozenset({"S", "N", "B", "BOOL", "NULL"})
SETS: Final = {"SS": "S", "NS": "N", "BS": "B"}
ORDERED: Final = frozenset({"S", "N", "B"})
MAX_ITEM_SIZE: Final = 400 * 1024
_MAX_DEPTH: Final = 32
_NUMBERS: Final = Context(prec=38, Emin=-130, Emax=125, traps=[InvalidOperation, Inexact, Overflow, Underflow])
_PLAIN_INTEGER: Final = re.compile(r"-?[1-9][0-9]{0,37}|0")


class InvalidValue(ValueError):
    """Not a value DynamoDB accepts; the message is close to its own."""


def kind(value: Value) -> str:
    return next(iter(value))


def number(text: str) -> Decimal:
    """Raises InvalidValue."""
    try:
        return _NUMBERS.create_decimal(text)
    except (InvalidOperation, Inexact, Overflow, Underflow) as error:
        raise InvalidValue(f"The parameter cannot be converted to a numeric value: {text}") from error


@lru_cache(maxsize=1 << 14)
def canonical_number(text: str) -> str:
    """As DynamoDB gives numbers back: no exponent, no leading or trailing zeros."""
    return text if _PLAIN_INTEGER.fullmatch(text) else plain(number(text))


def plain(value: Decimal) -> str:
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def add(left: str, right: str, sign: int = 1) -> str:
    """Raises InvalidValue when the sum needs more than 38 digits."""
    if _PLAIN_INTEGER.fullmatch(left) and _PLAIN_INTEGER.fullmatch(right):
        total = str(int(left) + sign * int(right))
        if len(total) <= 38:
            return total
    try:
        return plain(_NUMBERS.add(number(left), sign * number(right)))
    except (Inexact, Overflow, Underflow) as error:
        raise InvalidValue("Number overflow. Attempting to store a number with more than 38 digits") from error


def stored(value: Any, depth: int = 1) -> Value:
    """A checked, canonical copy of a value that came in. Raises InvalidValue."""
    if not isinstance(value, dict) or len(value) != 1:  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidValue(f"Supplied AttributeValue must contain exactly one of the supported datatypes: {value!r}")
    name: Any
    content: Any
    ((name, content),) = value.items()  # pyright: ignore[reportUnknownVariableType]
    if name == "S":
        if not isinstance(content, str):
            raise InvalidValue(f"Invalid type for S: {content!r}")
        return value  # pyright: ignore[reportUnknownVariableType]  # shared, see ``copy``
    if name == "N":
        if not isinstance(content, str):
            raise InvalidValue(f"Invalid type for N, it is a string: {content!r}")
        canonical = canonical_number(content)
        return value if canonical == content else {"N": canonical}  # pyright: ignore[reportUnknownVariableType]
    if name == "B":
        if not isinstance(content, (bytes, bytearray)):
            raise InvalidValue(f"Invalid type for B: {content!r}")
        return {"B": bytes(content)}
    if name == "BOOL":
        if not isinstance(content, bool):
            raise InvalidValue(f"Invalid type for BOOL: {content!r}")
        return {"BOOL": content}
    if name == "NULL":
        if content is not True:
            raise InvalidValue("Null attribute value types must have the value of true")
        return {"NULL": True}
    if name in SETS:
        return {str(name): _stored_set(str(name), content)}  # pyright: ignore[reportUnknownArgumentType]
    if depth > _MAX_DEPTH:
        raise InvalidValue("Nesting Levels have exceeded supported limits")
    if name == "L" and isinstance(content, (list, tuple)):
        return {"L": [stored(element, depth + 1) for element in content]}  # pyright: ignore[reportUnknownVariableType]
    if name == "M" and isinstance(content, dict):
        return {"M": {_name(key): stored(element, depth + 1) for key, element in content.items()}}  # pyright: ignore
    raise InvalidValue(f"Supplied AttributeValue has an unknown datatype or content: {value!r}")


def _stored_set(name: str, content: Any) -> list[Any]:
    if not isinstance(content, (list, tuple)):
        raise InvalidValue(f"Invalid type for {name}: {content!r}")
    if not content:
        raise InvalidValue(f"One or more parameter values were invalid: a {name} set may not be empty")
    elements = [stored({SETS[name]: element})[SETS[name]] for element in content]  # pyright: ignore
    if len(set(elements)) != len(elements):
        raise InvalidValue(f"Input collection {content!r} contains duplicates")
    return elements


def _name(key: Any) -> str:
    if not isinstance(key, str) or not key:
        raise InvalidValue(f"Invalid attribute name: {key!r}")
    return key


def stored_item(item: Any) -> Item:
    """A checked copy of an item. Raises InvalidValue."""
    if not isinstance(item, dict):
        raise InvalidValue(f"not an item: {item!r}")
    return {_name(key): stored(value) for key, value in item.items()}  # pyright: ignore[reportUnknownVariableType]


def copy(value: Value) -> Value:
    """Scalars are shared: nobody changes the one entry of a value."""
    ((name, content),) = value.items()
    if name in SCALARS:
        return value
    if name == "L":
        return {"L": [copy(element) for element in content]}
    if name == "M":
        return {"M": copy_item(content)}
    return {name: list(content)}


def copy_item(item: Item) -> Item:
    return {name: value if "S" in value or "N" in value else copy(value) for name, value in item.items()}


def size(value: Value) -> int:
    """Bytes a value counts for in an item's size."""
    ((name, content),) = value.items()
    if name == "S":
        return len(content) if content.isascii() else len(content.encode())
    if name == "N":
        return _number_size(content)
    if name == "B":
        return len(content)
    if name == "M":
        return 3 + sum(text_size(key) + size(element) + 1 for key, element in content.items())
    if name == "L":
        return 3 + sum(size(element) + 1 for element in content)
    if name in SETS:
        return sum(size({SETS[name]: element}) for element in content)
    return 1


def text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


@lru_cache(maxsize=1 << 14)
def _number_size(text: str) -> int:
    """Two digits a byte, one byte more for the magnitude, one more for a sign."""
    digits = len(text.strip("-0").replace(".", "")) if text != "0" else 1
    return (digits + 1) // 2 + 1 + (text[0] == "-")


def item_size(item: Item) -> int:
    """Bytes an item counts for: attribute names in UTF-8 and values."""
    total = 0
    for name, value in item.items():
        text = value.get("S")
        total += len(name) if name.isascii() else len(name.encode())
        total += len(text) if text is not None and text.isascii() else size(value)
    return total


def comparable(value: Value) -> Any:
    """What orders values of one scalar type: numbers by value, text by its UTF-8 bytes, binary by bytes."""
    ((name, content),) = value.items()
    if name == "N":
        return int(content) if _PLAIN_INTEGER.fullmatch(content) else Decimal(content)
    return content


def equal(left: Value, right: Value) -> bool:
    """Equality of canonical values; sets without order, numbers by value."""
    if left == right:
        return True
    name = kind(left)
    if name != kind(right):
        return False
    if name in SETS:
        return set(left[name]) == set(right[name])
    if name == "L":
        return len(left["L"]) == len(right["L"]) and all(map(equal, left["L"], right["L"]))
    if name == "M":
        return left["M"].keys() == right["M"].keys() and all(
            equal(left["M"][key], right["M"][key]) for key in left["M"]
        )
    return False
