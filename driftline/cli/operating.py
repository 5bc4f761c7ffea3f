"""Around the work of a long-running command: its ops server, its rows of ``process_stats``, its heartbeat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from driftline.cli.observing import ConsumerWatch, JobsWatch
    from driftline.ops.health import Health
    from driftline.ops.meters import Meters
    from driftline.store import Store

Role = Literal["consume", "up", "jobs", "preview", "store"]
_PARTS: dict[Role, tuple[str, ...]] = {
    "consume": ("consumer",),
    "up": ("consumer", "jobs"),
    "jobs": ("jobs",),
    "preview": (),
    "store": (),
}

OpsPort = Annotated[
    int | None,
    typer.Option(
        "--ops-port",
        envvar="DRIFTLINE_OPS_PORT",
        min=0,
        max=65535,
        help="Serve /metrics, /healthz and /readyz on this port (0: a free one); without it they are off.",
    ),
]
OpsHost = Annotated[
    str, typer.Option("--ops-host", envvar="DRIFTLINE_OPS_HOST", help="Address of that port; containers: 0.0.0.0.")
]


@dataclass(frozen=True, slots=True)
class Operations:
    """What the parts of a command report to; ``url`` is empty while nothing is served."""

    consumer: ConsumerWatch
    jobs: JobsWatch
    url: str = ""


@contextmanager
def operating(role: Role, store: Store, ops_port: int | None, ops_host: str = "127.0.0.1") -> Iterator[Operations]:
    """Show and record what this process does while the block runs; ``store`` must stay open as long.

    Raises:
        UsageError: the port is taken, or the heartbeat's address may not be asked.
    """
    import structlog

    from driftline.cli.observing import ConsumerWatch, JobsWatch
    from driftline.clock import SystemClock
    from driftline.ops.health import Health
    from driftline.ops.meters import Meters
    from driftline.ops.recorder import EVERY_SECONDS, Recorder
    from driftline.ops.repeating import Repeating

    log, clock = structlog.get_logger(__name__), SystemClock()
    consumes = "consumer" in _PARTS[role]
    meters, health = Meters(clock), Health(clock, _PARTS[role], reads_log=consumes)
    recorder = Recorder(role, store, meters, health, clock)
    with ExitStack() as stack:
        url = _serve(stack, meters, health, ops_port, ops_host)
        if consumes:
            _beat(stack, meters, health)
        recording = Repeating("process-stats", EVERY_SECONDS, recorder.record, lambda: recorder.record(ended=True))
        recording.start()
        stack.callback(recording.stop)
        log.info("started", role=role, pid=os.getpid(), store=str(store.address), ops=url)
        yield Operations(ConsumerWatch(meters, health), JobsWatch(meters, health), url)
        log.info("stopped", role=role, pid=os.getpid())


def _serve(stack: ExitStack, meters: Meters, health: Health, port: int | None, host: str) -> str:
    if port is None:
        return ""
    from driftline.ops.server import OpsServer

    url = stack.enter_context(OpsServer(meters, health, port, host)).url
    typer.echo(f"metrics at {url}/metrics", err=True)
    return url


def _beat(stack: ExitStack, meters: Meters, health: Health) -> None:
    from driftline.cli.environment import secret_of

    url = secret_of("DRIFTLINE_HEARTBEAT_URL")
    if not url:
        return
    from driftline.ops.heartbeat import EVERY_SECONDS, Heartbeat, parse_heartbeat_url
    from driftline.ops.repeating import Repeating

    beating = Repeating("heartbeat", EVERY_SECONDS, Heartbeat(parse_heartbeat_url(url), health, meters).beat)
    beating.start()
    stack.callback(beating.stop)
