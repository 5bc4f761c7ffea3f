"""SQL expressions that a contract may hold: one value of a row, from the row's own columns.

Read by a grammar far smaller than the engine's, so that a text accepted here can neither end the statement it is put
into nor reach beyond its row: no subquery, no other table, no clock, no chance, no setting, no comment. Pure; the
engine has the last word on types.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NoReturn

FUNCTIONS = frozenset(
    # Of times, of text, of numbers, of missing values, of choices: each a function of its arguments alone.
    """toHour toMinute toDayOfWeek toDayOfMonth toDayOfYear toWeek toMonth toQuarter toYear toDate toStartOfHour
    toStartOfDay toStartOfWeek toStartOfMonth toTimeZone formatDateTime dateDiff
    lower upper lowerUTF8 upperUTF8 length lengthUTF8 substring substringUTF8 left right trim trimLeft trimRight
    concat replaceAll replaceOne startsWith endsWith position positionCaseInsensitive match extract empty notEmpty
    abs sign floor ceil round trunc sqrt log log2 log10 exp pow least greatest intDiv modulo roundDown
    isNull isNotNull ifNull nullIf coalesce isNaN isFinite
    if multiIf toString toInt64 toFloat64 toInt64OrNull toFloat64OrNull""".split()
)
AGGREGATES = frozenset(
    """count countIf sum sumIf avg avgIf min minIf max maxIf any anyIf uniqExact uniqExactIf median medianIf
    stddevSamp stddevSampIf varSamp varSampIf corr""".split()
)
_CONDITIONS = frozenset("isNull isNotNull isNaN isFinite startsWith endsWith match empty notEmpty".split())
_WORDS = frozenset("and or not in is null like ilike between case when then else end true false div mod".split())
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|'')*')|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.])|(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign><=|>=|!=|<>|==|\|\||-(?!-)|[+*/%<>=(),]))""",
    re.X | re.A,
)
_COMPARISONS = frozenset({"=", "==", "!=", "<>", "<", ">", "<=", ">="})
_SUMS = frozenset({"+", "-", "||"})
_PRODUCTS = frozenset({"*", "/", "%", "div", "mod"})
_LONGEST, _DEEPEST = 2_000, 40


class ExpressionError(ValueError):
    """A text is not one expression over the columns; the message says why."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An accepted text: the columns it reads, and whether its value is true or false."""

    text: str
    columns: frozenset[str]
    is_condition: bool


def read_expression(text: str, columns: Collection[str]) -> Expression:
    """Return what ``text`` is, an expression over ``columns`` (their names are case-sensitive, words of SQL are not).

    Raises:
        ExpressionError: it is not one.

    >>> read_expression("distance > 10 AND zone IN ('74', '75')", ["distance", "zone"]).is_condition
    True
    >>> read_expression("(SELECT 1)", [])
    Traceback (most recent call last):
    driftline.contract.expressions.ExpressionError: SELECT is neither a column nor a word of an expression
    """
    return _read(text, _Reader(_tokens(text), frozenset(columns)))


def read_aggregate(text: str, columns: Collection[str]) -> Expression:
    """Return what ``text`` is, one figure of many rows: every column stands within an aggregate function, none nested.

    Raises:
        ExpressionError: it is not one.

    >>> sorted(read_aggregate("sum(fare) / countIf(shared)", ["fare", "shared"]).columns)
    ['fare', 'shared']
    >>> read_aggregate("fare * 2", ["fare"])
    Traceback (most recent call last):
    driftline.contract.expressions.ExpressionError: fare must stand within an aggregate function, such as avg(fare)
    """
    reader = _Reader(_tokens(text), frozenset(columns), sums_up=True)
    expression = _read(text, reader)
    if not reader.has_aggregate:
        _refuse("it has no aggregate function, such as count() or avg(COLUMN)")
    return expression


def _read(text: str, reader: _Reader) -> Expression:
    is_condition = reader.disjunction()
    reader.require_end()
    return Expression(text.strip(), frozenset(reader.found), is_condition)


def _tokens(text: str) -> list[tuple[str, str]]:
    """Return kind and text of every token; words of SQL are lower case and of kind ``word``."""
    if len(text) > _LONGEST:
        _refuse(f"it has {len(text):,} characters, {_LONGEST:,} are allowed")
    found, place = [], 0
    stripped = text.rstrip()
    while place < len(stripped):
        match = _TOKEN.match(stripped, place)
        if match is None:
            rest = stripped[place:].lstrip()
            _refuse(f"{rest[:20]!r} cannot stand in an expression")
        kind, token = str(match.lastgroup), str(match[match.lastgroup or 0])
        if kind == "name" and token.lower() in _WORDS:
            kind, token = "word", token.lower()
        found.append((kind, token))
        place = match.end()
    return found


def _refuse(reason: str) -> NoReturn:
    raise ExpressionError(reason)


