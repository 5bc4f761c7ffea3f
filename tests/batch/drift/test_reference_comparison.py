"""Two references side by side, and references that are hardly any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wasserstein_distance

from batch.drift.reference_comparison import ColumnComparison, compare_references
from batch.references.building import build_reference
from batch.references.past import load_past, reread_past
from batch.references.sets import Reference, list_references, load_reference, promote
from batch.references.use import ReferenceUse, uses_of
from driftline.cli.reference_text import print_comparison
from driftline.contract import Contract
from driftline.errors import InputDataError
from tests.batch.conftest import VERSIONS, Monitored, day, trips


def built(monitored: Monitored, frame: pd.DataFrame) -> Reference:
    found = load_reference(monitored.store, monitored.contract.model, monitored.build_reference(frame))
    assert found is not None
    return found


def compared(monitored: Monitored, first: Reference, second: Reference) -> dict[str, ColumnComparison]:
    found = compare_references(monitored.contract, monitored.workers, first, second)
    return {one.column: one for one in found.columns}


def test_columns_are_compared_by_the_contracts_tests(monitored: Monitored) -> None:
    past, now = trips(500, 1), trips(500, 2).assign(fare=lambda rows: rows["fare"] * 2)
    found = compared(monitored, built(monitored, past), built(monitored, now))
    expected = wasserstein_distance(past["fare"], now["fare"]) / np.std(past["fare"])
    assert found["fare"].score == pytest.approx(expected, abs=1e-12)
    assert found["fare"].drifted
    assert list(found) == [
        "distance",
        "fare",
        "zone",
        "flag",
        "shared",
        *(f"prediction.{v}" for v in VERSIONS),
        "label",
    ]


def test_a_reference_is_no_distance_from_itself(monitored: Monitored) -> None:
    reference = built(monitored, trips(300, 3))
    assert {one.score for one in compared(monitored, reference, reference).values()} == {0.0}


def test_values_that_came_and_went_are_named(monitored: Monitored) -> None:
    past, now = trips(300, 4), trips(300, 5)
    now["zone"] = now["zone"].replace({"41": "7"})
    zone = compared(monitored, built(monitored, past), built(monitored, now))["zone"]
    assert (zone.appeared, zone.vanished) == (("7",), ("41",))


def test_quality_stands_side_by_side(monitored: Monitored) -> None:
    past, now = trips(300, 6), trips(300, 7)
    both = [built(monitored, frame) for frame in (past, now)]
    found = compare_references(monitored.contract, monitored.workers, *both).quality["champion"]["mae"]
    valid = [frame[frame["label"].between(1, 60)] for frame in (past, now)]
    expected = [(rows["prediction.champion"] - rows["label"]).abs().mean() for rows in valid]
    assert list(found) == pytest.approx(expected, abs=1e-9)


def test_a_comparison_is_printed_as_two_tables(monitored: Monitored, capsys: pytest.CaptureFixture[str]) -> None:
    both = built(monitored, trips(300, 21)), built(monitored, trips(300, 22))
    print_comparison(compare_references(monitored.contract, monitored.workers, *both))
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table[0] == ["column", "method", "score", "threshold", "drifted", "values", "reason"]
    assert table[9] == ["model_version", "metric", *(one.reference_id for one in both)]
    assert table[10][:2] == ["champion", "mae"]


def test_columns_of_another_contract_say_which_side_lacks_them(monitored: Monitored) -> None:
    body = monitored.contract.model_dump(by_alias=True)
    body["columns"]["tip"] = body["columns"]["fare"]
    wider = Contract.model_validate(body)
    first = built(monitored, trips(300, 8))
    frame = trips(300, 9).assign(tip=1.0)
    second = build_reference(monitored.store, wider, frame, VERSIONS, "test", monitored.workers)
    loaded = load_reference(monitored.store, wider.model, second)
    assert loaded is not None
    found = compare_references(wider, monitored.workers, first, loaded)
    tip = next(one for one in found.columns if one.column == "tip")
    assert (tip.score, tip.reason) == (None, f"not in {first.reference_id}")
    assert next(one for one in found.columns if one.column == "fare").score is not None


def test_a_reference_of_one_row_is_compared_with_nothing(monitored: Monitored) -> None:
    one = built(monitored, trips(1, 10))
    assert one.facts.rows == 1
    monitored.add(trips(300, 11, days=1))
    monitored.log.complete()
    monitored.run("drift", "label_drift")
    assert {run["status"] for run in monitored.runs("drift")} == {"insufficient"}
    assert monitored.metrics("drift_score") == {}
    assert set(monitored.verdicts("drift").values()) == {"insufficient"}
    reasons = monitored.store.query(
        "SELECT DISTINCT reason FROM checks WHERE model = {m:String} AND check = 'drift'",
        {"m": monitored.contract.model},
    )
    assert reasons == [{"reason": f"too few rows in its reference {one.reference_id}: 1; it takes 20"}]
    found = compared(monitored, one, built(monitored, trips(300, 12)))
    assert {column.score for column in found.values()} == {None}
    assert found["fare"].reason == "fewer than 20 values"


def test_of_two_promotions_at_once_one_wins_for_everybody(monitored: Monitored) -> None:
    model = monitored.contract.model
    first, second = (monitored.build_reference(trips(100, seed)) for seed in (13, 14))
    monitored.store.execute(
        "INSERT INTO reference_sets SELECT * REPLACE (toDateTime64('2099-01-01', 3, 'UTC') AS promoted) "
        "FROM reference_sets FINAL WHERE model = {m:String}",
        {"m": model},
    )
    winner = min(first, second)
    assert {monitored.current_reference_id for _ in range(3)} == {winner}
    assert sum(info.is_current for info in list_references(monitored.store, model)) == 1
    loser = max(first, second)
    promote(monitored.store, model, loser)  # although another machine's clock has been far ahead
    assert monitored.current_reference_id == loser
    third = monitored.build_reference(trips(100, 15))
    assert monitored.current_reference_id == third


def test_the_use_of_a_reference_counts_windows_and_those_judged_again_since(monitored: Monitored) -> None:
    monitored.add(trips(300, 16))
    monitored.log.complete()
    first = monitored.build_reference(trips(300, 17))
    monitored.run("label_drift")
    assert uses_of(monitored.store, monitored.contract.model, first) == [
        ReferenceUse("label_drift", "1d", 2, 2, day(0), day(2))
    ]
    monitored.build_reference(trips(300, 18))
    monitored.run("label_drift")
    assert uses_of(monitored.store, monitored.contract.model, first) == [
        ReferenceUse("label_drift", "1d", 2, 0, day(0), day(2))
    ]


def test_a_past_is_read_again_only_while_it_is_what_it_was(monitoring: Callable[[str], Monitored]) -> None:
    monitored, frame = monitoring("reference: {kind: trailing, days: 1}"), trips(400, 19)
    monitored.add(frame)
    monitored.log.complete()
    monitored.run("drift")
    ids = {str(run["reference_id"]) for run in monitored.runs("drift")} - {""}
    info = load_past(monitored.store, monitored.contract.model, ids.pop())
    assert info is not None
    reread = reread_past(monitored.store, monitored.contract, monitored.workers, info)
    assert compared(monitored, reread, reread)["fare"].score == 0.0
    assert compared(monitored, reread, reread)["label"].reason == f"not in {info.reference_id} and {info.reference_id}"
    monitored.log.add_inputs(trips(1, 20, start=day(0) + timedelta(hours=1), days=1).assign(id="late").head(1))
    with pytest.raises(
        InputDataError, match=rf"^the rows of reference {info.reference_id} \(2023-02-01 to 2023-02-02\)"
    ):
        reread_past(monitored.store, monitored.contract, monitored.workers, info)
