"""``driftline frame``: a window's rows, to look at them or to work on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.terminal import plain

if TYPE_CHECKING:
    import pandas as pd

    from driftline.cli.context import Context

_MOST_ROWS = 200_000


def frame(
    ctx: typer.Context,
    window: Annotated[str, typer.Argument(metavar="WINDOW", help="A day (2023-02-03) or an hour (2023-02-03T14:00).")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A .parquet or .csv file; CSV to standard output else.")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="At most so many ids, chosen by their hash, the same ones every time.")
    ] = _MOST_ROWS,
) -> None:
    """Write a window's rows: id, event_time, features, each version's prediction, label and label_time."""
    from batch.reports.joined import joined_frame
    from driftline.cli.periods import period_of
    from driftline.errors import InputDataError, UsageError

    period = period_of("WINDOW", window)
    if out is not None and out.suffix not in (".parquet", ".csv"):
        msg = f"--out must end in .parquet or .csv; got {out.name}"
        raise UsageError(msg)
    context: Context = ctx.obj
    contract, store = context.contract(), context.open_store()
    try:
        found = joined_frame(store, contract, period, rows)
    finally:
        store.close()
    if found.empty:
        msg = f"{contract.model} has no rows in {window}; see `driftline status` for what there is"
        raise InputDataError(msg)
    if len(found) >= rows:
        typer.echo(f"driftline: {rows:,} rows by hash of their id; there may be more (--rows)", err=True)
    _write(found, out)


def _write(found: pd.DataFrame, out: Path | None) -> None:
    if out is None:
        typer.echo(plain(found.to_csv(index=False), keep="\n\t"), nl=False)
    elif out.suffix == ".csv":
        found.to_csv(out, index=False)
    else:
        found.to_parquet(out, engine="pyarrow", index=False)
    if out is not None:
        typer.echo(f"{len(found):,} rows in {out}")
