"""``driftline config``: the contract in force, and the schema of contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context

app = typer.Typer(help="Show the contract in force, or the schema of contracts.", no_args_is_help=True)


@app.command()
def show(ctx: typer.Context) -> None:
    """Print the contract with every default filled in, as YAML, and its id."""
    import yaml

    context: Context = ctx.obj
    contract = context.contract()
    typer.echo(f"# contract {contract.id}")
    values = contract.model_dump(mode="json", by_alias=True, exclude_none=True)
    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a monitor file, for editors."""
    import json

    from driftline.contract import Contract
    from driftline.contract.model import RESERVED_KEYS

    body = Contract.model_json_schema(by_alias=True)
    body["$comment"] = "validated now, in effect with a later release: " + ", ".join(
        f"{key} ({feature})" for key, feature in RESERVED_KEYS.items()
    )
    typer.echo(json.dumps(body, indent=2))
