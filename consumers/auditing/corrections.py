"""A window's figures made from the raw rows, in the form of ``segment_counts``: what stands for the segments' sums.

Each row is judged by the contract that its segment was last read with, as the segment's counts are. Which copy of an
identity counts is the raw table's rule: the lowest offset. Sums are the engine's, so their last digits may differ.

The raw rows hold null for a value of the wrong type or not finite, so ``n_type`` and ``n_nonfinite`` are carried over
from the segments, at most ``n_missing``; ``n_late`` likewise. They may count the copies that were taken out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from consumers.auditing.windows import Difference, Key, StreamRows
from consumers.counting.counters import Bounds
from consumers.counting.rules import StreamRules
from driftline.clock import from_ms
from driftline.contract import Contract

_COLUMNS_PER_STATEMENT = 100
Figures = dict[str, Any]


def correct(rows: StreamRows, differences: Sequence[Difference], at: datetime) -> None:
    """Store the raw rows' figures of these windows, valid as long as the segments say what they say now."""
    if not differences:
        return
    keys = {one.key: one for one in differences}
    counted = _counted(rows, keys)
    made = _made(rows, keys)
    healings = _healings(rows)
    found = [
        _row(rows, keys[key], column, figures, counted.get((key, column), {}), healings.get(key, 0) + 1, at)
        for (key, column), figures in made.items()
    ]
    # The whole window in one block: a correction is in force with all its columns or not at all.
    rows.store.insert_rows("window_corrections", found)


def _row(
    rows: StreamRows, one: Difference, column: str, made: Figures, counted: Figures, healing: int, at: datetime
) -> Figures:
    missing = made.get("n_missing", 0)
    whole = column == ""
    return {
        "model": rows.contract.model,
        "topic": rows.topic,
        "stream": rows.stream,
        "window_start": from_ms(one.key.start_ms),
        "model_version": one.key.version,
        "column": column,
        "counted_n": one.counted.n,
        "counted_id_sum": one.counted.id_sum,
        "healing": healing,
        "at": at,
        "n": made["n"],
        "n_duplicate": counted.get("n_duplicate", 0) + max(0, one.counted.n - one.raw.n) if whole else 0,
        "n_late": min(counted.get("n_late", 0), made["n"]),
        "id_sum": one.raw.id_sum if whole else 0,
        "n_missing": missing,
        "n_type": min(counted.get("n_type", 0), missing),
        "n_nonfinite": min(counted.get("n_nonfinite", 0), missing),
        "n_range": made.get("n_range"),
        "n_unseen": made.get("n_unseen"),
        "n_number": made.get("n_number", 0),
        "total": made.get("total", 0.0),
        "total_sq": made.get("total_sq", 0.0),
        "low": made.get("low"),
        "high": made.get("high"),
    }


def _counted(rows: StreamRows, keys: Mapping[Key, Difference]) -> dict[tuple[Key, str], Figures]:
    found = rows.store.query(
        "SELECT toUnixTimestamp64Milli(window_start) AS start_ms, model_version, column, n_duplicate, n_late, n_type, "
        "n_nonfinite FROM segment_window_counts WHERE model = {model:String} AND topic = {topic:String} "
        "AND window_start IN {starts:Array(DateTime64(3, 'UTC'))}",
        rows.parameters(starts=[from_ms(start) for start in sorted({key.start_ms for key in keys})]),
    )
    return {(Key(row["start_ms"], row["model_version"]), row["column"]): row for row in found}


def _healings(rows: StreamRows) -> dict[Key, int]:
    found = rows.store.query(
        "SELECT toUnixTimestamp64Milli(window_start) AS start_ms, model_version, max(healing) AS healing "
        "FROM window_corrections WHERE model = {model:String} AND topic = {topic:String} GROUP BY ALL",
        rows.parameters(),
    )
    return {Key(row["start_ms"], row["model_version"]): row["healing"] for row in found}


def _made(rows: StreamRows, keys: Mapping[Key, Difference]) -> dict[tuple[Key, str], Figures]:
    """Return the figures by window and column; the column "" has the number of events only."""
    made: dict[tuple[Key, str], Figures] = {}
    for contract in _contracts(rows):
        rules = StreamRules.of(contract, rows.stream)
        names = list(rules.bounds)
        for first in range(0, len(names), _COLUMNS_PER_STATEMENT):
            chosen = {name: rules.bounds[name] for name in names[first : first + _COLUMNS_PER_STATEMENT]}
            for row in _aggregated(rows, contract, chosen, keys):
                key = Key(row["start_ms"], row["model_version"])
                if key in keys:
                    if first == 0:
                        _add(made, (key, ""), {"n": row["n"]})
                    for at, name in enumerate(chosen):
                        _add(made, (key, name), {"n": row["n"], **_figures(row, at, chosen[name])})
    return made


