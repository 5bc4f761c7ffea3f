"""What is asked about a trip, by the contract's task: its minutes, or a class of them.

Binary: the contract's positive class is a trip of more than ``LONG_MINUTES``, the other one ``short``. Multiclass:
``short`` up to ``SHORT_MINUTES``, ``long`` from ``LONG_MINUTES`` on, ``medium`` between.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.contract import Contract

SHORT_MINUTES, LONG_MINUTES = 8.0, 15.0

Outcomes = npt.NDArray[np.float64] | npt.NDArray[np.object_]


def outcomes_of(minutes: npt.NDArray[np.float64], contract: Contract) -> Outcomes:
    r"""Return the label of each trip; NaN or None where its minutes are unknown.

    >>> from driftline.contract import parse_contract
    >>> text = "model: m\ncolumns: {a: {type: number}}\ntask: binary\npositive_class: slow"
    >>> outcomes_of(np.array([3.0, 20.0, np.nan]), parse_contract(text, "")).tolist()
    ['short', 'slow', None]
    """
    if contract.task == "regression":
        return minutes
    found = np.full(len(minutes), None, dtype=object)
    if contract.task == "binary":
        found[minutes <= LONG_MINUTES], found[minutes > LONG_MINUTES] = "short", contract.positive_class
        return found
    found[minutes <= SHORT_MINUTES], found[minutes > LONG_MINUTES] = "short", "long"
    found[(minutes > SHORT_MINUTES) & (minutes <= LONG_MINUTES)] = "medium"
    return found


def is_known(labels: Outcomes) -> npt.NDArray[np.bool_]:
    """Return which labels are there."""
    if labels.dtype == object:
        present: npt.NDArray[np.bool_] = np.array([label is not None for label in labels], dtype=bool)
        return present
    known: npt.NDArray[np.bool_] = ~np.isnan(labels.astype("float64", copy=False))
    return known
