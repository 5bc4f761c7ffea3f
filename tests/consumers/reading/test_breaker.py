"""Pauses as every consumer of a store sees them."""

from __future__ import annotations

import pytest

from consumers.counting.rules import StreamRules
from consumers.counting.segments import PartitionState, Start
from consumers.counting.watermarks import Watermark
from consumers.reading.breaker import Breaker, Pauses, pause_reason
from driftline.store import Store
from driftline.transport import Partition
from tests.consumers.making import batch_of, contract_of, input_of, nothing_stored

RULES = StreamRules.of(contract_of(), "inputs")


def trips(values: list[bytes], step: int, counted: int = 0) -> bool:
    """Whether a breaker trips at any of the batches of ``step`` records; ``counted`` of them were counted before."""
    state = PartitionState(Partition("t", 0), RULES, Start("s", 0, Watermark(), nothing_stored(), counted=counted))
    breaker = Breaker()
    batches = [batch_of(values[first : first + step], first) for first in range(0, len(values), step)]
    return any([breaker.tripped(state.absorb(batch)) for batch in batches])


@pytest.mark.parametrize("step", [7, 5_000])
@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [(0, 999, False), (0, 1000, True), (500, 500, False), (499, 501, True), (1000, 501, True)],
)
def test_the_breaker_judges_every_stretch_of_a_thousand(good: int, bad: int, expected: bool, step: int) -> None:
    values = [*[input_of(f"e{n}") for n in range(good)], *[b"poison"] * bad]

    assert trips(values, step) is expected


@pytest.mark.parametrize("step", [7, 5_000])
def test_records_that_an_earlier_consumer_counted_are_not_judged_again(step: int) -> None:
    values = [*[b"poison"] * 1_500, *[input_of(f"e{n}") for n in range(600)]]

    assert trips(values, step, counted=1_500) is False
    assert trips(values, step, counted=1_000) is False
    assert trips(values, step, counted=999) is True


def test_a_pause_holds_for_every_process_until_it_is_resumed(store: Store, model: str) -> None:
    topic, source = f"{model}.inputs", "s1"
    here, there = Pauses(store, model, "c1"), Pauses(store, model, "c1")

    reason = here.pause(topic, source, "writer")

    assert reason == (
        f"topic {topic} is paused: more than 50% of its last 1000 records cannot be read; see `driftline dlq ls "
        f"--topic {topic}`, mend the contract and start again, or mend the producer and run `driftline dlq resume "
        f"{topic}`"
    )
    assert there.paused({topic: source, "other": "s2"}) == {topic: pause_reason(topic)}
    assert there.resume(topic, source, "somebody") is True
    assert here.paused({topic: source}) == {}
    assert here.resume(topic, source, "somebody") is False
    here.pause(topic, source, "writer")
    assert there.paused({topic: source}) == {topic: reason}


def test_a_pause_ends_with_the_contract_or_the_topic_that_it_was_made_for(store: Store, model: str) -> None:
    topic = f"{model}.inputs"
    Pauses(store, model, "c1").pause(topic, "s1", "writer")

    assert Pauses(store, model, "c2").paused({topic: "s1"}) == {}
    assert Pauses(store, model, "c1").paused({topic: "made again"}) == {}
