"""Which statements a reader may run: the endpoint's read-only user, and ``driftline sql`` without ``--write``.

The engine's own read-only mode refuses writes, settings and (through SELECT) the table functions
that reach outside. It leaves holes that are closed here, before the engine sees the statement:
the function ``file``, ``DESCRIBE`` of a table function, ``INTO OUTFILE``, ``KILL QUERY``, several
statements in one text, system tables that show other people's queries. What cannot be judged,
such as escapes in a quoted name, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from driftline.store.protocol import Refused, Statement

# Narrower than the engine's lexer: nested comments, heredocs, prefixed strings (x'..'), escapes in names
# and typographic quotes match nothing here and are refused, so that the two never disagree on what is text.
_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|\#[ !][^\n]*|/\*(?:(?!/\*).)*?\*/)
    |(?P<text>(?<![A-Za-z0-9_])'(?:[^'\\]|\\.|'')*')
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`\\]*`|"[^"\\]*")
    |(?P<number>[0-9][A-Za-z0-9_.]*)
    |(?P<sign>/(?!\*)|[-+*%=<>!(),.\[\]{}:;?|&^@])""",
    re.X | re.S,
)
_FIRST = frozenset({"select", "with", "from", "show", "describe", "desc", "explain", "exists", "("})
_TABLE_FUNCTIONS = frozenset({"numbers", "numbers_mt", "zeros", "zeros_mt", "values", "view", "null", "generateseries"})
_NEVER = frozenset({"outfile", "infile", "processlist", "kill", "identifier"})
# These send rows to a language model on the network.
_MODEL_FUNCTIONS = frozenset(
    "aigenerate aiclassify aiextract aitranslate aifilter aisimilarity aiembed airedact".split()
)
_SYSTEM_TABLES = frozenset(
    "one numbers numbers_mt zeros tables columns databases functions settings table_functions data_type_families "
    "formats time_zones parts build_options version".split()
)
_SCHEMAS = frozenset({"system", "information_schema"})
_SETTINGS = frozenset({"dialect"})


def refuse_unless_reading(statement: Statement, reaching_out: frozenset[str]) -> None:
    """Return if a reader may run ``statement``; ``reaching_out`` are the engine's table functions, lower case.

    Raises:
        Refused: it may not, or cannot be judged.
    """
    if statement.data is not None:
        _refuse("an INSERT")
    if statement.database.lower() in _SCHEMAS:
        _refuse(f"the database {statement.database}")
    for name in _SETTINGS & {key.lower() for key in statement.settings or {}}:
        _refuse(f"the setting {name}")
    _refuse_tokens(_tokens(statement.sql), (reaching_out - _TABLE_FUNCTIONS) | _MODEL_FUNCTIONS)


def reader_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings a reader's request runs with: its own, then read-only mode, which ends all setting."""
    return {**{name: value for name, value in settings.items() if name.lower() != "readonly"}, "readonly": "1"}


def _refuse_tokens(tokens: list[str], reaching_out: frozenset[str]) -> None:
    words = [token.strip('`"').lower() for token in tokens]
    while words and words[-1] == ";":
        words.pop()
    if not words or words[0] not in _FIRST:
        _refuse(f"a statement that starts with {words[0].upper() if words else 'nothing'}")
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word == ";":
            _refuse("several statements in one")
        if word in _NEVER:
            _refuse(word.upper())
        if following == "(" and word in reaching_out:
            _refuse(f"the function {word}")
        if word in _SCHEMAS and following == "." and not _SYSTEM_TABLES.issuperset(words[index + 2 : index + 3]):
            _refuse(f"the table {word}.{words[index + 2]}")


def _tokens(sql: str) -> list[str]:
    tokens, position = [], 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None:
            _refuse(f"the character {sql[position]!r} at {position + 1}")
        if match.lastgroup != "space":
            tokens.append(match[0])
        position = match.end()
    return tokens


def _refuse(what: str) -> NoReturn:
    raise Refused(497, f"Code: 497. DB::Exception: a reader may not use {what}. (ACCESS_DENIED)")
