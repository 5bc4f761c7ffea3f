"""Joins do not know in which order things came: predictions, labels, corrections and duplicates, shuffled at will.

Every example has a window and ids of its own in one store; what is expected comes from plain Python.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error

from batch.rows.frames import Span, label_counts, scored_frames
from driftline.clock import to_ms
from tests.batch.conftest import FIRST_DAY, VERSIONS, Monitored

HOUR = timedelta(hours=1)
labels = st.lists(
    st.tuples(st.integers(-30, 10_000), st.sampled_from([None, 0.5, 1.0, 12.25, 60.0, 61.0])),
    max_size=3,
    unique_by=lambda label: label[0],
)
answers = st.sampled_from([None, 3.5, 20.0, 47.0])


@dataclass(frozen=True)
class Request:
    """One id: minutes after the window's start, an answer by version (or no prediction), labels by minute."""

    id: str
    minute: int
    answers: dict[str, float | None]
    labels: list[tuple[int, float | None]]

    @property
    def label(self) -> float | None:
        return max(self.labels)[1] if self.labels else None

    def events(self) -> list[tuple[str, float | None, int]]:
        predictions = [(version, answer, self.minute) for version, answer in self.answers.items()]
        return predictions + [("label", value, minute) for minute, value in self.labels]


@st.composite
def requests(draw: st.DrawFn) -> list[Request]:
    minutes = draw(st.lists(st.integers(0, 59), min_size=2, max_size=8))
    return [
        Request(
            str(number),
            minute,
            draw(st.dictionaries(st.sampled_from(VERSIONS), answers)),
            draw(labels),
        )
        for number, minute in enumerate(minutes)
    ]


def arrive(monitored: Monitored, start: datetime, order: list[tuple[str, str, float | None, int]]) -> None:
    """Append the events in this order, neighbours of a kind together."""
    for kind, group in itertools.groupby(order, key=lambda event: event[1]):
        rows = [(id_, value, start + timedelta(minutes=minute)) for id_, _, value, minute in group]
        if kind == "label":
            monitored.log.add_labels(frame_of(rows, "label", "label_time"))
        else:
            monitored.log.add_predictions(frame_of(rows, "prediction", "event_time"), kind)


def frame_of(rows: list[tuple[str, float | None, datetime]], value: str, time: str) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["id", value, time])
    return frame.assign(**{value: frame[value].astype("float64"), time: pd.to_datetime(frame[time]).dt.as_unit("ms")})


def scored(asked: list[Request], version: str) -> list[tuple[str, float, float]]:
    return sorted(
        (one.id, answer, one.label)
        for one in asked
        if (answer := one.answers.get(version)) is not None and one.label is not None and 1 <= one.label <= 60
    )


def test_any_order_of_arrival_gives_the_same_rows_and_figures(monitoring) -> None:
    monitored = monitoring("windows: {quality: [1h], data: 1h}", quality="min_labels: 1")
    hours, expected = itertools.count(), dict[tuple[datetime, str], tuple[int, int, int, float | None]]()

    @settings(max_examples=12, deadline=None, derandomize=True)
    @given(asked=requests(), data=st.data())
    def joined(asked: list[Request], data: Any) -> None:
        start = FIRST_DAY + next(hours) * HOUR
        asked = [Request(f"{start:%d%H}-{one.id}", one.minute, one.answers, one.labels) for one in asked]
        events = [(one.id, *event) for one in asked for event in one.events()]
        twice = data.draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
        arrive(monitored, start, data.draw(st.permutations(events + twice)))
        span = Span(HOUR, (to_ms(start),))
        counts = label_counts(monitored.store, monitored.contract, span)
        frames = scored_frames(monitored.store, monitored.contract, span)
        for version in VERSIONS:
            place, answered = (to_ms(start), version), [one for one in asked if version in one.answers]
            rows = scored(asked, version)
            assert (place in counts) == bool(answered)
            assert (place in frames) == bool(rows)
            if rows:
                found = frames[place].to_pydict()
                assert list(zip(found["id"], found["prediction"], found["label"], strict=True)) == rows
            if answered:
                n_labels = sum(bool(one.labels) for one in answered)
                found_counts = counts[place]
                assert (found_counts.n_predictions, found_counts.n_labels) == (len(answered), n_labels)
                mae = mean_absolute_error([row[2] for row in rows], [row[1] for row in rows]) if rows else None
                expected[start, version] = (len(answered), n_labels, len(rows), mae)

    joined()
    monitored.log.complete()
    monitored.run("quality")
    runs = {(run["window_start"], run["model_version"]): run for run in monitored.runs("quality")}
    found = {key: (run["n_predictions"], run["n_labels"], run["n_scored"]) for key, run in runs.items()}
    assert found == {key: figures[:3] for key, figures in expected.items()}
    errors = {(start, version): value for (start, version, _), value in monitored.metrics("mae", "1h").items()}
    truth = {key: figures[3] for key, figures in expected.items() if figures[3] is not None}
    assert errors == pytest.approx(truth, abs=1e-9)
    assert len(truth) >= 5
