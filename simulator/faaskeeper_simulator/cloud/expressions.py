"""Parses DynamoDB's expressions into closures: names (``#a``) resolve when parsing, values (``:v``) when evaluating.

Parsed expressions are cached by text and names. The grammar and limits are those of the developer guide, "Condition
and filter expressions, operators, and functions", "Update expressions", "Projection expressions" and "Constraints".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from . import evaluate
from .evaluate import Condition, InvalidExpression, Operand, Path, Values
from .reserved import RESERVED_WORDS
from .values import ORDERED, SETS, Item, Value, kind, stored

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<name>#[A-Za-z0-9_]+)|(?P<value>:[A-Za-z0-9_]+)|(?P<index>[0-9]+)"
    r"|(?P<sign><=|>=|<>|[=<>()\[\].,+-]))"
)
_PLACEHOLDER: Final = re.compile(r":[A-Za-z0-9_]+")
_well_formed: set[str] = set()
_MAX_LENGTH: Final = 4096
_MAX_OPERATORS: Final = 300
_MAX_IN: Final = 100
_COMPARATORS: Final = {"=", "<>", "<", "<=", ">", ">="}
_CONDITION_FUNCTIONS: Final = {"attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"}

Names: TypeAlias = Mapping[str, str]
Kinds: TypeAlias = frozenset[str]


@dataclass(frozen=True, slots=True)
class Used:
    """What an expression mentions: placeholders, top-level attributes, and the types its literal values must have."""

    names: frozenset[str]
    values: frozenset[str]
    attributes: frozenset[str]
    literal_kinds: tuple[tuple[str, Kinds, str], ...]

    def check_literals(self, values: Values) -> None:
        """Raises InvalidExpression where a literal value has a type its operator does not take."""
        for name, kinds, operator in self.literal_kinds:
            if name in values and kind(values[name]) not in kinds:
                raise InvalidExpression(
                    f"Incorrect operand type for operator or function; operator or function: {operator}, "
                    f"operand type: {kind(values[name])}"
                )


@dataclass(frozen=True, slots=True)
class ParsedCondition:
    holds: Condition
    used: Used
    key_parts: tuple[KeyPart, ...] | None
    """The condition as a conjunction of comparisons of attributes with values, None if it is anything else."""


@dataclass(frozen=True, slots=True)
class KeyPart:
    """``attribute operator values``; the operator is a comparator, BETWEEN or begins_with."""

    attribute: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParsedUpdate:
    apply: Callable[[Item, Values], Item]
    paths: tuple[Path, ...]
    used: Used


@dataclass(frozen=True, slots=True)
class ParsedProjection:
    paths: tuple[Path, ...]
    used: Used


def condition(text: str, names: Names, what: str = "ConditionExpression") -> ParsedCondition:
    """Raises InvalidExpression."""
    return _condition(text, tuple(names.items()), what)


def update(text: str, names: Names) -> ParsedUpdate:
    """Raises InvalidExpression."""
    return _update(text, tuple(names.items()))


def projection(text: str, names: Names) -> ParsedProjection:
    """Raises InvalidExpression."""
    return _projection(text, tuple(names.items()))


def check_all_used(names: Names, values: Values, expressions: Sequence[Used]) -> None:
    """Every placeholder given must be used by one of the expressions, and the reverse. Raises InvalidExpression."""
    first, *others = expressions
    used_names, used_values = first.names, first.values
    for used in others:
        used_names |= used.names
        used_values |= used.values
    for given, mentioned, what in ((names, used_names, "Names"), (values, used_values, "Values")):
        if len(given) != len(mentioned) or not mentioned.issuperset(given):
            unused = sorted(given.keys() - mentioned)
            if unused:
                raise InvalidExpression(
                    f"Value provided in ExpressionAttribute{what} unused in expressions: keys: {unused}"
                )
            undefined = sorted(mentioned - given.keys())
            raise InvalidExpression(f"An expression attribute used in expression is not defined: {undefined}")


@lru_cache(maxsize=8192)
def _condition(text: str, names: tuple[tuple[str, str], ...], what: str) -> ParsedCondition:
    parser = _Parser(text, dict(names), what)
    holds, key_parts = parser.disjunction()
    parser.end()
    return ParsedCondition(holds, parser.used(), tuple(key_parts) if key_parts is not None else None)


@lru_cache(maxsize=8192)
def _update(text: str, names: tuple[tuple[str, str], ...]) -> ParsedUpdate:
    parser = _Parser(text, dict(names), "UpdateExpression")
    program = parser.update_sections()
    parser.end()
    evaluate.refuse_overlaps(program.paths)
    return ParsedUpdate(program.apply, program.paths, parser.used())


@lru_cache(maxsize=1024)
def _projection(text: str, names: tuple[tuple[str, str], ...]) -> ParsedProjection:
    parser = _Parser(text, dict(names), "ProjectionExpression")
    paths = [parser.path()]
    while parser.take(","):
        paths.append(parser.path())
    parser.end()
    evaluate.refuse_overlaps(paths)
    return ParsedProjection(tuple(paths), parser.used())


def _tokens(text: str, what: str) -> list[tuple[str, str]]:
    if not text.strip():
        raise InvalidExpression(f"Invalid {what}: The expression can not be empty;")
    if len(text.encode()) > _MAX_LENGTH:
        raise InvalidExpression(f"Invalid {what}: Expression size has exceeded the maximum allowed size")
    tokens: list[tuple[str, str]] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidExpression(f"Invalid {what}: Syntax error near {text[position : position + 10]!r}")
        tokens.append((match.lastgroup or "", match.group(match.lastgroup or 0)))
        position = match.end()
    tokens.append(("end", "<EOF>"))
    return tokens


class _Parser:
    """Recursive descent over one expression's tokens."""

    def __init__(self, text: str, names: dict[str, str], what: str) -> None:
        self._what = what
        self._tokens = _tokens(text, what)
        self._position = 0
        self._names = names
        self._used_names: set[str] = set()
        self._used_values: set[str] = set()
        self._attributes: set[str] = set()
        self._literal_kinds: list[tuple[str, Kinds, str]] = []
        self._operators = 0

    def used(self) -> Used:
        return Used(
            frozenset(self._used_names),
            frozenset(self._used_values),
            frozenset(self._attributes),
            tuple(self._literal_kinds),
        )

    # tokens

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._position]

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def take(self, text: str) -> bool:
        """Whether the next token is this sign, or this keyword in any case; if so it is consumed."""
        group, token = self._peek()
        if token == text or (group == "word" and token.upper() == text):
            self._position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.error(f"Syntax error; token: {self._peek()[1]!r}, expected: {text!r}")

    def end(self) -> None:
        if self._peek()[0] != "end":
            raise self.error(f"Syntax error; token: {self._peek()[1]!r}")

    def error(self, message: str) -> InvalidExpression:
        return InvalidExpression(f"Invalid {self._what}: {message}")

    def _operator(self) -> None:
        self._operators += 1
        if self._operators > _MAX_OPERATORS:
            raise self.error(f"The expression contains more than {_MAX_OPERATORS} operators")

    # operands

    def path(self) -> Path:
        steps: list[str | int] = [self._attribute()]
        self._attributes.add(str(steps[0]))
        while True:
            if self.take("."):
                steps.append(self._attribute())
            elif self.take("["):
                group, token = self._next()
                if group != "index":
                    raise self.error(f"Syntax error; token: {token!r}, expected a list index")
                steps.append(int(token))
                self.expect("]")
            else:
                return tuple(steps)

    def _attribute(self) -> str:
        group, token = self._next()
        if group == "name":
            if token not in self._names:
                raise self.error(f"An expression attribute name used in the document path is not defined: {token}")
            self._used_names.add(token)
            return self._names[token]
        if group != "word":
            raise self.error(f"Syntax error; token: {token!r}, expected an attribute")
        if token.upper() in RESERVED_WORDS:
            raise self.error(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return token

    def _value(self) -> str:
        _, token = self._next()
        self._used_values.add(token)
        return token

    def _operand(self, kinds: Kinds | None = None, operator: str = "") -> _Operand:
        """A path, a value, or size(path). A literal value must be one of ``kinds``."""
        group, token = self._peek()
        if group == "value":
            name = self._value()
            if kinds is not None:
                self._literal_kinds.append((name, kinds, operator))
            return _Operand(evaluate.literal(name), literal=name)
        if group == "word" and token == "size" and self._tokens[self._position + 1][1] == "(":
            self._position += 2
            self._operator()
            path = self.path()
            self.expect(")")
            return _Operand(evaluate.size_of(path))
        path = self.path()
        return _Operand(evaluate.attribute(path), path=path)

    # conditions

    def disjunction(self) -> tuple[Condition, list[KeyPart] | None]:
        first, key_parts = self._conjunction()
        alternatives = [first]
        while self.take("OR"):
            self._operator()
            alternatives.append(self._conjunction()[0])
        if len(alternatives) == 1:
            return first, key_parts
        return evaluate.any_of(tuple(alternatives)), None

    def _conjunction(self) -> tuple[Condition, list[KeyPart] | None]:
        first, key_parts = self._negation()
        terms = [first]
        while self.take("AND"):
            self._operator()
            term, more = self._negation()
            terms.append(term)
            key_parts = key_parts + more if key_parts is not None and more is not None else None
        return (first if len(terms) == 1 else evaluate.all_of(tuple(terms))), key_parts

    def _negation(self) -> tuple[Condition, list[KeyPart] | None]:
        if self.take("NOT"):
            self._operator()
            inner, _ = self._negation()
            return evaluate.negation(inner), None
        if self.take("("):
            start = self._position
            inner = self.disjunction()
            self.expect(")")
            doubled = self._tokens[start][1] == "(" and self._tokens[self._position - 2][1] == ")"
            if doubled and self._closes(start) == self._position - 2:
                raise self.error("The expression has redundant parentheses;")
            return inner
        return self._primary()

    def _closes(self, opening: int) -> int:
        depth = 0
        for position in range(opening, len(self._tokens)):
            depth += {"(": 1, ")": -1}.get(self._tokens[position][1], 0)
            if depth == 0:
                return position
        return -1

    def _primary(self) -> tuple[Condition, list[KeyPart] | None]:
        group, token = self._peek()
        called = group == "word" and self._tokens[self._position + 1][1] == "("
        if called and token in _CONDITION_FUNCTIONS:
            self._position += 2
            self._operator()
            result = self._function(token)
            self.expect(")")
            return result
        if called and token != "size":
            raise self.error(f"Invalid function name; function: {token}")
        left = self._operand()
        self._operator()
        if self.take("BETWEEN"):
            low = self._operand(ORDERED, "BETWEEN")
            self.expect("AND")
            high = self._operand(ORDERED, "BETWEEN")
            parts = _key_part(left, "BETWEEN", low, high)
            return evaluate.between(left.get, low.get, high.get, (low.literal, high.literal)), parts
        if self.take("IN"):
            self.expect("(")
            options = [self._operand().get]
            while self.take(","):
                options.append(self._operand().get)
            self.expect(")")
            if len(options) > _MAX_IN:
                raise self.error(f"The IN operator is provided with too many operands; {len(options)}")
            return evaluate.one_of(left.get, tuple(options)), None
        group, comparator = self._next()
        if comparator not in _COMPARATORS:
            raise self.error(f"Syntax error; token: {comparator!r}, expected a comparator")
        if comparator not in ("=", "<>") and left.literal is not None:
            self._literal_kinds.append((left.literal, ORDERED, comparator))
        right = self._operand(None if comparator in ("=", "<>") else ORDERED, comparator)
        if left.path is not None and left.path == right.path:
            raise self.error(
                "The first operand must be distinct from the remaining operands for this operator or function; "
                f"operator: {comparator}"
            )
        return evaluate.comparison(comparator, left.get, right.get), _key_part(left, comparator, right)

    def _function(self, name: str) -> tuple[Condition, list[KeyPart] | None]:
        if name in ("attribute_exists", "attribute_not_exists"):
            if self._peek()[0] == "value":
                raise self.error(f"Operator or function requires a document path; operator or function: {name}")
            present = evaluate.exists(self.path())
            return (present if name == "attribute_exists" else evaluate.negation(present)), None
        first = self._operand(frozenset({"S", "B"}) if name == "begins_with" else None, name)
        self.expect(",")
        if name == "begins_with":
            second = self._operand(frozenset({"S", "B"}), name)
            return evaluate.begins_with(first.get, second.get), _key_part(first, name, second)
        second = self._operand(frozenset({"S"}) if name == "attribute_type" else None, name)
        if name == "contains":
            return evaluate.contains(first.get, second.get), None
        return evaluate.has_type(first.get, second.get), None

    # updates

    def update_sections(self) -> evaluate.Program:
        program = evaluate.Program()
        sections = {"SET": self._set, "REMOVE": self._remove, "ADD": self._add, "DELETE": self._delete}
        seen: set[str] = set()
        while self._peek()[0] != "end":
            _, token = self._next()
            section = token.upper()
            if section not in sections:
                raise self.error(f"Syntax error; token: {token!r}")
            if section in seen:
                raise self.error(f'The "{section}" section can only be used once in an update expression;')
            seen.add(section)
            sections[section](program)
            while self.take(","):
                sections[section](program)
        return program

    def _set(self, program: evaluate.Program) -> None:
        path = self.path()
        self.expect("=")
        self._operator()
        program.set(path, self._sum())

    def _sum(self) -> Operand:
        left = self._set_operand()
        for sign, factor in (("+", 1), ("-", -1)):
            if self.take(sign):
                self._operator()
                return evaluate.total(left, self._set_operand(), factor)
        return left

    def _set_operand(self) -> Operand:
        group, token = self._peek()
        if group == "word" and self._tokens[self._position + 1][1] == "(":
            self._position += 2
            self._operator()
            if token == "if_not_exists":
                path = self.path()
                self.expect(",")
                result = evaluate.if_not_exists(path, self._set_operand())
            elif token == "list_append":
                first = self._set_operand()
                self.expect(",")
                result = evaluate.list_append(first, self._set_operand())
            else:
                raise self.error(f"Invalid function name; function: {token}")
            self.expect(")")
            return result
        if group == "value":
            return evaluate.literal(self._value())
        return evaluate.required_attribute(self.path())

    def _remove(self, program: evaluate.Program) -> None:
        program.remove(self.path())

    def _add(self, program: evaluate.Program) -> None:
        program.add(self._top_level("ADD"), self._update_value(frozenset({"N", *SETS}), "ADD"))

    def _delete(self, program: evaluate.Program) -> None:
        program.delete(self._top_level("DELETE"), self._update_value(frozenset(SETS), "DELETE"))

    def _top_level(self, section: str) -> str:
        """ADD and DELETE are documented for top-level attributes only."""
        path = self.path()
        if len(path) != 1 or not isinstance(path[0], str):
            raise self.error(f"{section} is documented for top-level attributes only, not {path}")
        return path[0]

    def _update_value(self, kinds: Kinds, section: str) -> str:
        if self._peek()[0] != "value":
            raise self.error(f"Syntax error; token: {self._peek()[1]!r}, expected a value")
        name = self._value()
        self._literal_kinds.append((name, kinds, section))
        return name


@dataclass(frozen=True, slots=True)
class _Operand:
    get: Operand
    path: Path | None = None
    literal: str | None = None


def _key_part(left: _Operand, operator: str, *right: _Operand) -> list[KeyPart] | None:
    if left.path is None or len(left.path) != 1 or not isinstance(left.path[0], str):
        return None
    values = tuple(operand.literal for operand in right if operand.literal is not None)
    return [KeyPart(left.path[0], operator, values)] if len(values) == len(right) else None


def checked_values(values: Mapping[str, Value]) -> dict[str, Value]:
    """Raises InvalidExpression for a malformed placeholder, InvalidValue for a malformed value."""
    for name in values:
        if name not in _well_formed:
            if not _PLACEHOLDER.fullmatch(name):
                raise InvalidExpression(f'ExpressionAttributeValues contains invalid key: Syntax error; key: "{name}"')
            _well_formed.add(name)
    return {name: stored(value) for name, value in values.items()}
