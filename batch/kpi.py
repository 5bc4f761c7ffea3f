"""Job ``kpi``: the contract's business figures, SQL aggregates over a window's rows.

A row is an input with the champion's answer and the latest label; what has not come is null. The contract's grammar
has accepted the expression, so it reads nothing but its row; each runs on its own, and one that the engine refuses is
an error of that figure alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.ledger.finality import all_labelled_or_late
from batch.ledger.ledger import Candidate, Key, Tally, summed
from batch.ledger.snapshot import Snapshot
from batch.results import Failure, Metric, Outcome
from batch.rows.frames import HOUR, Span
from batch.rows.halving import ask_by_halves
from batch.setting import Setting
from driftline.checks import Rule
from driftline.contract.model import Contract
from driftline.contract.parts import Kpi
from driftline.metrics import KPI_PREFIX
from driftline.store import Store


class KpiJob:
    """The contract's KPIs per window of ``windows.quality``; again when labels come, if one of them reads labels."""

    name = "kpi"
    algorithm_version = "2"
    judges_slices = False

    def candidates(self, snapshot: Snapshot, setting: Setting) -> list[Candidate]:
        """Return the windows with inputs, where the contract has KPIs."""
        contract = setting.contract
        if not contract.kpis:
            return []
        champion = snapshot.counts.get(("predictions", contract.versions.champion), {})
        streams = ("inputs", "predictions") if champion else ("inputs",)
        shared = {
            "algorithm": self.algorithm_version,
            "kpis": [[kpi.name, kpi.sql] for kpi in contract.kpis],
            "champion": contract.versions.champion,
            "reference": "",
            "positive": contract.positive_class,
            "features": sorted(_ANSWERS.keys() & contract.columns.keys()),
        }
        with_labels, found = reads_labels(contract), []
        for size in dict.fromkeys(contract.windows.quality):
            answers, labelled = summed(champion, size), summed(snapshot.labelled_inputs, size)
            for start_ms, tally in summed(snapshot.counts.get(("inputs", ""), {}), size).items():
                key, joined = Key(self.name, "", size, start_ms), labelled.get(start_ms, Tally())
                answered = answers.get(start_ms, Tally())
                parts: dict[str, Any] = {**shared, "rows": [tally.n, tally.id_sum, answered.n, answered.id_sum]}
                is_final = not with_labels or all_labelled_or_late(key.window, joined, snapshot, contract)
                if with_labels:
                    parts |= {"labels": [joined.n_labels, joined.label_sum], "is_final": is_final}
                waits_for, last = snapshot.lacks(key.window, *streams), snapshot.runs.get(key)
                rows = joined if with_labels and joined.n else tally
                found.append(Candidate(key, parts, rows, waits_for, is_final, last=last))
        return found

    def run(self, setting: Setting, due: Sequence[Candidate]) -> Mapping[Key, Outcome]:
        """Compute each KPI of all windows in one statement, or in a few where a window has values it cannot compute."""
        span = Span(due[0].key.size, tuple(sorted({one.key.start_ms for one in due})))
        found = _Found()
        for kpi in setting.contract.kpis:
            _add(found, setting.store, setting.contract, span, kpi)
        return {
            one.key: Outcome(
                "ok",
                one.tally.n,
                tuple(found.metrics.get(one.key.start_ms, ())),
                tuple(found.failures.get(one.key.start_ms, ())),
                n_predictions=one.tally.n if "labels" in one.parts else 0,
                n_labels=one.tally.n_labelled,
            )
            for one in due
        }

    def judges(self, rule: Rule, key: Key) -> bool:
        """Judge batch rules on KPIs."""
        return rule.source == "batch" and rule.metric.startswith(KPI_PREFIX)


@dataclass(slots=True)
class _Found:
    metrics: dict[int, list[Metric]] = field(default_factory=dict)
    failures: dict[int, list[Failure]] = field(default_factory=dict)

    def fail(self, start_ms: int, kpi: Kpi, error: str) -> None:
        """Take note that a window has no figure."""
        self.failures.setdefault(start_ms, []).append(Failure(f"{KPI_PREFIX}{kpi.name}", f"kpi {kpi.name}{error}"))


