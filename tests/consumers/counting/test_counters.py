"""Counters against a recount by pandas, and against themselves under any cutting of the log."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from consumers.counting.rules import StreamRules
from tests.consumers.counting_profile import quick_profiles
from tests.consumers.making import HOUR, T0, contract_of, fed, input_of, prediction_of, state_of, table_of

__all__ = ["quick_profiles"]

RULES = StreamRules.of(contract_of(), "inputs")
PREDICTIONS = StreamRules.of(contract_of(), "predictions")

events = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 30).map(str), "hour": st.integers(0, 3)},
        optional={
            "amount": st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0, 100, 101, -1, "x", None, 5]),
            "colour": st.sampled_from(["red", "blue", 7, 8, None, 1.5]),
            "paid": st.sampled_from([True, False, None, 0]),
        },
    ),
    max_size=60,
)


def record_of(event: dict[str, object]) -> bytes:
    features = {name: event[name] for name in ("amount", "colour", "paid") if name in event}
    return input_of(str(event["id"]), T0 + int(event["hour"]) * HOUR, **features)  # type: ignore[call-overload]


def number_of(value: object) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else math.nan  # type: ignore[arg-type]


@settings(deadline=None, max_examples=60)
@given(events)
def test_counts_equal_a_recount_by_pandas(log: list[dict[str, object]]) -> None:
    found = table_of(fed(state_of(RULES), [record_of(event) for event in log]))

    frame = pd.DataFrame(log, columns=["id", "hour", "amount", "colour", "paid"], dtype=object)
    frame["again"] = frame.duplicated(["id", "hour"])
    frame["before"] = frame["hour"].cummax().shift(fill_value=-1)
    for hour, window in frame.groupby("hour"):
        fresh, key = window[~window["again"]], (0, (T0 + int(hour) * HOUR, ""))  # type: ignore[call-overload]
        late = (fresh["before"] > fresh["hour"]).sum()
        id_sum = sum(xxh64_intdigest(name.encode()) for name in fresh["id"]) % 2**64
        assert found[(*key, "")] == (len(fresh), window["again"].sum(), late, id_sum)
        numbers = fresh["amount"].map(number_of).dropna().astype(float)
        kept = [log[at].get("amount") for at in fresh.index]
        nonfinite = sum(isinstance(value, float) and not math.isfinite(value) for value in kept)
        wrong = fresh["amount"].map(lambda v: isinstance(v, str)).sum()
        outside = ((numbers < 0) | (numbers > 100)).sum()
        with np.errstate(over="ignore", invalid="ignore"):
            total, squares = 0.0, 0.0
            for value in numbers:
                total, squares = total + np.float64(value), squares + np.float64(value) * np.float64(value)
        amounts = (len(fresh) - len(numbers), wrong, nonfinite, outside, 0, len(numbers))
        low, high = (numbers.min(), numbers.max()) if len(numbers) else (math.inf, -math.inf)
        assert found[(*key, "amount")][:6] == amounts
        assert found[(*key, "amount")][6:] == tuple(float(v).hex() for v in (total, squares, low, high))
        colours = [value for at in fresh.index if (value := log[at].get("colour")) is not None]
        wrong_colours = sum(isinstance(value, float) for value in colours)
        unseen = sum(str(value) not in {"red", "green", "7", "1.5"} for value in colours)
        missing = len(fresh) - len(colours) + wrong_colours
        assert found[(*key, "colour")][:6] == (missing, wrong_colours, 0, 0, unseen, 0)


@settings(deadline=None, max_examples=60)
@given(events, st.sets(st.integers(1, 59), max_size=8), st.integers(1, 25))
def test_tables_are_equal_bit_for_bit_however_the_log_was_cut(
    log: list[dict[str, object]], cuts: set[int], segment_size: int
) -> None:
    records = [record_of(event) for event in log]

    whole = table_of(fed(state_of(RULES, segment_size), records))
    cut = table_of(fed(state_of(RULES, segment_size), records, [at for at in cuts if at < len(records)]))

    assert cut == whole


def test_a_table_grows_with_the_windows() -> None:
    records = [input_of(str(hour), T0 + hour * HOUR, amount=hour) for hour in range(500)]

    found = table_of(fed(state_of(RULES), records))

    for hour in range(500):
        assert found[(0, (T0 + hour * HOUR, ""), "")][0] == 1
        assert found[(0, (T0 + hour * HOUR, ""), "amount")][6] == float(hour).hex()


def test_versions_of_a_window_are_counted_apart() -> None:
    versions = ["v1", "v2", "v1", "v10", "v1\0", "é"]
    records = [prediction_of(f"e{at}", version=version) for at, version in enumerate(versions)]

    found = table_of(fed(state_of(PREDICTIONS), records))

    counted = {key[1]: figures[0] for (_, key, column), figures in found.items() if key != "segment" and column == ""}
    assert counted == {"v1": 2, "v2": 1, "v10": 1, "v1\0": 1, "é": 1}


def test_of_a_duplicate_nothing_but_its_number_is_counted() -> None:
    records = [input_of("a", amount=1), input_of("a", amount="x"), input_of("a", amount=1000)]

    found = table_of(fed(state_of(RULES), records))

    key = (0, (T0, ""))
    assert found[(*key, "")][:2] == (1, 2)
    assert found[(*key, "amount")] == (0, 0, 0, 0, 0, 1, *(float(one).hex() for one in (1, 1, 1, 1)))


def test_both_ends_of_a_range_are_allowed() -> None:
    records = [input_of(str(value), amount=value) for value in (-0.0001, 0, 100, 100.0001)]

    assert table_of(fed(state_of(RULES), records))[(0, (T0, ""), "amount")][3] == 2


def test_an_open_side_of_a_range_allows_everything() -> None:
    rules = StreamRules.of(contract_of(columns="\n  amount: {type: number, range: [null, 5]}"), "inputs")

    records = [input_of(str(value), amount=value) for value in (-1e308, 5, 6)]

    assert table_of(fed(state_of(rules), records))[(0, (T0, ""), "amount")][3] == 1


def test_sums_of_the_largest_numbers_overflow_quietly() -> None:
    records = [input_of(str(number), amount=1e308) for number in range(3)]

    assert table_of(fed(state_of(RULES), records))[(0, (T0, ""), "amount")][6:8] == ("inf", "inf")


def test_two_hundred_columns_are_counted_each() -> None:
    columns = "".join(f"\n  c{number}: {{type: number}}" for number in range(200))
    rules = StreamRules.of(contract_of(columns=columns), "inputs")
    body = {"id": "a", "event_time": T0, "features": {f"c{number}": number for number in range(200)}}

    found = table_of(fed(state_of(rules), [json.dumps(body).encode()]))

    assert [found[(0, (T0, ""), f"c{number}")][6] for number in range(200)] == [float(n).hex() for n in range(200)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_hash_sums_wrap_at_64_bits(count: int) -> None:
    names = [f"id{number}" for number in range(count)]

    found = table_of(fed(state_of(RULES), [input_of(name) for name in names]))

    assert found[(0, (T0, ""), "")][3] == sum(xxh64_intdigest(name.encode()) for name in names) % 2**64
