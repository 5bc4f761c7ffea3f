"""Opening a store by its URL: here, through the process that holds it, or on a server.

An embedded store belongs to one process at a time, the one with its home's lock. Whoever comes
second works through the holder's endpoint, if it serves one, and else waits for a while.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from filelock import FileLock

from driftline.clock import Clock, SystemClock
from driftline.errors import StoreBusy, StoreError, StoreHolderEnded, StoreNotWritable, StoreUnavailable, UsageError
from driftline.store.client import Address, Store
from driftline.store.holder import is_alive, not_writable, read_note, take_lock, write_note
from driftline.store.migrations import migrate
from driftline.store.safety import require_safe_settings

_RETRY_SECONDS = 0.1


def open_store(
    url: str,
    home: Path,
    *,
    serve: bool = False,
    port: int = 0,
    password: str | None = None,
    timeout_seconds: float = 10,
    clock: Clock | None = None,
) -> Store:
    """Return the store at ``url``, migrated; closing it lets go of whatever opening took.

    ``serve`` puts an embedded store, if this process comes to hold it, behind HTTP on ``port`` (0: a free
    one) of loopback. ``password`` takes the place of the URL's.

    Raises:
        UsageError: ``url`` is not a store's.
        StoreBusy: another process holds the embedded store and cannot be reached through its endpoint.
        StoreNotWritable: the folder is read-only, no folder, or its disk is full.
        StoreTooNew: a newer version of driftline made the store.
        StoreUnsafe: the engine's settings could drop rows.
        StoreUnavailable: the server does not answer.
    """
    address = parse_url(url)
    if address.path is None:
        return _migrated(Store(replace(address, password=password or address.password)))
    clock = clock or SystemClock()
    deadline = clock.monotonic() + timeout_seconds
    while True:
        lock = take_lock(home)
        if lock is not None:
            return _open_held(address, home, lock, serve=serve, port=port)
        store = _through_holder(home)
        if store is not None:
            return _migrated(store)
        if clock.monotonic() >= deadline:
            raise _busy(home)
        clock.sleep(_RETRY_SECONDS)


def parse_url(url: str) -> Address:
    """Return what ``chdb:///folder`` or ``clickhouse://user:password@host:port/database?secure=1`` names.

    ``secure=1`` is TLS, with ``ca=FILE`` for a certificate authority of one's own.

    >>> parse_url("clickhouse://ann@db.example:8443/ml?secure=1").port
    8443

    Raises:
        UsageError: it is neither.
    """
    if url.startswith("chdb:///"):  # not split as a URL: a folder's name may hold #
        if "?" in url:
            msg = f"the embedded store's folder must have no ? in its name; got {url}; rename it or use another --home"
            raise UsageError(msg)
        return Address(path=str(Path("/" + url.removeprefix("chdb:///").lstrip("/"))))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _unusable(url) from error
    if parts.scheme != "clickhouse" or not parts.hostname:
        raise _unusable(url)
    options = parse_qs(parts.query)
    secure = options.get("secure", ["0"])[-1] in {"1", "true"}
    return Address(
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        database=parts.path.strip("/") or "default",
        secure=secure,
        ca_file=options.get("ca", [None])[-1],
    )


def _open_held(address: Address, home: Path, lock: FileLock, *, serve: bool, port: int) -> Store:
    releases: list[Callable[[], None]] = [lock.release]

    def release() -> None:
        while releases:
            releases.pop()()

    try:
        _check_folder(Path(address.path or ""))
        write_note(home, host="127.0.0.1", port=None, user="driftline")
        store = _embedded(address, release)
        try:
            _migrated(store)
            if serve:
                releases.append(_serve(address, home, port))
            atexit.register(store.close)  # an engine still open when the interpreter ends would crash it
            releases.append(lambda: atexit.unregister(store.close))
        except BaseException:
            store.close()
            raise
    except BaseException:
        release()
        raise
    return store


def _embedded(address: Address, release: Callable[[], None]) -> Store:
    try:
        return Store(address, on_close=release)
    except StoreError as error:
        if "filesystem error" not in str(error) and "EmbeddedServer" not in str(error):
            raise
        msg = (
            f"store {address} cannot be opened: its files are held by a process with another --home, damaged or on a "
            "full disk; use that --home, free space or use another folder"
        )
        raise StoreNotWritable(msg) from error


def _serve(address: Address, home: Path, port: int) -> Callable[[], None]:
    from driftline.store.endpoint import HOST, OWNER, Endpoint, Tokens
    from driftline.store.holder import earlier_tokens

    tokens = earlier_tokens(home)
    endpoint = Endpoint(Path(address.path or ""), Tokens(*tokens), port)
    try:
        write_note(home, host=HOST, port=endpoint.port, user=OWNER, tokens=tokens)
    except BaseException:
        endpoint.close()
        raise
    return endpoint.close


def _check_folder(folder: Path) -> None:
    """Say in one line what the engine says with a stack trace."""
    probe = folder / ".writable"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise not_writable(folder, error) from error


def _through_holder(home: Path) -> Store | None:
    note = read_note(home)
    if note is None or note.port is None or not is_alive(note.pid):
        return None
    try:
        return Store(Address(host=note.host, port=note.port, user=note.user, password=note.token, holder_pid=note.pid))
    except (StoreUnavailable, StoreHolderEnded):
        return None


def _migrated(store: Store) -> Store:
    try:
        migrate(store)
        require_safe_settings(store)
    except BaseException:
        store.close()
        raise
    return store


def _busy(home: Path) -> StoreBusy:
    note = read_note(home)
    who = f"process {note.pid}" if note and is_alive(note.pid) else "another process"
    remedy = "wait until it ends, stop it or use another --home"
    return StoreBusy(f"{who} holds the store in {home} and does not serve it; {remedy}")


def _unusable(url: str) -> UsageError:
    shown = url.rsplit("@", 1)[-1]
    msg = f"--store must be chdb:///folder or clickhouse://user@host:port/database; got {shown!r}"
    return UsageError(msg)
