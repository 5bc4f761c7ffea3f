"""What a changed contract may change of a store that has counted under an earlier one, and what a refusal leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from consumers.counting.segments import DEFAULT_SEGMENT_SIZE
from driftline.contract import Contract
from driftline.errors import ContractError
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table
from driftline.store.registry import register_contract
from tests.consumers.making import T0, contract_of, input_of
from tests.consumers.running import Pipeline

COLUMNS = "\n  amount: {type: number}\n  paid: {type: boolean}"


def left_of(store: Store, model: str) -> tuple[list[dict[str, Any]], ...]:
    """Everything that a contract leaves in a store before any event is counted."""
    bound = {"model": model}
    return (
        store.query("SELECT contract_id, contract_seq FROM contracts FINAL WHERE model = {model:String}", bound),
        store.query("SELECT * FROM check_rules FINAL WHERE model = {model:String} ORDER BY ALL", bound),
        store.query("SELECT * FROM sources FINAL WHERE model = {model:String} ORDER BY ALL", bound),
        store.query(
            "SELECT name, type FROM system.columns WHERE table = concat('inputs_', {model:String}) ORDER BY name", bound
        ),
    )


def counted(store: Store, contract: Contract, log: Path, events: int) -> Pipeline:
    pipeline = Pipeline(store, contract, log)
    pipeline.send([input_of(f"e{n}", T0 + n * 100, amount=n) for n in range(events)])
    pipeline.consume()
    return pipeline


def refusal_of(pipeline: Pipeline) -> str:
    with pytest.raises(ContractError) as caught:
        pipeline.consume()
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "column", "old", "new", "field"),
    [
        ("\n  more: {type: text}\n  amount: {type: category}\n  paid: {type: boolean}", "amount", "number", "category", "amount"),  # noqa: E501
        ("\n  more: {type: text}\n  paid: {type: datetime, field: was}", "paid", "boolean", "datetime", "was"),
    ],
)  # fmt: skip
def test_another_type_of_a_column_is_refused_and_leaves_nothing(
    store: Store, model: str, tmp_path: Path, changed: str, column: str, old: str, new: str, field: str
) -> None:
    pipeline = counted(store, contract_of(model, columns=COLUMNS), tmp_path, 20)
    before = left_of(store, model)

    message = refusal_of(Pipeline(store, contract_of(model, columns=changed), tmp_path))

    assert message == (
        f"`columns.{column}.type` must stay {old}, the type of its values in the table inputs_{model}; got {new}; "
        f"set it back, or give the column another name, with `field: {field}`"
    )
    assert left_of(store, model) == before
    pipeline.consume()
    assert pipeline.audit().mismatches == ()


def test_the_remedy_for_another_type_works(store: Store, model: str, tmp_path: Path) -> None:
    counted(store, contract_of(model, columns=COLUMNS), tmp_path, 20)
    renamed = "\n  amount_code: {type: category, field: amount}\n  paid: {type: boolean}"
    pipeline = Pipeline(store, contract_of(model, columns=renamed), tmp_path)

    pipeline.send([input_of("new", T0, amount="seven")])
    pipeline.consume()

    rows = store.query(f"SELECT amount, amount_code FROM inputs_{model} FINAL WHERE id = 'new'")
    assert rows == [{"amount": None, "amount_code": "seven"}]


@pytest.mark.parametrize(
    ("windows", "name", "kept", "wanted"),
    [("{stream: 30m, profile: 1h}", "stream", "1h", "30m"), ("{stream: 1h, profile: 1h}", "profile", "2h", "1h")],
)
def test_other_windows_than_those_of_whole_segments_are_refused_and_leave_nothing(
    store: Store, model: str, tmp_path: Path, windows: str, name: str, kept: str, wanted: str
) -> None:
    first = contract_of(model, "windows: {stream: 1h, profile: 2h}\n")
    pipeline = counted(store, first, tmp_path, DEFAULT_SEGMENT_SIZE + 20)
    changed = contract_of(model, f"windows: {windows}\n")
    before = left_of(store, model)
    expected = (
        f"`windows.{name}` must stay {kept}, the windows that {pipeline.topic('inputs')}[0] is counted in; got "
        f"{wanted}; set it back, or count the topic anew in another --home or --store"
    )

    assert refusal_of(Pipeline(store, changed, tmp_path)) == expected
    for write in (ensure_inputs_table, register_contract):  # as jobs do
        with pytest.raises(ContractError) as caught:
            write(store, changed)
        assert str(caught.value) == expected

    assert left_of(store, model) == before


def test_sketches_may_cover_longer_windows_from_now_on(store: Store, model: str, tmp_path: Path) -> None:
    counted(store, contract_of(model), tmp_path, DEFAULT_SEGMENT_SIZE + 20)
    longer = Pipeline(store, contract_of(model, "windows: {profile: 2h}\n"), tmp_path)

    longer.consume()

    assert longer.audit().mismatches == ()


def test_windows_of_the_last_segment_are_counted_anew_in_the_new_size(store: Store, model: str, tmp_path: Path) -> None:
    counted(store, contract_of(model), tmp_path, 20)
    halved = Pipeline(store, contract_of(model, "windows: {stream: 30m, profile: 30m}\n"), tmp_path)

    halved.send([input_of(f"later{n}", T0 + 1_800_000 + n) for n in range(5)])
    halved.consume()

    rows = store.query(
        "SELECT granularity, value FROM metrics WHERE model = {model:String} AND metric = 'row_count' "
        "ORDER BY window_start",
        {"model": model},
    )
    assert rows == [{"granularity": "30m", "value": 20.0}, {"granularity": "30m", "value": 5.0}]


def test_a_model_on_anothers_topics_leaves_nothing(store: Store, model: str, tmp_path: Path) -> None:
    topics = counted(store, contract_of(model), tmp_path, 20).contract.topics
    named = f"topics: {{inputs: {topics.inputs}, predictions: {topics.predictions}, labels: {topics.labels}}}\n"
    stranger = f"{model}_copy"

    refusal_of(Pipeline(store, contract_of(stranger, named), tmp_path))

    assert left_of(store, stranger) == ([], [], [], [])