def _contracts(rows: StreamRows) -> list[Contract]:
    """Return the contracts that segments of the topic were last read with."""
    found = rows.store.query(
        "SELECT DISTINCT contract_id, body FROM contracts FINAL WHERE model = {model:String} AND contract_id IN ("
        "SELECT contract_id FROM segments FINAL WHERE topic = {topic:String})",
        rows.parameters(),
    )
    return [Contract.model_validate(msgspec.json.decode(row["body"])) for row in found]


def _aggregated(
    rows: StreamRows, contract: Contract, bounds: Mapping[str, Bounds], keys: Mapping[Key, Difference]
) -> Iterator[Figures]:
    parameters: dict[str, Any] = {"contract_id": contract.id}
    figures = "".join(f", {part}" for at, name in enumerate(bounds) for part in _parts(at, name, bounds, parameters))
    dead = "SELECT source_id, p, o FROM counted_dead_letters WHERE topic = {topic:String}"
    for hours in rows.hours_of(key.start_ms for key in keys):
        yield from rows.store.query(
            f"SELECT {rows.start} AS start_ms, {rows.version} AS model_version, count() AS n{figures} "  # noqa: S608
            f"FROM ({rows.rows(hours=True)}) AS r ASOF INNER JOIN ("
            "  SELECT source_id, p, lo, hi, contract_id FROM segments FINAL WHERE topic = {topic:String}"
            ") AS s ON s.source_id = r.source_id AND s.p = r.p AND r.o >= s.lo "
            f"WHERE r.o < s.hi AND s.contract_id = {{contract_id:String}} AND (r.source_id, r.p, r.o) NOT IN ({dead}) "
            "GROUP BY start_ms, model_version",
            rows.parameters(**parameters, hours=hours),
        )


def _parts(at: int, name: str, bounds: Mapping[str, Bounds], parameters: dict[str, Any]) -> Iterator[str]:
    """Yield the aggregates of one column; its bounds go into ``parameters``. Names are letters, digits, underscores."""
    bound = bounds[name]
    if name in ("prediction", "label") and bound.kind != "number":
        name = "class" if name == "prediction" else "label_class"
    value = f"r.`{name}`"
    yield f"countIf({value} IS NULL) AS missing_{at}"
    if bound.kind == "number":
        parameters |= {f"low_{at}": bound.low, f"high_{at}": bound.high}
        yield f"countIf({value} < {{low_{at}:Float64}} OR {value} > {{high_{at}:Float64}}) AS range_{at}"
        yield f"count({value}) AS number_{at}"
        yield f"ifNull(sum({value}), 0) AS total_{at}"
        yield f"ifNull(sum({value} * {value}), 0) AS square_{at}"
        yield f"min({value}) AS least_{at}"
        yield f"max({value}) AS greatest_{at}"
    elif bound.known is not None:
        parameters[f"known_{at}"] = sorted(bound.known)
        yield f"countIf({value} IS NOT NULL AND NOT has({{known_{at}:Array(String)}}, {value})) AS unseen_{at}"


def _figures(row: Mapping[str, Any], at: int, bounds: Bounds) -> Figures:
    found = {
        "n_missing": row[f"missing_{at}"],
        "n_range": row.get(f"range_{at}", 0) if bounds.has_range else None,
        "n_unseen": row.get(f"unseen_{at}", 0) if bounds.known is not None else None,
    }
    if bounds.kind == "number":
        found |= {"n_number": row[f"number_{at}"], "total": row[f"total_{at}"], "total_sq": row[f"square_{at}"]}
        found |= {"low": row[f"least_{at}"], "high": row[f"greatest_{at}"]}
    return found


def _add(made: dict[tuple[Key, str], Figures], place: tuple[Key, str], figures: Figures) -> None:
    """Add the rows judged by one contract to those judged by others; a figure that one lacks is the others'."""
    known = made.setdefault(place, {})
    for name, value in figures.items():
        if value is not None and known.get(name) is not None:
            choose = {"low": min, "high": max}.get(name)
            known[name] = choose(known[name], value) if choose else known[name] + value
        elif value is not None:
            known[name] = value
