"""The event streams that consumers are measured on, written once into a log: the taxi month and a dense one.

Both hold the same trips, each with two predictions and a label, and the markers of a replay. The month
spreads them over 28 days (about 100 trips an hour); the dense one packs 20,000 into every hour.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from driftline.clock import SystemClock, to_ms
from driftline.contract import Contract, read_contract
from driftline.events import STREAMS
from driftline.transport import open_transport
from producers.model_files import load_models, train_if_absent
from producers.plan import ReplayPlan
from producers.schedule import schedule
from producers.script import Script, write_script
from producers.sender import Sender
from producers.simulator import simulate
from producers.topics import ensure_topics

Density = Literal["month", "dense"]
REPOSITORY = Path(__file__).parents[1]
DENSE_TRIPS_PER_HOUR = 20_000
_DENSE_START = datetime(2023, 2, 1, tzinfo=UTC)
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Feed:
    """A log that holds one workload, and the contract under which it is read."""

    url: str
    contract: Contract


@dataclass(frozen=True, slots=True)
class Months:
    """The months behind all workloads; ``trips`` bounds how many of the second are sent."""

    reference: Path
    current: Path
    trips: int | None
    real: bool


def find_months(folder: Path, *, small: bool) -> Months:
    """Return real months where ``DRIFTLINE_TEST_DATA`` or ``../shared/data`` has them, else simulated ones."""
    data = Path(os.environ.get("DRIFTLINE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    real = [data / f"green_tripdata_2023-{month}.parquet" for month in ("01", "02")]
    trips = 2_000 if small else None
    if all(path.exists() for path in real):
        return Months(real[0], real[1], trips, real=True)
    days = 3 if small else 28
    simulated = [simulate(days, seed, date(2023, month, 1), folder) for seed, month in ((1, 1), (2, 2))]
    return Months(simulated[0], simulated[1], trips, real=False)


def contract_for(prefix: str) -> Contract:
    """Return the taxi contract with topics of its own, whose names start with ``prefix``."""
    contract = read_contract(REPOSITORY / "monitors" / "nyc_green_taxi.yaml")
    topics: dict[str, Any] = {stream: f"{prefix}-{stream}" for stream in STREAMS}
    return contract.model_copy(update={"topics": contract.topics.model_copy(update=topics)})


def write_feed(density: Density, url: str, home: Path, months: Months) -> Feed:
    """Send the workload into the log at ``url``; ``home`` keeps the trained models."""
    contract = contract_for(density)
    script = script_of(density, contract, home, months)
    with closing(open_transport(url)) as transport:
        topics = ensure_topics(transport, contract, None)
        with transport.producer() as producer:
            sender = Sender(script, producer, topics, threading.Event(), lambda _progress: None)
            sender.send_until(len(script.schedule))
            sender.send_end_markers(contract)
    return Feed(url, contract)


def script_of(density: Density, contract: Contract, home: Path, months: Months) -> Script:
    """Return every event of the workload, in order."""
    train_if_absent(home, contract, months.reference)
    plan = ReplayPlan(files=(months.current,), limit=months.trips)
    script = write_script(plan, contract, load_models(home, contract), SystemClock().now())
    return _RESHAPED[density](script, contract)


def _packed(script: Script, contract: Contract) -> Script:
    event_ms = to_ms(_DENSE_START) + np.arange(len(script), dtype=np.int64) * _HOUR_MS // DENSE_TRIPS_PER_HOUR
    delay_ms = np.minimum(script.label_ms - script.event_ms, _HOUR_MS)
    window_ms = contract.windows.stream // timedelta(milliseconds=1)
    order = schedule(event_ms, event_ms + delay_ms, ~np.isnan(script.labels), len(script.versions), window_ms)
    return replace(script, event_ms=event_ms, label_ms=event_ms + delay_ms, schedule=order, past_entries=len(order))


_RESHAPED: dict[Density, Callable[[Script, Contract], Script]] = {
    "month": lambda script, _contract: script,
    "dense": _packed,
}
