"""Expansions as grafana-clickhouse-datasource 4.20 makes them (its own test vectors, and the frontend's formats)."""

from __future__ import annotations

import re

import pytest

from driftline.errors import UsageError
from grafana.macros import (
    Selection,
    TimeRange,
    expand_macros,
    interpolate,
    prepare,
    unconditional_variables,
    unquoted_variables,
)

# 2024-01-02 03:04:05.678 to 2024-01-03 04:05:06.789 UTC
RANGE = TimeRange(1_704_164_645_678, 1_704_254_706_789, interval_ms=90_000)
FROM, TO = "toDateTime(1704164645)", "toDateTime(1704254706)"
FROM_MS, TO_MS = "fromUnixTimestamp64Milli(1704164645678)", "fromUnixTimestamp64Milli(1704254706789)"
DAYS = "d >= toDate('2024-01-02') AND d <= toDate('2024-01-03')"


@pytest.mark.parametrize(
    ("macro", "expanded"),
    [
        ("$__timeFilter(c)", f"c >= {FROM} AND c <= {TO}"),
        ("$__timeFilter_ms(c)", f"c >= {FROM_MS} AND c <= {TO_MS}"),
        ("$__dateFilter(d)", DAYS),
        ("$__dateTimeFilter(d, t)", f"({DAYS}) AND (t >= {FROM} AND t <= {TO})"),
        ("$__dt(d, t)", f"({DAYS}) AND (t >= {FROM} AND t <= {TO})"),
        ("$__fromTime", FROM),
        ("$__toTime", TO),
        ("$__fromTime_ms", FROM_MS),
        ("$__toTime_ms", TO_MS),
        ("$__timeFrom(c)", f"c >= {FROM}"),
        ("$__timeTo(c)", f"c <= {TO}"),
        ("$__timeInterval(c)", "toStartOfInterval(toDateTime(c), INTERVAL 90 second)"),
        ("$__timeInterval_ms(c)", "toStartOfInterval(toDateTime64(c, 3), INTERVAL 90000 millisecond)"),
        ("$__timeGroup(c, 5m)", "toStartOfInterval(toDateTime(c), INTERVAL 300 second)"),
        ("$__timeGroup(c, 1h30m)", "toStartOfInterval(toDateTime(c), INTERVAL 5400 second)"),
        ("count() / $__interval_s", "count() / 90"),
        ("$__from - $__to", "1704164645678 - 1704254706789"),
    ],
)
def test_a_macro_expands_as_in_the_data_source(macro: str, expanded: str) -> None:
    assert expand_macros(macro, RANGE) == expanded


def test_nested_macros_expand_innermost_first() -> None:
    assert expand_macros("$__timeFrom($__timeInterval(c))", RANGE) == (
        f"toStartOfInterval(toDateTime(c), INTERVAL 90 second) >= {FROM}"
    )


def test_parentheses_commas_and_quotes_inside_an_argument_belong_to_it() -> None:
    assert expand_macros("$__timeTo(coalesce(a, f(')', b)))", RANGE) == f"coalesce(a, f(')', b)) <= {TO}"


def test_text_in_quotes_is_not_expanded() -> None:
    assert (
        expand_macros(r"SELECT '$__fromTime', 'it\'s $__toTime'", RANGE) == r"SELECT '$__fromTime', 'it\'s $__toTime'"
    )


def test_comments_are_blanked_before_expansion() -> None:
    assert expand_macros("a -- $__timeFilter(\nb /* $__x( */ c '--'", RANGE).split() == ["a", "b", "c", "'--'"]


def test_an_unknown_macro_stays_while_its_argument_expands() -> None:
    assert expand_macros("$__unknown($__fromTime)", RANGE) == f"$__unknown({FROM})"


def test_the_step_is_at_least_a_second() -> None:
    assert expand_macros("$__interval_s", TimeRange(0, 1, interval_ms=10)) == "1"


def test_a_wrong_number_of_arguments_is_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("`$__timeFilter` takes 1 arguments; got 2")):
        expand_macros("$__timeFilter(a, b)", RANGE)


def test_an_open_parenthesis_is_refused() -> None:
    with pytest.raises(UsageError, match=re.escape("a macro's parenthesis is not closed: (a")):
        expand_macros("$__timeFilter(a", RANGE)


@pytest.mark.parametrize(
    ("text", "interpolated"),
    [
        ("$v", "'v1','o'x'"),
        ("${v}", "'v1','o'x'"),
        ("${v:singlequote}", r"'v1','o\'x'"),
        ("${v:sqlstring}", "'v1','o''x'"),
        ("${v:csv}", "v1,o'x"),
        ("${v:pipe}", "v1|o'x"),
        ("$__timeFilter(c)", "$__timeFilter(c)"),
    ],
)
def test_a_variable_is_written_as_its_format_says(text: str, interpolated: str) -> None:
    assert interpolate(text, {"v": Selection(("v1", "o'x"))}) == interpolated


def test_a_single_valued_variable_without_format_is_verbatim() -> None:
    assert interpolate("$v", {"v": Selection(("x",), multi=False)}) == "x"


def test_a_backslash_cannot_end_the_quoted_text() -> None:
    assert interpolate("${v:singlequote}", {"v": Selection(("\\' OR 1=1 --",))}) == "'\\\\\\' OR 1=1 --'"


def test_nothing_chosen_matches_nothing() -> None:
    assert interpolate("a IN (${v:singlequote})", {"v": Selection(())}) == "a IN ('')"


def test_an_undefined_variable_is_refused() -> None:
    with pytest.raises(
        UsageError,
        match=re.escape("variable `w` is not defined by the dashboard; define it or remove $w from the query"),
    ):
        interpolate("$w", {})


CONDITION = "$__conditionalAll(f(a, b) IN (${v:singlequote}), $v)"


@pytest.mark.parametrize(
    ("selection", "sql"),
    [
        (Selection(("x",)), "f(a, b) IN ('x')"),
        (Selection((), is_all=True), "1=1"),
        (Selection(()), "1=1"),
    ],
)
def test_a_condition_holds_only_for_a_choice(selection: Selection, sql: str) -> None:
    assert prepare(CONDITION, RANGE, {"v": selection}) == sql


def test_variables_that_reach_the_engine_unquoted_are_found() -> None:
    assert unquoted_variables(CONDITION) == set()
    assert unquoted_variables("a = $v AND b IN (${w:csv}) AND c IN (${x:singlequote})") == {"v", "w"}


def test_variables_outside_a_condition_are_found() -> None:
    assert unconditional_variables(CONDITION + " AND ${w:singlequote} = 1") == {"w"}
