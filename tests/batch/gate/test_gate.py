"""What the gate makes of a file before the jobs see it, and of what they say; ``tests/driftline/cli/test_check.py``
runs it whole."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from batch.gate.check import CheckLine, CheckResult
from batch.gate.frames import read_frame, typed_rows
from batch.gate.golden import Expectation, behaviour_lines, golden_lines
from batch.gate.junit import junit
from batch.gate.store import WHOLE, fill, offline
from driftline.checks import rules_of
from driftline.contract import Contract, parse_contract
from driftline.errors import InputDataError
from driftline.store import Store
from driftline.windows import granularity, window_of
from tests.batch.conftest import contract_named, trips

ROWS = pd.DataFrame({"id": ["1", "2", "3"], "prediction.v": [10.0, 20.0, np.nan]})
LINE = CheckLine("c", "mae", "", "v", "all", "critical", "fail", 2.0, 1.0, 50, "mae 2 is above 1")


def frame(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"distance": [1.0], "fare": [1.0], "zone": ["a"], "flag": ["N"], "shared": [True], **columns})


def result(*lines: CheckLine) -> CheckResult:
    return CheckResult("taxi", "c", "r", 100, lines)


def test_values_of_the_wrong_type_become_missing_and_are_counted(contract: Contract) -> None:
    dirty = pd.DataFrame(
        {
            "distance": ["1.5", "far", None, "inf"],
            "fare": [1, 2, 3, 4],
            "zone": [74.0, np.nan, 41.0, 75.0],
            "flag": ["N", "Y", "?", None],
            "shared": ["true", "False", "maybe", None],
            "prediction": [1, 2, 3, 4],
        }
    )

    rows = typed_rows(dirty, contract, "the file")

    assert rows.frame["distance"].tolist()[0] == 1.5
    assert rows.frame["distance"].isna().tolist() == [False, True, True, True]
    assert rows.frame["zone"].tolist()[0] == "74"
    assert rows.frame["shared"].tolist()[:2] == [True, False]
    assert (rows.wrong["distance"], rows.nonfinite["distance"], rows.wrong["shared"]) == (1, 1, 1)
    assert (rows.versions, rows.has_labels) == (("champion",), False)
    assert rows.frame["id"].tolist() == ["0", "1", "2", "3"]


def test_a_classifiers_answer_is_decided_by_the_contracts_threshold() -> None:
    churn = parse_contract(
        '{model: churn, task: binary, positive_class: "yes", decision_threshold: 0.7, columns: {x: {type: number}}}',
        "t",
    )
    given = pd.DataFrame({"x": 0, "probability.champion.yes": [0.69, 0.7], "probability.champion.no": [0.31, 0.3]})

    rows = typed_rows(given, churn, "the file")

    assert rows.frame["prediction.champion"].tolist() == ["no", "yes"]
    assert rows.versions == ("champion",)


def test_times_without_a_zone_are_the_contracts_and_ids_count_once(contract: Contract) -> None:
    eastern = contract.model_copy(
        update={"event_time": contract.event_time.model_copy(update={"timezone": "America/New_York"})}
    )
    twice = pd.concat([frame(id=[7], event_time=["2023-02-01 00:30:00"])] * 2)

    rows = typed_rows(twice, eastern, "the file")

    assert rows.frame["event_time"].tolist() == [pd.Timestamp("2023-02-01T05:30Z")]
    assert (rows.frame["id"].tolist(), rows.n_duplicate) == (["7"], 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (frame().drop(columns=["zone", "fare"]), "f lacks the columns fare, zone; it takes every column of {model} "
         "and at least one row"),
        (frame().iloc[:0], "f has no rows; it takes every column of {model} and at least one row"),
        (frame(event_time=["soon"]), "f: `event_time` must be a moment between 1970 and 2069; got soon; mend or "
         "remove these rows"),
        (frame(event_time=["1969-01-01"]), "f: `event_time` must be a moment between 1970 and 2069; got 1969-01-01; "
         "mend or remove these rows"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_judged_are_refused(contract: Contract, rows: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputDataError, match=f"^{re.escape(message.format(model=contract.model))}$"):
        typed_rows(rows, contract, "f")


def test_a_file_that_is_neither_parquet_nor_csv_is_refused(contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("id\n1\n")
    with pytest.raises(InputDataError, match=r"rows\.parquet cannot be read as Parquet: "):
        read_frame(tmp_path / "rows.parquet", contract)
    (tmp_path / "rows.csv").write_text("id,zone\n007,074\n")
    assert read_frame(tmp_path / "rows.csv", contract).to_dict("records") == [{"id": "007", "zone": "074"}]


CLASSES = parse_contract(
    "{model: kinds, task: multiclass, columns: {km: {type: number}, note: {type: text}, ok: {type: boolean}}}", "t"
)


def test_a_csv_has_a_classifiers_answers_as_its_labels_are(tmp_path: Path) -> None:
    """Texts as a spreadsheet would not leave them: words that pandas reads as booleans, and leading zeros."""
    for answer in ("true", "01", "1e3"):
        (tmp_path / "rows.csv").write_text(
            "km,note,ok,label,prediction.champion,probability.champion.x\n" + f"1,a,true,{answer},{answer},0.5\n" * 2
        )
        (tmp_path / "golden.csv").write_text(f"id,expected,prediction\n07,{answer},{answer}\n")
        (tmp_path / "pairs.csv").write_text(
            f"id_a,id_b,relation,prediction_a,prediction_b\n1,2,equal,{answer},{answer}0\n"
        )

        rows = read_frame(tmp_path / "rows.csv", CLASSES)
        [golden] = golden_lines(read_frame(tmp_path / "golden.csv", CLASSES), ROWS, "v", "multiclass")
        [pairs] = behaviour_lines(read_frame(tmp_path / "pairs.csv", CLASSES), ROWS, "v", "multiclass")

        assert rows["label"].tolist() == rows["prediction.champion"].tolist() == [answer] * 2
        assert (rows["probability.champion.x"].tolist(), rows["ok"].tolist()) == ([0.5] * 2, [True] * 2)
        assert golden.wrong == ()
        assert pairs.wrong == (f"ids 1 and 2 gave {answer} and {answer}0; the first must be equal",)


def test_a_regressions_answers_in_a_csv_are_numbers(contract: Contract, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,label,prediction\n01,02,NA\n03,,4\n")

    rows = read_frame(tmp_path / "rows.csv", contract)

    assert rows["label"].tolist()[:1] == [2.0]
    assert rows["prediction"].tolist()[1:] == [4.0]
    assert (rows["label"].isna().tolist(), rows["prediction"].isna().tolist()) == ([False, True], [True, False])


def test_a_word_for_nothing_is_a_text_like_any_other_and_a_missing_number(tmp_path: Path) -> None:
    words = ["NA", "None", "null", "nan", "n/a", "NULL", "N/A"]
    (tmp_path / "rows.csv").write_text("id,note,km,label\n" + "".join(f"{w},{w},{w},{w}\n" for w in words) + "x,,,\n")

    rows = read_frame(tmp_path / "rows.csv", CLASSES)

    for name in ("id", "note", "label"):
        assert rows[name].tolist()[:-1] == words
    assert rows[["note", "label"]].isna().sum().tolist() == [1, 1]
    assert rows["km"].isna().all()


def test_whole_numbers_that_parquet_has_as_floats_are_the_same_class(tmp_path: Path) -> None:
    pd.DataFrame({"id": [1.0, None], "expected": [1.0, 2.0]}).to_parquet(tmp_path / "golden.parquet")
    rows = typed_rows(pd.DataFrame({"km": 0, "note": "", "ok": 1, "id": [1], "prediction": [1.0]}), CLASSES, "f")

    [found] = golden_lines(read_frame(tmp_path / "golden.parquet", CLASSES), rows.frame, "champion", "multiclass")

    assert found.wrong == ("id nan gave no prediction, expected 2",)


def test_one_window_holds_every_time_and_every_rule_is_of_it() -> None:
    checks = "checks: [{metric: missing_share, column: distance, max: 0.1, granularity: 1h}]"
    contract = offline(contract_named("offline", checks))

    assert {rule.granularity for rule in rules_of(contract)} == {granularity(WHOLE)}
    first, last = datetime(1970, 1, 1, tzinfo=UTC), datetime(2068, 12, 31, tzinfo=UTC)
    assert window_of(first, WHOLE) == window_of(last, WHOLE)


def test_the_counts_are_those_of_the_rows(store: Store, contract: Contract) -> None:
    rows = trips(200, 3, days=40)
    held = offline(contract)

    fill(store, held, typed_rows(rows, held, "f"))

    counted = store.query(
        "SELECT column, metric, value FROM stream_metrics WHERE model = {m:String} AND model_version = '' "
        "AND is_complete",
        {"m": held.model},
    )
    found = {(row["column"], row["metric"]): row["value"] for row in counted}
    assert found["", "row_count"] == 200
    assert found["distance", "missing_share"] == rows["distance"].isna().mean()
    assert found["distance", "out_of_range_share"] == ((rows["distance"] < 0) | (rows["distance"] > 100)).mean()
    assert found["flag", "unseen_share"] == (rows["flag"] == "?").mean()
    assert found["fare", "mean"] == pytest.approx(rows["fare"].mean(), rel=1e-12)
    assert found["fare", "std"] == pytest.approx(rows["fare"].std(), rel=1e-9)


def test_a_golden_answer_is_equal_within_its_tolerance() -> None:
    table = pd.DataFrame({"id": [1, 2, 3, 4], "expected": [10.0, 20.2, 1.0, 1.0], "tolerance": [np.nan, 0.1, 9.0, 9.0]})
    assert list(golden_lines(table, ROWS, "v", "regression")) == [
        Expectation(
            "golden",
            "golden_mismatch_count",
            4,
            (
                "id 2 gave 20.0, expected 20.2 ± 0.1",
                "id 3 gave no prediction, expected 1.0 ± 9",
                "id 4 gave no prediction, expected 1.0 ± 9",
            ),
        )
    ]
    own = pd.DataFrame({"id": ["x", "y"], "expected": ["a", "b"], "prediction": ["a", "c"]})
    [found] = golden_lines(own, ROWS, "v", "multiclass")
    assert found.wrong == ("id y gave c, expected b",)


@pytest.mark.parametrize(
    ("relation", "first", "second", "stands"),
    [
        ("equal", "1", "2", False), ("equal", "1", "1", True), ("less", "1", "2", True), ("less", "1", "1", False),
        ("at_most", "1", "1", True), ("greater", "1", "2", False), ("greater", "2", "1", True),
        ("at_least", "2", "2", True), ("at_least", "1", "3", False), ("equal", "1", "9", False),
    ],
)  # fmt: skip
def test_two_answers_stand_in_the_relation_that_is_asked(relation: str, first: str, second: str, stands: bool) -> None:
    table = pd.DataFrame({"id_a": [first], "id_b": [second], "relation": [relation]})
    [found] = behaviour_lines(table, ROWS, "v", "regression")
    assert (found.check, found.n, not found.wrong) == (f"behaviour_{relation}", 1, stands)


def test_behaviour_is_told_by_its_name() -> None:
    table = pd.DataFrame(
        {"name": ["vendor"] * 2, "id_a": ["1"] * 2, "id_b": ["2"] * 2, "relation": "equal", "tolerance": [5.0, 10.0]}
    )
    [found] = behaviour_lines(table, ROWS, "v", "regression")
    assert found == Expectation(
        "behaviour_vendor",
        "behaviour_violation_count",
        2,
        ("ids 1 and 2 gave 10.0 and 20.0; the first must be equal",),
    )


@pytest.mark.parametrize(
    ("columns", "task", "message"),
    [
        ({"id_a": ["1"], "id_b": ["2"]}, "regression", "the table of behaviour lacks the columns relation; it has "
         "id_a, id_b"),
        ({"id_a": ["1"], "id_b": ["2"], "relation": ["near"]}, "regression", "the table of behaviour names the "
         "relation near; for regression use equal, less, at_most, greater, at_least"),
        ({"id_a": ["1"], "id_b": ["2"], "relation": ["less"]}, "binary", "the table of behaviour names the relation "
         "less; for binary use equal"),
        ({"id_a": ["1"], "id_b": ["2"], "relation": ["equal"], "prediction_a": ["x"]}, "regression", "an expected or "
         "given answer must be a number; got x; mend the table"),
        ({"id_a": [], "id_b": [], "relation": []}, "binary", "the table of behaviour has no rows; leave it out, or "
         "put expectations in it"),
    ],
)  # fmt: skip
def test_a_table_that_asks_nothing_is_refused(columns: dict[str, list[str]], task: str, message: str) -> None:
    with pytest.raises(InputDataError, match=f"^{re.escape(message)}$"):
        list(behaviour_lines(pd.DataFrame(columns), ROWS, "v", task))


def test_a_result_fails_from_the_severity_asked_for() -> None:
    passing = replace(LINE, status="pass", severity="info")
    for severity, status, failing in (
        ("critical", "fail", {"critical", "warning", "any"}),
        ("warning", "fail", {"warning", "any"}),
        ("info", "warn", {"any"}),
        ("critical", "error", {"critical", "warning", "any"}),
        ("critical", "insufficient", set()),
    ):
        found = result(passing, replace(LINE, severity=severity, status=status))  # type: ignore[arg-type]
        assert {level for level in ("critical", "warning", "any") if not found.passed(level)} == failing  # type: ignore[arg-type]


def test_a_result_in_which_nothing_was_judged_has_not_passed() -> None:
    assert not result(replace(LINE, status="insufficient")).passed("critical")
    assert not result().passed("critical")


def test_build_servers_read_failures_errors_and_skips() -> None:
    lines = [
        LINE,
        replace(LINE, check="d", column="\x1b<zone>", model_version="", severity="warning"),
        replace(LINE, check="e", status="error", reason="no value"),
        replace(LINE, check="f", status="insufficient", reason="3 rows"),
        replace(LINE, check="g", status="pass"),
    ]

    suite = ElementTree.fromstring(junit(result(*lines), "critical"))  # noqa: S314  # our own

    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "1", "skipped": "1",
    }  # fmt: skip
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {"c": ["failure"], "d \ufffd<zone>": ["system-out"], "e": ["error"], "f": ["skipped"], "g": []}
    assert [case.get("classname") for case in suite][:2] == ["taxi.v", "taxi.inputs"]
    assert suite.find("testcase/failure").text == "mae = 2.0 (bound 1.0) on 50 rows: mae 2 is above 1"  # type: ignore[union-attr]
