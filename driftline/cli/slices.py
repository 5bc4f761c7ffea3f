"""``driftline slices``: which slices there are, and which are worst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context

app = typer.Typer(help="Slices of the contract: list them, find the worst.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command()
def ls(ctx: typer.Context, as_json: _Json = False) -> None:
    """List slices with their rows in the newest judged window; none without `slices` in the contract."""
    context: Context = ctx.obj
    contract = context.contract()
    rules = {rule.name: {"by": rule.by, "min_rows": rule.min_rows} for rule in contract.slices}
    with context.open_store() as store:
        rows = store.query(_SEEN, {"model": contract.model})
    known = [row for row in rows if row["slice"].partition("=")[0] in rules]
    _print([{**row, **rules[row["slice"].partition("=")[0]]} for row in known], as_json)


@app.command()
def worst(
    ctx: typer.Context,
    window: Annotated[
        str | None, typer.Argument(metavar="WINDOW", help="A day (2023-02-03) or an hour; the newest judged one else.")
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="A model version; all else.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many slices of each version.")] = 10,
    as_json: _Json = False,
) -> None:
    """Rank slices by how much worse they are than their window, proven ones first.

    `share` is the share of the window's whole error that would go if the slice were as good as the whole; `p_value` the
    chance of such an excess without a cause, corrected for the number of slices; below 0.05 a slice is `proven`.
    """
    from driftline.cli.periods import period_of
    from driftline.clock import to_ms

    context: Context = ctx.obj
    contract = context.contract()
    period = None if window is None else period_of("WINDOW", window)
    parameters = {
        "model": contract.model,
        "low": 0 if period is None else to_ms(period.start),
        "high": 0 if period is None else to_ms(period.end),
        "version": model_version or "",
        "limit": limit,
    }
    with context.open_store() as store:
        rows = store.query(_WORST, parameters)
    _print(rows, as_json)


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    import msgspec

    from driftline.cli.figures import rounded
    from driftline.cli.sql import print_rows

    shown = rows if as_json else [rounded(row) for row in rows]
    lines = "".join(msgspec.json.encode(row).decode() + "\n" for row in shown)
    if as_json:
        typer.echo(lines, nl=False)
    else:
        print_rows(lines)


_SEEN = """
    SELECT slice, argMax(toUInt64(m.value), m.window_start) AS rows, max(m.window_start) AS window_start,
        count() AS windows
    FROM metrics AS m
    WHERE model = {model:String} AND metric = 'row_count' AND source = 'batch' AND slice != 'all'
    GROUP BY slice ORDER BY splitByChar('=', slice)[1], rows DESC, slice
"""
# A window is the newest of its version unless one is named; high = 0 says that none is.
_WORST = """
    SELECT window_start, model_version, toUInt32(anyIf(value, metric = 'slice_rank')) AS rank, slice,
        anyIf(value, metric = 'slice_excess') AS excess, anyIf(lower, metric = 'slice_excess') AS lower,
        anyIf(upper, metric = 'slice_excess') AS upper, anyIf(value, metric = 'slice_excess_share') AS share,
        anyIf(value, metric = 'slice_p_value') AS p_value, CAST(p_value < 0.05, 'Bool') AS proven,
        anyIf(n, metric = 'slice_excess') AS n, any(is_final) AS is_final
    FROM metrics
    WHERE model = {model:String} AND metric IN ('slice_rank', 'slice_excess', 'slice_excess_share', 'slice_p_value')
        AND ({version:String} = '' OR model_version = {version:String})
        AND if({high:Int64} = 0,
            (model_version, window_start) IN (
                SELECT model_version, max(window_start) FROM metrics
                WHERE model = {model:String} AND metric = 'slice_rank' GROUP BY model_version),
            toUnixTimestamp64Milli(window_start) >= {low:Int64} AND toUnixTimestamp64Milli(window_start) < {high:Int64})
    GROUP BY window_start, model_version, slice
    ORDER BY window_start, model_version, rank LIMIT {limit:UInt32} BY window_start, model_version
"""
