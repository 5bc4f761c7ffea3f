"""Differences of several windows as one: what a test of days says, not what each day says.

Windows are strata: their differences weigh as their requests do, and their variances add up with the squares of those
weights (Cochran, Sampling Techniques, 1977, 5.3). For pairs the value is the mean over all pairs of all windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import norm, t

_TAIL = 0.975


@dataclass(frozen=True, slots=True)
class Judged:
    """A window's difference, its 95 % interval by Student's t, and the requests it rests on."""

    value: float
    lower: float
    upper: float
    n: int

    @property
    def standard_error(self) -> float:
        """What the interval was made of."""
        return (self.upper - self.lower) / 2 / float(t.ppf(_TAIL, self.n - 1))


@dataclass(frozen=True, slots=True)
class Together:
    """The difference over all windows; ``probability_of_less`` is the chance that it is below zero."""

    value: float
    lower: float
    upper: float
    probability_of_less: float
    n: int

    def as_row(self, metric: str) -> dict[str, Any]:
        """Return it as ``driftline compare`` prints it; of accuracy more is better, of all else less."""
        better = 1 - self.probability_of_less if metric.startswith("accuracy") else self.probability_of_less
        figures = {"difference": self.value, "lower": self.lower, "upper": self.upper, "n": self.n}
        return {**figures, "probability_better": better}


def together(windows: Sequence[Judged]) -> Together:
    """Return the windows as one; at least one, and each rests on two requests or more."""
    n = sum(one.n for one in windows)
    value = sum(one.value * one.n for one in windows) / n
    error = math.sqrt(sum((one.standard_error * one.n / n) ** 2 for one in windows))
    reach = float(norm.ppf(_TAIL)) * error
    less = float(norm.cdf(-value / error)) if error else float(value < 0) + 0.5 * (value == 0)
    return Together(value, value - reach, value + reach, less, n)
