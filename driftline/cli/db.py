"""``driftline db``: the store's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context

app = typer.Typer(no_args_is_help=True, help="Make and inspect the store's tables and views.")

_JSON = typer.Option("--json", help="One JSON object per line.")


@app.command()
def migrate(
    ctx: typer.Context,
    print_sql: Annotated[bool, typer.Option("--print-sql", help="Print the statements, touch no store.")] = False,
) -> None:
    """Make the tables and views that the store lacks, and the contract's table of inputs; safe to repeat."""
    from driftline.store.inputs_table import ensure_inputs_table, inputs_ddl

    context: Context = ctx.obj
    contract = context.contract()
    if print_sql:
        from driftline.store.migrations import known_migrations

        for migration in known_migrations():
            typer.echo(f"-- {migration.number:04} {migration.name}\n{migration.sql.rstrip()}\n")
        typer.echo(f"-- inputs of {contract.model}\n{inputs_ddl(contract)};\n")
        return
    with context.open_store() as store:  # opening migrates
        ensure_inputs_table(store, contract)
        typer.echo(f"store {store.address} is up to date")


@app.command()
def status(ctx: typer.Context, as_json: Annotated[bool, _JSON] = False) -> None:
    """List the migrations and whether the store has them."""
    import msgspec

    from driftline.store.migrations import migration_status

    context: Context = ctx.obj
    with context.open_store() as store:
        found = migration_status(store)
    for migration in found:
        if as_json:
            row = {"number": migration.number, "name": migration.name, "applied": migration.applied}
            typer.echo(msgspec.json.encode(row).decode())
        else:
            typer.echo(f"{migration.number:04} {migration.name}: {'applied' if migration.applied else 'pending'}")