@dataclass(slots=True)
class _Reader:
    """A recursive descent over the tokens; each method eats its part and returns whether it is true or false."""

    tokens: list[tuple[str, str]]
    columns: frozenset[str]
    sums_up: bool = False
    found: set[str] = field(default_factory=set)
    has_aggregate: bool = False
    _aggregate: str = ""  # the one whose arguments are being read
    _at: int = 0
    _depth: int = 0

    def require_end(self) -> None:
        if self._at < len(self.tokens):
            _refuse(f"{self.tokens[self._at][1]!r} is left over after a whole expression")

    def disjunction(self) -> bool:
        self._depth += 1
        if self._depth > _DEEPEST:
            _refuse(f"it is nested deeper than {_DEEPEST}")
        is_condition = self._conjunction()
        while self._accept("or"):
            self._conjunction()
            is_condition = True
        self._depth -= 1
        return is_condition

    def _conjunction(self) -> bool:
        is_condition = self._negation()
        while self._accept("and"):
            self._negation()
            is_condition = True
        return is_condition

    def _negation(self) -> bool:
        negated = False
        while self._accept("not"):
            negated = True
        return self._comparison() or negated

    def _comparison(self) -> bool:
        is_condition = self._sum()
        while True:
            if self._accept(*_COMPARISONS):
                self._sum()
            elif self._accept("is"):
                self._accept("not")
                self._expect("null")
            elif not self._membership():
                return is_condition
            is_condition = True

    def _membership(self) -> bool:
        start = self._at
        self._accept("not")
        if self._accept("in"):
            self._expect("(")
            self._arguments()
        elif self._accept("like", "ilike"):
            self._sum()
        elif self._accept("between"):
            self._sum()
            self._expect("and")
            self._sum()
        else:
            self._at = start
            return False
        return True

    def _sum(self) -> bool:
        is_condition = self._product()
        while self._accept(*_SUMS):
            self._product()
            is_condition = False
        return is_condition

    def _product(self) -> bool:
        is_condition = self._value()
        while self._accept(*_PRODUCTS):
            self._value()
            is_condition = False
        return is_condition

    def _value(self) -> bool:
        while self._accept("-"):
            pass
        kind, found = self._next()
        if kind in ("text", "number"):
            return False
        if found == "(":
            is_condition = self.disjunction()
            self._expect(")")
            return is_condition
        if found == "case":
            return self._case()
        if kind == "name":
            return self._named(found)
        if found not in ("null", "true", "false"):
            _refuse(f"{found!r} stands where a value is wanted")
        return found != "null"

    def _named(self, name: str) -> bool:
        if self._accept("("):
            if self.sums_up and name in AGGREGATES:
                self._aggregated(name)
                return False
            if name not in FUNCTIONS:
                known = FUNCTIONS | AGGREGATES if self.sums_up else FUNCTIONS
                near = " or ".join(difflib.get_close_matches(name, known, n=2)) or "docs/reference/contract.md"
                _refuse(f"{name} is not a function that an expression may use; see {near}")
            self._arguments()
            return name in _CONDITIONS
        if name not in self.columns:
            _refuse(f"{name} is neither a column nor a word of an expression")
        if self.sums_up and not self._aggregate:
            _refuse(f"{name} must stand within an aggregate function, such as avg({name})")
        self.found.add(name)
        return False

    def _aggregated(self, name: str) -> None:
        if self._aggregate:
            _refuse(f"{name} stands within {self._aggregate}; an aggregate function sums up rows, not aggregates")
        self._aggregate, self.has_aggregate = name, True
        self._arguments()
        self._aggregate = ""

    def _arguments(self) -> None:
        if self._accept(")"):
            return
        self.disjunction()
        while self._accept(","):
            self.disjunction()
        self._expect(")")

    def _case(self) -> bool:
        if not self._peek("when"):
            self.disjunction()
        while self._accept("when"):
            self.disjunction()
            self._expect("then")
            self.disjunction()
        if self._accept("else"):
            self.disjunction()
        self._expect("end")
        return False

    def _peek(self, *wanted: str) -> bool:
        if self._at == len(self.tokens):
            return False
        kind, token = self.tokens[self._at]
        return kind in ("sign", "word") and token in wanted

    def _accept(self, *wanted: str) -> bool:
        if not self._peek(*wanted):
            return False
        self._at += 1
        return True

    def _expect(self, wanted: str) -> None:
        if not self._accept(wanted):
            got = repr(self.tokens[self._at][1]) if self._at < len(self.tokens) else "its end"
            _refuse(f"{wanted.upper()!r} is wanted before {got}")

    def _next(self) -> tuple[str, str]:
        if self._at == len(self.tokens):
            _refuse("it ends where a value is wanted")
        self._at += 1
        return self.tokens[self._at - 1]
