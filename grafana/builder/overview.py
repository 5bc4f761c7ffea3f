"""The overview dashboard: is data arriving and sane, has it drifted, is the model still right.

Panel ids are addresses (alerts and links point at them): a panel keeps its id for ever.
"""

from __future__ import annotations

from grafana.builder import queries
from grafana.builder.dashboard import dashboard, datasource_variable, query_variable
from grafana.builder.panels import (
    ABSENT,
    FAIL,
    NEUTRAL,
    PASS,
    WARN,
    Json,
    Place,
    Words,
    by_name,
    by_query,
    dashed,
    row,
    series_query,
    stat,
    state_timeline,
    status_cells,
    step,
    table,
    table_query,
    timeseries,
)

UID = "driftline-overview"

_DESCRIPTION = "Streaming and batch monitoring of one model in one view. Grey means that there is no answer yet."


def overview() -> Json:
    """Return the overview dashboard."""
    panels = [*_now(), *_data(), *_drift_and_quality(), *_operations()]
    return dashboard(UID, "Model overview", _DESCRIPTION, _variables(), panels)


def _variables() -> list[Json]:
    return [
        datasource_variable(),
        query_variable("model", "Model", queries.MODELS),
        query_variable("model_version", "Version", queries.MODEL_VERSIONS, multi=True, default="$__all"),
        query_variable("slice", "Slice", queries.SLICES, default="all"),
        query_variable("column", "Column", queries.COLUMNS, multi=True),
        query_variable("granularity", "Quality per", queries.GRANULARITIES),
    ]


def _now() -> list[Json]:
    return [
        row(1, "Now", 0),
        stat(
            2,
            Words(
                "Firing checks",
                "Checks whose newest judged window failed or broke.",
                "no check has been judged in this range",
            ),
            Place(0, 1, 4, 4),
            "none",
            table_query("A", queries.FIRING_COUNT),
            [step(PASS), step(WARN, 1), step(FAIL, 3)],
        ),
        stat(
            3,
            Words(
                "Last event age",
                "Time since the event time that all partitions of the input topic have reached.",
                "no input in this range",
            ),
            Place(4, 1, 5, 4),
            "s",
            table_query("A", queries.EVENT_AGE),
            [step(PASS), step(WARN, 3600), step(FAIL, 86400)],
        ),
        stat(
            4,
            Words(
                "Drifted columns",
                "Share of columns whose drift score exceeds its threshold in the newest window.",
                "no drift run in this range",
            ),
            Place(9, 1, 5, 4),
            "percentunit",
            table_query("A", queries.DRIFTED_COLUMNS),
            [step(PASS), step(WARN, 0.2), step(FAIL, 0.5)],
            decimals=0,
        ),
        stat(
            5,
            Words(
                "Error, last final window",
                "Mean absolute error (or accuracy) by version in the newest window with all its labels.",
                "no window has all its labels",
            ),
            Place(14, 1, 5, 4),
            "none",
            series_query("A", queries.quality(final=True)),
            [step(NEUTRAL)],
            decimals=2,
        ),
        stat(
            6,
            Words(
                "Label coverage",
                "Labelled predictions of all predictions, over the whole range.",
                "no quality run in this range",
            ),
            Place(19, 1, 5, 4),
            "percentunit",
            table_query("A", queries.COVERAGE_NOW),
            [step(FAIL), step(WARN, 0.3), step(PASS, 0.6)],
            decimals=2,
        ),
        state_timeline(
            7,
            Words(
                "Health",
                "Worst status of all checks per layer and window. Grey: too few rows to judge, or no window at all.",
                "nothing has been judged in this range",
            ),
            Place(0, 5, 24, 6),
            [
                series_query(ref, queries.health(title.lower(), title))
                for ref, title in zip("ABCD", ("Traffic", "Data", "Drift", "Quality"), strict=True)
            ],
        ),
    ]


