"""Every error driftline raises on purpose, in one tree.

    DriftlineError
    ├── UsageError                 what the user typed or wrote cannot be used
    │   ├── ContractError          a monitor file breaks a rule of the contract
    │   └── InputDataError         a data file is absent, unreadable or of the wrong shape
    ├── CheckFailedError           the work was done and its answer is "no"
    ├── OutputError                standard output is full, broken or closed
    │   └── OutputClosed           a pipe whose reader has gone
    ├── TransportError             the log cannot do what was asked
    │   ├── TransportUnavailable   broker or file unreachable for now; try again
    │   ├── TopicNotFound          no topic of that name
    │   ├── TopicMismatch          the topic exists with other properties than required
    │   ├── LogRegressed           the log ends before what the store has counted of it
    │   ├── OffsetOutOfRange       the position lies before the first or after the last offset kept
    │   └── DeliveryFailed         records handed to a producer were not acknowledged
    └── StoreError                 the store cannot do what was asked
        ├── StoreUnavailable       store unreachable or overloaded for now; try again
        ├── StoreHolderEnded       the process that served the embedded store has ended; open it anew
        ├── StoreBusy              another process holds the embedded store and does not serve it
        ├── StoreNotWritable       the folder is read-only or the disk is full
        ├── StoreTooNew            the store was made by a newer version of driftline
        ├── StoreUnsafe            the engine's settings could drop rows without an error
        ├── DamagedReference       a reference's rows in the store are not those that were written
        └── StatementRejected      the engine refuses this statement or these rows, always

Messages are lower case: subject, rule, what was found, what to do. ``retriable`` says whether
the same call may succeed later; ``exit_code`` is what the command line returns.
"""

from __future__ import annotations

from typing import ClassVar


class DriftlineError(Exception):
    """Base of every error raised on purpose."""

    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 3


class UsageError(DriftlineError):
    """What the user typed or wrote cannot be used."""

    exit_code = 2


class ContractError(UsageError):
    """A monitor file breaks a rule of the contract; the message names file, line, key, value and remedy."""


class InputDataError(UsageError):
    """A data file is absent, unreadable or of the wrong shape."""


class CheckFailedError(DriftlineError):
    """The work was done and its answer is "no": an audit found a mismatch, a check failed."""

    exit_code = 1


class OutputError(DriftlineError):
    """Standard output is full, broken or closed."""


class OutputClosed(OutputError):
    """Standard output is a pipe whose reader has gone; what a shell reports of a program that this ends."""

    exit_code = 141  # 128 + SIGPIPE


class TransportError(DriftlineError):
    """The log cannot do what was asked."""


class TransportUnavailable(TransportError):
    """The broker or the log file cannot be reached for now."""

    retriable = True


class TopicNotFound(TransportError):
    """There is no topic of that name."""


class TopicMismatch(TransportError):
    """The topic exists, with other properties than required."""


class LogRegressed(TransportError):
    """The log ends before what the store has counted of it: it has lost records."""


class OffsetOutOfRange(TransportError):
    """The position lies before the first offset kept or after the end of the log.

    ``positions`` maps (topic, partition index) to the offset that was asked for.
    """

    def __init__(self, message: str, positions: dict[tuple[str, int], int]) -> None:
        super().__init__(message)
        self.positions = positions


class DeliveryFailed(TransportError):
    """Records handed to a producer were not acknowledged; they may or may not be in the log."""


class StoreError(DriftlineError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or is overloaded for now."""

    retriable = True


class StoreHolderEnded(StoreError):
    """The process through which this one worked on an embedded store has ended; only opening anew helps."""


class StoreBusy(StoreError):
    """Another process holds the embedded store and does not answer on its endpoint."""


class StoreNotWritable(StoreError):
    """The store's folder is read-only or its disk is full."""


class StoreTooNew(StoreError):
    """The store's schema is newer than this version of driftline knows."""


class StoreUnsafe(StoreError):
    """The engine's settings could drop rows, or cut a result short, without an error."""


class DamagedReference(StoreError):
    """The rows of a reference in the store are not those that were written; building it again mends it."""


class StatementRejected(StoreError):
    """The engine refuses this statement or these rows and always will; ``code`` is ClickHouse's error code."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
