"""Every row of a rule by value belongs to exactly one slice, and the number of slices is bounded."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from batch.slices.grouping import Grouping, pinned, slice_names, slices_of

VALUES = st.lists(
    st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", "other", "missing", "", "x=y"])), min_size=1
)


def rule(most: int = 2, preferred: tuple[str, ...] = (), is_condition: bool = False) -> Grouping:
    return Grouping("zone", "value", is_condition, most, 2, preferred)


def frame(values: list[str | None]) -> pd.DataFrame:
    return pd.DataFrame({"value": pd.Series(values, dtype=object)})


@given(VALUES, st.integers(1, 4), st.lists(st.sampled_from("abz"), unique=True))
def test_slices_cover_every_row_once(values: list[str | None], most: int, preferred: list[str]) -> None:
    found = list(slices_of(frame(values), [rule(most, tuple(preferred))]))
    covered = pd.concat([one.rows for one in found], axis=1)
    assert (covered.sum(axis=1) == 1).all()
    assert sum(one.is_group for one in found) <= most
    assert len(found) <= most + 2
    assert [one.rows.sum() for one in found] == sorted((one.rows.sum() for one in found), reverse=True)


@given(VALUES, VALUES)
def test_other_rows_are_cut_as_those_that_the_rule_was_pinned_on(
    first: list[str | None], second: list[str | None]
) -> None:
    fixed = pinned(rule(), frame(first)["value"])
    mine = dict(zip(first, slice_names(frame(first)["value"], fixed), strict=True))
    theirs = dict(zip(second, slice_names(frame(second)["value"], fixed), strict=True))
    assert all(theirs[value] == name for value, name in mine.items() if value in theirs)


def test_the_most_frequent_values_get_slices_and_preferred_ones_come_first() -> None:
    values = ["c", "c", "c", "b", "b", "a"]
    assert {one.name for one in slices_of(frame(values), [rule()])} == {"zone=c", "zone=b", "zone=other"}
    assert {one.name for one in slices_of(frame(values), [rule(preferred=("a",))])} == {
        "zone=a",
        "zone=c",
        "zone=other",
    }


def test_a_condition_has_one_slice_and_rows_that_belong_to_none() -> None:
    found = list(slices_of(frame(["1", "0", None, "true", "false"]), [rule(is_condition=True)]))
    assert [(one.name, one.rows.tolist(), one.is_group) for one in found] == [
        ("zone", [True, False, False, True, False], False)
    ]
