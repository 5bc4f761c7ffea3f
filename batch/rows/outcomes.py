"""How a task's answers and labels stand in the raw tables: numbers for regression, classes for the rest.

Statements over predictions and labels are written once, with words in capitals for what differs: ``ANSWER`` (what a
prediction row says), ``ANSWERED`` (it says something; over ``answer`` and ``status``), ``RAW_LABEL`` and ``VALID``
(a label that may be scored; over ``label``), ``ABSENT`` (what a label that never comes counts as).

A binary answer with probabilities is the positive class from the contract's decision threshold on, whatever class the
event carried: Evidently ignores the classes where both are given, and so do we, but at the contract's threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from driftline.contract.model import Contract

_OTHER = (
    "coalesce(if(class != {positive:String}, CAST(class, 'Nullable(String)'), NULL), "
    "nullIf(arrayFirst(k -> k != {positive:String}, arrayMap(k -> toString(k), mapKeys(probabilities))), ''), "
    "concat('not ', {positive:String}))"
)
_DECIDED = (
    "multiIf(class IS NULL, NULL, empty(probabilities), CAST(class, 'Nullable(String)'), "
    f"probabilities[{{positive:String}}] >= {{decision_threshold:Float64}}, {{positive:String}}, {_OTHER})"
)
_NUMBERS: Mapping[str, str] = {
    "ANSWERED": "(status = 'ok' AND ifNull(isFinite(answer), false))",
    "ANSWER": "prediction",
    "RAW_LABEL": "label",
    "ABSENT": "toFloat64OrNull({absent:String})",
    "VALID": "ifNull(isFinite(label) AND label >= {label_low:Float64} AND label <= {label_high:Float64}, false)",
}
_CLASSES: Mapping[str, str] = {
    "ANSWERED": "(status = 'ok' AND answer IS NOT NULL)",
    "ANSWER": "CAST(class, 'Nullable(String)')",
    "RAW_LABEL": "CAST(label_class, 'Nullable(String)')",
    "ABSENT": "toNullable({absent:String})",
    "VALID": "ifNull(label != '', false)",
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "regression": _NUMBERS,
    "multiclass": _CLASSES,
    "binary": {**_CLASSES, "ANSWER": _DECIDED},
}


def for_task(sql: str, contract: Contract) -> str:
    """Return ``sql`` with its capital words as the contract's task has them."""
    for word, meaning in _WORDS[contract.task].items():
        sql = sql.replace(word, meaning)
    return sql


def outcome_parameters(contract: Contract) -> dict[str, Any]:
    """Return the values that ``for_task`` statements bind beside the label's range."""
    if contract.task != "binary":
        return {}
    return {"positive": contract.positive_class, "decision_threshold": contract.decision_threshold}


def outcome_parts(contract: Contract) -> dict[str, Any]:
    """Return what a task's answers depend on in the contract, for fingerprints."""
    if contract.task != "binary":
        return {"task": contract.task}
    return {"task": contract.task, "decision": [contract.positive_class, contract.decision_threshold]}


def valid_range(contract: Contract) -> tuple[float, float]:
    """Return the closed range of valid labels; infinite where the contract leaves a side open."""
    valid = contract.label.range
    low = -math.inf if valid is None or valid.low is None else valid.low
    return low, math.inf if valid is None or valid.high is None else valid.high
