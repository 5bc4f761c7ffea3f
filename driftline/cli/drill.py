"""``driftline drill``: faults on purpose, in a folder of their own, against a truth known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from consumers.drill.faults import Outcome

app = typer.Typer(no_args_is_help=True, help="Break things on purpose and count whether every event stayed.")

Seed = Annotated[int, typer.Option(help="The same seed gives the same events and the same dice.")]
Keep = Annotated[
    Path | None, typer.Option("--keep", help="Work in this folder, which must be empty, and leave everything there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object per fault.")]


@app.command()
def faults(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A fault of the table, such as F8; repeatable.")
    ] = None,
    events: Annotated[int, typer.Option(min=100, help="Events sent per topic and fault.")] = 5_000,
    repetitions: Annotated[int, typer.Option(min=1, help="How many consumers F1 kills.")] = 5,
    seed: Seed = 1,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """Kill consumers, lose answers, send poison, duplicates and late events; compare every window with the truth.

    Uses a temporary folder with a log and a store of its own, nothing of --home. Exits with 1 if any window is wrong.
    """
    from consumers.drill.faults import FAULTS, rehearse
    from consumers.drill.load import Load
    from driftline.errors import UsageError

    known = {fault.code for fault in FAULTS}
    wanted = frozenset(only or ())
    if unknown := sorted(wanted - known):
        msg = f"--only must be one of {', '.join(fault.code for fault in FAULTS)}; got {', '.join(unknown)}"
        raise UsageError(msg)
    with _folder(keep) as folder:
        outcomes: list[Outcome] = []
        for outcome in rehearse(folder, Load(seed, events), repetitions, wanted):
            _print(outcome, as_json, first=not outcomes)
            outcomes.append(outcome)
    _require_all_hold(outcomes)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long events are sent.")] = 30.0,
    rate: Annotated[float, typer.Option(min=1, help="Records per second, over the three topics.")] = 2_000.0,
    seed: Seed = 1,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """Send events for minutes or hours and kill the consumer once a minute; then compare every window with the truth.

    Exits with 1 if any window is wrong.
    """
    import msgspec

    from consumers.drill.soak import soak as run

    with _folder(keep) as folder:
        done = run(folder, seed, minutes, rate)
    if as_json:
        typer.echo(msgspec.json.encode(done).decode())
    else:
        _print(done.outcome, as_json=False, first=True)
        sizes = f"{min(done.rss_mb, default=0):,.0f} to {max(done.rss_mb, default=0):,.0f} MB"
        typer.echo(
            f"{done.records_per_second:,.0f} records/s sent; consumers' greatest resident sizes {sizes}, "
            f"slope {done.slope_mb_per_minute:+.2f} MB per minute"
        )
    _require_all_hold([done.outcome])


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    from tempfile import TemporaryDirectory

    from driftline.errors import UsageError

    if keep is None:
        with TemporaryDirectory(prefix="driftline-drill-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    elif keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        msg = f"--keep must name an empty or absent folder; {keep} is not; name another"
        raise UsageError(msg)
    else:
        yield keep


def _print(outcome: Outcome, as_json: bool, *, first: bool) -> None:
    import msgspec

    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
        return
    if first:
        typer.echo(f"{'fault':<6}{'times':>6}{'events':>12}{'windows':>9}{'wrong':>7}{'seed':>10}{'seconds':>9}  what")
    typer.echo(
        f"{outcome.fault:<6}{outcome.repetitions:>6,}{outcome.events:>12,}{outcome.windows:>9,}"
        f"{outcome.wrong_windows:>7,}{outcome.seed:>10}{outcome.seconds:>9.1f}  {outcome.done}"
    )
    for finding in outcome.findings:
        typer.echo(f"      {finding}")


def _require_all_hold(outcomes: list[Outcome]) -> None:
    from driftline.errors import CheckFailedError

    if wrong := [outcome for outcome in outcomes if not outcome.holds]:
        msg = f"{', '.join(outcome.fault for outcome in wrong)} left something wrong; see the lines above"
        raise CheckFailedError(msg)
