"""Ratios are taken round by round, and sides that disagree are not compared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from benchmarks.measuring import Compared, Measured, Trial, compare


def answering(answer: str) -> Measured:
    return Measured(10, 1.0, 0.5, answer=answer)


def require_equal(sides: Mapping[str, Measured]) -> None:
    if len({side.answer for side in sides.values()}) != 1:
        msg = "the sides disagree"
        raise ValueError(msg)


def trial(**answers: str) -> Trial:
    sides = {name: partial(answering, answer) for name, answer in answers.items()}
    return Trial("t", "rows", sides, require_equal, cpu_units=100)


def test_a_ratio_divides_neighbours_in_time_only() -> None:
    # The machine is twice as slow in the second round: both rounds say 2 times, the medians alone would not matter.
    rounds = tuple(
        {"ours": Measured(100, slowness * 1.0, 1.0), "peer": Measured(100, slowness * peer_seconds, 1.0)}
        for slowness, peer_seconds in [(1, 2.0), (2, 2.0), (1, 3.0)]
    )
    ratio = Compared(trial(ours="", peer=""), rounds).ratio("peer")
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 2.0, 3.0)


def test_cpu_seconds_are_stated_for_the_trials_number_of_units() -> None:
    rounds = ({"ours": Measured(50, 1.0, 2.0)},)
    assert Compared(trial(ours=""), rounds).cpu_seconds("ours").median == 4.0


def test_every_side_runs_once_a_round_in_turn() -> None:
    said: list[str] = []
    compared = compare(trial(ours="x", peer="x"), 2, said.append)
    assert [line.split(":")[1].split()[0] for line in said] == ["ours", "peer", "ours", "peer"]
    assert [set(one) for one in compared.rounds] == [{"ours", "peer"}] * 2


def test_sides_that_disagree_end_the_benchmark() -> None:
    with pytest.raises(ValueError, match=r"^the sides disagree$"):
        compare(trial(ours="x", peer="y"), 1, lambda _line: None)
