"""What a failed check says: since when, which rows, what changed since it passed, what moved with the error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from batch.annotations import Annotation, annotate, annotate_changes, changed_keys, list_annotations
from batch.estimates.frames import error_spec
from batch.estimates.root_cause import error_profile
from batch.explain import explain
from batch.jobs import survey
from driftline.errors import UsageError
from tests.batch.conftest import Monitored, contract_named, day, trips
from tests.batch.estimates.test_estimate import uneven


def reasons(monitored: Monitored, check: str) -> dict[object, tuple[str, str]]:
    rows = monitored.store.query(
        "SELECT window_start, status, reason FROM checks WHERE model = {m:String} AND check = {c:String} "
        "AND granularity = '1d' AND source = 'batch' AND column IN ('distance', 'flag', '') "
        "AND model_version != 'challenger'",
        {"m": monitored.contract.model, "c": check},
    )
    return {row["window_start"]: (row["status"], row["reason"]) for row in rows}


def test_a_failed_check_says_since_when_and_which_rows(monitored: Monitored) -> None:
    frame = trips(800, 41, days=4)
    frame["distance"] = frame["distance"].abs().fillna(1.0)
    broken = (frame["event_time"] >= day(1)) & (frame.index % 2 == 0)
    frame.loc[broken, "distance"] = np.nan
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")

    found = reasons(monitored, "max_missing_share")
    assert found[day(0)] == ("pass", "")
    for number in (1, 2, 3):
        status, reason = found[day(number)]
        figure, *more = reason.split("; ")
        assert status == "fail"
        assert figure.startswith("missing_share 0.")
        assert more[:-1] == (["since 2023-02-02T00:00Z"] if number > 1 else [])
        of_day = frame[(frame["event_time"] >= day(number)) & (frame["event_time"] < day(number + 1))]
        assert set(more[-1].removeprefix("rows ").split(", ")) <= set(of_day.loc[broken, "id"])


def test_the_run_of_failures_is_followed_into_what_was_stored_before(monitored: Monitored) -> None:
    for number in range(3):
        frame = trips(200, 42 + number, start=day(number), days=1)
        frame["flag"] = np.where(frame.index % 3 == 0, "weird", "N") if number else "N"
        monitored.add(frame)
        monitored.log.complete()
        monitored.run("data")

    found = reasons(monitored, "max_unseen_share")
    assert found[day(0)][0] == "pass"
    assert "since" not in found[day(1)][1]
    assert "; since 2023-02-02T00:00Z; rows " in found[day(2)][1]
    assert found[day(2)][1].count("(weird)") == 3


def test_a_drifted_column_says_where_its_values_went(monitoring) -> None:
    monitored = monitoring("checks: [{metric: drift_score, source: batch, max: 0.2, min_rows: 20}]")
    past, now = trips(500, 44), trips(300, 45, days=1)
    now["distance"] = now["distance"] + 5
    now["flag"] = "Y"
    monitored.build_reference(past)
    monitored.add(now)
    monitored.log.complete()
    monitored.run("drift")

    rows = monitored.store.query(
        "SELECT column, reason FROM checks WHERE model = {m:String} AND check = 'drift_score' AND status = 'fail'",
        {"m": monitored.contract.model},
    )
    found = {row["column"]: row["reason"].split("; ")[-1] for row in rows}
    # Scores and shifts rest on values cut to the contract's range.
    shift = now["distance"].clip(0, 100).mean() - past["distance"].clip(0, 100).mean()
    assert found["distance"] == f"mean {shift:+.3g}"
    share = 1 - (past["flag"] == "Y").mean()
    assert found["flag"] in (f"share of Y {share:+.1%}", f"share of N {-(past['flag'] == 'N').mean():+.1%}")


def test_a_failed_error_check_names_the_worst_rows_and_the_columns_that_moved(monitoring) -> None:
    monitored = monitoring(quality="min_labels: 10, max_error_ratio: 1.3")
    past, now = uneven(1500, 51, days=4), uneven(800, 52, days=1)
    longer = uneven(800, 53, days=1, stretch=2.0)
    longer["event_time"] += pd.Timedelta(days=1)
    longer["label_time"] += pd.Timedelta(days=1)
    monitored.build_reference(past)
    monitored.add(now)
    monitored.add(longer)
    monitored.log.complete()
    monitored.run("quality", "estimate")
    annotate(monitored.store, monitored.contract.model, Annotation(day(1), "note", "new meters"))

    worst = (longer["prediction.champion"] - longer["label"]).abs().nlargest(3).index
    status, reason = reasons(monitored, "max_error_ratio")[day(1)]
    assert status == "fail"
    assert reason.endswith(f"; worst rows {', '.join(longer.loc[worst, 'id'])}")

    found = survey(monitored.store, monitored.contract, monitored.workers, ["quality"])
    (failing,) = [
        one for one in found.all
        if (one.key.model_version, one.key.granularity, one.key.window.start) == ("champion", "1d", day(1))
    ]  # fmt: skip
    (trouble,) = explain(monitored.store, found, failing).troubles
    assert (trouble.check, trouble.status, trouble.last_passed) == ("max_error_ratio", "fail", day(0))
    assert trouble.changed == ("new meters at 2023-02-02T00:00Z",)
    assert {cause.column for cause in trouble.causes} == {"distance", "prediction"}
    assert list(trouble.lines())[1] == (
        "    last passed 2023-02-01T00:00Z; changed since then: new meters at 2023-02-02T00:00Z"
    )
    assert list(trouble.lines())[2].startswith("    moved together with the error: ")


def test_a_contribution_is_the_shift_of_a_columns_bins_times_their_error() -> None:
    spec = replace(error_spec(contract_named("contribution"), "champion"), numbers=(), categories=("zone",))
    frame = pd.DataFrame({"zone": ["a"] * 60 + ["b"] * 40, "error": [1.0] * 60 + [3.0] * 40})
    frame["prediction"], frame["event_ms"] = 5.0, 0
    now = frame.iloc[[0] * 20 + [99] * 70 + [0] * 10].copy()
    now.iloc[-10:, 0] = "new"  # counts as the mean of all

    found = {one.column: one for one in error_profile(spec, frame).contributions(now)}
    assert found["zone"].value == pytest.approx(0.2 * 1 + 0.7 * 3 + 0.1 * 1.8 - 1.8)
    assert found["prediction"].value == found["event_time"].value == pytest.approx(0)


def test_notes_are_kept_once_and_changes_are_noted_by_runs(monitored: Monitored) -> None:
    store, contract, model = monitored.store, monitored.contract, monitored.contract.model
    frame = trips(100, 61, days=1)
    for _ in range(2):
        annotate(store, model, Annotation(day(0), "note", "strike", until=day(1), tags=("city",)))
    reference = monitored.build_reference(trips(100, 62))
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("data")
    monitored.run("data", contract=contract.model_copy(update={"owner": "someone"}))
    monitored.run("data", contract=contract.model_copy(update={"owner": "someone"}))

    notes = list_annotations(store, model)
    first = frame["event_time"].min().floor("1h")
    assert {(note.kind, note.title, note.at) for note in notes if note.kind in ("note", "deploy")} == {
        ("note", "strike", day(0)),
        ("deploy", "version challenger", first),
        ("deploy", "version champion", first),
    }
    assert [note.title.split(" at ")[0] for note in notes if note.kind == "reference"] == [f"reference {reference}"]
    assert [note.text for note in notes if note.kind == "contract"] == ["changed: owner"]
    counts = survey(store, contract, monitored.workers).snapshot.counts
    assert annotate_changes(store, contract, counts) == []


def test_a_stray_event_does_not_date_a_deploy(monitored: Monitored) -> None:
    frame = trips(1_500, 64, days=1)
    stray = frame.head(1).assign(id="stray", event_time=day(-40))
    monitored.add(pd.concat([stray, frame]))
    monitored.run("data")

    notes = [note for note in list_annotations(monitored.store, monitored.contract.model) if note.kind == "deploy"]
    assert {note.at for note in notes} == {frame["event_time"].min().floor("1h")}


def test_a_note_needs_a_text_and_ends_after_it_begins(monitored: Monitored) -> None:
    with pytest.raises(UsageError, match=r"^an annotation needs a text; write what happened$"):
        annotate(monitored.store, monitored.contract.model, Annotation(day(0), "note", " "))
    with pytest.raises(UsageError, match=r"^`--until` must not be before `--at`; got 2023-02-01T00:00Z; swap them$"):
        annotate(monitored.store, monitored.contract.model, Annotation(day(1), "note", "a", until=day(0)))


def test_contracts_differ_by_the_keys_that_changed() -> None:
    assert changed_keys('{"a": 1, "b": {"x": 1, "y": 2}}', '{"a": 1, "b": {"x": 2, "y": 2}, "c": []}') == ["b.x", "c"]
