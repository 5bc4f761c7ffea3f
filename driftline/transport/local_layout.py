"""The SQLite file under the local log: how it is opened and laid out, and what its errors mean.

One file ``log.db`` per folder, in WAL mode with ``synchronous=FULL``: a committed record
survives a power cut, readers never see an uncommitted one and never wait for a writer.
A record's key is the number of its partition and its offset in one integer, so that a
partition is one ascending run of the table. Numbers of deleted partitions are not given again.
SQLite's main file has no check sums, so each record has one (those of layout 1 have none).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

from driftline.errors import TransportError, TransportUnavailable

FILE_NAME = "log.db"
LAYOUT_VERSION = 2
OFFSET_BITS = 40
"""A partition holds 2^40 records, a file 2^23 partitions."""

_APPLICATION_ID = 0x64726C67
_BUSY_SECONDS = 30.0
_PAGE_BYTES = 16_384
"""A tenth faster than 4 KB with events of some hundred bytes."""

_WAL_CHECKPOINT_PAGES = 2_048

_LAYOUT = """
CREATE TABLE topics (
    name TEXT PRIMARY KEY,
    topic_id TEXT NOT NULL,
    partitions INTEGER NOT NULL
);
CREATE TABLE partitions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL REFERENCES topics (name) ON DELETE CASCADE,
    partition INTEGER NOT NULL,
    begin_offset INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL DEFAULT 0,
    last_append_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, partition)
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    append_time_ms INTEGER NOT NULL,
    key BLOB,
    value BLOB,
    headers BLOB,
    checksum INTEGER
);
"""
_FROM_LAYOUT_1 = "ALTER TABLE records ADD COLUMN checksum INTEGER"


def open_file(folder: Path) -> sqlite3.Connection:
    """Open the log in ``folder``, making folder (mode 0700) and file where they are absent.

    Raises:
        TransportError: the folder cannot be written, or the file is not a log this version reads.
        TransportUnavailable: another process holds the file for too long, or the disk is full.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder of the local log cannot be made: {folder}: {error.strerror}; choose another with --transport"
        raise TransportError(msg) from error
    path = folder / FILE_NAME
    with translated_errors(path):
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            version = _require_ours(connection, path)
            _configure(connection)
            if version < LAYOUT_VERSION:
                _lay_out(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as driftline's, with what to do about them."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_CHECKPOINT_PAGES}")


def _is_busy(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


@retry(
    retry=retry_if_exception(_is_busy),
    stop=stop_after_delay(_BUSY_SECONDS),
    wait=wait_random(0.005, 0.05),
    reraise=True,
)
def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL; SQLite does not wait here when other processes do so at the same moment."""
    connection.execute("PRAGMA journal_mode = WAL")


def _require_ours(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's layout version before anything in it is touched."""
    connection.execute("BEGIN")
    version = _layout_version(connection, path)
    connection.execute("COMMIT")
    return version


def _lay_out(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = _layout_version(connection, path)
    if version < LAYOUT_VERSION:  # no other process was faster
        for statement in _LAYOUT.split(";") if version == 0 else (_FROM_LAYOUT_1,):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")
    connection.execute("COMMIT")


def _layout_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's layout version, 0 where it is new and empty."""
    application = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    if application != _APPLICATION_ID and _number(connection, "SELECT count(*) FROM sqlite_master"):
        msg = f"{path} is a database of another program, not a driftline log; choose another folder with --transport"
        raise TransportError(msg)
    if version > LAYOUT_VERSION:
        msg = (
            f"{path} was made by a newer version of driftline (layout {version}, this one knows {LAYOUT_VERSION}); "
            "upgrade driftline"
        )
        raise TransportError(msg)
    return version


def _number(connection: sqlite3.Connection, statement: str) -> int:
    with closing(connection.execute(statement)) as cursor:
        return int(cursor.fetchone()[0])


def _translate(error: sqlite3.Error, path: Path) -> TransportError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        msg = f"the local log {path} is held by another process; try again or stop that process"
        return TransportUnavailable(msg)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        msg = f"the local log {path} cannot be written: {error}; free space on its disk and try again"
        return TransportUnavailable(msg)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        msg = f"the local log {path} must be writable: {error}; change its permissions or choose another folder"
        return TransportError(msg)
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        msg = f"{path} is not a driftline log or is damaged: {error}; choose another folder or restore a copy"
        return TransportError(msg)
    return TransportError(f"the local log {path} refused: {error}")
