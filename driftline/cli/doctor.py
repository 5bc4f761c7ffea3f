"""``driftline doctor``: what could keep driftline from working here, each with its remedy."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.terminal import plain

if TYPE_CHECKING:
    from driftline.cli.context import Context
    from driftline.contract import Contract
    from driftline.ops.findings import Finding


def doctor(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object per finding.")] = False
) -> None:
    """Examine settings, versions, disk, secrets, contract, store, log, topics and clocks; say what to do about each."""
    import msgspec

    from driftline.errors import CheckFailedError
    from driftline.ops.findings import attempted

    context: Context = ctx.obj
    contracts: list[Contract] = []
    findings = [
        *_machine(context),
        *attempted("heartbeat", _heartbeat),
        *attempted("contract", lambda: _contract(context, contracts)),
        *attempted("store", lambda: _store(context)),
        *attempted("log", lambda: _log(context, contracts)),
    ]
    for finding in findings:
        if as_json:
            typer.echo(msgspec.json.encode(finding).decode())
        else:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            typer.echo(f"{finding.status:<4}  {finding.check:<11}  {plain(finding.message + remedy)}")
    if failed := sum(finding.status == "fail" for finding in findings):
        msg = f"{failed} of {len(findings)} findings must be mended; see the lines that begin with fail"
        raise CheckFailedError(msg)


def _machine(context: Context) -> list[Finding]:
    import os
    from pathlib import Path

    from driftline.cli.environment import SECRETS, VARIABLES
    from driftline.ops.machine import check_disk, check_environment, check_libraries, check_private, check_python
    from driftline.store.holder import note_path

    findings = [check_python(), *check_libraries(), check_disk(context.home.absolute())]
    findings += check_environment(os.environ, VARIABLES)
    if note_path(context.home).exists():
        findings.append(check_private("tokens", note_path(context.home)))
    # Who mounts secrets into a container often cannot choose their mode.
    paths = [path for name in SECRETS if (path := os.environ.get(f"{name}_FILE"))]
    return findings + [check_private("secrets", Path(path), otherwise="warn") for path in paths]


def _heartbeat() -> list[Finding]:
    from urllib.parse import urlsplit

    from driftline.cli.environment import secret_of
    from driftline.ops.findings import Finding
    from driftline.ops.heartbeat import parse_heartbeat_url

    url = secret_of("DRIFTLINE_HEARTBEAT_URL")
    if not url:
        message = "none: without DRIFTLINE_HEARTBEAT_URL nobody outside hears when the store is dead"
        return [Finding("heartbeat", "ok", message)]
    return [Finding("heartbeat", "ok", f"goes to {urlsplit(parse_heartbeat_url(url)).hostname}")]


def _contract(context: Context, contracts: list[Contract]) -> list[Finding]:
    from driftline.ops.findings import Finding

    contract = context.contract()
    contracts.append(contract)
    return [Finding("contract", "ok", f"{contract.model}, id {contract.id}")]


def _store(context: Context) -> list[Finding]:
    from driftline.clock import SystemClock
    from driftline.ops.connections import check_store

    with context.open_store() as store:
        return check_store(store, SystemClock())


def _log(context: Context, contracts: list[Contract]) -> list[Finding]:
    from driftline.clock import SystemClock
    from driftline.ops.connections import check_log, check_topic_rules

    transport = context.open_transport()
    try:
        rules = (check_topic_rules(transport, contract, SystemClock()) for contract in contracts)
        return [check_log(transport), *chain.from_iterable(rules)]
    finally:
        transport.close()
