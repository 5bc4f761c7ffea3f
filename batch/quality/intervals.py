"""95 % confidence intervals of a window's figures: how far chance alone could have moved them.

Rows are taken as independent draws. Each function returns (lower, upper), or (None, None) where the rows are too few
for the interval to mean anything. None draws at random without a seed, and none costs more than a few milliseconds.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.stats import binom, norm, t

Interval = tuple[float | None, float | None]
Floats = npt.NDArray[np.float64]

LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2
_NONE: Interval = (None, None)
# Below it, Student's t on skewed errors covers the truth far less often than it says.
_LEAST_ROWS = 10


def of_mean(values: Floats) -> Interval:
    """Return Student's interval of the mean of ``values``."""
    return of_estimate(float(values.mean()), values - values.mean())


def of_estimate(estimate: float, influence: Floats, low: float = -math.inf, high: float = math.inf) -> Interval:
    """Return the delta method's interval, cut to [``low``, ``high``].

    ``influence`` is what each row adds to the estimate, to first order, with mean zero; the standard error is its
    standard deviation over the root of the rows (van der Vaart, Asymptotic Statistics, 1998, chapter 20).
    """
    n = len(influence)
    if n < _LEAST_ROWS:
        return _NONE
    reach = float(t.ppf(1 - _TAIL, n - 1)) * float(influence.std(ddof=1)) / math.sqrt(n)
    if not math.isfinite(reach):
        return _NONE
    return max(low, estimate - reach), min(high, estimate + reach)


def of_ratio(part: Floats, whole: Floats) -> Interval:
    """Return the delta method's interval of ``part.mean() / whole.mean()``, whose rows are pairs."""
    ratio = float(part.mean() / whole.mean())
    return of_estimate(ratio, (part - ratio * whole) / whole.mean())


def of_quantile(ordered: Floats, share: float) -> Interval:
    """Return the interval of a quantile between two order statistics of ``ordered``, whatever the distribution.

    The number of rows below the true quantile is binomial (Conover, Practical Nonparametric Statistics, 1999, 3.2).
    """
    n = len(ordered)
    first, last = (int(rank) for rank in binom.ppf([_TAIL, 1 - _TAIL], n, share))
    if first < 1 or last + 1 > n:
        return _NONE
    return float(ordered[first - 1]), float(ordered[last])


def of_share(hits: int, n: int) -> Interval:
    """Return Wilson's interval of the share ``hits / n`` (Wilson, JASA 22, 1927).

    >>> [round(end, 4) for end in of_share(8, 10)]
    [0.4902, 0.9433]
    """
    if n == 0:
        return _NONE
    z = float(norm.ppf(1 - _TAIL))
    share, scale = hits / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    reach = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def of_draws(estimate: float, drawn: Floats, on_sample: float | None = None) -> Interval:
    """Return the percentile interval of bootstrap ``drawn`` figures within [0, 1].

    ``on_sample`` is the figure of the cells that were drawn from where they are coarser than the rows; the interval is
    moved by the difference.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return _NONE
    shift = 0.0 if on_sample is None else estimate - on_sample
    low, high = np.quantile(drawn, [_TAIL, 1 - _TAIL]) + shift
    return max(0.0, min(estimate, float(low))), min(1.0, max(estimate, float(high)))
