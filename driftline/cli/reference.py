"""``driftline reference``: what windows are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context

app = typer.Typer(help="Build, list and promote reference sets.", no_args_is_help=True)


@app.command()
def build(
    ctx: typer.Context,
    from_: Annotated[Path, typer.Option("--from", help="Rows of your own, or a month of trips (parquet).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a file the reference and print its id; on a month of trips, train the versions that do not exist.

    Rows of your own have event_time, label, the contract's columns and prediction.VERSION for each version.
    """
    import msgspec

    from batch.reference import load_reference
    from batch.worker import Workers
    from driftline.cli.referencing import build_from_file

    context: Context = ctx.obj
    contract = context.contract()
    with Workers() as workers:
        workers.start()
        store = context.open_store()
        try:
            reference_id = build_from_file(context.home, contract, store, workers, from_)
            reference = load_reference(store, contract.model, reference_id)
        finally:
            store.close()
    if as_json and reference is not None:
        found = {"reference_id": reference_id, "source": from_.name, "n_rows": reference.facts.rows}
        typer.echo(msgspec.json.encode({**found, "quality": reference.facts.quality}).decode())
    else:
        typer.echo(reference_id)


@app.command()
def ls(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False
) -> None:
    """List reference sets, the current one first."""
    import msgspec

    from batch.reference import list_references

    context: Context = ctx.obj
    contract, store = context.contract(), context.open_store()
    try:
        references = list_references(store, contract.model)
    finally:
        store.close()
    for reference in references:
        if as_json:
            typer.echo(msgspec.json.encode(reference).decode())
        else:
            mark = "current" if reference.is_current else "       "
            typer.echo(f"{reference.reference_id} {mark} {reference.n_rows:>9,} rows  {reference.source}")


@app.command()
def promote(ctx: typer.Context, reference_id: Annotated[str, typer.Argument(help="As printed by ls.")]) -> None:
    """Make a set the current one; the next `jobs run --due` judges windows against it."""
    from batch.reference import promote as make_current

    context: Context = ctx.obj
    contract, store = context.contract(), context.open_store()
    try:
        make_current(store, contract.model, reference_id)
    finally:
        store.close()
    typer.echo(f"{reference_id} is the current reference of {contract.model}")
