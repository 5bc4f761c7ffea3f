"""Which process holds an embedded store: the home's lock, and the note that says how to reach the holder.

The lock is the operating system's, so it ends with its process, however that dies. The note
``endpoint.json`` outlives its process on purpose: it keeps the tokens, so that a data source set
up once stays valid, and whether its writer still lives is asked of the lock and the pid.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from driftline.errors import StoreNotWritable


class Note(msgspec.Struct, frozen=True):
    """The content of ``endpoint.json``; ``port`` is null while the holder serves nobody."""

    pid: int
    host: str
    port: int | None
    user: str
    token: str
    reader_token: str


def take_lock(home: Path) -> FileLock | None:
    """Return the home's lock, held, or None while another process has it. Makes the folder, for its owner alone.

    Raises:
        StoreNotWritable: the folder cannot be made or written.
    """
    lock = FileLock(home / "store.lock", mode=0o600, thread_local=False)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except OSError as error:
        raise not_writable(home, error) from error
    return lock


def note_path(home: Path) -> Path:
    """Return where the holder's note stands."""
    return home / "endpoint.json"


def read_note(home: Path) -> Note | None:
    """Return the note of the home's last holder, or None where there is none that can be read."""
    try:
        return msgspec.json.decode(note_path(home).read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError):
        return None


def write_note(home: Path, *, host: str, port: int | None, user: str, tokens: tuple[str, str] | None = None) -> Note:
    """Write, whole or not at all and for the owner's eyes only, how to reach this process. Keeps earlier tokens.

    Raises:
        StoreNotWritable: the folder cannot be written.
    """
    token, reader_token = tokens or earlier_tokens(home)
    note = Note(os.getpid(), host, port, user, token, reader_token)
    target, fresh = note_path(home), home / f"endpoint.json.{os.getpid()}"
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(note))
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise not_writable(home, error) from error
    return note


def earlier_tokens(home: Path) -> tuple[str, str]:
    """Return the tokens of the owner and the reader: the home's, or new ones."""
    note = read_note(home)
    return (note.token, note.reader_token) if note else (secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def is_alive(pid: int) -> bool:
    """Return whether a process of that id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def not_writable(folder: Path, error: OSError) -> StoreNotWritable:
    """Return the error for a folder that the operating system refuses to write."""
    reason = (error.strerror or str(error)).lower()
    if not os.path.exists(folder):  # below a forbidden folder Path.exists would raise
        return StoreNotWritable(f"folder {folder} cannot be made: {reason}; name another with --home")
    if not os.path.isdir(folder):
        return StoreNotWritable(f"{folder} is a file and no folder; name another with --home")
    remedy = "free space, mend its permissions or use another --home"
    return StoreNotWritable(f"folder {folder} cannot be written: {reason}; {remedy}")
