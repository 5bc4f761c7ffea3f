"""``driftline annotate``: notes on the time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from driftline.cli.context import Context


class _AddUnlessNamed(TyperGroup):
    """``annotate TEXT`` is ``annotate add TEXT``. ``ctx`` is a class of the click that Typer carries with it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["add", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_AddUnlessNamed,
    help="Note what happened and when; `annotate TEXT` is `annotate add TEXT`.",
    no_args_is_help=True,
)


@app.command()
def add(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="What happened.")],
    at: Annotated[str | None, typer.Option("--at", help="When, ISO 8601; UTC where no zone is given. Now.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="When it ended.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A word to find it by; may be repeated.")] = None,
) -> None:
    """Note that something happened; the same text at the same moment is noted once."""
    from batch.annotations import NOTE, Annotation, annotate
    from driftline.cli.moments import moment_of
    from driftline.clock import SystemClock

    moment = SystemClock().now().replace(microsecond=0) if at is None else moment_of("--at", at)
    end = None if until is None else moment_of("--until", until)
    context: Context = ctx.obj
    contract = context.contract()
    with context.open_store() as store:
        annotate(store, contract.model, Annotation(moment, NOTE, text, until=end, tags=tuple(tag or ())))
    typer.echo(f"noted at {moment:%Y-%m-%dT%H:%M:%SZ}")


@app.command()
def ls(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False
) -> None:
    """List notes, oldest first, with those that runs of jobs made: deploy, reference, contract, schema."""
    import msgspec

    from batch.annotations import list_annotations
    from driftline.cli.terminal import plain

    context: Context = ctx.obj
    contract = context.contract()
    with context.open_store() as store:
        notes = list_annotations(store, contract.model)
    for note in notes:
        if as_json:
            typer.echo(msgspec.json.encode(note).decode())
            continue
        period = f"{note.at:%Y-%m-%d %H:%M}" + (f" to {note.until:%Y-%m-%d %H:%M}" if note.until else "")
        words = ": ".join(part for part in (note.title, note.text) if part)
        tags = f" [{', '.join(note.tags)}]" if note.tags else ""
        typer.echo(plain(f"{period} {note.kind}: {words}{tags}"))
