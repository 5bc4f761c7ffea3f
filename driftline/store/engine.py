"""Statements of the HTTP endpoint on the embedded engine, each on a connection of its own.

A fresh connection costs under a millisecond, and settings, temporary tables and the current
database of one request never reach the next.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb

from driftline.store.protocol import Refused, Statement
from driftline.store.reading import reader_settings, refuse_unless_reading

# Statements at a time: the engine is multi-threaded by itself; more would only share its memory.
_PARALLEL = 4
_CODE = re.compile(r"Code: (\d+)")
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*\Z", re.I)
_INSERT = re.compile(r"\s*INSERT\b", re.I)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement returned, in ``output_format`` (empty: it returns nothing), and its counts."""

    body: bytes
    output_format: str = ""
    summary: dict[str, str] = field(default_factory=dict)


class Engine:
    """One embedded store; thread-safe. Keeps the engine alive until ``close``."""

    def __init__(self, path: Path) -> None:
        self._path = str(path.resolve())
        self._slots = threading.BoundedSemaphore(_PARALLEL)
        self._kept = chdb.connect(self._path)
        self.version, self.timezone = self._strings("SELECT arrayJoin([version(), timezone()])")
        self._table_functions = frozenset(self._strings("SELECT lower(name) FROM system.table_functions"))

    def run(self, statement: Statement, *, read_only: bool) -> Answer:
        """Run one statement and return its whole answer; with ``read_only``, or where it asks for it, as a reader.

        Raises:
            Refused: the engine, or the rules of the read-only user, refuse it.
        """
        settings = dict(statement.settings or {})
        if read_only or settings.get("readonly", "0") != "0":
            refuse_unless_reading(statement, self._table_functions)
            settings = reader_settings(settings)
        with self._slots:
            connection = chdb.connect(self._path)
            try:
                _prepare(connection, settings, statement.database)
                return _insert(connection, statement) if statement.data is not None else _query(connection, statement)
            except RuntimeError as error:
                raise _refused(error) from error
            finally:
                connection.close()

    def close(self) -> None:
        """Let the engine go. Idempotent."""
        self._kept.close()

    def _strings(self, sql: str) -> list[str]:
        return bytes(self._kept.query(sql, "TabSeparated").bytes()).decode().splitlines()


def _prepare(connection: Any, settings: dict[str, str], database: str) -> None:
    if database:
        connection.query("USE " + _quoted(database, "`"))
    for name in sorted(settings, key=lambda name: name == "readonly"):  # last: it forbids further settings
        connection.query(f"SET {name} = {_quoted(settings[name], chr(39))}")


def _query(connection: Any, statement: Statement) -> Answer:
    started = time.monotonic_ns()
    result = connection.query(statement.sql, statement.output_format, params=dict(statement.parameters or {}))
    explicit = _FORMAT.search(statement.sql)
    output_format = explicit[1] if explicit else statement.output_format
    body = bytes(result.bytes() or b"")
    summary = _summary(started, read_rows=result.storage_rows_read(), written_rows=result.rows_written())
    return Answer(body, "" if _INSERT.match(statement.sql) else output_format, summary)


def _insert(connection: Any, statement: Statement) -> Answer:
    started = time.monotonic_ns()
    if not statement.data:
        return Answer(b"", "", _summary(started))
    with connection.send_insert(statement.sql, statement.data_format) as stream:
        stream.append(statement.data)
        done = stream.finish()
    return Answer(b"", "", _summary(started, written_rows=done.rows_written, written_bytes=done.bytes_written))


def _summary(started: int, **counts: int) -> dict[str, str]:
    zero = dict.fromkeys(("read_rows", "read_bytes", "written_rows", "written_bytes", "result_rows", "result_bytes"), 0)
    return {name: str(n) for name, n in {**zero, **counts, "elapsed_ns": time.monotonic_ns() - started}.items()}


def _quoted(value: str, quote: str) -> str:
    return quote + value.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


def _refused(error: RuntimeError) -> Refused:
    text = str(error)
    match = _CODE.search(text)
    return Refused(int(match[1]), text[match.start() :].strip()) if match else Refused(1002, text.strip())
