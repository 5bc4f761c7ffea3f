"""``driftline check``: a file judged offline by the contract's checks, for a build server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

    from batch.gate.check import CheckResult, StoredReference
    from driftline.cli.context import Context
    from driftline.contract import Contract


class FailOnOption(StrEnum):
    """How severe a failed check must be to fail the command."""

    CRITICAL = "critical"
    WARNING = "warning"
    ANY = "any"


def check(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows to judge: Parquet, or CSV by its name.")],
    against: Annotated[str, typer.Option("--against", metavar="REF", help="A file of rows, or a reference's id.")],
    fail_on: Annotated[
        FailOnOption, typer.Option(help="Exit with 1 from this severity on; any: warnings of info checks, too.")
    ] = FailOnOption.CRITICAL,
    golden: Annotated[
        Path | None, typer.Option(metavar="FILE", help="id, expected and perhaps tolerance: answers that must come.")
    ] = None,
    behaviour: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="id_a, id_b, relation: equal, less, at_most, greater or at_least."),
    ] = None,
    model_version: Annotated[str, typer.Option(help="Whose answers these two judge; the champion's by default.")] = "",
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge a file by the contract's checks without a store or a topic; the exit code says whether it passed."""
    from batch.gate.check import check_frame
    from batch.gate.frames import read_frame
    from driftline.errors import CheckFailedError

    context: Context = ctx.obj
    contract = context.contract()
    result = check_frame(
        read_frame(file, contract),
        contract,
        _reference(context, contract, against),
        golden=None if golden is None else read_frame(golden, contract),
        behaviour=None if behaviour is None else read_frame(behaviour, contract),
        model_version=model_version,
    )
    if junit is not None:
        from batch.gate.junit import junit as to_junit
        from batch.reports.files import write_whole

        write_whole(junit, to_junit(result, fail_on.value))
    _print(result, fail_on, as_json)
    if not result.passed(fail_on.value):
        number = len(result.failed(fail_on.value))
        reason = f"{number} checks failed" if number else "no check could be judged"
        msg = f"{file.name} does not pass the checks of {contract.model}: {reason}"
        raise CheckFailedError(msg)


def _reference(context: Context, contract: Contract, against: str) -> pd.DataFrame | StoredReference:
    from batch.gate.check import stored_reference
    from batch.gate.frames import read_frame

    if Path(against).is_file():
        return read_frame(Path(against), contract)
    with context.open_store() as store:
        return stored_reference(store, contract.model, against)


def _print(result: CheckResult, fail_on: FailOnOption, as_json: bool) -> None:
    import msgspec

    from driftline.cli.terminal import plain

    if as_json:
        found = {"passed": result.passed(fail_on.value), "fail_on": fail_on.value, "counts": result.counts()}
        body = {**found, **msgspec.to_builtins(result)}
        typer.echo(msgspec.json.encode(body).decode())
        return
    for one in result.lines:
        if one.status != "pass":
            where = " ".join(part for part in (one.model_version, one.column) if part)
            where += "" if one.slice == "all" else f" [{one.slice}]"
            typer.echo(plain(f"{one.status:<12} {one.severity:<8} {one.check:<24} {where:<24} {one.reason}", keep=""))
    counts = ", ".join(f"{number} {status}" for status, number in result.counts().items() if number)
    verdict = "passed" if result.passed(fail_on.value) else "failed"
    typer.echo(f"{verdict}: {len(result.lines)} checks on {result.n_rows:,} rows: {counts}")
