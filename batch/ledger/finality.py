"""When the labels of a window are all there, and when there are enough to judge by."""

from __future__ import annotations

from batch.ledger.ledger import Tally
from batch.ledger.snapshot import Snapshot
from driftline.contract.model import Contract
from driftline.windows import Window

# Early labels are not a fair sample (short trips end first), so a verdict waits for nearly all.
SETTLED_COVERAGE = 0.95


def all_labelled_or_late(window: Window, tally: Tally, snapshot: Snapshot, contract: Contract) -> bool:
    """Return whether every row has a label, or the label stream has passed the longest delay."""
    return tally.n_labelled == tally.n or snapshot.complete_to("labels") >= window.end + contract.label.delay.max


def absent_label(window: Window, snapshot: Snapshot, contract: Contract) -> str | None:
    """Return what a prediction of ``window`` without a label counts as, None while its label may still come."""
    is_late = snapshot.complete_to("labels") >= window.end + contract.label.delay.max
    return contract.label.absent_means if is_late else None


def enough_to_judge(window: Window, tally: Tally, snapshot: Snapshot, contract: Contract) -> bool:
    """Return whether nearly all labels that are expected have come, or the usual delay has passed."""
    expected = 1.0 if contract.label.expected_share is None else contract.label.expected_share
    covered = tally.n_labelled >= SETTLED_COVERAGE * expected * tally.n
    return covered or snapshot.complete_to("labels") >= window.end + contract.label.delay.p99
