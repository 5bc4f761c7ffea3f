"""What a replay says: the chosen trips, aligned and broken as planned, with both versions' answers, encoded.

The whole script is decided before the first event goes out, so equal plans give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from driftline.clock import from_ms, to_ms
from driftline.contract import Contract
from driftline.errors import InputDataError
from driftline.events import STREAMS, Input, Label, Prediction, Stream, encode
from producers.model import DurationModel
from producers.moments import WEEK_MS, end_of_trips_ms, epoch_ms, weeks_to_now
from producers.outcomes import is_known, outcomes_of
from producers.plan import ReplayPlan
from producers.schedule import Schedule, schedule
from producers.taxi import FEATURES, Trips, read_trips

# A small model server's answer: 8 ms at the median, 20 ms at the 99th percentile.
_LATENCY_MS, _LATENCY_SPREAD = 8.0, 0.4


@dataclass(frozen=True, slots=True)
class Script:
    """Events of one replay, as columns by trip, and their order.

    ``event_ms`` ascends. ``answers`` has one array of predictions and one of latencies per version;
    a prediction of classes is a probability by class.
    The first ``past_entries`` of the schedule lie before now when the replay is aligned to it; else all do.
    """

    ids: list[str]
    event_ms: np.ndarray
    features: pd.DataFrame
    versions: tuple[str, ...]
    answers: tuple[tuple[np.ndarray, np.ndarray], ...]
    labels: np.ndarray
    label_ms: np.ndarray
    schedule: Schedule
    past_entries: int
    shift_weeks: int
    skipped: int
    producer_id: str

    def __len__(self) -> int:
        return len(self.ids)

    def stream_of(self, kind: int) -> Stream:
        """Return the stream that entries of this kind belong to."""
        return STREAMS[min(kind, 1)] if kind <= len(self.versions) else STREAMS[2]

    def encode(self, start: int, stop: int) -> list[bytes]:
        """Return the bytes of the schedule's entries ``[start, stop)``, in order."""
        kinds, rows = self.schedule.kinds[start:stop], self.schedule.rows[start:stop]
        values = np.empty(stop - start, dtype=object)
        for kind in np.unique(kinds).tolist():
            positions = np.flatnonzero(kinds == kind)
            values[positions] = self._encode_kind(kind, rows[positions])
        encoded: list[bytes] = values.tolist()
        return encoded

    def _encode_kind(self, kind: int, rows: np.ndarray) -> list[bytes]:
        ids = [self.ids[row] for row in rows.tolist()]
        if kind == 0:
            return self._encode_inputs(ids, rows)
        if kind <= len(self.versions):
            return self._encode_predictions(ids, rows, kind - 1)
        labels, times = self.labels[rows].tolist(), self.label_ms[rows].tolist()
        return [encode(Label(*fields)) for fields in zip(ids, labels, times, strict=True)]

    def _encode_inputs(self, ids: list[str], rows: np.ndarray) -> list[bytes]:
        chosen = self.features.take(rows)
        names = tuple(chosen.columns)
        columns = [chosen[name].tolist() for name in names]
        times = self.event_ms[rows].tolist()
        # msgspec writes NaN as null, which is how a missing number travels.
        return [
            encode(Input(id_, time, dict(zip(names, values, strict=True))))
            for id_, time, values in zip(ids, times, zip(*columns, strict=True), strict=True)
        ]

    def _encode_predictions(self, ids: list[str], rows: np.ndarray, version: int) -> list[bytes]:
        predictions, latencies = (column[rows].tolist() for column in self.answers[version])
        times, name = self.event_ms[rows].tolist(), self.versions[version]
        return [
            encode(Prediction(id_, time, name, prediction, latency))
            for id_, time, prediction, latency in zip(ids, times, predictions, latencies, strict=True)
        ]


def write_script(plan: ReplayPlan, contract: Contract, models: Sequence[DurationModel], now: datetime) -> Script:
    """Return the script of ``plan``; ``now`` matters only to an aligned one.

    Raises:
        InputDataError: a file cannot be used, or the plan chooses no trip.
    """
    trips = read_trips(plan.files)
    shift_weeks, past_end_ms = _align(trips, plan, now)
    frame = _shift(trips.frame, shift_weeks)
    frame = _choose(frame, plan, past_end_ms)
    for index, incident in enumerate(plan.incidents):
        frame = incident.apply(frame, past_end_ms, np.random.default_rng([plan.seed, index]))
    event_ms, label_ms = epoch_ms(frame["event_time"]), _label_ms(frame, plan.label_delay)
    labels = outcomes_of(frame["label"].to_numpy(), contract)
    window_ms = contract.windows.stream // timedelta(milliseconds=1)
    order = schedule(event_ms, label_ms, is_known(labels), len(models), window_ms)
    return Script(
        ids=frame["id"].tolist(),
        event_ms=event_ms,
        features=frame[[name for name in FEATURES if name in contract.columns]],
        versions=tuple(model.version for model in models),
        answers=tuple(_answer(model, frame, plan.seed, index) for index, model in enumerate(models)),
        labels=labels,
        label_ms=label_ms,
        schedule=order,
        past_entries=order.due(past_end_ms - 1) if plan.align == "now" else len(order),
        shift_weeks=shift_weeks,
        skipped=trips.skipped,
        producer_id=plan.producer_id(trips.hashes, shift_weeks),
    )


def _align(trips: Trips, plan: ReplayPlan, now: datetime) -> tuple[int, int]:
    end_ms = end_of_trips_ms(epoch_ms(trips.frame["event_time"]))
    if plan.align == "none":
        return 0, end_ms + 1
    return weeks_to_now(end_ms, to_ms(now)), to_ms(now)


def _shift(frame: pd.DataFrame, weeks: int) -> pd.DataFrame:
    if weeks == 0:
        return frame
    by = pd.Timedelta(weeks * WEEK_MS, unit="ms").as_unit("ms")
    # Another time, another event: the shift is part of the id.
    ids = [f"{id_}{weeks:+d}w" for id_ in frame["id"]]
    return frame.assign(id=ids, event_time=frame["event_time"] + by, dropoff=frame["dropoff"] + by)


def _choose(frame: pd.DataFrame, plan: ReplayPlan, past_end_ms: int) -> pd.DataFrame:
    times = epoch_ms(frame["event_time"])
    low = times[0]
    if plan.since is not None:
        low = to_ms(plan.since)
    elif plan.past is not None:
        low = past_end_ms - plan.past // timedelta(milliseconds=1)
    high = times[-1] + 1 if plan.until is None else to_ms(plan.until)
    chosen: pd.DataFrame = frame[(times >= low) & (times < high)].iloc[: plan.limit].reset_index(drop=True)
    if chosen.empty:
        span = " to ".join(from_ms(int(time)).isoformat(timespec="seconds") for time in times[[0, -1]])
        msg = f"the plan chooses none of {len(frame)} trips from {span}; widen `--since`, `--until` or `--past`"
        raise InputDataError(msg)
    return chosen


def _label_ms(frame: pd.DataFrame, delay: timedelta) -> np.ndarray:
    known = frame["dropoff"].fillna(frame["event_time"])
    arrival: np.ndarray = np.maximum(epoch_ms(frame["event_time"]), epoch_ms(known))
    return arrival + delay // timedelta(milliseconds=1)


def _answer(model: DurationModel, frame: pd.DataFrame, seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng([seed, 1_000 + index])
    latency = _LATENCY_MS * np.exp(_LATENCY_SPREAD * random.standard_normal(len(frame)))
    return model.answers(frame), latency.round(2)
