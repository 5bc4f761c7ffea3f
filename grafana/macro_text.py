"""Macros in SQL text: finding ``$__name(argument, …)`` where quotes, comments and nesting allow it.

Knows no macro by name; ``macros`` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from driftline.errors import UsageError

_MACRO = re.compile(r"\$__\w+")
_QUOTES = "'`\""

# A macro gets its own name and its arguments, and returns its expansion.
Macro = Callable[[str, list[str]], str]


def blank_comments(sql: str) -> str:
    """Return ``sql`` with its comments replaced by spaces; text in quotes is left alone."""
    return "".join(" " * len(part) if is_comment else part for part, is_comment in _parts(sql))


def expand(sql: str, macros: Mapping[str, Macro]) -> str:
    """Return ``sql`` with every macro of ``macros`` outside quotes replaced, arguments first; others stay.

    Raises:
        UsageError: a parenthesis is not closed.
    """
    result, position = [], 0
    while (found := _next_macro(sql, position)) is not None:
        name = found.group()[3:]
        result.append(sql[position : found.start()])
        arguments, end = _arguments(sql, found.end())
        if name not in macros:
            # Left as it is, but what stands in its parentheses may hold macros we know.
            result.append(found.group())
            position = found.end()
            continue
        expanded = [expand(argument, macros).strip() for argument in arguments or ()]
        result.append(macros[name](name, expanded))
        position = end
    result.append(sql[position:])
    return "".join(result)


def _next_macro(sql: str, position: int) -> re.Match[str] | None:
    while position < len(sql):
        if sql[position] in _QUOTES:
            position = _end_of_quote(sql, position)
        elif sql.startswith("$__", position):
            return _MACRO.match(sql, position)
        else:
            position += 1
    return None


def _arguments(sql: str, position: int) -> tuple[list[str] | None, int]:
    """Return the arguments in the parentheses at ``position`` and where they end; None where there are none."""
    if not sql.startswith("(", position):
        return None, position
    depth, start = 0, position + 1
    arguments: list[str] = []
    while position < len(sql):
        character = sql[position]
        if character in _QUOTES:
            position = _end_of_quote(sql, position)
            continue
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            last = sql[start:position]
            return [*arguments, last] if last.strip() or arguments else [], position + 1
        if character == "," and depth == 1:
            arguments.append(sql[start:position])
            start = position + 1
        position += 1
    msg = f"a macro's parenthesis is not closed: {sql[start - 1 : start + 40]}"
    raise UsageError(msg)


def _end_of_quote(sql: str, position: int) -> int:
    quote, position = sql[position], position + 1
    while position < len(sql):
        if sql[position] == "\\":
            position += 2
        elif sql[position] == quote:
            return position + 1  # a doubled quote simply opens the next quoted text
        else:
            position += 1
    return len(sql)


def _parts(sql: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of ``sql`` in order, each with whether it is a comment."""
    start = position = 0
    while position < len(sql):
        if sql[position] in _QUOTES:
            position = _end_of_quote(sql, position)
            continue
        opening = sql[position : position + 2]
        if opening not in {"--", "/*"}:
            position += 1
            continue
        closing = "\n" if opening == "--" else "*/"
        found = sql.find(closing, position + 2)
        end = len(sql) if found < 0 else found + (2 if opening == "/*" else 0)
        yield sql[start:position], False
        yield sql[position:end], True
        start = position = end
    yield sql[start:], False
