"""Panels as dicts of Grafana's classic JSON: what every panel must have is a required argument.

Owns the look (colours, status mapping, defaults); which panels there are is a dashboard's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "grafana-clickhouse-datasource", "uid": "${datasource}"}
PLUGIN_VERSION = "4.20.0"

# Okabe and Ito's palette: told apart by people with any kind of colour blindness.
PASS, WARN, FAIL, ERROR, ABSENT = "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#8A8F98"
NEUTRAL = "#0072B2"

# The same code in SQL (see queries.STATUS_CODE), ordered from good to bad.
STATUSES = {
    "0": ("ok", PASS),
    "1": ("too few", ABSENT),
    "2": ("warn", WARN),
    "3": ("fail", FAIL),
    "4": ("error", ERROR),
}
STATUS_WORDS = {
    "ok": PASS, "pass": PASS, "empty": ABSENT, "insufficient": ABSENT, "warn": WARN, "fail": FAIL, "error": ERROR
}  # fmt: skip

# Plots beneath each other share one x axis only if their y axes take the same room.
_AXIS_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A panel's place in the 24-column grid, in grid units."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Words:
    """What a panel says of itself; ``when_empty`` is shown instead of data where there is none."""

    title: str
    description: str
    when_empty: str


def series_query(ref_id: str, sql: str) -> Json:
    """Return a query whose rows become time series: string columns are labels."""
    return _target(ref_id, sql, "timeseries", 0)


def table_query(ref_id: str, sql: str) -> Json:
    """Return a query whose rows are shown as they are."""
    return _target(ref_id, sql, "table", 1)


def row(panel_id: int, title: str, y: int) -> Json:
    """Return a heading over the panels below it."""
    place = {"h": 1, "w": 24, "x": 0, "y": y}
    return {"id": panel_id, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}


def timeseries(
    panel_id: int, words: Words, place: Place, unit: str, targets: Sequence[Json], *,
    custom: Json | None = None, overrides: Sequence[Json] = (), bounds: Json | None = None,
) -> Json:  # fmt: skip
    """Return a plot over time; ``custom`` changes the drawing style, ``bounds`` holds min and max of the y axis."""
    style: Json = {
        "drawStyle": "line", "lineWidth": 2, "fillOpacity": 0, "showPoints": "auto", "pointSize": 5,
        "spanNulls": True, "axisWidth": _AXIS_WIDTH,
    }  # fmt: skip
    defaults = {"color": {"mode": "palette-classic-by-name"}, "custom": style | (custom or {}), **(bounds or {})}
    options = {
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel(panel_id, "timeseries", words, place, unit, targets, defaults, overrides, options)


def stat(
    panel_id: int,
    words: Words,
    place: Place,
    unit: str,
    target: Json,
    steps: Sequence[Json],
    *,
    decimals: int | None = None,
) -> Json:
    """Return one big number, coloured by ``steps``; no number is a grey "n/a"."""
    defaults: Json = {
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": list(steps)},
        "mappings": [absent_mapping()],
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
        "wideLayout": True, "showPercentChange": False, "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }  # fmt: skip
    return _panel(panel_id, "stat", words, place, unit, [target], defaults, (), options)


def state_timeline(panel_id: int, words: Words, place: Place, targets: Sequence[Json]) -> Json:
    """Return one strip per series, coloured by status code; a stretch without a code is grey."""
    codes = {code: {"text": text, "color": color, "index": int(code)} for code, (text, color) in STATUSES.items()}
    defaults = {
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [step(ABSENT)]},
        "mappings": [{"type": "value", "options": codes}, absent_mapping()],
        "custom": {"fillOpacity": 85, "lineWidth": 0},
    }
    options = {
        "mergeValues": True, "showValue": "auto", "alignValue": "center", "rowHeight": 0.8,
        "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }  # fmt: skip
    return _panel(panel_id, "state-timeline", words, place, "none", targets, defaults, (), options)


def table(panel_id: int, words: Words, place: Place, target: Json, overrides: Sequence[Json]) -> Json:
    """Return the rows of one query; ``overrides`` name units, widths and colours by column."""
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}, "mappings": []}
    options = {"showHeader": True, "cellHeight": "sm", "frameIndex": 0}
    return _panel(panel_id, "table", words, place, "none", [target], defaults, overrides, options)


def step(color: str, value: float | None = None) -> Json:
    """Return a threshold: ``color`` from ``value`` upwards, the first one from minus infinity."""
    return {"color": color, "value": value}


def absent_mapping() -> Json:
    """Return the mapping that shows null and NaN as a grey "n/a"."""
    result = {"text": "n/a", "color": ABSENT, "index": 9}
    return {"type": "special", "options": {"match": "null+nan", "result": result}}


def by_name(name: str, **properties: Any) -> Json:
    """Return an override of the field called ``name``; ``custom__x`` writes the property ``custom.x``."""
    return _override("byName", name, properties)


def by_query(ref_id: str, **properties: Any) -> Json:
    """Return an override of all fields of one query."""
    return _override("byFrameRefID", ref_id, properties)


def dashed(ref_id: str) -> Json:
    """Return an override that draws a query's series as thin dashed grey lines: a bound, not a measurement."""
    return by_query(
        ref_id,
        custom__lineStyle={"fill": "dash", "dash": [6, 6]},
        custom__lineWidth=1,
        custom__fillOpacity=0,
        custom__showPoints="never",
        color={"mode": "fixed", "fixedColor": ABSENT},
    )


def status_cells(name: str) -> Json:
    """Return an override that colours a table's cells by the status word in them."""
    words = {word: {"text": word, "color": color, "index": i} for i, (word, color) in enumerate(STATUS_WORDS.items())}
    return by_name(
        name,
        custom__cellOptions={"type": "color-text"},
        custom__width=110,
        mappings=[{"type": "value", "options": words}],
    )


def _override(matcher: str, options: str, properties: Json) -> Json:
    listed = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": matcher, "options": options}, "properties": listed}


def _target(ref_id: str, sql: str, query_type: str, frame_format: int) -> Json:
    return {
        "refId": ref_id, "datasource": DATASOURCE, "editorType": "sql", "rawSql": sql.strip(), "queryType": query_type,
        "format": frame_format, "pluginVersion": PLUGIN_VERSION, "meta": {},
    }  # fmt: skip


def _panel(
    panel_id: int, kind: str, words: Words, place: Place, unit: str, targets: Sequence[Json],
    defaults: Json, overrides: Sequence[Json], options: Json,
) -> Json:  # fmt: skip
    return {
        "id": panel_id,
        "type": kind,
        "title": words.title,
        "description": words.description,
        "datasource": DATASOURCE,
        "gridPos": {"h": place.h, "w": place.w, "x": place.x, "y": place.y},
        "targets": list(targets),
        "fieldConfig": {
            "defaults": {"unit": unit, "noValue": words.when_empty, **defaults},
            "overrides": list(overrides),
        },
        "options": options,
    }
