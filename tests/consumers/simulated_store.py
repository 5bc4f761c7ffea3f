"""A store in a dictionary: what ``consumers`` asks of the real one, with ReplacingMergeTree's rule.

Quick enough for thousands of crashes. ``test_model_check`` runs the same schedules on the real engine
too, so that the two cannot drift apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from driftline.clock import from_ms, to_ms

HOUR_MS = 3_600_000
Row = dict[str, Any]
_SEGMENT = ("topic", "source_id", "p", "lo")
_KEYS: dict[str, tuple[str, ...]] = {
    "segments": _SEGMENT,
    "segment_counts": ("window_start", "model_version", "column", *_SEGMENT, "contract_id"),
    "segment_profiles": ("window_start", "model_version", *_SEGMENT, "contract_id"),
    "dead_letters": ("topic", "source_id", "p", "o"),
    "watermarks": ("topic", "source_id", "p"),
    "data_gaps": ("topic", "source_id", "p", "from_o"),
}


class SimulatedStore:
    """Every table holds the row with the greatest version of each key; of equal versions, the last one."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], Row]] = defaultdict(dict)

    def insert(self, table: str, columns: pa.Table) -> None:
        self.insert_rows(table, columns.to_pylist())

    def insert_rows(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            kept, key = self.tables[table], _key(table, row)
            if key not in kept or _version(table, row) >= _version(table, kept[key]):
                kept[key] = dict(row)

    def rows(self, table: str) -> list[Row]:
        return list(self.tables[table].values())

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[Row]:
        if "groupArray(id_hash)" in sql:
            return self._identities(sql, parameters)
        if "FROM quarantine" in sql or "FROM data_gaps" in sql:
            return []
        segments = self._of_partition("segments", parameters)
        if sql.startswith("SELECT lo, hi, watermark, producers FROM segments"):
            return sorted(segments, key=lambda row: row["lo"])
        counts = [row for row in self._of_partition("segment_counts", parameters) if row["column"] == ""]
        if "LEFT JOIN" in sql:
            counted: dict[tuple[int, str], int] = defaultdict(int)
            for row in counts:
                counted[row["lo"], row["contract_id"]] += row["n"]
            return [row for row in segments if counted[row["lo"], row["contract_id"]] < row["n_ok"]]
        if sql.startswith("SELECT window_seconds FROM segment_counts"):
            valid = {(row["lo"], row["contract_id"]) for row in segments}
            below = [row for row in counts if row["lo"] < parameters["lo"] and (row["lo"], row["contract_id"]) in valid]
            return [row for row in below if row["window_seconds"] != parameters["seconds"]][:1]
        assert sql.startswith("SELECT DISTINCT window_start, window_seconds FROM segment_counts"), sql
        return [row for row in counts if row["lo"] < parameters["lo"]]

    def _of_partition(self, table: str, wanted: Mapping[str, Any]) -> list[Row]:
        place = (wanted["topic"], wanted["source"], wanted["p"])
        return [row for row in self.rows(table) if (row["topic"], row["source_id"], row["p"]) == place]

    def _identities(self, sql: str, wanted: Mapping[str, Any]) -> list[Row]:
        table = sql.split(" FROM ")[1].split()[0]
        hours, found = set(map(to_ms, wanted["hours"])), defaultdict(list)
        for row in self.rows(table):
            hour = _moment_ms(row) // HOUR_MS * HOUR_MS
            here = row["source_id"] == wanted["source"] and row["p"] == wanted["p"] and row["o"] < wanted["below"]
            if here and hour in hours:
                found[hour].append(row["id_hash"])
        return [{"hour": from_ms(hour), "hashes": hashes} for hour, hashes in found.items()]


def _moment_ms(row: Mapping[str, Any]) -> int:
    return to_ms(row["event_time"] if "event_time" in row else row["label_time"])


def _key(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    if table in _KEYS:
        return tuple(row[name] for name in _KEYS[table])
    return (_moment_ms(row) // HOUR_MS, row["id"], row.get("model_version"), row.get("label_time"), row.get("label"))


def _version(table: str, row: Mapping[str, Any]) -> int:
    if table in ("segments", "segment_counts", "segment_profiles"):
        return int(row["seg_version"])
    if table == "watermarks":
        return to_ms(row["complete_to"]) * 2 + (row["basis"] == "end")
    return -int(row["o"]) if table not in _KEYS else 0  # raw rows: the first offset wins
