"""``driftline audit``: whether every event of the log is in the store exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from driftline.errors import CheckFailedError

if TYPE_CHECKING:
    from consumers.auditing.audit import TopicAudit
    from driftline.cli.context import Context


def audit(
    ctx: typer.Context,
    heal: Annotated[
        bool, typer.Option("--heal", help="Read lost rows again from the log, and correct windows from the raw rows.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per topic.")] = False,
) -> None:
    """Compare log, commit records, counts and raw rows; exit 1 where they differ.

    produced = ok + duplicate + dead + pending, and every window's number and hash sum of identities agree. With
    --heal, exit 1 only where something cannot be mended.
    """
    import msgspec

    context: Context = ctx.obj
    accounts = _accounts(context, heal)
    for account in accounts:
        if as_json:
            typer.echo(msgspec.json.encode(account).decode())
        else:
            _print(account)
    wrong = [f"{account.topic}: {mismatch}" for account in accounts for mismatch in account.mismatches]
    if wrong:
        msg = f"{len(wrong)} mismatches: " + "; ".join(wrong[:10])
        raise CheckFailedError(msg)


def _accounts(context: Context, heal: bool) -> list[TopicAudit]:
    from consumers.auditing.audit import audit as compare
    from consumers.auditing.continuous import audit_and_heal_all
    from driftline.clock import SystemClock
    from driftline.store.inputs_table import ensure_inputs_table

    contract, store, transport = context.contract(), context.open_store(), context.open_transport()
    try:
        ensure_inputs_table(store, contract)
        if heal:
            return audit_and_heal_all(store, transport, contract, SystemClock())
        return compare(store, transport, contract)
    finally:
        transport.close()
        store.close()


def _print(account: TopicAudit) -> None:
    more = [
        *([f"{account.lost:,} records lost before they were read"] if account.lost else []),
        *([f"{len(account.healed):,} healed"] if account.healed else []),
        *([f"{account.unsettled:,} await the consumer's next flush"] if account.unsettled else []),
    ]
    typer.echo(
        f"{account.topic}: {account.produced:,} produced = {account.ok:,} ok + {account.duplicate:,} duplicate "
        f"+ {account.dead:,} dead + {account.pending:,} pending; {account.windows:,} windows compared"
        + "".join(f"; {text}" for text in more)
    )
    for window in account.healed:
        typer.echo(f"  healed: {window}; figures are the raw rows'")
