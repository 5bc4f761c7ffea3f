"""The domain classifier: features that no longer go together, which no column shows alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from batch.drift.domain_classifier import told_apart
from tests.batch.conftest import Monitored, day, trips


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker: on busy cores more of them take many times as long."""
    with threadpool_limits(1):
        yield


def correlated(n: int, seed: int, sign: float) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    first = rng.normal(size=n)
    return pd.DataFrame({"a": first, "b": sign * first + rng.normal(0, 0.2, n)})


def test_columns_that_no_longer_go_together_are_told_apart_and_equal_ones_are_not() -> None:
    past = correlated(600, 1, 1.0)
    assert told_apart(past, correlated(300, 2, 1.0)) == pytest.approx(0.5, abs=0.08)
    assert told_apart(past, correlated(300, 3, -1.0)) > 0.85


def test_a_column_that_separates_perfectly_gives_almost_one() -> None:
    past, now = pd.DataFrame({"a": np.arange(300.0)}), pd.DataFrame({"a": np.arange(300.0) + 1000})
    assert 0.99 < told_apart(past, now) <= 1


def test_a_contract_that_asks_gets_the_figure_with_its_interval_and_a_verdict(
    monitoring: Callable[..., Monitored],
) -> None:
    monitored = monitoring()
    monitored.contract = monitored.contract.model_copy(
        update={"drift": monitored.contract.drift.model_copy(update={"multivariate": True, "min_rows": 100})}
    )
    reference, frame = trips(2400, 41, days=8), trips(450, 42, days=2)
    moved = frame["event_time"] >= day(1)
    # Both columns keep their own distribution; only which fare goes with which distance changes.
    frame.loc[moved, "fare"] = frame.loc[moved, "fare"].to_numpy()[::-1]
    monitored.build_reference(reference)
    monitored.add(frame)
    monitored.log.complete()
    assert {run["status"] for run in monitored.runs("multivariate")} == set()
    monitored.run("multivariate", "drift")

    calm, changed = monitored.rows("domain_auc", "")
    for row in (calm, changed):
        assert row["lower"] < row["value"] < row["upper"]
    assert calm["lower"] < 0.6
    assert changed["lower"] > 0.7
    verdicts = monitored.verdicts("drift_together")
    assert [verdicts[("batch", "1d", day(number), "", "")] for number in range(2)] == ["pass", "fail"]
    assert monitored.verdicts("drift_calibrated")[("batch", "1d", day(1), "", "fare")] == "pass"


def test_a_contract_that_does_not_ask_has_no_such_runs(monitored: Monitored) -> None:
    monitored.build_reference(trips(500, 43))
    monitored.add(trips(100, 44, days=1))
    monitored.log.complete()
    assert monitored.run("multivariate").runs == 0
