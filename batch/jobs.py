"""Running what is due: scan the ledger, compute in chunks, commit what small chunks found together.

``run_due`` may be called again at any time, by several processes: equal inputs give equal run ids, and the
newest complete run of a window wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from batch.ages import AgeJob
from batch.annotations import annotate_changes
from batch.challengers.job import ComparisonJob
from batch.drift.job import DriftJob, LabelDriftJob
from batch.drift.multivariate import MultivariateJob
from batch.estimates.job import CorrectionJob, EstimateJob
from batch.inputs.data import DataJob
from batch.inputs.profiling import ProfileJob
from batch.inputs.schema import SchemaJob
from batch.isolation import run_isolated
from batch.kpi import KpiJob
from batch.ledger.commit import Judged, Origin, commit
from batch.ledger.ledger import Candidate, Key
from batch.ledger.snapshot import Snapshot, take_snapshot
from batch.quality.custom import CustomJob
from batch.quality.job import QualityJob
from batch.quality.label_arrival import LabelsJob
from batch.results import ALL, Outcome
from batch.rows.frames import MOST_ROWS
from batch.setting import Job, Setting
from batch.slices.job import SlicesJob
from batch.workers.pool import Workers
from driftline.checks import Rule, rules_of
from driftline.clock import Clock
from driftline.contract.model import Contract
from driftline.errors import UsageError
from driftline.store import Store
from driftline.store.inputs_table import ensure_inputs_table
from driftline.store.registry import register_contract

JOBS: tuple[Job, ...] = (
    ProfileJob(),
    DataJob(),
    DriftJob(),
    LabelDriftJob(),
    MultivariateJob(),
    SchemaJob(),
    LabelsJob(),
    QualityJob(),
    CustomJob(),
    SlicesJob(),
    ComparisonJob(),
    EstimateJob(),
    CorrectionJob(),
    KpiJob(),
    AgeJob(),
)
KINDS = tuple(job.name for job in JOBS)

# What one commit holds: enough to make its four fsyncs cheap, little enough for memory and a prompt stop.
_WINDOWS_PER_COMMIT = 100
_ROWS_PER_COMMIT = 3 * MOST_ROWS

Choice = Callable[[Candidate, Snapshot], bool]
Progress = Callable[[Key, int, int], None]


@dataclass(frozen=True, slots=True)
class RunCount:
    """Runs of one job and window size, by status; ``failures`` counts figures that could not be computed."""

    job: str
    granularity: str
    ok: int
    empty: int
    insufficient: int
    failures: int
    error: int = 0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one call of ``run_due`` did.

    ``waiting`` counts the windows that cannot be judged yet, ``given_up`` those that failed too often to be tried
    again unasked.
    """

    counts: tuple[RunCount, ...]
    keys: tuple[Key, ...]
    waiting: int
    seconds: float
    given_up: int = 0

    @property
    def runs(self) -> int:
        """How many runs could judge their window."""
        return sum(count.ok + count.empty + count.insufficient for count in self.counts)

    @property
    def failures(self) -> int:
        """How many figures could not be computed."""
        return sum(count.failures for count in self.counts)


def run_due(
    store: Store,
    contract: Contract,
    workers: Workers,
    clock: Clock,
    kinds: Sequence[str] | None = None,
    choose: Choice | None = None,
    progress: Progress | None = None,
) -> RunSummary:
    """Judge every window that is due, or that ``choose`` picks among the complete ones; later calls find the rest.

    ``progress`` is told the first key of every chunk, and how many windows are done of how many.

    Raises:
        UsageError: ``kinds`` names a job that does not exist.
    """
    began = clock.monotonic()
    candidates = survey(store, contract, workers, kinds)
    register_contract(store, contract)
    annotate_changes(store, contract, candidates.snapshot.counts)
    chosen = [one for one in candidates.all if not one.waits_for and (choose or _is_due)(one, candidates.snapshot)]
    origin = _origin(candidates)
    found: list[Judged] = []
    written = 0
    try:
        for job, chunk in _chunks(chosen):
            if _must_write(found[written:], job):
                commit(store, origin, found[written:])
                written = len(found)
            if progress is not None:
                progress(chunk[0].key, len(found), len(chosen))
            started = clock.monotonic()
            outcomes = run_isolated(job, candidates.setting, chunk)
            seconds = (clock.monotonic() - started) / len(chunk)
            found += [Judged(one, outcomes[one.key], seconds) for one in chunk]
    finally:
        if len(found) > written:
            commit(store, origin, found[written:])
    return RunSummary(
        counts=_counted(found),
        keys=tuple(one.candidate.key for one in found),
        waiting=sum(bool(one.waits_for) for one in candidates.all),
        seconds=clock.monotonic() - began,
        given_up=sum(one.is_given_up for one in candidates.all),
    )


