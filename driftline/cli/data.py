"""``driftline data``: months of trips, official or simulated."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Get months of taxi trips: official or simulated.", no_args_is_help=True)


class Color(StrEnum):
    """Which taxis."""

    GREEN = "green"
    YELLOW = "yellow"


@app.command()
def fetch(
    month: Annotated[str, typer.Option(help="Year and month, such as 2023-01.")],
    color: Annotated[Color, typer.Option(help="Which taxis.")] = Color.GREEN,
    to: Annotated[Path | None, typer.Option(help="Folder for the file; default is the user's cache.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Another server that has the official files.")] = None,
) -> None:
    """Download an official month of the Taxi and Limousine Commission; print where it is."""
    from driftline.cli.progress import progress
    from driftline.clock import SystemClock
    from producers.download import OFFICIAL_URL, default_folder, fetch_month

    with progress(f"fetching {color} {month} (bytes)", SystemClock()) as report:
        path = fetch_month(month, color.value, to or default_folder(), base_url or OFFICIAL_URL, report)
    typer.echo(str(path))


@app.command()
def simulate(
    days: Annotated[int, typer.Option(help="How many days.")],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")],
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day, New York clock.")] = datetime(  # noqa: DTZ001 - a date
        2023, 1, 1
    ),
    to: Annotated[Path, typer.Option(help="Folder for the file.")] = Path("data"),
) -> None:
    """Make a month of green trips from aggregate statistics of real ones; print where it is."""
    from producers.simulator import simulate as write_month

    typer.echo(str(write_month(days, seed, start.date(), to)))
