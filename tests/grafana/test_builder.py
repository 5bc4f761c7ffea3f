"""The committed files are what the builder makes, and the dashboards keep Grafana's rules and ours."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from grafana.builder import generated_files, lint_dashboard, stale_files, write_files
from grafana.builder.files import dashboards

REPOSITORY = Path(__file__).parents[2]
OVERVIEW = dashboards()[0]


def schemas() -> Path:
    folder = Path(os.environ.get("DRIFTLINE_GRAFANA_SCHEMAS", REPOSITORY / "../shared/facts/grafana-schemas"))
    if not (folder / "dash.schema.json").is_file():
        pytest.skip("no JSON schemas of Grafana: name their folder in DRIFTLINE_GRAFANA_SCHEMAS")
    return folder


def test_committed_files_are_what_the_builder_makes() -> None:
    assert stale_files(REPOSITORY / "grafana") == []


def test_building_writes_stale_files_only(tmp_path: Path) -> None:
    assert len(write_files(tmp_path)) == len(generated_files())
    (tmp_path / "dashboards/overview.json").write_text("{}")
    assert write_files(tmp_path) == [tmp_path / "dashboards/overview.json"]
    assert stale_files(tmp_path) == []


def test_the_dashboard_fits_grafanas_schema() -> None:
    schema = json.loads((schemas() / "dash.schema.json").read_text())
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(OVERVIEW)] == []


@pytest.mark.parametrize("kind", ["timeseries", "stat", "table", "state-timeline"])
def test_panel_options_fit_grafanas_schema(kind: str) -> None:
    schema = json.loads((schemas() / f"{kind}.schema.json").read_text())
    problems = []
    for panel in (item for item in OVERVIEW["panels"] if item["type"] == kind):
        parts = {"Options": panel["options"], "FieldConfig": panel["fieldConfig"]["defaults"].get("custom")}
        for name, value in parts.items():
            if name in schema["definitions"] and value is not None:
                wanted = {**schema, "$ref": f"#/definitions/{name}"}
                found = jsonschema.Draft7Validator(wanted).iter_errors(value)
                problems += [f"{panel['title']}: {error.message}" for error in found]
    assert problems == []


def test_the_dashboards_keep_every_rule() -> None:
    assert [lint_dashboard(dashboard) for dashboard in dashboards()] == [[]]


# Panel ids are addresses: alerts and links point at them.
def test_panels_keep_their_ids() -> None:
    assert {panel["id"]: panel["title"] for panel in OVERVIEW["panels"] if panel["type"] != "row"} == {
        2: "Firing checks", 3: "Last event age", 4: "Drifted columns", 5: "Error, last final window",
        6: "Label coverage", 7: "Health", 9: "Events per window", 10: "Missing values by column",
        11: "Quantiles of $column", 12: "Late and duplicate events", 14: "Drift score by column",
        15: "Error by version", 16: "Label coverage by version", 18: "Checks that need attention",
        19: "Dead letters", 20: "Window jobs",
    }  # fmt: skip


def broken(**changes: Any) -> dict[str, Any]:
    """Return the overview with its events panel (id 9) changed."""
    dashboard = copy.deepcopy(OVERVIEW)
    panel = next(item for item in dashboard["panels"] if item["id"] == 9)
    for key, value in changes.items():
        if key == "sql":
            panel["targets"][0]["rawSql"] = value(panel["targets"][0]["rawSql"])
        else:
            panel[key] = value
    return dashboard


@pytest.mark.parametrize(
    ("dashboard", "problem"),
    [
        (broken(id=2), "panel id 2 occurs more than once"),
        (broken(gridPos={"x": 20, "y": 99, "w": 5, "h": 2}), "panel 9 leaves the grid: x 20 + w 5 > 24"),
        (broken(gridPos={"x": 13, "y": 12, "w": 4, "h": 2}), "panels 9 and 10 overlap"),
        (broken(description=""), "panel 9 (Events per window): has no description"),
        (broken(type="heatmap"), "panel 9 (Events per window): type heatmap is not drawn by the preview"),
        (
            broken(sql=lambda sql: sql.replace("${model:singlequote}", "$model")),
            "panel 9 (Events per window): query A uses model unquoted; write ${model:singlequote}",
        ),
        (
            broken(sql=lambda sql: sql.replace("$__timeFilter", "timeFilter")),
            "panel 9 (Events per window): query A has no $__timeFilter",
        ),
        (
            broken(sql=lambda sql: sql.replace("ORDER BY time", "ORDER BY series")),
            "panel 9 (Events per window): query A is a time series; it needs a column AS time and ORDER BY time",
        ),
        (broken(sql=lambda sql: sql + " -- no\nAND ${typo:singlequote} = 1"), "variable typo is used and not defined"),
        (
            broken(sql=lambda sql: sql + " AND ${column:singlequote} = 1"),
            "variable column offers All; use it inside $__conditionalAll only",
        ),
    ],
)
def test_a_broken_rule_is_named(dashboard: dict[str, Any], problem: str) -> None:
    assert problem in lint_dashboard(dashboard)
