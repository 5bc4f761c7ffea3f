"""Our fast path into whylogs against ``why.log`` itself, value by value."""

from __future__ import annotations

import itertools
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from driftline.profiles import Profile, library

ROWS = 5_000
KINDS: dict[str, Any] = {"amount": "number", "zone": "text"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    amount = rng.lognormal(2, 1, ROWS)
    amount[rng.random(ROWS) < 0.1] = np.nan
    zone = pd.Series(rng.integers(0, 300, ROWS)).map(lambda number: f"zone {number}").astype(object)
    zone[rng.random(ROWS) < 0.05] = None
    return pd.DataFrame({"amount": amount, "zone": zone})


@pytest.fixture(scope="module")
def logged(frame: pd.DataFrame) -> Iterator[Any]:
    Profile(KINDS)  # makes NumPy 2 fit whylogs, and whylogs silent
    import whylogs

    with warnings.catch_warnings(action="ignore"):
        yield whylogs.log(frame).view()


def profile_of(frame: pd.DataFrame, *cuts: int) -> Profile:
    profile, edges = Profile(KINDS), [0, *cuts, len(frame)]
    for begin, end in itertools.pairwise(edges):
        profile.add_numbers("amount", frame["amount"].to_numpy()[begin:end])
        profile.add_texts("zone", frame["zone"].to_numpy()[begin:end])
    return profile


def view_of(profile: Profile, column: str) -> Any:
    return profile._column_views()[column]


@pytest.mark.parametrize("cuts", [(), (1, 2, 3), (1_000, 2_500)], ids=["whole", "crumbs", "thirds"])
def test_counts_types_and_moments_equal_those_of_why_log(
    frame: pd.DataFrame, logged: Any, cuts: tuple[int, ...]
) -> None:
    ours, theirs = profile_of(frame, *cuts), logged.get_columns()

    for column in KINDS:
        counts, wanted = view_of(ours, column).get_metric("counts"), theirs[column].get_metric("counts")
        assert (counts.n.value, counts.null.value) == (wanted.n.value, wanted.null.value)
    numbers, wanted = view_of(ours, "amount").get_metric("distribution"), theirs["amount"].get_metric("distribution")
    assert numbers.n == wanted.n
    assert numbers.avg == pytest.approx(wanted.avg, rel=1e-12)
    assert numbers.stddev == pytest.approx(wanted.stddev, rel=1e-12)
    assert (numbers.min, numbers.max) == (wanted.min, wanted.max)


def test_type_counts_equal_those_of_why_log(frame: pd.DataFrame, logged: Any) -> None:
    ours, theirs = profile_of(frame), logged.get_columns()

    for column in KINDS:
        mine, wanted = view_of(ours, column).get_metric("types"), theirs[column].get_metric("types")
        for name in ("integral", "fractional", "boolean", "string"):
            assert getattr(mine, name).value == getattr(wanted, name).value, (column, name)


def test_cardinality_equals_that_of_why_log(frame: pd.DataFrame, logged: Any) -> None:
    for column in KINDS:
        mine = view_of(profile_of(frame), column).get_metric("cardinality").estimate
        assert mine == pytest.approx(logged.get_columns()[column].get_metric("cardinality").estimate, rel=1e-9)


def test_quantiles_lie_where_numpy_puts_them(frame: pd.DataFrame) -> None:
    summary = profile_of(frame, 100, 3_000).summary()["amount"]

    present = np.sort(frame["amount"].dropna().to_numpy())
    for share in (5, 25, 50, 75, 95):
        rank = np.searchsorted(present, summary[f"quantile_{share:02}"]) / len(present)
        assert rank == pytest.approx(share / 100, abs=0.02)  # the sketch's documented rank error is 1.65 %


def test_merging_in_any_order_gives_equal_counts(frame: pd.DataFrame) -> None:
    parts = [frame[:1_000], frame[1_000:1_001], frame[1_001:4_000], frame[4_000:]]

    def merged(order: list[int]) -> Profile:
        total = profile_of(parts[order[0]])
        for index in order[1:]:
            total.merge(profile_of(parts[index]))
        return total

    one, other = merged([0, 1, 2, 3]), merged([3, 1, 0, 2])
    assert one.rows() == other.rows() == {"amount": ROWS, "zone": ROWS}
    for column in KINDS:
        assert one.summary()[column]["distinct_count"] == pytest.approx(
            other.summary()[column]["distinct_count"], rel=1e-9
        )


def test_a_profile_survives_its_bytes(frame: pd.DataFrame) -> None:
    profile = profile_of(frame)

    assert Profile.from_bytes(profile.to_bytes()).summary() == profile.summary()


def test_a_profile_goes_on_after_it_was_written(frame: pd.DataFrame) -> None:
    profile = profile_of(frame[:100])
    profile.to_bytes()
    profile.add_numbers("amount", np.array([1.0]))
    profile.add_texts("zone", ["z"])

    assert profile.rows() == {"amount": 101, "zone": 101}


def test_a_column_without_values_has_rows_and_no_quantiles() -> None:
    profile = Profile(KINDS)
    profile.add_numbers("amount", np.array([np.nan, np.nan]))
    profile.add_texts("zone", [None, None])

    assert profile.rows() == {"amount": 2, "zone": 2}
    assert "quantile_50" not in profile.summary()["amount"]


def test_the_largest_numbers_raise_no_warning() -> None:
    profile = Profile({"amount": "number"})
    profile.add_numbers("amount", np.array([1e308, 1e308, -1e308]))

    assert profile.summary()["amount"]["quantile_50"] == 1e308


@pytest.mark.parametrize("blob", [b"", b"nonsense", b"WHY1", b"WHY1\x00\xff\xff\xff", b"\x00" * 100])
def test_bytes_that_are_no_profile_are_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="not a whylogs profile"):
        Profile.from_bytes(blob)


def test_a_flipped_bit_may_go_unnoticed_by_whylogs_and_never_by_a_check_sum(frame: pd.DataFrame) -> None:
    blob = bytearray(profile_of(frame).to_bytes())
    before = zlib.crc32(blob)
    blob[len(blob) // 2] ^= 1

    assert zlib.crc32(blob) != before


def test_the_library_names_its_version() -> None:
    assert library() == "whylogs 1.6.4"
