"""What a contract may write as an expression: one value of a row, and nothing that reaches beyond it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.contract import parse_contract
from driftline.contract.expressions import FUNCTIONS, ExpressionError, read_aggregate, read_expression
from driftline.errors import ContractError
from driftline.store.protocol import Statement
from driftline.store.reading import refuse_unless_reading

COLUMNS = ("distance", "zone", "shared")
VALUES = [
    "zone",
    "intDiv(distance, 10) % 3",
    "if(distance > 4, 'long', 'it''s short')",
    "CASE WHEN distance > 4 THEN 'long' ELSE 'short' END",
    "case zone when '74' then 1 end",
    "lower(zone) || '-' || toString(round(-distance, 1))",
    "(distance)",
    "distance - -1",
    "12.5",
    "distance / 1e3",
    "2.5E-3 * distance",
]
CONDITIONS = [
    "distance > 4",
    "zone IN ('74', '75') AND NOT shared",
    "zone is not null or distance between 1 and 3",
    "zone NOT LIKE '7%'",
    "startsWith(zone, '7')",
    "not shared",
    "((distance <= 1))",
]
REFUSED = {
    "": "it ends where a value is wanted",
    "distance >": "it ends where a value is wanted",
    "distance 4": "'4' is left over after a whole expression",
    "distance, zone": "',' is left over after a whole expression",
    "distance) FROM labels": "')' is left over after a whole expression",
    "distance; DROP TABLE labels": "'; DROP TABLE labels' cannot stand",
    "(SELECT max(label) FROM labels)": "SELECT is neither a column nor a word of an expression",
    "zone IN (SELECT id FROM labels)": "SELECT is neither a column nor a word of an expression",
    "sleep(3)": "sleep is not a function that an expression may use; see docs/reference/contract.md",
    "file('/etc/passwd')": "file is not a function",
    "url('http://a')": "url is not a function",
    "numbers(10)": "numbers is not a function",
    "dictGet('d', 'a', 1)": "dictGet is not a function",
    "getSetting('max_threads')": "getSetting is not a function",
    "rand()": "rand is not a function",
    "now()": "now is not a function",
    "arrayJoin(zone)": "arrayJoin is not a function",
    "[1, 2]": "'[1, 2]' cannot stand",
    "count()": "count is not a function",
    "distance -- a comment": "'-- a comment' cannot stand",
    "distance /* a comment */": "'*' stands where a value is wanted",
    "distance # a comment": "'# a comment' cannot stand",
    "{distance:String}": "'{distance:String}' cannot stand",
    "distance::String": "'::String' cannot stand",
    "zone = 'a\\' OR 1=1": "\"'a\\\\' OR 1=1\" cannot stand",
    "`distance`": "'`distance`' cannot stand",
    '"distance"': "'\"distance\"' cannot stand",
    "x'41'": "x is neither a column",
    "labels.label": "'.label' cannot stand",
    "distance SETTINGS max_threads = 1": "'SETTINGS' is left over",
    "distance AS id": "'AS' is left over",
    "fare": "fare is neither a column nor a word of an expression",
    "1e": "'1e' cannot stand",
    "1e9.5": "'1e9.5' cannot stand",
    "distance IS 4": "'NULL' is wanted before '4'",
    "if(distance > 4, 1, 2": "')' is wanted before its end",
    "(" * 41 + "distance" + ")" * 41: "it is nested deeper than 40",
    "distance" + " " * 2_000: "it has 2,008 characters, 2,000 are allowed",
}


AGGREGATED = {
    "distance": "distance must stand within an aggregate function, such as avg(distance)",
    "count() - distance": "distance must stand within an aggregate function, such as avg(distance)",
    "1 + 1": "it has no aggregate function, such as count() or avg(COLUMN)",
    "max(round(avg(distance)))": "avg stands within max; an aggregate function sums up rows, not aggregates",
    "sum(distance) sum(distance)": "'sum' is left over after a whole expression",
}


@pytest.mark.parametrize("text", ["count()", "sum(distance) / 1e3", "avg(if(shared, distance, 0)) - max(distance)"])
def test_a_figure_of_many_rows_has_its_columns_within_aggregates(text: str) -> None:
    assert read_aggregate(text, COLUMNS).text == text


@pytest.mark.parametrize(("text", "reason"), AGGREGATED.items())
def test_what_is_no_figure_of_many_rows_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=f"^{re.escape(reason)}$"):
        read_aggregate(text, COLUMNS)


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_read(text: str) -> None:
    assert not read_expression(text, COLUMNS).is_condition


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_condition_is_told_from_a_value(text: str) -> None:
    assert read_expression(text, COLUMNS).is_condition


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_all_else_is_refused_with_the_place_that_offends(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        read_expression(text, COLUMNS)
    assert reason in str(caught.value)


@given(st.lists(st.sampled_from(["distance", "(", ")", ",", "'a'", ";", "--", "select", "/*", "1", "and", "if", "="])))
def test_what_is_accepted_neither_ends_its_parenthesis_nor_holds_a_statement(words: list[str]) -> None:
    text = " ".join(words)
    try:
        accepted = read_expression(text, COLUMNS).text
    except ExpressionError:
        return
    depth = 0
    for sign in accepted:
        depth += (sign == "(") - (sign == ")")
        assert depth >= 0
    assert depth == 0
    assert not {";", "--", "select", "/*"} & set(accepted.split())
    refuse_unless_reading(Statement(f"SELECT ({accepted})"), frozenset({"file", "url"}))


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ExpressionError):
        read_expression(text, COLUMNS)


def test_the_reference_page_names_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "contract.md").read_text(encoding="utf-8")
    listed = page.partition("## Expressions")[2]
    assert {name for name in FUNCTIONS if f"`{name}`" not in listed} == set()


def test_no_function_of_the_list_reaches_out() -> None:
    refuse_unless_reading(Statement("SELECT " + ", ".join(f"{name}(1)" for name in sorted(FUNCTIONS))), frozenset())


CONTRACT = """model: m
columns:
  zone: {type: category}
