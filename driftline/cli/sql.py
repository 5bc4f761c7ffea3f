"""``driftline sql``: any statement on the store, read-only unless asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context

_SETTINGS = {"output_format_json_quote_64bit_integers": 0, "date_time_output_format": "iso"}
_READERS_ONLY = frozenset({164, 497})  # READONLY, ACCESS_DENIED
_READING = frozenset({"select", "with", "from", "show", "describe", "desc", "explain", "exists"})
_PIPE_WIDTH = 10_000  # a reader of a pipe wants whole values, not a terminal's eighty columns


def sql(
    ctx: typer.Context,
    statement: Annotated[str, typer.Argument(help="One statement of ClickHouse SQL.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per line; 64-bit integers as numbers.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Allow a statement that changes something, or reaches files or the network.")
    ] = False,
) -> None:
    """Run one statement on the store and print its rows."""
    from driftline.errors import StatementRejected, UsageError

    if not _first_word(statement):
        msg = 'the statement is empty; write one, such as "SELECT * FROM metrics LIMIT 5"'
        raise UsageError(msg)
    context: Context = ctx.obj
    with context.open_store() as store:
        try:
            if write and _first_word(statement) not in _READING:
                store.execute(statement)
                return
            ask = store.text if write else store.read_text
            answer = ask(statement.strip().rstrip(";"), output_format="JSONEachRow", settings=_SETTINGS)
        except StatementRejected as error:
            hint = "; --write lifts what a reader may not" if error.code in _READERS_ONLY and not write else ""
            msg = f"{error}{hint}"
            raise UsageError(msg) from error
    if as_json:
        typer.echo(answer, nl=False)
    else:
        print_rows(answer)


def print_rows(lines: str) -> None:
    """Print lines of JSON objects as a table."""
    import msgspec
    from rich.console import Console
    from rich.table import Table

    from driftline.errors import UsageError

    try:
        rows = [msgspec.json.decode(line, type=dict[str, Any]) for line in lines.splitlines()]
    except msgspec.DecodeError as error:
        msg = "the answer is not rows; `driftline sql` runs one statement, without a format of its own"
        raise UsageError(msg) from error
    if not rows:
        typer.echo("no rows", err=True)
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(_cell(name), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console(emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(table)


def _first_word(statement: str) -> str:
    return statement.strip().split(maxsplit=1)[0].lower() if statement.strip() else ""


def _cell(value: Any) -> str:
    from rich.markup import escape

    from driftline.cli.terminal import plain

    return "" if value is None else escape(plain(str(value)))
