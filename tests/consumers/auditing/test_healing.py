"""What a store has lost or a producer has sent to two partitions, mended; figures against pandas over unique events."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from consumers.auditing.audit import TopicAudit
from consumers.auditing.continuous import ContinuousAudit, audit_and_heal_all
from driftline.store import Store
from driftline.transport import Partition
from tests.consumers.making import HOUR, T0, contract_of, input_of, label_of, prediction_of
from tests.consumers.running import Pipeline

NONE_LEFT: tuple[str, ...] = ()


@pytest.fixture
def pipeline(store: Store, model: str, tmp_path: Path) -> Pipeline:
    return Pipeline(store, contract_of(model), tmp_path / "log", partitions=2)


def event(number: int, time: int | None = None) -> bytes:
    return input_of(f"e{number}", T0 + number * 60_000 if time is None else time, amount=number % 150, colour="red")


def healed(pipeline: Pipeline, stream: str = "inputs") -> TopicAudit:
    accounts = audit_and_heal_all(pipeline.store, pipeline.transport, pipeline.contract, pipeline.clock)
    return {account.stream: account for account in accounts}[stream]  # type: ignore[index]


def shown(pipeline: Pipeline) -> list[dict[str, Any]]:
    return pipeline.rows("SELECT * EXCEPT (written) FROM window_counts WHERE topic = {topic:String} ORDER BY ALL")


def healings(pipeline: Pipeline) -> list[dict[str, Any]]:
    return pipeline.rows(
        "SELECT action, p, from_o, to_o, n_before, n_after FROM healings WHERE topic = {topic:String} "
        "AND action = 'corrected' ORDER BY window_start, at"
    )


def test_an_id_in_two_partitions_counts_once_after_healing(pipeline: Pipeline) -> None:
    pipeline.send([event(n) for n in range(60)])
    pipeline.send([event(7), event(8)], partition=1)
    pipeline.consume()

    before = pipeline.audit()
    after = healed(pipeline)

    assert before.mismatches == ("window 2023-05-01T00:00Z: 62 counted, 60 raw rows",)
    assert (after.mismatches, after.healed) == (NONE_LEFT, before.mismatches)
    assert pipeline.audit().mismatches == NONE_LEFT
    whole, amount = pipeline.counts()[0], pipeline.counts("amount")[0]
    assert (whole["n"], whole["n_duplicate"], whole["is_healed"], whole["n_healings"]) == (60, 2, True, 1)
    assert (amount["n"], amount["n_number"], amount["total"], amount["high"]) == (60, 60, sum(range(60)), 59)
    assert healings(pipeline) == [
        {"action": "corrected", "p": 0, "from_o": 0, "to_o": 0, "n_before": 62, "n_after": 60}
    ]


def test_an_event_after_a_healing_lapses_it_until_the_next_audit(pipeline: Pipeline) -> None:
    pipeline.send([event(n) for n in range(30)])
    pipeline.send([event(7)], partition=1)
    pipeline.consume()
    healed(pipeline)
    pipeline.send([event(99, T0)], partition=1)
    pipeline.consume()
    lapsed = pipeline.counts()[0]
    again = healed(pipeline)
    whole = pipeline.counts()[0]

    assert (lapsed["n"], lapsed["is_healed"], lapsed["n_healings"]) == (32, False, 1)
    assert again.mismatches == NONE_LEFT
    assert (whole["n"], whole["is_healed"], whole["n_healings"]) == (31, True, 2)


def test_a_healed_window_has_a_higher_revision_and_no_mismatch_left_in_the_metrics(pipeline: Pipeline) -> None:
    pipeline.send([event(n) for n in range(30)])
    pipeline.send([event(7)], partition=1)
    pipeline.consume()
    auditing = ContinuousAudit(pipeline.store, pipeline.transport, pipeline.contract, pipeline.clock)
    run = auditing.run()

    rows = pipeline.rows(
        "SELECT metric, value, revision FROM stream_metrics WHERE concat(model, '.inputs') = {topic:String} "
        "AND metric IN ('row_count', 'duplicate_count') ORDER BY metric"
    )

    assert run.mismatches == 0
    assert rows == [
        {"metric": "duplicate_count", "value": 1, "revision": 2},
        {"metric": "row_count", "value": 30, "revision": 2},
    ]


def test_predictions_and_labels_in_two_partitions_are_healed(pipeline: Pipeline) -> None:
    pipeline.send(
        [prediction_of("a"), prediction_of("b", prediction=3.5), prediction_of("a", version="v2")], "predictions"
    )
    pipeline.send([prediction_of("a")], "predictions", partition=1)
    pipeline.send([label_of("a"), label_of("b", label=5.5)], "labels")
    pipeline.send([label_of("b", label=5.5)], "labels", partition=1)
    pipeline.consume()
    assert pipeline.audit("predictions").mismatches == ("window 2023-05-01T00:00Z v1: 3 counted, 2 raw rows",)

    assert healed(pipeline, "predictions").mismatches == NONE_LEFT
    assert healed(pipeline, "labels").mismatches == NONE_LEFT
    found = pipeline.store.query(
        "SELECT stream, model_version AS v, column, n, total FROM window_counts WHERE model = {m:String} "
        "AND column != '' "
        "ORDER BY stream, v",
        {"m": pipeline.contract.model},
    )
    assert [tuple(row.values()) for row in found] == [
        ("labels", "", "label", 2, 8.0),
        ("predictions", "v1", "prediction", 2, 5.0),
        ("predictions", "v2", "prediction", 1, 1.5),
    ]


def test_raw_rows_that_the_store_lost_come_back_from_the_log(pipeline: Pipeline) -> None:
    pipeline.send([event(n) for n in range(60)])
    pipeline.consume()
    before = shown(pipeline)
    table = pipeline.contract.raw_inputs_table
    pipeline.store.execute(f"DELETE FROM {table} WHERE id IN ('e3', 'e50')")

    assert pipeline.audit().mismatches == ("window 2023-05-01T00:00Z: 60 counted, 58 raw rows",)
    assert (healed(pipeline).mismatches, healed(pipeline).healed) == (NONE_LEFT, ())
    assert pipeline.store.scalar(f"SELECT count() FROM {table} FINAL") == 60
    assert shown(pipeline) == before


@pytest.mark.parametrize("lost", ["segment_counts", "segments", "dead_letters"])
def test_other_rows_that_the_store_lost_come_back_from_the_log(pipeline: Pipeline, lost: str) -> None:
    pipeline.send([*(event(n) for n in range(5_100)), b"dead", *(event(n) for n in range(5_100, 9_990))])
    pipeline.consume()
    before = shown(pipeline)
    lo = "o < 5200" if lost == "dead_letters" else "lo = 5000" if lost == "segment_counts" else "lo = 0"
    pipeline.store.execute(
        f"DELETE FROM {lost} WHERE topic = {{topic:String}} AND {lo}",
        {"topic": pipeline.topic("inputs")},
    )
    assert pipeline.audit().mismatches != NONE_LEFT

    assert healed(pipeline).mismatches == NONE_LEFT
    assert shown(pipeline) == before


def test_a_lost_raw_row_that_the_log_no_longer_has_stays_a_finding(pipeline: Pipeline) -> None:
    pipeline.send([event(n) for n in range(60)])
    pipeline.consume()
    pipeline.store.execute(f"DELETE FROM {pipeline.contract.raw_inputs_table} WHERE id = 'e3'")
    pipeline.transport.delete_records(Partition(pipeline.topic("inputs"), 0), 10)

    found = healed(pipeline)

    assert (found.mismatches, found.healed) == (("window 2023-05-01T00:00Z: 60 counted, 59 raw rows",), ())
    assert pipeline.counts()[0]["n"] == 60


def test_a_topic_made_again_and_filled_with_the_same_events_counts_them_once(pipeline: Pipeline) -> None:
    pipeline.send([event(n) for n in range(90)])
    pipeline.consume()
    before = {hour: row["n"] for hour, row in pipeline.counts().items()}
    pipeline.transport.delete_topic(pipeline.topic("inputs"))
    pipeline.transport.create_topic(pipeline.topic("inputs"), 2)
    pipeline.send([event(n) for n in range(89, -1, -1)])
    pipeline.consume()
    twice = pipeline.audit()
    once = healed(pipeline)

    assert twice.mismatches == (
        "window 2023-05-01T00:00Z: 120 counted, 60 raw rows",
        "window 2023-05-01T01:00Z: 60 counted, 30 raw rows",
    )
    assert once.mismatches == NONE_LEFT
    assert {hour: row["n"] for hour, row in pipeline.counts().items()} == before


def test_a_segment_is_read_again_once_however_often_its_window_is_audited(pipeline: Pipeline) -> None:
    pipeline.send([event(n) for n in range(30)])
    pipeline.send([*(event(n, T0) for n in range(200, 220)), event(7)], partition=1)
    pipeline.consume()
    auditing = ContinuousAudit(pipeline.store, pipeline.transport, pipeline.contract, pipeline.clock)
    for number in range(3):
        auditing.run()
        pipeline.send([event(100 + number, T0)])
        pipeline.consume()
    assert auditing.run().mismatches == 0

    rows = pipeline.rows(
        "SELECT p, count() AS k FROM healings WHERE topic = {topic:String} AND action = 'read again' GROUP BY p"
    )
    # Partition 1's copy has the higher offset and gives way; partition 0, which goes on, has every row.
    assert rows == [{"p": 1, "k": 1}]


values = st.one_of(st.none(), st.integers(-50, 250), st.just("wrong"))
sent = st.tuples(
    st.integers(0, 1), st.integers(0, 12), st.integers(0, 2), values, st.sampled_from(["red", "blue", None])
)


numbers = itertools.count()


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # an example takes a second; shrinking would take an hour
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sends=st.lists(sent, min_size=10, max_size=40))
def test_after_healing_every_figure_is_that_of_the_unique_events(
    store: Store, tmp_path_factory: pytest.TempPathFactory, sends: list[Any]
) -> None:
    pipeline = Pipeline(store, contract_of(f"prop_{next(numbers)}"), tmp_path_factory.mktemp("log"), partitions=2)
    for partition, number, hour, amount, colour in sends:
        record = input_of(f"e{number}", T0 + hour * HOUR + number, amount=amount, colour=colour)
        pipeline.send([record], partition=partition)
    pipeline.consume()

    assert healed(pipeline).mismatches == NONE_LEFT
    assert healed(pipeline).mismatches == NONE_LEFT
    expected = figures_of(sends)
    for (hour, column), figures in expected.items():
        row = pipeline.counts(column)[hour]
        assert {name: row[name] for name in figures} == figures
    assert set(pipeline.counts()) == {hour for hour, _ in expected}


def figures_of(sends: list[Any]) -> dict[tuple[int, str], dict[str, Any]]:
    """The unique events by pandas: of each (hour, id) the copy with the lowest offset of its partition."""
    frame = pd.DataFrame(sends, columns=["p", "id", "hour", "amount", "colour"])
    frame["o"] = frame.groupby("p").cumcount()
    # At equal offsets either copy may stand; what is compared then must not depend on it.
    best = frame.groupby(["hour", "id"])["o"].transform("min")
    frame = frame[frame["o"] == best]
    ambiguous = set(frame.loc[frame.duplicated(["hour", "id"], keep=False), "hour"])
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for hour, rows in frame.drop_duplicates(["hour", "id"]).groupby("hour"):
        found[(hour, "")] = {"n": len(rows)}
        if hour in ambiguous:
            continue
        amounts = pd.to_numeric(rows["amount"], errors="coerce").dropna().astype(float)
        found[(hour, "amount")] = {
            "n": len(rows),
            "n_missing": len(rows) - len(amounts),
            "n_range": int(((amounts < 0) | (amounts > 100)).sum()),
            "n_number": len(amounts),
            "total": float(amounts.sum()),
            "total_sq": float((amounts**2).sum()),
            "low": amounts.min() if len(amounts) else None,
            "high": amounts.max() if len(amounts) else None,
        }
        colours = rows["colour"].dropna()
        found[(hour, "colour")] = {
            "n": len(rows),
            "n_missing": len(rows) - len(colours),
            "n_unseen": int((~colours.isin(["red", "green", "7"])).sum()),
        }
    return found
