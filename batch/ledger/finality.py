"""When the labels of a window are all there, when there are enough to judge by, and what absent ones count as."""

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


def is_settled(window: Window, tally: Tally, snapshot: Snapshot, contract: Contract) -> bool:
    """Return whether figures that rest on labels may be judged.

    Where an absent label means something, that is not before all are there or late: until then only the labels
    that come count, and only one kind of them comes.
    """
    if all_labelled_or_late(window, tally, snapshot, contract):
        return True
    return contract.label.absent_means is None and enough_to_judge(window, tally, snapshot, contract)


def unsettled_reason(coverage: float, contract: Contract) -> str:
    """Return why a window that is not settled has no verdicts."""
    come = f"{coverage:.0%} of the labels have come"
    if contract.label.absent_means is None:
        return f"{come}; judged when nearly all have"
    return f"{come}; judged when no more can, since an absent one counts as {contract.label.absent_means}"
