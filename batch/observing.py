"""What a watch over due windows tells whoever watches it; pure, and as short as what anybody asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from batch.jobs import RunSummary
    from driftline.errors import StoreUnavailable


class JobsObserver(Protocol):
    """Hears of a watch's turns; must neither raise nor wait."""

    def turned(self) -> None:
        """Take note that the watch is at work: called at every look and before every chunk of windows."""
        ...

    def ran(self, summary: RunSummary) -> None:
        """Take note that a look at the store was complete, and what it ran."""
        ...

    def store_failed(self, error: StoreUnavailable) -> None:
        """Take note that the store did not answer; the windows stay due."""
        ...


class NullJobsObserver:
    """Hears everything and keeps nothing."""

    def turned(self) -> None:
        """Do nothing."""

    def ran(self, summary: RunSummary) -> None:
        """Do nothing."""

    def store_failed(self, error: StoreUnavailable) -> None:
        """Do nothing."""