def _data() -> list[Json]:
    return [
        row(8, "Data, as it arrives", 11),
        timeseries(
            9,
            Words(
                "Events per window",
                "Inputs, predictions by version, and labels, each counted once. The newest window is filling.",
                "no events in this range",
            ),
            Place(0, 12, 12, 8),
            "short",
            [series_query("A", queries.EVENTS)],
            custom={"lineWidth": 1, "showPoints": "never"},
            bounds={"min": 0},
            overrides=[by_name("inputs", custom__drawStyle="bars", custom__fillOpacity=40, custom__lineWidth=0)],
        ),
        timeseries(
            10,
            Words(
                "Missing values by column",
                "Share of rows without a value: the eight columns with the most. Dashed: limits of the contract.",
                "no column statistics in this range",
            ),
            Place(12, 12, 12, 8),
            "percentunit",
            [series_query("A", queries.NULL_SHARE), series_query("B", queries.NULL_SHARE_LIMITS)],
            custom={"lineWidth": 1, "showPoints": "never"},
            overrides=[dashed("B")],
            bounds={"min": 0},
        ),
        timeseries(
            11,
            Words(
                "Quantiles of $column",
                "5 %, 50 % and 95 % quantiles from the merged profile of each closed window.",
                "no profile of this column in this range",
            ),
            Place(0, 20, 12, 8),
            "short",
            [series_query("A", queries.QUANTILES)],
            custom={"lineWidth": 1, "showPoints": "never"},
        ),
        timeseries(
            12,
            Words(
                "Late and duplicate events",
                "Events older than the watermark, and repeats; each is counted, none is lost.",
                "no events in this range",
            ),
            Place(12, 20, 12, 8),
            "short",
            [series_query("A", queries.LATE_AND_DUPLICATE)],
            custom={
                "drawStyle": "bars",
                "fillOpacity": 70,
                "lineWidth": 0,
                "stacking": {"mode": "normal", "group": "A"},
            },
            bounds={"min": 0},
        ),
    ]


def _drift_and_quality() -> list[Json]:
    return [
        row(13, "Drift and quality, per completed window", 28),
        timeseries(
            14,
            Words(
                "Drift score by column",
                "Distance to the reference, of the ten columns nearest to their threshold. Dashed: the thresholds.",
                "no drift run in this range: driftline jobs run --due",
            ),
            Place(0, 29, 12, 13),
            "none",
            [series_query("A", queries.DRIFT_SCORE), series_query("B", queries.DRIFT_THRESHOLDS)],
            custom={"showPoints": "always", "pointSize": 4},
            overrides=[dashed("B")],
            bounds={"min": 0},
        ),
        timeseries(
            15,
            Words(
                "Error by version",
                "Mean absolute error (or accuracy). Solid: all labels are in. Dashed: labels are still coming.",
                "no quality run in this range: labels have to arrive first",
            ),
            Place(12, 29, 12, 8),
            "none",
            [series_query("A", queries.quality(final=True)), series_query("B", queries.quality(final=False))],
            custom={"showPoints": "always"},
            overrides=[by_query("B", custom__lineStyle={"fill": "dash", "dash": [4, 4]}, custom__lineWidth=1)],
        ),
        timeseries(
            16,
            Words(
                "Label coverage by version",
                "Labelled predictions of all predictions: how much the error above rests on.",
                "no quality run in this range",
            ),
            Place(12, 37, 12, 5),
            "percentunit",
            [series_query("A", queries.COVERAGE)],
            custom={"fillOpacity": 15, "lineWidth": 1},
            bounds={"min": 0, "max": 1},
        ),
    ]


def _operations() -> list[Json]:
    return [
        row(17, "What to look at", 42),
        table(
            18,
            Words(
                "Checks that need attention",
                "Newest judged window of every check that does not pass.",
                "every judged check passes, or none was judged",
            ),
            Place(0, 43, 24, 8),
            table_query("A", queries.FIRING_TABLE),
            [
                status_cells("status"),
                by_name("window", unit="dateTimeAsIso"),
                by_name("value", decimals=3),
                by_name("threshold", decimals=3),
            ],
        ),
        table(
            19,
            Words(
                "Dead letters",
                "Records that could not be read, by reason; over all time, since they have no event time.",
                "no dead letters",
            ),
            Place(0, 51, 9, 10),
            table_query("A", queries.DEAD_LETTERS),
            [
                by_name("last", unit="dateTimeAsIso"),
                by_name("letters", unit="short", color={"mode": "fixed", "fixedColor": ABSENT}),
            ],
        ),
        table(
            20,
            Words(
                "Window jobs",
                "Newest run of the last eight windows of every job.",
                "no job has run in this range: driftline jobs run --due",
            ),
            Place(9, 51, 15, 10),
            table_query("A", queries.JOBS),
            [
                status_cells("status"),
                by_name("window", unit="dateTimeAsIso"),
                by_name("coverage", unit="percentunit", decimals=1),
                by_name("seconds", unit="s", decimals=2),
                by_name("rows", unit="short"),
            ],
        ),
    ]
