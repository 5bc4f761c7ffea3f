"""Reference sets: one id per content, verified on reading, the last promoted in force."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from batch.references.rows import read_rows
from batch.references.sets import list_references, load_reference, promote, reference_facts
from driftline.errors import DamagedReference, InputDataError
from tests.batch.conftest import Monitored, trips


def test_the_same_rows_built_twice_are_one_set(monitored: Monitored) -> None:
    first = monitored.build_reference(trips(200, 1))
    assert monitored.build_reference(trips(200, 1)) == first
    assert [info.reference_id for info in list_references(monitored.store, monitored.contract.model)] == [first]


def test_one_changed_value_is_another_set(monitored: Monitored) -> None:
    frame = trips(200, 2)
    first = monitored.build_reference(frame)
    frame.loc[0, "distance"] = 1.25
    assert monitored.build_reference(frame) != first


def test_rows_are_kept_as_they_came(monitored: Monitored) -> None:
    frame = trips(200, 3)
    loaded = load_reference(monitored.store, monitored.contract.model, monitored.build_reference(frame))
    assert loaded is not None
    kept = pd.read_parquet(io.BytesIO(loaded.parquet))
    pd.testing.assert_frame_equal(kept, frame[list(kept.columns)], check_dtype=False)
    assert set(kept.columns) >= {"label", "prediction.champion", "distance", "event_time"}


def test_facts_equal_pandas_and_leave_invalid_labels_out_of_quality(monitored: Monitored) -> None:
    frame = trips(400, 4)
    loaded = load_reference(monitored.store, monitored.contract.model, monitored.build_reference(frame))
    assert loaded is not None
    facts = loaded.facts
    assert facts.rows == 400
    assert facts.vocabularies["zone"] == ["41", "74", "75"]
    assert facts.quantiles["distance"]["quantile_25"] == pytest.approx(frame["distance"].quantile(0.25))
    assert facts.missing_shares["zone"] == pytest.approx(frame["zone"].isna().mean())
    valid = frame[frame["label"].between(1, 60)]
    mae = (valid["prediction.champion"] - valid["label"]).abs().mean()
    assert facts.quality["champion"]["mae"] == pytest.approx(mae, abs=1e-9)


def test_the_set_promoted_last_is_current(monitored: Monitored) -> None:
    model = monitored.contract.model
    first, second = monitored.build_reference(trips(100, 5)), monitored.build_reference(trips(100, 6))
    assert monitored.current_reference_id == second
    promote(monitored.store, model, first)
    assert monitored.current_reference_id == first
    assert len(list_references(monitored.store, model)) == 2
    assert monitored.build_reference(trips(100, 6)) == second
    assert monitored.current_reference_id == second


def test_promoting_an_unknown_set_names_the_known_ones(monitored: Monitored) -> None:
    known = monitored.build_reference(trips(100, 7))
    model = monitored.contract.model
    with pytest.raises(InputDataError) as caught:
        promote(monitored.store, model, "cafe")
    assert str(caught.value) == f"there is no reference cafe of {model}; known: {known}; see `driftline reference ls`"


def test_damaged_rows_are_refused(monitored: Monitored) -> None:
    model = monitored.contract.model
    known = monitored.build_reference(trips(100, 8))
    monitored.store.execute(
        "INSERT INTO reference_sets SELECT * REPLACE (now64(3) + 1 AS promoted, "
        "concat('AAAA', substring(frame, 5)) AS frame) FROM reference_sets FINAL WHERE model = {m:String}",
        {"m": model},
    )
    with pytest.raises(DamagedReference) as caught:
        load_reference(monitored.store, model)
    assert str(caught.value) == f"reference {known} of {model} is damaged in the store; build it again from its rows"


def test_a_damaged_set_stops_the_jobs_that_need_it_alone_until_it_is_built_again(monitored: Monitored) -> None:
    model, frame = monitored.contract.model, trips(100, 12)
    monitored.build_reference(frame)
    monitored.add(trips(200, 13, days=1))
    monitored.log.complete()
    monitored.store.execute(
        "INSERT INTO reference_sets SELECT * REPLACE (now64(3) + 1 AS promoted, frame_crc32 + 1 AS frame_crc32) "
        "FROM reference_sets FINAL WHERE model = {m:String}",
        {"m": model},
    )
    summary = monitored.run("drift", "comparison", "age")
    assert {count.job for count in summary.counts if count.failures} == {"drift"}
    assert {count.job for count in summary.counts if count.ok} >= {"age"}
    assert set(monitored.verdicts("drift").values()) <= {"error"}
    monitored.build_reference(frame)
    assert load_reference(monitored.store, model) is not None
    assert monitored.run("drift").failures == 0
    assert monitored.metrics("drift_score") != {}


def test_facts_that_cannot_be_read_are_damage_that_building_again_mends(monitored: Monitored) -> None:
    model, frame = monitored.contract.model, trips(100, 14)
    known = monitored.build_reference(frame)
    sound = reference_facts(monitored.store, model, known)
    monitored.store.execute(
        "INSERT INTO reference_sets SELECT * REPLACE (now64(3) + 1 AS promoted, "
        "replaceRegexpOne(facts, '\"quantile_95\":[0-9.]+', '\"quantile_95\":null') AS facts) "
        "FROM reference_sets FINAL WHERE model = {m:String}",
        {"m": model},
    )
    for read in (
        lambda: load_reference(monitored.store, model),
        lambda: reference_facts(monitored.store, model, known),
    ):
        with pytest.raises(DamagedReference) as caught:
            read()
        assert str(caught.value) == (
            f"reference {known} of {model} is damaged in the store; build it again from its rows"
        )
    assert monitored.build_reference(frame) == known
    assert reference_facts(monitored.store, model, known) == sound


def test_facts_of_infinities_are_those_of_the_finite_numbers_and_can_be_read_again(monitored: Monitored) -> None:
    frame = trips(200, 15)
    frame.loc[frame.index % 8 == 0, "distance"] = np.inf
    loaded = load_reference(monitored.store, monitored.contract.model, monitored.build_reference(frame))
    assert loaded is not None
    finite = frame["distance"].where(np.isfinite(frame["distance"]))
    assert loaded.facts.quantiles["distance"]["quantile_95"] == pytest.approx(finite.quantile(0.95))


def test_a_files_zeros_and_ones_have_not_drifted_from_the_booleans_of_windows(
    monitored: Monitored, tmp_path: Path
) -> None:
    past = trips(400, 16)
    past.assign(shared=past["shared"].astype(int)).to_parquet(tmp_path / "past.parquet")
    monitored.build_reference(read_rows(tmp_path / "past.parquet", monitored.contract))
    now = trips(200, 17, days=1)
    monitored.add(now)
    monitored.log.complete()
    monitored.run("drift")
    [score] = [row["value"] for row in monitored.rows("drift_score", "shared") if row["granularity"] == "1d"]
    shares = [[(~part["shared"]).mean(), part["shared"].mean()] for part in (past, now)]
    assert score == pytest.approx(jensenshannon(*shares), abs=1e-9)


def test_a_frame_without_a_column_of_the_contract_is_refused(monitored: Monitored) -> None:
    with pytest.raises(InputDataError, match=r"^a reference needs the columns zone, prediction\.challenger; got id, "):
        monitored.build_reference(trips(100, 9).drop(columns=["zone", "prediction.challenger"]))


def test_a_frame_without_rows_is_refused(monitored: Monitored) -> None:
    with pytest.raises(InputDataError) as caught:
        monitored.build_reference(trips(10, 10).head(0))
    assert str(caught.value) == "a reference needs rows; the file has none"


def test_without_a_set_there_is_no_reference(monitored: Monitored) -> None:
    assert load_reference(monitored.store, monitored.contract.model) is None


def test_a_large_month_is_sampled_by_id_and_its_facts_stay_exact(
    monitored: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.references.building.MOST_ROWS", 150)
    frame = trips(400, 11)
    loaded = load_reference(monitored.store, monitored.contract.model, monitored.build_reference(frame))
    assert loaded is not None
    assert (loaded.facts.rows, loaded.facts.sampled_rows) == (400, 150)
    kept = pd.read_parquet(io.BytesIO(loaded.parquet))
    assert len(kept) == 150
    assert kept["event_time"].is_monotonic_increasing
    assert loaded.facts.quantiles["distance"]["quantile_50"] == np.nanmedian(frame["distance"])
