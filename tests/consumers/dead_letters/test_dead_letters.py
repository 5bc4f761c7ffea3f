"""Dead letters from the log to their end: judged anew, sent again, discarded, and what a crash in between leaves."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from consumers.dead_letters import letters as dead_letters
from consumers.dead_letters import redriving
from consumers.dead_letters.letters import Choice, discard, grouped, letters_at, newest
from consumers.dead_letters.redriving import MAX_REDRIVES, Summary, redrive
from consumers.decoding.lineage import MAX_NUMBER, NUMBER_HEADER, ORIGIN_HEADER, Origin, find_origin
from driftline.clock import to_ms
from driftline.store import Store
from driftline.transport import Partition
from tests.consumers.making import HOUR, T0, contract_of, input_of
from tests.consumers.running import Pipeline

OLD = to_ms(datetime(2019, 6, 1, tzinfo=UTC))
LATE_FLOOR, EARLY_FLOOR = "event_time: {floor: 2020-01-01}", "event_time: {floor: 2019-01-01}"


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.reading.recovery.DEFAULT_SEGMENT_SIZE", 10)


@pytest.fixture
def pipeline(store: Store, model: str, tmp_path: Path, small_segments: None) -> Pipeline:
    """A consumer that takes nothing older than 2020."""
    return Pipeline(store, contract_of(model, LATE_FLOOR), tmp_path / "log")


def mended(pipeline: Pipeline, extra: str = EARLY_FLOOR) -> Pipeline:
    """The same log under another contract."""
    return Pipeline(pipeline.store, contract_of(pipeline.contract.model, extra), pipeline.log)


def old_and_new(count: int) -> list[bytes]:
    """By turns an event of 2019, which the first contract refuses, and one of 2023."""
    return [input_of(f"e{n}", (T0 if n % 2 else OLD) + n * HOUR // 4, amount=n) for n in range(count)]


def send_again(pipeline: Pipeline, choice: Choice | None = None, **options: Any) -> Summary:
    chosen = choice or Choice(pipeline.contract.model, statuses=("new",))
    return redrive(pipeline.store, pipeline.transport, chosen, "somebody@here", **options)


def statuses(pipeline: Pipeline) -> Counter[str]:
    found: Counter[str] = Counter()
    for group in grouped(pipeline.store, Choice(pipeline.contract.model)):
        found[group.status] += group.letters
    return found


def windows(pipeline: Pipeline) -> Counter[datetime]:
    rows = pipeline.rows("SELECT window_start, n FROM window_counts WHERE topic = {topic:String} AND column = ''")
    return Counter({row["window_start"]: row["n"] for row in rows if row["n"]})


def expected_windows(records: list[bytes]) -> Counter[datetime]:
    """Distinct ids per hour, from the records themselves."""
    events = {body["id"]: body["event_time"] for body in map(json.loads, records)}
    return Counter(datetime.fromtimestamp(time // HOUR * 3600, UTC) for time in events.values())


def test_a_mended_contract_and_a_redrive_count_every_event_once_however_often_it_is_repeated(
    pipeline: Pipeline,
) -> None:
    records = old_and_new(44)
    pipeline.send(records)
    pipeline.consume()
    assert statuses(pipeline) == {"new": 22}

    later = mended(pipeline)
    later.consume()  # counts the open segment (offsets 40 to 43) again by itself
    assert statuses(later) == {"new": 20}
    assert later.audit().mismatches == ()

    assert send_again(later).sent == 20
    assert statuses(later) == {"redriven": 20}
    later.consume()
    assert send_again(later).sent == 0
    later.consume()

    assert windows(later) == expected_windows(records)
    account = later.audit()
    assert (account.produced, account.ok, account.duplicate, account.dead) == (64, 44, 0, 20)
    assert account.mismatches == ()


def test_a_crash_between_the_log_and_the_row_sends_copies_that_count_as_duplicates(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = old_and_new(40)
    pipeline.send(records)
    pipeline.consume()
    later = mended(pipeline)
    monkeypatch.setattr(dead_letters, "PAGE_LETTERS", 8)

    with monkeypatch.context() as patched:
        patched.setattr(redriving, "_mark", crash_at(2))
        with pytest.raises(KeyboardInterrupt):
            send_again(later)
    assert statuses(later) == {"new": 12, "redriven": 8}
    assert send_again(later).sent == 12
    later.consume()

    account = later.audit()
    # 8 copies sent twice, and 5 of the last segment, which the new contract counts where they stand.
    assert (account.ok, account.duplicate, account.dead, account.mismatches) == (40, 8 + 5, 20 - 5, ())
    assert windows(later) == expected_windows(records)
    assert statuses(later) == {"redriven": 15}


def crash_at(call: int) -> Any:
    mark, calls = redriving._mark, iter(range(1, 100))

    def crash(*arguments: Any) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        mark(*arguments)

    return crash


def test_a_copy_that_is_a_dead_letter_too_stands_under_the_first_and_not_beside_it(pipeline: Pipeline) -> None:
    pipeline.send(old_and_new(20))
    pipeline.consume()
    send_again(pipeline)
    pipeline.consume()

    assert statuses(pipeline) == {"failed": 10, "copy": 10}
    assert send_again(pipeline).sent == 0
    failed = Choice(pipeline.contract.model, statuses=("failed",))
    for _ in range(MAX_REDRIVES - 1):
        assert send_again(pipeline, failed).sent == 10
        pipeline.consume()
    again = send_again(pipeline, failed)
    assert (again.sent, dict(again.refused)) == (
        0,
        {"it was redriven 5 times already; discard it, or mend the event and send it yourself": 10},
    )
    assert statuses(pipeline) == {"failed": 10, "copy": 10 * MAX_REDRIVES}
    assert pipeline.audit().mismatches == ()


def test_a_failed_redrive_succeeds_once_the_contract_is_mended(pipeline: Pipeline) -> None:
    records = old_and_new(20)
    pipeline.send(records)
    pipeline.consume()
    send_again(pipeline)
    pipeline.send([input_of("last", T0)] * 20)  # closes the segment of the copies
    pipeline.consume()

    later = mended(pipeline)
    assert send_again(later, Choice(later.contract.model, statuses=("failed",))).sent == 10
    later.consume()

    assert statuses(later) == {"redriven": 10, "copy": 10}
    assert windows(later) == expected_windows([*records, input_of("last", T0)])
    assert later.audit().mismatches == ()


def test_a_crash_before_the_row_leaves_a_failed_letter_where_the_copy_was_bad_too(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.send(old_and_new(2))
    pipeline.consume()
    with monkeypatch.context() as patched:
        patched.setattr(redriving, "_mark", crash_at(1))
        with pytest.raises(KeyboardInterrupt):
            send_again(pipeline)
    pipeline.consume()

    assert statuses(pipeline) == {"failed": 1, "copy": 1}
    assert send_again(pipeline, Choice(pipeline.contract.model, statuses=("failed",))).sent == 1
    pipeline.consume()
    (letter,) = letters_at(pipeline.store, Choice(pipeline.contract.model), 0, 0)
    assert (letter.status, letter.redrives, letter.acted_by) == ("failed", 2, "somebody@here")


def test_an_event_from_the_future_is_taken_once_its_time_has_come(pipeline: Pipeline) -> None:
    event = input_of("early", to_ms(pipeline.clock.now()) + 2 * HOUR)
    pipeline.send([event])
    pipeline.consume()
    assert pipeline.audit().dead == 1

    pipeline.clock.advance(timedelta(hours=3))
    send_again(pipeline)
    pipeline.consume()

    account = pipeline.audit()
    assert (account.ok, account.dead, account.mismatches) == (1, 1, ())
    assert windows(pipeline) == expected_windows([event])


def test_other_fields_in_the_contract_make_events_of_broken_envelopes(pipeline: Pipeline) -> None:
    records = [b'{"key":"a%d","event_time":%d,"features":{}}' % (n, T0) for n in range(15)]
    pipeline.send(records)
    pipeline.consume()
    assert pipeline.audit().dead == 15

    later = mended(pipeline, "fields: {id: key}")
    send_again(later)
    later.consume()
    assert (later.audit().ok, later.audit().mismatches) == (15, ())


def test_counting_a_segment_again_does_not_undo_what_was_done(pipeline: Pipeline) -> None:
    pipeline.send([b"poison", *old_and_new(3)])
    pipeline.consume()
    model = pipeline.contract.model
    assert discard(pipeline.store, Choice(model, reasons=("not_json",)), "somebody@here", "no use") == 1

    pipeline.send(old_and_new(3))
    pipeline.consume()  # reads the segment from its start and writes every letter again

    (letter,) = letters_at(pipeline.store, Choice(model), 0, 0)
    assert (letter.status, letter.acted_by, letter.note) == ("discarded", "somebody@here", "no use")
    mended(pipeline).consume()  # and so does another contract
    (letter,) = letters_at(pipeline.store, Choice(model), 0, 0)
    assert (letter.status, letter.contract_id) == ("discarded", mended(pipeline).contract.id)


def test_what_the_log_has_dropped_comes_from_the_store_if_that_kept_all_of_it(pipeline: Pipeline) -> None:
    small = input_of("small", OLD, note="x")
    large = input_of("large", OLD, note="x" * 100_000)
    pipeline.send([small, large, *old_and_new(30)[1::2]])
    pipeline.consume()
    pipeline.transport.delete_records(Partition(pipeline.topic("inputs"), 0), 5)

    later = mended(pipeline)
    done = send_again(later)
    assert (done.sent, dict(done.refused)) == (
        1,
        {"the log no longer keeps it and the store holds only a part of it, or nothing": 1},
    )
    later.consume()
    assert windows(later)[datetime(2019, 6, 1, tzinfo=UTC)] == 1
    assert statuses(later) == {"redriven": 1, "new": 1}


def test_a_large_record_and_its_headers_come_from_the_log(pipeline: Pipeline) -> None:
    large = input_of("large", OLD, note="x" * 100_000)
    with pipeline.transport.producer() as producer:
        partition = Partition(pipeline.topic("inputs"), 0)
        producer.send(partition, key=b"k", value=large, headers=(("trace", b"\xff7"), (ORIGIN_HEADER, b"nonsense")))
    pipeline.consume()
    later = mended(pipeline)
    send_again(later)

    with later.transport.consumer() as consumer:
        consumer.assign({partition: 1})
        (batch,) = consumer.poll(1.0)
    source = later.transport.describe_topic(partition.topic).topic_id
    assert list(batch.values) == [large]
    assert batch.headers[0] == (
        ("trace", b"\xff7"),
        (ORIGIN_HEADER, f"{source}/0/0".encode()),
        (NUMBER_HEADER, b"1"),
    )


def test_an_empty_record_is_never_sent_again(pipeline: Pipeline) -> None:
    pipeline.send([b""])
    pipeline.consume()

    done = send_again(pipeline)

    assert (done.sent, dict(done.refused)) == (0, {"it has no value, which no contract makes an event; discard it": 1})


def test_a_dry_run_changes_nothing(pipeline: Pipeline) -> None:
    pipeline.send(old_and_new(4))
    pipeline.consume()

    assert send_again(pipeline, dry_run=True).sent == 2

    assert statuses(pipeline) == {"new": 2}
    assert pipeline.audit().produced == 4


def test_a_strangers_redrive_header_hides_no_dead_letter(pipeline: Pipeline) -> None:
    partition = Partition(pipeline.topic("inputs"), 0)
    headers = Origin("made-up", 0, 7).headers()
    with pipeline.transport.producer() as producer:
        producer.send(partition, key=b"k", value=b"poison", headers=headers)
    pipeline.consume()

    assert statuses(pipeline) == {"new": 1}


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((ORIGIN_HEADER, b""),),
        ((ORIGIN_HEADER, b"a/0/1/2"),),
        ((ORIGIN_HEADER, b"a/-1/2"),),
        ((ORIGIN_HEADER, b"a b/1/2"),),
        ((ORIGIN_HEADER, b"\xff/1/2"),),
        ((ORIGIN_HEADER, b"a" * 10_000_000 + b"/1/2"),),
        ((ORIGIN_HEADER, b"a/1/" + b"9" * 5_000),),
        ((ORIGIN_HEADER, b"a/1/2\n"),),
        ((ORIGIN_HEADER, b"a/1/2"), (NUMBER_HEADER, b"x")),
    ],
    ids=range(10),
)
def test_a_header_that_names_no_place_is_ignored(headers: Any) -> None:
    assert find_origin(headers) is None


def test_a_number_beyond_the_column_is_cut() -> None:
    assert find_origin(((ORIGIN_HEADER, b"a/1/2"), (NUMBER_HEADER, b"99999"))) == Origin("a", 1, 2, MAX_NUMBER)


def test_letters_are_chosen_by_topic_reason_and_time(pipeline: Pipeline) -> None:
    pipeline.send([b"poison", input_of("a", OLD)])
    first = pipeline.clock.now()
    pipeline.clock.advance(timedelta(hours=1))
    pipeline.send([b"poison"], "labels")
    pipeline.consume()
    model, labels = pipeline.contract.model, pipeline.topic("labels")

    def chosen(**wanted: Any) -> list[tuple[str, str]]:
        letters = newest(pipeline.store, Choice(model, **wanted), 10, 3)
        return [(letter.reason, letter.raw.decode()) for letter in letters]

    assert chosen() == [("not_json", "poi"), ("before_floor", '{"v'), ("not_json", "poi")]
    assert chosen(topics=(labels,)) == [("not_json", "poi")]
    assert chosen(reasons=("before_floor",)) == [("before_floor", '{"v')]
    assert chosen(since=first + timedelta(seconds=1)) == [("not_json", "poi")]
    assert chosen(statuses=("discarded",)) == []
