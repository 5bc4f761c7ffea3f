"""Settings of the engine under which rows could vanish, or a result be cut short, without an error.

Ours are sent with every connection (``client``); a server's profile may forbid or override them,
so what holds is asked of the engine when a store opens.
"""

from __future__ import annotations

from collections.abc import Mapping

from driftline.errors import StoreUnsafe
from driftline.store.client import Store

_THROW = "throw"
# What each must be. The first drops or delays acknowledged rows, the second takes retries of other rows for
# duplicates, the next two skip rows that do not parse; the rest cut or change what is read.
_SETTINGS: Mapping[str, str] = {
    "async_insert": "0",
    "deduplicate_insert": "disable",
    "input_format_allow_errors_num": "0",
    "input_format_allow_errors_ratio": "0",
    "join_use_nulls": "0",
    "read_overflow_mode": _THROW,
    "read_overflow_mode_leaf": _THROW,
    "result_overflow_mode": _THROW,
    "timeout_overflow_mode": _THROW,
    "group_by_overflow_mode": _THROW,
    "sort_overflow_mode": _THROW,
    "join_overflow_mode": _THROW,
    "set_overflow_mode": _THROW,
    "distinct_overflow_mode": _THROW,
}
_DEDUPLICATION_WINDOW = "non_replicated_deduplication_window"


def require_safe_settings(store: Store) -> None:
    """Return if no setting that holds for ``store`` may drop rows silently.

    Raises:
        StoreUnsafe: one may; the message names all of them.
    """
    found = {
        row["name"]: row["value"]
        for row in store.query(
            "SELECT name, value FROM system.settings WHERE name IN {names:Array(String)} "
            "UNION ALL SELECT name, value FROM system.merge_tree_settings WHERE name = {window:String}",
            {"names": list(_SETTINGS), "window": _DEDUPLICATION_WINDOW},
        )
    }
    required = {**_SETTINGS, _DEDUPLICATION_WINDOW: "0"}
    wrong = [
        f"{name} = {found[name]} (must be {value})"
        for name, value in required.items()
        if name in found and found[name] != value
    ]
    wrong += [f"{_DEDUPLICATION_WINDOW} of table {name}" for name in _tables_with_windows(store)]
    if wrong:
        msg = (
            f"store {store.address} could lose rows without an error: {', '.join(wrong)}; "
            "mend the server's configuration or the user's settings profile"
        )
        raise StoreUnsafe(msg)


def _tables_with_windows(store: Store) -> list[str]:
    rows = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() "
        "AND match(engine_full, {pattern:String}) ORDER BY name",
        {"pattern": rf"{_DEDUPLICATION_WINDOW} = [1-9]"},
    )
    return [row["name"] for row in rows]
