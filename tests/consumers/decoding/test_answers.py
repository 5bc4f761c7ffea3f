"""Answers of classifiers: a class, or probabilities by class; anything else is a violation and never a crash."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.decoding.decoder import Decoded, Decoder
from tests.consumers.making import APPENDED, contract_of, label_of, prediction_of

BINARY = contract_of(extra="task: binary\npositive_class: long\ndecision_threshold: 0.3")
MANY = contract_of(extra="task: multiclass")


def decoded(answer: Any, contract: Any = BINARY) -> Decoded:
    return Decoder(contract, "predictions").decode([prediction_of("a", prediction=answer)], [APPENDED], set())


def answer_of(found: Decoded) -> tuple[Any, Any]:
    return found.columns["prediction"].tolist()[0], found.envelope["probabilities"][0]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"long": 0.3, "short": 0.7}, ("long", {"long": 0.3, "short": 0.7})),
        ({"long": 0.29, "short": 0.71}, ("short", {"long": 0.29, "short": 0.71})),
        ({"long": 0}, ("not long", {"long": 0.0})),
        ({"short": 0.75}, ("short", {"short": 0.75, "long": 0.25})),
        ("long", ("long", None)),
        (1, ("1", None)),
        (None, (None, None)),
    ],
)
def test_a_binary_answer_is_the_positive_class_from_the_threshold_on(sent: Any, kept: Any) -> None:
    found = decoded(sent)
    assert answer_of(found) == kept
    assert found.violations == {}


def test_the_likeliest_of_several_classes_is_the_answer() -> None:
    assert answer_of(decoded({"a": 0.2, "b": 0.5, "c": 0.3}, MANY))[0] == "b"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"long": 1.01},
        {"long": -0.01},
        {"long": float("nan")},
        {"long": "0.5"},
        {"": 0.5},
        {"long": None},
        0.8,
        True,
    ],
)
def test_what_is_neither_is_a_violation_and_a_missing_answer(sent: Any) -> None:
    found = decoded(sent)
    assert answer_of(found) == (None, None)
    assert found.violations == {("prediction", "type"): [0]}


def test_a_regression_has_no_probabilities() -> None:
    found = decoded({"long": 0.5}, contract_of())
    assert found.violations == {("prediction", "type"): [0]}
    assert "probabilities" not in found.envelope


def test_a_label_of_probabilities_is_a_violation() -> None:
    found = Decoder(BINARY, "labels").decode([label_of("a", label={"long": 1.0})], [APPENDED], set())
    assert found.violations == {("label", "type"): [0]}


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(sent=_JSON | st.dictionaries(st.text(), st.floats(0, 1), max_size=4))
def test_any_answer_is_a_class_a_violation_or_missing(sent: Any) -> None:
    found = decoded(sent)
    name, shares = answer_of(found)
    is_violation = bool(found.violations)
    assert (name is None) == (sent is None or is_violation)
    if shares is not None:
        assert "long" in shares
        assert all(0 <= share <= 1 for share in shares.values())
