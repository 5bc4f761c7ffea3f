"""What verdicts say of figures that are not there."""

from __future__ import annotations

from batch.ledger.commit import verdict_rows
from batch.results import Failure, Outcome
from driftline.checks import Rule


def rule_on(name: str, column: str) -> Rule:
    return Rule("drift", "drift_score", column, "batch", "1d", None, 0.1, 1, "warning", slice=name)


def reasons(*failures: Failure) -> dict[tuple[str, str], str]:
    """Reasons of the verdicts that are errors, by slice and column."""
    places = [(name, column) for name in ("all", "zone=a", "zone=b", "half=am") for column in ("fare", "distance")]
    rows = verdict_rows([rule_on(*place) for place in places], Outcome("ok", 10, failures=failures))
    return {(row["slice"], row["column"]): row["reason"] for row in rows if row["status"] == "error"}


def test_what_fails_in_one_slice_is_said_of_no_other() -> None:
    assert reasons(Failure("fare", "no spread", slice="zone=a")) == {("zone=a", "fare"): "no spread"}


def test_a_slice_or_a_slice_rule_may_fail_as_a_whole() -> None:
    assert reasons(Failure("", "too many classes", slice="zone=b"), Failure("", "no number", slice="half")) == {
        ("zone=b", "fare"): "too many classes",
        ("zone=b", "distance"): "too many classes",
        ("half=am", "fare"): "no number",
        ("half=am", "distance"): "no number",
    }


def test_what_fails_for_the_window_is_said_of_every_slice_unless_its_own_reason_is_known() -> None:
    found = reasons(Failure("", "worker died"), Failure("fare", "no spread", slice="zone=a"))
    assert found.pop(("zone=a", "fare")) == "no spread"
    assert len(found) == 7
    assert set(found.values()) == {"worker died"}
