"""``driftline reference``: what windows are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context

app = typer.Typer(help="Build, list, show, compare and promote reference sets.", no_args_is_help=True)


@app.command()
def build(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="Rows of your own, or a month of trips (parquet).", show_default=False)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="With --to, the first moment of production; else as FILE.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="The moment after the last one of production.")] = None,
    with_unlabelled: Annotated[
        bool, typer.Option("--with-unlabelled", help="Keep rows whose labels may still come, of production.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a file, or a period of production, the reference and print its id.

    Rows of your own have event_time, label, the contract's columns and prediction.VERSION for each version.
    On a month of trips the versions that do not exist are trained.
    """
    import msgspec

    from batch.references.sets import load_reference
    from batch.workers.pool import Workers
    from driftline.cli.referencing import build_chosen, chosen_source

    source = chosen_source(file, from_, to)
    context: Context = ctx.obj
    contract = context.contract()
    with Workers() as workers:
        workers.start()
        with context.open_store() as store:
            reference_id = build_chosen(context.home, contract, store, workers, source, with_unlabelled=with_unlabelled)
            reference = load_reference(store, contract.model, reference_id)
    if as_json and reference is not None:
        name = source.name if isinstance(source, Path) else "production"
        found = {"reference_id": reference_id, "source": name, "n_rows": reference.facts.rows}
        typer.echo(msgspec.json.encode({**found, "quality": reference.facts.quality}).decode())
    else:
        typer.echo(reference_id)


@app.command()
def ls(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False
) -> None:
    """List reference sets, the current one first."""
    import msgspec

    from batch.references.sets import list_references
    from driftline.cli.referencing import tell_of_pasts

    context: Context = ctx.obj
    contract = context.contract()
    with context.open_store() as store:
        references = list_references(store, contract.model)
    for reference in references:
        if as_json:
            typer.echo(msgspec.json.encode(reference).decode())
        else:
            mark = "current" if reference.is_current else "       "
            typer.echo(f"{reference.reference_id} {mark} {reference.n_rows:>9,} rows  {reference.source}")
    tell_of_pasts(contract)


@app.command()
def show(
    ctx: typer.Context,
    reference_id: Annotated[str, typer.Argument(help="As printed by ls, or in the column reference_id of metrics.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print what is known of a set, or of the days that a window was compared with, and which windows use it."""
    import msgspec

    from driftline.cli.reference_text import description
    from driftline.cli.referencing import known_reference

    context: Context = ctx.obj
    contract = context.contract()
    with context.open_store() as store:
        found = known_reference(store, contract.model, reference_id)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        typer.echo(description(found))


@app.command()
def compare(
    ctx: typer.Context,
    first: Annotated[str, typer.Argument(help="A reference's id.")],
    second: Annotated[str, typer.Argument(help="The id of the reference to compare with it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print how far each column of SECOND is from FIRST by the contract's tests, and the quality of both."""
    import msgspec

    from batch.drift.reference_comparison import compare_references
    from batch.workers.pool import Workers
    from driftline.cli.reference_text import print_comparison
    from driftline.cli.referencing import rows_of

    context: Context = ctx.obj
    contract = context.contract()
    with Workers() as workers:
        workers.start()
        with context.open_store() as store:
            one, other = (rows_of(store, contract, workers, name) for name in (first, second))
        found = compare_references(contract, workers, one, other)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        print_comparison(found)


@app.command()
def promote(
    ctx: typer.Context,
    reference_id: Annotated[str, typer.Argument(help="As printed by ls.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the set as one JSON object.")] = False,
) -> None:
    """Make a set the current one; the next `jobs run --due` judges windows against it."""
    import msgspec

    from batch.references.sets import promote as make_current
    from batch.references.sets import reference_info
    from driftline.cli.referencing import tell_of_pasts

    context: Context = ctx.obj
    contract = context.contract()
    with context.open_store() as store:
        make_current(store, contract.model, reference_id)
        promoted = reference_info(store, contract.model, reference_id)
    if as_json:
        typer.echo(msgspec.json.encode(promoted).decode())
    else:
        typer.echo(f"{reference_id} is the current reference of {contract.model}")
    tell_of_pasts(contract)