@dataclass(frozen=True, slots=True)
class Survey:
    """All windows that jobs could judge at one moment."""

    setting: Setting
    snapshot: Snapshot
    all: tuple[Candidate, ...]


def survey(store: Store, contract: Contract, workers: Workers, kinds: Sequence[str] | None = None) -> Survey:
    """Return every candidate of the named kinds (all, when None), whether due or not."""
    require_kinds(kinds or ())
    ensure_inputs_table(store, contract)
    snapshot = take_snapshot(store, contract)
    setting = Setting(store, contract, workers, snapshot)
    chosen = [job for job in JOBS if kinds is None or job.name in kinds]
    found = (one for job in chosen for one in job.candidates(snapshot, setting))
    return Survey(setting, snapshot, tuple(replace(one, failed=snapshot.failed.get(one.key)) for one in found))


def require_kinds(kinds: Sequence[str]) -> None:
    """Check that there are jobs of these names.

    Raises:
        UsageError: there is none of one of them.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        msg = f"there is no job {', '.join(unknown)}; use {', '.join(KINDS)}"
        raise UsageError(msg)


def _is_due(candidate: Candidate, _: Snapshot) -> bool:
    return candidate.is_due and not candidate.is_given_up


def _chunks(candidates: Sequence[Candidate]) -> Iterator[tuple[Job, list[Candidate]]]:
    """Yield candidates of one job and size, in the order of jobs and time, as many as one commit should hold."""

    def family(one: Candidate) -> tuple[int, int]:
        return KINDS.index(one.key.job), int(one.key.size.total_seconds())

    ordered = sorted(candidates, key=lambda one: (family(one), one.key.start_ms, one.key.model_version))
    for (index, _), group in groupby(ordered, key=family):
        chunk: list[Candidate] = []
        rows = 0
        for one in group:
            rows += min(one.tally.n, MOST_ROWS)
            if chunk and (len(chunk) == _WINDOWS_PER_COMMIT or rows > _ROWS_PER_COMMIT):
                yield JOBS[index], chunk
                chunk, rows = [], min(one.tally.n, MOST_ROWS)
            chunk.append(one)
        yield JOBS[index], chunk


def _must_write(unwritten: Sequence[Judged], job: Job) -> bool:
    """Return whether to commit before a chunk of ``job``: enough waits, or what this job found, which it may read."""
    return len(unwritten) >= _WINDOWS_PER_COMMIT or any(one.candidate.key.job == job.name for one in unwritten)


def _origin(candidates: Survey) -> Origin:
    setting, jobs = candidates.setting, {job.name: job for job in JOBS}
    rules = rules_of(setting.contract)
    return Origin(
        contract=setting.contract,
        rules_for=lambda key: [
            rule for rule in rules if rule.granularity == key.granularity and _asks(rule, jobs[key.job], key)
        ],
        as_of=candidates.snapshot.as_of,
        algorithm_versions={name: job.algorithm_version for name, job in jobs.items()},
        vocabularies_for=setting.vocabularies_for,
    )


def _asks(rule: Rule, job: Job, key: Key) -> bool:
    return job.judges(rule, key) and (rule.slice == ALL or job.judges_slices)


def _counted(judged: Sequence[Judged]) -> tuple[RunCount, ...]:
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for one in judged:
        groups.setdefault((one.candidate.key.job, one.candidate.key.granularity), []).append(one.outcome)
    return tuple(
        RunCount(
            job,
            granularity,
            ok=sum(outcome.status == "ok" and not outcome.has_failed for outcome in outcomes),
            empty=sum(outcome.status == "empty" and not outcome.has_failed for outcome in outcomes),
            insufficient=sum(outcome.status == "insufficient" and not outcome.has_failed for outcome in outcomes),
            failures=sum(len(outcome.failures) for outcome in outcomes),
            error=sum(outcome.has_failed for outcome in outcomes),
        )
        for (job, granularity), outcomes in groups.items()
    )
