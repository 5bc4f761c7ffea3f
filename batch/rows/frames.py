"""Rows of completed windows out of the store: predictions with their latest labels, and inputs.

One query serves many windows; every result has a column ``start_ms``, the window's start in epoch
milliseconds. Windows of more than ``MOST_ROWS`` rows are sampled by a hash of the id, the same rows every time
and for every version; counts are always exact. Raw tables are read with FINAL, so that a record written twice
counts once. They keep an id once an hour, so a window of several hours may hold it several times: a row is known by
``REQUEST``, and rows of two tables belong together when both its columns agree. A label goes by its id alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from batch.rows.outcomes import for_task, outcome_parameters
from batch.rows.outcomes import valid_range as valid_range
from driftline.contract.model import Contract
from driftline.store import Store
from driftline.windows import to_window_ms

MOST_ROWS = 200_000
_GREATEST_HASH = 2**64 - 1
MOST_CLASSES = 50
SCORE_PREFIX = "score."
REQUEST = ["id", "hour"]
"""Columns that name a request: its id, and the hour of its event time, counted since 1970."""

# A label is the one with the greatest (label_time, offset); its tuple keeps a null that argMax would skip.
_LATEST_LABELS = """
    SELECT id, argMax(tuple(RAW_LABEL), (label_time, o)).1 AS label, true AS labelled FROM labels FINAL
    WHERE model = {model:String} AND id IN (
        SELECT id FROM predictions WHERE model = {model:String}
            AND event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
            AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC'))
    GROUP BY id
"""
_SPAN = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC') AND has({starts:Array(Int64)}, start_ms)
"""
_SAMPLED = "cityHash64(id) <= {highest:Array(UInt64)}[indexOf({starts:Array(Int64)}, start_ms)]"
_START = "intDiv(toUnixTimestamp64Milli(event_time), {size:Int64}) * {size:Int64} AS start_ms"
HOUR = "intDiv(toUnixTimestamp64Milli(event_time), 3600000)"


@dataclass(frozen=True, slots=True)
class Span:
    """Windows of one size to read together, by their starts in epoch milliseconds.

    In those of ``assumed`` a prediction without a label counts as the contract's `label.absent_means` says.
    """

    size: timedelta
    starts: tuple[int, ...]
    assumed: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    """Rows of each window, in the order of ``starts``, where they are known."""

    @property
    def highest_hashes(self) -> list[int]:
        """For each window the hash of ids above which no row can be in the sample, so that few rows are sorted.

        A twentieth more rows than the sample lie below it, give or take a thousandth of the sample.
        """
        wanted = MOST_ROWS * 21 // 20
        known = self.rows or (0,) * len(self.starts)
        return [_GREATEST_HASH if n <= wanted else _GREATEST_HASH * wanted // n for n in known]

    @property
    def halves(self) -> tuple[Span, Span]:
        """The earlier and the later windows, of two or more."""
        middle = len(self.starts) // 2
        return (
            replace(self, starts=self.starts[:middle], rows=self.rows[:middle]),
            replace(self, starts=self.starts[middle:], rows=self.rows[middle:]),
        )

    def parameters(self, contract: Contract) -> dict[str, Any]:
        """Return the values that every statement over this span binds."""
        size_ms, (label_low, label_high) = to_window_ms(self.size), valid_range(contract)
        return {
            "model": contract.model,
            "size": size_ms,
            "low": min(self.starts),
            "high": max(self.starts) + size_ms,
            "starts": list(self.starts),
            "rows": MOST_ROWS,
            "highest": self.highest_hashes,
            "label_low": label_low,
            "label_high": label_high,
            "assumed": list(self.assumed),
            "absent": contract.label.absent_means or "",
            **outcome_parameters(contract),
        }


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Predictions of one version in one window: all, failed, with any label, and with a valid label and an answer.

    ``n_assumed`` of the last have a label only because an absent one counts as something.
    """

    n_predictions: int
    n_failed: int
    n_labels: int
    n_scored: int
    n_assumed: int = 0


def label_counts(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], LabelCounts]:
    """Return exact counts by (start_ms, model_version)."""
    rows = store.query(for_task(_COUNTS, contract), span.parameters(contract))
    return {
        (row["start_ms"], row["model_version"]): LabelCounts(
            row["n_predictions"], row["n_failed"], row["n_labels"], row["n_scored"], row["n_assumed"]
        )
        for row in rows
    }


def scored_frames(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], pa.Table]:
    """Return ``id``, ``hour``, ``prediction`` and ``label`` of the rows to score, by (start_ms, model_version).

    They are ordered by id and hour. Classes come with ``score.CLASS``, the probability that the version gave to each
    class; null where it gave none.
    """
    classes = classes_of(store, contract, span)
    if classes.are_many and len(span.starts) > 1:
        return {place: rows for half in span.halves for place, rows in scored_frames(store, contract, half).items()}
    parameters = {**span.parameters(contract), **{f"class_{index}": name for index, name in enumerate(classes.names)}}
    scores = "".join(
        f", if(empty(probabilities), NULL, probabilities[{{class_{index}:String}}]) AS score_{index}"
        for index in range(len(classes.names))
    )
    table = store.arrow(for_task(_SCORED, contract).replace(", SCORES", scores), parameters)
    own = [*REQUEST, "prediction", "label"]
    wanted = [*own, *(f"score_{index}" for index in range(len(classes.names)))]
    split = split_by(table, ("start_ms", "model_version"), wanted)
    shown = [*own, *(SCORE_PREFIX + name for name in classes.names)]
    return {
        place: rows.rename_columns(shown).select([*own, *(SCORE_PREFIX + name for name in classes.given_in(place))])
        for place, rows in split.items()
    }


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes with probabilities: ``names`` of a whole span, in order, ``own`` by (start_ms, model_version).

    Without ``own`` each has all of them.
    """

    names: tuple[str, ...] = ()
    own: Mapping[tuple[Any, ...], frozenset[str]] | None = None

    @property
    def are_many(self) -> bool:
        """Whether a column for each is too much for all windows together."""
        return len(self.names) > MOST_CLASSES

    def given_in(self, place: tuple[Any, ...]) -> list[str]:
        """Return the classes of one window and version, in order: what others give is no class of theirs."""
        return [name for name in self.names if self.own is None or name in self.own.get(place, ())]


def classes_of(store: Store, contract: Contract, span: Span) -> Classes:
    """Return the classes that predictions give probabilities to; none for regression.

    A binary model's only one is the positive class. A window and version with more than ``MOST_CLASSES`` has none: too
    many to score.
    """
    if contract.task == "regression":
        return Classes()
    if contract.task == "binary":
        return Classes((str(contract.positive_class),))
    rows = store.query(_CLASSES, span.parameters(contract))
    found = {(row["start_ms"], row["model_version"]): row["names"] for row in rows}
    own = {place: frozenset(names) for place, names in found.items() if len(names) <= MOST_CLASSES}
    return Classes(tuple(sorted(frozenset().union(*own.values()))), own)


def prediction_frames(store: Store, contract: Contract, span: Span) -> dict[tuple[int, str], pa.Table]:
    """Return ``prediction`` of the answered predictions, ordered by id, by (start_ms, model_version)."""
    table = store.arrow(for_task(_PREDICTIONS, contract), span.parameters(contract))
    return split_by(table, ("start_ms", "model_version"), ("prediction",))


def label_frames(store: Store, contract: Contract, span: Span) -> dict[int, pa.Table]:
    """Return ``label`` of the inputs with a valid label, came or assumed, ordered by id, by start_ms."""
    parameters = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    split = split_by(store.arrow(for_task(_INPUT_LABELS, contract), parameters), ("start_ms",), ("label",))
    return {key[0]: rows for key, rows in split.items()}


def input_frames(store: Store, contract: Contract, span: Span, columns: Sequence[str]) -> dict[int, pa.Table]:
    """Return the named features of the inputs, ordered by id, by start_ms."""
    parameters: dict[str, Any] = {**span.parameters(contract), "inputs": contract.raw_inputs_table}
    parameters |= {f"column_{index}": name for index, name in enumerate(columns)}
    chosen = ", ".join(f"{{column_{index}:Identifier}}" for index in range(len(columns)))
    split = split_by(store.arrow(_INPUTS.replace("COLUMNS", chosen), parameters), ("start_ms",), columns)
    return {key[0]: rows for key, rows in split.items()}


def to_arrow_bytes(table: pa.Table) -> bytes:
    """Return ``table`` as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_arrow_bytes(stream: bytes) -> pd.DataFrame:
    """Return the rows of an Arrow stream; nulls of numbers are NaN, of strings None."""
    frame: pd.DataFrame = pa.ipc.open_stream(stream).read_all().to_pandas()
    return frame


def split_by(table: pa.Table, keys: Sequence[str], columns: Sequence[str]) -> dict[tuple[Any, ...], pa.Table]:
    """Cut ``table``, which is ordered by ``keys``, into one table of ``columns`` per key."""
    found: dict[tuple[Any, ...], pa.Table] = {}
    if not table.num_rows:
        return found
    markers = table.select(list(keys)).to_pandas()
    changed = (markers != markers.shift()).any(axis=1).to_numpy().nonzero()[0].tolist()
    chosen = table.select(list(columns)).combine_chunks()
    for first, end in zip(changed, [*changed[1:], table.num_rows], strict=True):
        key = tuple(markers.iloc[first])
        found[(int(key[0]), *key[1:])] = chosen.slice(first, end - first)
    return found


JOINED = f"""
    FROM (
        SELECT a.start_ms AS start_ms, a.id AS id, a.hour AS hour, a.model_version AS model_version, a.answer AS answer,
            a.probabilities AS probabilities, a.status AS status, l.labelled AS labelled,
            NOT l.labelled AND has({{assumed:Array(Int64)}}, a.start_ms) AS assumed,
            if(assumed, ABSENT, l.label) AS label
        FROM (SELECT {_START}, id, {HOUR} AS hour, model_version, ANSWER AS answer, probabilities, status
              FROM predictions FINAL WHERE model = {{model:String}} AND {_SPAN}) AS a
        LEFT JOIN ({_LATEST_LABELS}) AS l ON a.id = l.id
    ) AS p
"""  # noqa: S608  # all parts are constants of this module
_COUNTS = f"""
    SELECT start_ms, model_version, count() AS n_predictions, countIf(NOT (ANSWERED)) AS n_failed,
        countIf(labelled) AS n_labels, countIf(ANSWERED AND VALID) AS n_scored,
        countIf(ANSWERED AND VALID AND assumed) AS n_assumed
    {JOINED} GROUP BY start_ms, model_version
"""
_SCORED = f"""
    SELECT start_ms, model_version, id, hour, answer AS prediction, label, SCORES FROM (
        SELECT start_ms, model_version, p.id AS id, hour, answer, probabilities, label {JOINED}
        WHERE ANSWERED AND VALID
        ORDER BY cityHash64(id), id, hour LIMIT {{rows:UInt32}} BY start_ms, model_version)
    ORDER BY start_ms, model_version, id, hour
"""  # noqa: S608
_PREDICTIONS = f"""
    SELECT start_ms, model_version, id, answer AS prediction FROM (
        SELECT * FROM (
            SELECT {_START}, model_version, id, ANSWER AS answer, status FROM predictions FINAL
            WHERE model = {{model:String}} AND {_SPAN} AND {_SAMPLED})
        WHERE ANSWERED
        ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms, model_version)
    ORDER BY start_ms, model_version, id
"""  # noqa: S608
_CLASSES = f"""
    SELECT start_ms, model_version, groupUniqArrayArray({MOST_CLASSES + 1})(mapKeys(probabilities)) AS names FROM (
        SELECT model_version, probabilities, {_START} FROM predictions FINAL
        WHERE model = {{model:String}} AND {_SPAN})
    GROUP BY start_ms, model_version
"""  # noqa: S608
_INPUTS = f"""
    SELECT start_ms, id, COLUMNS FROM (
        SELECT {_START}, id, COLUMNS FROM {{inputs:Identifier}} FINAL WHERE {_SPAN} AND {_SAMPLED}
        ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms)
    ORDER BY start_ms, id
"""  # noqa: S608
_INPUT_LABELS = f"""
    SELECT start_ms, id, label FROM (
        SELECT start_ms, id, label FROM (
            SELECT i.start_ms AS start_ms, i.id AS id,
                if(NOT l.labelled AND has({{assumed:Array(Int64)}}, i.start_ms), ABSENT, l.label) AS label
            FROM (SELECT {_START}, id FROM {{inputs:Identifier}} FINAL WHERE {_SPAN}) AS i
            LEFT JOIN (
                SELECT id, argMax(tuple(RAW_LABEL), (label_time, o)).1 AS label, true AS labelled FROM labels FINAL
                WHERE model = {{model:String}} GROUP BY id) AS l ON i.id = l.id)
        WHERE VALID ORDER BY cityHash64(id), id LIMIT {{rows:UInt32}} BY start_ms)
    ORDER BY start_ms, id
"""  # noqa: S608