slices:
  - {name: zone, by: zone}
  - {name: NAME, by: "BY"}
checks:
  - {metric: mae, max: 1, slice: SLICE, source: SOURCE}
"""


def contract_with(**words: str) -> str:
    text = CONTRACT
    for word, value in {"NAME": "two", "BY": "zone", "SLICE": "two=74", "SOURCE": "batch", **words}.items():
        text = text.replace(word, value)
    return text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"BY": "sleep(1)"},
            "m.yaml:6: `slices.1.by` must be one SQL expression over the row's columns; got 'sleep(1)': sleep is not a "
            "function that an expression may use; see docs/reference/contract.md",
        ),
        (
            {"NAME": "zone"},
            "m.yaml:6: `slices.1.name` must be a name of its own; got zone; rename it; `all` is the whole window",
        ),
        (
            {"NAME": "all"},
            "m.yaml:6: `slices.1.name` must be a name of its own; got all; rename it; `all` is the whole window",
        ),
        (
            {"SLICE": "three=1"},
            "m.yaml:8: `checks.0.slice` must be a slice of the contract; got three=1; use all, or NAME=VALUE with a "
            "name of `slices` (two, zone)",
        ),
        (
            {"SOURCE": "stream"},
            "m.yaml:8: `checks.0.source` must be batch for a slice; got stream; add `source: batch`",
        ),
    ],
)
def test_a_contract_is_refused_with_line_and_remedy(words: dict[str, str], message: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract(contract_with(**words), "m.yaml")
    assert str(caught.value) == message


def test_a_contract_with_slices_is_read() -> None:
    contract = parse_contract(contract_with(BY="toHour(event_time) < 6"), "m.yaml")
    assert contract.slice_expression(contract.slices[1]).columns == {"event_time"}
