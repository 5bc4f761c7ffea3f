"""What the global options mean: where things are and how to open them.

Opening imports vendors, so every import of them sits inside a method: ``--help`` stays quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftline.cli.environment import secret_of
from driftline.cli.logs import LogFormat, configure_logging

if TYPE_CHECKING:
    from driftline.contract import Contract
    from driftline.store import Store
    from driftline.transport import Transport


@dataclass(frozen=True, slots=True)
class Context:
    """The global options of one call."""

    home: Path
    monitor: Path | None = None
    store_url: str | None = None
    transport_url: str | None = None
    verbose: bool = False
    log_format: LogFormat = LogFormat.TEXT

    @property
    def reports(self) -> Path:
        """The folder of Evidently's pages."""
        return self.home.absolute() / "reports"

    def configure_logging(self) -> None:
        """Send log lines where and how the options say."""
        configure_logging(verbose=self.verbose, log_format=self.log_format)

    def contract(self) -> Contract:
        """Return the monitor's contract; says so on standard error when it is the packaged example."""
        from driftline.contract import find_contract

        found = find_contract(self.monitor, Path.cwd())
        if found.packaged:
            typer.echo(
                f"no monitors/ folder and no --monitor: using the packaged example {found.contract.model}", err=True
            )
        return found.contract

    def open_store(self, *, serve: bool = False, port: int = 0) -> Store:
        """Return the store, migrated; ``serve`` makes this process the one that others reach it through."""
        from driftline.store.opening import open_store

        url = self.store_url or f"chdb://{self.home.absolute()}/store"
        return open_store(url, self.home, serve=serve, port=port, password=secret_of("DRIFTLINE_STORE_PASSWORD"))

    def open_transport(self) -> Transport:
        """Return the log: ``--transport``, or the embedded one in ``--home``."""
        from driftline.transport import open_transport

        return open_transport(self.transport_url or f"local://{self.home.absolute()}/log")
