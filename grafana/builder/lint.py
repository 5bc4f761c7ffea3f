"""Rules every shipped dashboard keeps, beyond what Grafana's JSON schema can say.

A rule yields sentences that name the panel and the remedy; an empty list is a clean dashboard.
That every query runs on the engine is the tests' to show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from grafana.builder.panels import Json
from grafana.macros import unconditional_variables, unquoted_variables, variables_in

# (dashboard, panel id) of panels about things without event time.
_WITHOUT_TIME_FILTER = {("driftline-overview", 19)}
_DRAWN_TYPES = frozenset({"timeseries", "stat", "table", "state-timeline", "row"})


def lint_dashboard(dashboard: Json) -> list[str]:
    """Return what is wrong with ``dashboard``, one sentence each."""
    panels = dashboard["panels"]
    problems = [*_frame(dashboard), *_grid(panels), *_variables(dashboard)]
    for panel in panels:
        name = f"panel {panel['id']} ({panel.get('title', '')})"
        if panel["type"] != "row":
            problems += [f"{name}: {problem}" for problem in _panel(dashboard["uid"], panel)]
    return problems


def queries_of(dashboard: Json) -> Iterator[tuple[Json, Json]]:
    """Yield every panel of ``dashboard`` with each of its queries."""
    return ((panel, target) for panel in dashboard["panels"] for target in panel.get("targets", ()))


def _frame(dashboard: Json) -> Iterator[str]:
    for key, wanted in {"editable": False, "timezone": "utc", "schemaVersion": 41}.items():
        if dashboard.get(key) != wanted:
            yield f"`{key}` must be {wanted}; got {dashboard.get(key)}"
    for key in ("id", "title"):
        values = [panel[key] for panel in dashboard["panels"]]
        for value in sorted({str(value) for value in values if values.count(value) > 1}):
            yield f"panel {key} {value} occurs more than once"


def _grid(panels: list[Json]) -> Iterator[str]:
    for panel in panels:
        place = panel["gridPos"]
        if place["x"] < 0 or place["x"] + place["w"] > 24:
            yield f"panel {panel['id']} leaves the grid: x {place['x']} + w {place['w']} > 24"
    for one, other in combinations(panels, 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            yield f"panels {one['id']} and {other['id']} overlap"


def _overlap(one: Json, other: Json) -> bool:
    return bool(
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def _variables(dashboard: Json) -> Iterator[str]:
    variables = dashboard["templating"]["list"]
    defined = {variable["name"] for variable in variables}
    queries = [target["rawSql"] for _, target in queries_of(dashboard)]
    queries += [variable["query"]["rawSql"] for variable in variables if variable["type"] == "query"]
    texts = queries + [panel.get("title", "") for panel in dashboard["panels"]]
    used = {"datasource"}.union(*(variables_in(text) for text in texts))
    yield from (f"variable {name} is used and not defined" for name in sorted(used - defined))
    yield from (f"variable {name} is defined and not used" for name in sorted(defined - used))
    with_all = {variable["name"] for variable in variables if variable.get("includeAll")}
    unconditional = set[str]().union(*map(unconditional_variables, queries))
    for name in sorted(with_all & unconditional):
        yield f"variable {name} offers All; use it inside $__conditionalAll only"
    for variable in variables:
        if variable["type"] == "query":
            if variable.get("refresh") != 2:
                yield f"variable {variable['name']} must refresh with the time range (`refresh: 2`)"
            yield from _unquoted(variable["query"]["rawSql"], f"variable {variable['name']}")


def _panel(uid: str, panel: Json) -> Iterator[str]:
    if panel["type"] not in _DRAWN_TYPES:
        yield f"type {panel['type']} is not drawn by the preview"
    for key in ("title", "description"):
        if not panel.get(key):
            yield f"has no {key}"
    if "unit" not in panel["fieldConfig"]["defaults"]:
        yield "has no unit"
    if panel["datasource"]["uid"] != "${datasource}":
        yield "must use the data source ${datasource}"
    if not panel["targets"]:
        yield "has no query"
    for target in panel["targets"]:
        yield from _query(target, needs_time_filter=(uid, panel["id"]) not in _WITHOUT_TIME_FILTER)


def _query(target: Json, *, needs_time_filter: bool) -> Iterator[str]:
    sql, ref_id = target["rawSql"], target["refId"]
    if target["datasource"]["uid"] != "${datasource}":
        yield f"query {ref_id} must use the data source ${{datasource}}"
    if needs_time_filter and "$__timeFilter(" not in sql:
        yield f"query {ref_id} has no $__timeFilter"
    if target["format"] == 0 and not (" AS time" in sql and re.search(r"\bORDER BY time\b", sql)):
        yield f"query {ref_id} is a time series; it needs a column AS time and ORDER BY time"
    yield from _unquoted(sql, f"query {ref_id}")


def _unquoted(sql: str, name: str) -> Iterator[str]:
    for variable in sorted(unquoted_variables(sql)):
        yield f"{name} uses {variable} unquoted; write ${{{variable}:singlequote}}"
