"""How long work shows itself: a bar on a terminal, a line every ten seconds elsewhere; always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    from driftline.clock import Clock

_LINE_EVERY_SECONDS = 10.0


class Report(Protocol):
    """Takes how much is done, of how much (0 when unknown), and a word on where it is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show it."""
        ...


@contextmanager
def progress(title: str, clock: Clock) -> Iterator[Report]:
    """Show the progress of ``title`` while the block runs."""
    if sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield _Lines(title, clock)


class _Lines:
    """One line at most every ten seconds."""

    def __init__(self, title: str, clock: Clock) -> None:
        self._title = title
        self._clock = clock
        self._start = self._last = clock.monotonic()

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = self._clock.monotonic()
        if now - self._last < _LINE_EVERY_SECONDS:
            return
        self._last = now
        rate = done / (now - self._start)
        share = f"{done:,} of {total:,}" if total else f"{done:,}"
        typer.echo(f"{self._title}: {share}, {rate:,.0f}/s {note}".rstrip(), err=True)


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, rate="", note="")

        def report(done: int, total: int, note: str = "") -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{done / elapsed:,.0f}/s" if elapsed > 0.5 else ""
            bar.update(task, completed=done, total=total or None, rate=rate, note=note)

        yield report
