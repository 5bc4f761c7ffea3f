"""``driftline profile``: the merged sketches of a window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context
    from driftline.profiles import Profile

app = typer.Typer(help="Show or export a window's whylogs profile.", no_args_is_help=True)

_Window = Annotated[str, typer.Argument(metavar="WINDOW", help="Start of the window, such as 2023-02-03T14:00.")]
_Stream = Annotated[str, typer.Option(help="inputs, predictions or labels.")]
_Version = Annotated[str, typer.Option("--model-version", help="For predictions: of which version.")]


@app.command()
def show(
    ctx: typer.Context,
    window: _Window,
    stream: _Stream = "inputs",
    model_version: _Version = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per column.")] = False,
) -> None:
    """Print rows, quantiles, distinct values and type counts of each column."""
    import msgspec

    profile = _merged(ctx.obj, window, stream, model_version)
    rows = profile.rows()
    for column, figures in profile.summary().items():
        if as_json:
            typer.echo(msgspec.json.encode({"column": column, "rows": rows[column], **figures}).decode())
        else:
            listed = ", ".join(f"{name} {value:g}" for name, value in figures.items() if value or "type" not in name)
            typer.echo(f"{column}: {rows[column]:,} rows, {listed}")


@app.command()
def export(
    ctx: typer.Context,
    window: _Window,
    to: Annotated[Path, typer.Option("--to", help="File to write.")],
    stream: _Stream = "inputs",
    model_version: _Version = "",
) -> None:
    """Write the window's profile as a file that whylogs reads (``DatasetProfileView.read``)."""
    from driftline.errors import UsageError

    blob = _merged(ctx.obj, window, stream, model_version).to_bytes()
    try:
        to.write_bytes(blob)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        msg = f"`--to` must be a file that can be written; got {to}: {reason}; choose another"
        raise UsageError(msg) from error
    typer.echo(f"{to}: {len(blob):,} bytes")


def _merged(context: Context, window: str, stream: str, model_version: str) -> Profile:
    from batch.inputs.profiles import merged_profile
    from driftline.cli.moments import moment_of

    contract, store = context.contract(), context.open_store()
    try:
        return merged_profile(store, contract, moment_of("WINDOW", window), stream, model_version)
    finally:
        store.close()
