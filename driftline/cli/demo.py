"""``driftline demo``: two weeks of trips with a fault in the last days, judged and shown."""

from __future__ import annotations

import shutil
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.judging import WorkerLimits
from driftline.cli.supervising import Supervisor

if TYPE_CHECKING:
    from driftline.cli.context import Context
    from driftline.cli.system import System
    from producers.replay import Replay

_PAST_DAYS = 14
_INCIDENT_DAYS = 2
INCIDENT = f"null_column:column=passenger_count:last={_INCIDENT_DAYS}d"
_SEED = 7
_SIGN = ".made-by-driftline-demo"
_MONTHS = ("2023-01", "2023-02")  # reference, then what is replayed


def demo(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End after the summary.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page, on 127.0.0.1.")] = 8080,
) -> None:
    """Replay two weeks that end now, with passenger_count lost in the last two days; judge them; show the page.

    Takes the official months from the cache of `driftline data fetch` if they are there, else simulates them.
    """
    from driftline.cli.summary import print_findings
    from driftline.cli.system import open_system
    from grafana.preview import create_app, packaged_dashboards, serve

    context: Context = ctx.obj
    began = time.monotonic()
    _fresh_home(context.home)
    reference, current = _months(context.home)
    with open_system(context, WorkerLimits(2)) as system:
        server = None if once else serve(create_app(system.store, packaged_dashboards(), context.reports), port)
        _build_reference(context, system, reference)
        replay = _replay(context, system, current)
        supervisor = _run_past(system, replay)
        if not system.stop.is_set():
            print_findings(system.store, system.contract, INCIDENT)
            typer.echo(f"\n{time.monotonic() - began:.0f} s in all")
        if server is not None and not system.stop.is_set():
            supervisor.start({"page": server.run, "jobs": lambda: system.judge(lambda _: None)})
            typer.echo(f"\nThe page: {server.url} - live events go on until Ctrl-C.")
            system.stop.wait()
            server.stop()
        system.stop.set()
        supervisor.wait()


def _fresh_home(home: Path) -> None:
    """Start from an empty folder, but only ever delete what an earlier demo made."""
    from driftline.errors import UsageError

    sign = home / _SIGN
    if home.exists() and any(home.iterdir()):
        if not sign.exists():
            msg = f"{home} holds data of its own, the demo starts from nothing; choose another folder with --home"
            raise UsageError(msg)
        _refuse_if_in_use(home)
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    sign.write_text("made by `driftline demo`, which deletes this folder when it starts again\n", encoding="utf-8")


def _refuse_if_in_use(home: Path) -> None:
    from driftline.errors import StoreBusy
    from driftline.store.holder import read_note, take_lock

    lock = take_lock(home)
    if lock is None:
        note = read_note(home)
        holder = f"process {note.pid}" if note else "another process"
        msg = f"{home} is in use by {holder}; end it first, or choose another folder with --home"
        raise StoreBusy(msg)
    lock.release()


def _months(home: Path) -> tuple[Path, Path]:
    """Return the reference month and the month to replay."""
    from producers.download import default_folder
    from producers.simulator import simulate

    cached = [default_folder() / f"green_tripdata_{month}.parquet" for month in _MONTHS]
    if all(path.exists() for path in cached):
        typer.echo(f"1. official months {' and '.join(_MONTHS)} from {default_folder()}")
        return cached[0], cached[1]
    typer.echo("1. simulating two months of trips (`driftline data fetch` gets the official ones) ...")
    folder = home / "data"
    return simulate(31, _SEED, date(2023, 1, 1), folder), simulate(28, _SEED + 1, date(2023, 2, 1), folder)


def _build_reference(context: Context, system: System, month: Path) -> None:
    from driftline.cli.referencing import build_from_file

    typer.echo("2. training two model versions and building the reference ...")
    reference_id = build_from_file(context.home, system.contract, system.store, system.workers, month)
    typer.echo(f"   reference {reference_id}")


def _replay(context: Context, system: System, month: Path) -> Replay:
    from producers.incidents import parse_incident
    from producers.plan import ReplayPlan

    plan = ReplayPlan(
        files=(month,),
        align="now",
        past=timedelta(days=_PAST_DAYS),
        incidents=(parse_incident(INCIDENT),),
    )
    return system.replay(plan, context)


def _run_past(system: System, replay: Replay) -> Supervisor:
    """Send and consume the past, then judge all of it; sending and consuming go on."""
    from batch.jobs import run_due
    from driftline.cli.progress import progress

    typer.echo(f"3. replaying {_PAST_DAYS} days with incident {INCIDENT} ...")
    supervisor = Supervisor(system.stop)
    supervisor.start({"replay": lambda: _drop(replay.run(system.stop)), "consumer": system.consume})
    while not replay.past_sent.wait(0.2) and not system.stop.is_set():
        pass
    _wait_until_consumed(system)
    if not system.stop.is_set():
        typer.echo("4. judging every completed window ...")
        with progress("jobs (windows)", system.clock) as report:
            summary = run_due(
                system.store,
                system.contract,
                system.workers,
                system.clock,
                progress=lambda key, done, total: report(done, total, key.job),
            )
        typer.echo(f"   {summary.runs:,} runs in {summary.seconds:.0f} s")
    return supervisor


def _drop(_: object) -> None:
    """Take a part's result, which nobody needs."""


def _wait_until_consumed(system: System) -> None:
    from consumers.auditing.audit import pending_records

    while not system.stop.wait(0.3):
        if not pending_records(system.store, system.transport, system.contract):
            return