def reads_labels(contract: Contract) -> bool:
    """Return whether a KPI changes when labels come."""
    return any(contract.kpi_expression(kpi).columns & {"label", "label_class"} for kpi in contract.kpis)


def _add(found: _Found, store: Store, contract: Contract, span: Span, kpi: Kpi) -> None:
    parameters: dict[str, Any] = {
        "inputs": contract.raw_inputs_table,
        "champion": contract.versions.champion,
        "positive": contract.positive_class or "",
    }
    statement = _statement(contract, kpi)
    asked = ask_by_halves(span, lambda part: store.query(statement, {**parameters, **part.parameters(contract)}))
    for start_ms, reason in asked.refused.items():
        found.fail(start_ms, kpi, f": {reason}")
    for row in asked.rows:
        value = row["value"]
        if not isinstance(value, bool | int | float) and value is not None:
            found.fail(row["start_ms"], kpi, f" must be a number; got {type(value).__name__}")
        elif value is not None and math.isfinite(value):
            metric = Metric("", f"{KPI_PREFIX}{kpi.name}", float(value), row["rows"], method=kpi.sql[:200])
            found.metrics.setdefault(row["start_ms"], []).append(metric)


def _statement(contract: Contract, kpi: Kpi) -> str:
    answers = "".join(f", {value} AS {name}" for name, value in _ANSWERS.items() if name not in contract.columns)
    return _KPI.replace("ANSWERS", answers).replace("EXPRESSION", contract.kpi_expression(kpi).text)


# A feature of such a name goes first; the joined columns have names that no feature can have, or both were ambiguous.
_ANSWERS = {
    "prediction": "a.`answer.prediction`",
    "class": "a.`answer.class`",
    "probability": "a.`answer.probability`",
    "label": "l.`answer.label`",
    "label_class": "l.`answer.label_class`",
}
_SPAN = """
    event_time >= fromUnixTimestamp64Milli({low:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Milli({high:Int64}, 'UTC')
"""
# Rows are grouped by a name of ours that no expression can say, and columns keep theirs.
_KPI = f"""
    SELECT `window.start` AS start_ms, count() AS rows, (EXPRESSION) AS value
    FROM (
        SELECT intDiv(toUnixTimestamp64Milli(i.event_time), {{size:Int64}}) * {{size:Int64}} AS `window.start`,
            i.id AS id, i.* EXCEPT (id, append_time, id_hash, source_id, p, o, `input.hour`) ANSWERS
        FROM (SELECT *, {HOUR} AS `input.hour` FROM {{inputs:Identifier}} FINAL WHERE {_SPAN}) AS i
        LEFT JOIN (
            SELECT id, {HOUR} AS `answer.hour`, if(status = 'ok', prediction, NULL) AS `answer.prediction`,
                if(status = 'ok', CAST(class, 'Nullable(String)'), NULL) AS `answer.class`,
                if(status = 'ok' AND mapContains(probabilities, {{positive:String}}),
                    probabilities[{{positive:String}}], NULL) AS `answer.probability`
            FROM predictions FINAL
            WHERE model = {{model:String}} AND model_version = {{champion:String}} AND {_SPAN}) AS a
            ON a.id = i.id AND a.`answer.hour` = i.`input.hour`
        LEFT JOIN (
            SELECT id, argMax(tuple(label), (label_time, o)).1 AS `answer.label`,
                CAST(argMax(tuple(label_class), (label_time, o)).1, 'Nullable(String)') AS `answer.label_class`
            FROM labels FINAL WHERE model = {{model:String}} AND id IN (
                SELECT id FROM {{inputs:Identifier}} WHERE {_SPAN})
            GROUP BY id) AS l ON l.id = i.id)
    WHERE has({{starts:Array(Int64)}}, `window.start`)
    GROUP BY `window.start`
"""  # noqa: S608  # all parts are constants of this module
