"""``driftline train``: the example's two model versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context


def train(
    ctx: typer.Context,
    from_: Annotated[Path | None, typer.Option("--from", help="A month of trips (parquet).")] = None,
    month: Annotated[str | None, typer.Option(help="Or an official green month such as 2023-01, fetched.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train again what exists.")] = False,
) -> None:
    """Fit the contract's champion (gradient boosting) and challengers (linear) on a month of trips."""
    from driftline.errors import UsageError
    from producers.download import default_folder, fetch_month
    from producers.model_files import models_folder, train_if_absent

    if (from_ is None) == (month is None):
        msg = "`driftline train` needs either `--from FILE` or `--month 2023-01`"
        raise UsageError(msg)
    context: Context = ctx.obj
    contract = context.contract()
    path = from_ if from_ is not None else fetch_month(str(month), "green", default_folder())
    trained = {model.version: model for model in train_if_absent(context.home, contract, path, force=force)}
    folder = models_folder(context.home, contract)
    for version in contract.versions.all:
        if (model := trained.get(version)) is None:
            typer.echo(f"{version}: exists in {folder}; --force trains it again")
        else:
            trips, mae, loss = model.trained_on.rows, model.held_out_mae_minutes, model.held_out_log_loss
            error = f"log loss {loss:.3f}" if mae is None else f"mae {mae:.2f} min"
            typer.echo(f"{version}: {model.algorithm} on {trips:,} trips; {error} on a held-out fifth")
