"""``driftline audit``: whether every event of the log is in the store exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from driftline.errors import CheckFailedError

if TYPE_CHECKING:
    from driftline.cli.context import Context


def audit(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object per topic.")] = False
) -> None:
    """Compare log, commit records, counts and raw rows; exit 1 where they differ.

    produced = ok + duplicate + dead + pending, and every window's number and hash sum of identities agree.
    """
    import msgspec

    from consumers.audit import audit as compare
    from driftline.store.inputs_table import ensure_inputs_table

    context: Context = ctx.obj
    contract, store, transport = context.contract(), context.open_store(), context.open_transport()
    try:
        ensure_inputs_table(store, contract)
        accounts = compare(store, transport, contract)
    finally:
        transport.close()
        store.close()
    for account in accounts:
        if as_json:
            typer.echo(msgspec.json.encode(account).decode())
        else:
            typer.echo(
                f"{account.topic}: {account.produced:,} produced = {account.ok:,} ok + {account.duplicate:,} duplicate "
                f"+ {account.dead:,} dead + {account.pending:,} pending; {account.windows:,} windows compared"
            )
    wrong = [f"{account.topic}: {mismatch}" for account in accounts for mismatch in account.mismatches]
    if wrong:
        msg = f"{len(wrong)} mismatches: " + "; ".join(wrong[:10])
        raise CheckFailedError(msg)
