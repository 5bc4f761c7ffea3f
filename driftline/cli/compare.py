"""``driftline compare``: challengers against the champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context


def compare(
    ctx: typer.Context,
    slice_name: Annotated[str, typer.Option("--slice", help="A slice; all is the whole.")] = "all",
    model_version: Annotated[str | None, typer.Option(help="A challenger; all else.")] = None,
    since: Annotated[str | None, typer.Option(help="First window start, ISO 8601; UTC where no zone is given.")] = None,
    until: Annotated[str | None, typer.Option(help="Windows start before this, ISO 8601.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Print each challenger's difference from the champion per window, and over all these windows together.

    A difference is the challenger's figure minus the champion's, `lower` and `upper` its 95 % confidence interval. The
    last line of each challenger has no window_start: windows weighed by their requests.
    """
    import msgspec

    from batch.challengers.together import Judged, together
    from driftline.cli.figures import rounded
    from driftline.cli.moments import moment_of
    from driftline.cli.sql import print_rows
    from driftline.clock import from_ms

    context: Context = ctx.obj
    contract = context.contract()
    parameters = {
        "model": contract.model,
        "slice": slice_name,
        "version": model_version or "",
        "since": from_ms(0) if since is None else moment_of("--since", since),
        "until": from_ms(_NEVER_MS) if until is None else moment_of("--until", until),
    }
    with context.open_store() as store:
        rows = store.query(_DIFFERENCES, parameters)
    found: list[dict[str, Any]] = []
    for place in dict.fromkeys((row["model_version"], row["metric"]) for row in rows):
        mine = [row for row in rows if (row["model_version"], row["metric"]) == place]
        found += mine
        whole = together([Judged(row["difference"], row["lower"], row["upper"], row["n"]) for row in mine])
        head = {**mine[-1], "window_start": None, "method": f"{len(mine)} windows"}
        found.append({**head, **whole.as_row(place[1]), "is_final": all(row["is_final"] for row in mine)})
    shown = found if as_json else [rounded(row) for row in found]
    lines = "".join(msgspec.json.encode(row).decode() + "\n" for row in shown)
    if as_json:
        typer.echo(lines, nl=False)
    else:
        print_rows(lines)


_NEVER_MS = 4_102_444_800_000  # 2100-01-01
_DIFFERENCES = """
    WITH replaceAll(replaceOne(metric, '_difference', ''), '_', ' ') AS figure
    SELECT window_start, model_version, metric, value AS difference, lower, upper,
        if(endsWith(p.method, concat(' by ', figure)), p.value, NULL) AS probability_better, n, d.method AS method,
        is_final
    FROM (
        SELECT window_start, model_version, granularity, slice, metric, value, lower, upper, n, method, is_final
        FROM metrics WHERE model = {model:String} AND slice = {slice:String}
            AND metric IN ('mae_difference', 'accuracy_difference', 'log_loss_difference')) AS d
    LEFT JOIN (
        SELECT window_start, model_version, granularity, slice, value, method
        FROM metrics WHERE model = {model:String} AND slice = {slice:String} AND metric = 'probability_better') AS p
        ON d.window_start = p.window_start AND d.model_version = p.model_version AND d.granularity = p.granularity
    WHERE ({version:String} = '' OR model_version = {version:String})
        AND window_start >= {since:DateTime64(3, 'UTC')} AND window_start < {until:DateTime64(3, 'UTC')}
    ORDER BY model_version, metric, window_start
"""
