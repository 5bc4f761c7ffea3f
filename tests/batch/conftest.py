"""One embedded store and one worker for all tests here; every test has a model of its own in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batch.jobs import RunSummary, run_due
from batch.references.building import build_reference
from batch.references.sets import list_references
from batch.workers.pool import Workers
from driftline.clock import SystemClock
from driftline.contract import Contract, parse_contract
from driftline.store import Address, Store
from driftline.store.migrations import migrate
from tests.batch.populated import PopulatedStore

FIRST_DAY = datetime(2023, 2, 1, tzinfo=UTC)
VERSIONS = ("champion", "challenger")


@pytest.fixture(scope="package")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store(Address(path=str(tmp_path_factory.mktemp("store"))))
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="package")
def workers() -> Iterator[Workers]:
    with Workers() as pool:
        pool.start()
        yield pool


@pytest.fixture
def contract(request: pytest.FixtureRequest) -> Contract:
    return contract_named(request.node.name)


def contract_named(test: str, extra: str = "", quality: str = "min_labels: 10") -> Contract:
    model = "m_" + "".join(letter if letter.isalnum() else "_" for letter in test.lower())[-50:]
    return parse_contract(
        f"""
model: {model}
versions: {{champion: champion, challengers: [challenger]}}
columns:
  distance: {{type: number, range: [0, 100], max_missing_share: 0.1, max_out_of_range_share: 0.1}}
  fare: {{type: number, known_at: label}}
  zone: {{type: category, max_unseen_share: 0.05}}
  flag: {{type: category, values: [N, Y], max_unseen_share: 0.05}}
  shared: {{type: boolean}}
label: {{range: [1, 60], delay: {{p99: 1h, max: 2d}}}}
drift: {{min_rows: 20}}
quality: {{{quality}}}
{extra}
""",
        "test",
    )


def meaning(contract: Contract, absent: str) -> Contract:
    """``contract`` with what a label that never comes counts as."""
    return contract.model_copy(update={"label": contract.label.model_copy(update={"absent_means": absent})})


def trips(n: int, seed: int, start: datetime = FIRST_DAY, days: int = 2) -> pd.DataFrame:
    """Trips with dirt: missing and negative distances, zones, labels outside the valid range, failed answers."""
    rng = np.random.default_rng(seed)
    offsets = np.sort(rng.integers(0, days * 86_400_000, n))
    distance = rng.gamma(2, 2, n).round(3)
    minutes = 3 * distance + rng.normal(5, 2, n)
    frame = pd.DataFrame(
        {
            "id": [f"{seed}-{row}" for row in range(n)],
            "event_time": pd.to_datetime(start) + pd.to_timedelta(offsets, unit="ms"),
            "distance": np.where(rng.random(n) < 0.05, np.nan, np.where(rng.random(n) < 0.02, -distance, distance)),
            "fare": distance * 2.5 + rng.normal(size=n),
            "zone": rng.choice(["74", "75", "41", None], n, p=[0.5, 0.3, 0.15, 0.05]),
            "flag": rng.choice(["N", "Y", "?"], n, p=[0.9, 0.09, 0.01]),
            "shared": rng.random(n) < 0.3,
            "label": np.where(rng.random(n) < 0.03, 500.0, minutes),
            "prediction.champion": minutes + rng.normal(size=n),
            "prediction.challenger": minutes + rng.normal(1, 3, n),
        }
    )
    frame["label_time"] = frame["event_time"] + pd.to_timedelta(frame["label"].clip(0, 60), unit="m")
    return frame


class Monitored:
    """A populated store of one model, with the calls that tests make again and again."""

    def __init__(self, store: Store, contract: Contract, workers: Workers) -> None:
        self.store = store
        self.contract = contract
        self.workers = workers
        self.log = PopulatedStore(store, contract)

    def add(self, frame: pd.DataFrame, *, labels: bool = True) -> None:
        self.log.add_inputs(frame)
        for version in VERSIONS:
            self.log.add_predictions(frame.assign(prediction=frame[f"prediction.{version}"]), version)
        if labels:
            self.log.add_labels(frame)

    def run(self, *kinds: str, contract: Contract | None = None) -> RunSummary:
        return run_due(self.store, contract or self.contract, self.workers, SystemClock(), kinds or None)

    def build_reference(self, frame: pd.DataFrame) -> str:
        return build_reference(self.store, self.contract, frame, VERSIONS, "test", self.workers)

    @property
    def current_reference_id(self) -> str:
        [current] = [info for info in list_references(self.store, self.contract.model) if info.is_current]
        return current.reference_id

    def metrics(self, metric: str, granularity: str = "1d", source: str = "batch") -> dict[tuple[object, ...], float]:
        """Values by (window_start, model_version, column)."""
        rows = self.store.query(
            "SELECT * FROM metrics WHERE model = {m:String} AND metric = {k:String} AND granularity = {g:String} "
            "AND source = {s:String}",
            {"m": self.contract.model, "k": metric, "g": granularity, "s": source},
        )
        return {(row["window_start"], row["model_version"], row["column"]): row["value"] for row in rows}

    def rows(self, metric: str, column: str) -> list[dict[str, Any]]:
        """Rows of one metric of one column, oldest window first."""
        return self.store.query(
            "SELECT * FROM metrics WHERE model = {m:String} AND metric = {k:String} AND column = {c:String} "
            "AND slice = 'all' ORDER BY window_start, model_version",
            {"m": self.contract.model, "k": metric, "c": column},
        )

    def runs(self, job: str) -> list[dict[str, object]]:
        """Latest runs of a job, oldest window first."""
        return self.store.query(
            "SELECT * FROM latest_runs WHERE model = {m:String} AND job = {j:String} "
            "ORDER BY granularity, window_start, model_version",
            {"m": self.contract.model, "j": job},
        )

    def verdicts(self, check: str) -> dict[tuple[object, ...], str]:
        """Statuses by (source, granularity, window_start, model_version, column)."""
        rows = self.store.query(
            "SELECT * FROM checks WHERE model = {m:String} AND check = {c:String}",
            {"m": self.contract.model, "c": check},
        )
        keys = ("source", "granularity", "window_start", "model_version", "column")
        return {tuple(row[key] for key in keys): row["status"] for row in rows}

    def errors(self) -> list[dict[str, object]]:
        return self.store.query(
            "SELECT job, column, error FROM job_errors WHERE model = {m:String} ORDER BY job, column",
            {"m": self.contract.model},
        )


@pytest.fixture
def monitored(store: Store, contract: Contract, workers: Workers) -> Monitored:
    return Monitored(store, contract, workers)


@pytest.fixture
def monitoring(store: Store, workers: Workers, request: pytest.FixtureRequest) -> Callable[[str, str], Monitored]:
    """A monitored model whose contract has more in it than the usual."""

    def make(extra: str = "", quality: str = "min_labels: 10") -> Monitored:
        return Monitored(store, contract_named(request.node.name, extra, quality), workers)

    return make


def day(number: int) -> datetime:
    return FIRST_DAY + timedelta(days=number)
