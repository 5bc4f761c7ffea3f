"""When labels may be judged by, on a label stream that is complete to a moment."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from batch.ledger.finality import is_settled, unsettled_reason
from batch.ledger.ledger import Tally
from batch.ledger.snapshot import Snapshot
from driftline.contract import parse_contract
from driftline.windows import Window
from tests.batch.conftest import day

HOUR = timedelta(hours=1)


def settled(n_labelled: int, reached: datetime, rule: str = "") -> bool:
    """Whether a day of 1,000 rows is; the usual delay is an hour, the longest two days.

    day 0        day 1  +1h          day 3
    |---window---|------|------------|
                 end    p99          max
    """
    contract = parse_contract(
        f"model: m\ncolumns: {{x: {{type: number}}}}\nlabel: {{delay: {{p99: 1h, max: 2d}}{rule}}}\n", "test"
    )
    snapshot = Snapshot(day(9), {"labels": reached}, {}, {}, {}, {})
    return is_settled(Window(day(0), day(1)), Tally(1_000, n_labelled=n_labelled), snapshot, contract)


@pytest.mark.parametrize(
    ("n_labelled", "reached", "expected"),
    [(949, day(1), False), (950, day(1), True), (1, day(1) + HOUR, True), (1, day(1), False)],
)
def test_labels_settle_when_nearly_all_have_come_or_the_usual_delay_has_passed(
    n_labelled: int, reached: datetime, expected: bool
) -> None:
    assert settled(n_labelled, reached) is expected


def test_labels_settle_at_nearly_all_of_those_expected() -> None:
    assert not settled(94, day(1), ", expected_share: 0.1")
    assert settled(95, day(1), ", expected_share: 0.1")


@pytest.mark.parametrize(
    ("n_labelled", "reached", "expected"),
    [
        (95, day(1), False),
        (999, day(1) + HOUR, False),
        (0, day(3) - timedelta(milliseconds=1), False),
        (0, day(3), True),
        (1_000, day(1), True),
    ],
)
def test_labels_whose_absence_means_something_settle_when_no_more_can_come(
    n_labelled: int, reached: datetime, expected: bool
) -> None:
    assert settled(n_labelled, reached, ", expected_share: 0.1, absent_means: 0") is expected


def test_the_reason_says_what_is_waited_for() -> None:
    contract = parse_contract("model: m\ncolumns: {x: {type: number}}\n", "test")
    assert unsettled_reason(0.5, contract) == "50% of the labels have come; judged when nearly all have"
    rare = parse_contract("model: m\ncolumns: {x: {type: number}}\nlabel: {absent_means: 0}\n", "test")
    assert unsettled_reason(0.01, rare) == (
        "1% of the labels have come; judged when no more can, since an absent one counts as 0"
    )
