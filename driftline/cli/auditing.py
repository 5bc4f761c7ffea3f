"""The audit beside a consumer: a thread with connections of its own, whose findings the consumer's observer hears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftline.cli.context import Context
    from driftline.cli.observing import ConsumerWatch
    from driftline.clock import Clock
    from driftline.contract import Contract
    from driftline.store import Store

_LOOK_SECONDS = 1.0


@contextmanager
def auditing(
    context: Context, store: Store, contract: Contract, clock: Clock, watch: ConsumerWatch, *, wanted: bool = True
) -> Iterator[None]:
    """Audit each minute and heal what can be healed while the block runs; a failure is logged and tried again."""
    if not wanted:
        yield
        return
    from consumers.auditing.continuous import ContinuousAudit
    from driftline.ops.repeating import Repeating

    with closing(context.open_transport()) as transport:
        audit = ContinuousAudit(store, transport, contract, clock)

        def look() -> None:
            if audit.due():
                watch.audited(audit.run().mismatches)

        repeating = Repeating("audit", _LOOK_SECONDS, look)
        repeating.start()
        try:
            yield
        finally:
            repeating.stop()
