"""What the demo found, in words: injected fault, windows judged, checks that fired, quality with its coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from driftline.contract import Contract
    from driftline.store import Store

_FIRED = """
SELECT source, granularity, check, column, any(severity) AS severity, count() AS windows, min(window_start) AS first,
    max(window_end) AS last, max(value) AS largest, argMax(threshold, value) AS threshold,
    countIf(source = 'stream' AND NOT is_final) AS unfinished
FROM checks WHERE model = {model:String} AND status = 'fail'
GROUP BY source, granularity, check, column ORDER BY windows DESC
"""
_JUDGED = """
SELECT source, granularity, uniqExact(window_start) AS windows, countIf(status = 'pass') AS passed,
    countIf(status = 'fail') AS failed, countIf(status = 'insufficient') AS insufficient
FROM checks WHERE model = {model:String} AND (is_final OR source = 'batch')
GROUP BY source, granularity ORDER BY source
"""
_QUALITY = """
SELECT model_version, sum(value * n_scored) / sum(n_scored) AS mae, sum(n_predictions) AS predictions,
    sum(n_labels) AS labels, sum(n_scored) AS scored
FROM metrics WHERE model = {model:String} AND metric = 'mae' AND granularity = {granularity:String} AND source = 'batch'
GROUP BY model_version ORDER BY model_version
"""


def print_findings(store: Store, contract: Contract, incident: str) -> None:
    """Print what was injected and what the checks say of it."""
    key = {"model": contract.model, "granularity": "1d"}
    typer.echo(f"\nInjected:  {incident}")
    fired = store.query(_FIRED, key)
    typer.echo("Found:" if fired else "Found:     nothing")
    for row in fired:
        typer.echo(f"  {_sentence(row)}")
    typer.echo("Judged:")
    for row in store.query(_JUDGED, key):
        typer.echo(
            f"  {row['windows']:>4} {row['source']} windows of {row['granularity']}: {row['passed']:,} checks passed, "
            f"{row['failed']:,} failed, {row['insufficient']:,} had too few rows to say"
        )
    typer.echo("Quality, per day:")
    for row in store.query(_QUALITY, key):
        typer.echo(
            f"  {row['model_version']:<10} mean absolute error {row['mae']:.2f} {contract.label.unit or ''}, "
            f"{row['labels']:,} of {row['predictions']:,} predictions labelled "
            f"({row['labels'] / row['predictions']:.1%}), {row['scored']:,} scored"
        )


def _sentence(row: dict[str, Any]) -> str:
    threshold = "" if row["threshold"] is None else f" (allowed {row['threshold']:g})"
    column = f" of {row['column']}" if row["column"] else ""
    what = f"{row['severity']}: {row['check']}{column} up to {row['largest']:.3g}{threshold}"
    where = f"{row['windows']} {row['source']} windows of {row['granularity']}"
    unfinished = f" ({row['unfinished']} not complete yet)" if row["unfinished"] else ""
    return f"{what} in {where}{unfinished}, {row['first']:%Y-%m-%d %H:%M} to {row['last']:%Y-%m-%d %H:%M}"
