"""``python -m tests.faults.table``: writes the table of ``docs/explanation/faults.md`` from what the fault tests found.

Of several results of one test, the newest of full size counts, else the newest. Faults that have no row of their own
here are proven by the tests of ``ELSEWHERE``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.conftest import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "faults.md"
_BEGIN, _END = "<!-- results: python -m tests.faults.table -->", "<!-- end of results -->"
_HEAD = (
    "| fault | what is done | times | events | wrong windows | seed | test |\n"
    "|---|---|---:|---:|---:|---:|---|"
)  # fmt: skip

_MODEL_CHECK = "tests/consumers/test_model_check.py"
_BATCH = "tests/batch/ledger/test_ledger.py"
_IDLENESS = "tests/consumers/counting/test_idleness.py"
_JOB_FAULTS = "tests/batch/test_job_faults.py"
ELSEWHERE: tuple[tuple[str, str, str], ...] = (
    ("F1", "`consume` killed, embedded log, all tables bit for bit",
     "tests/faults/test_sigkill.py::test_killed_consumers_leave_the_same_figures_as_an_undisturbed_one"),
    ("F1", "`consume` killed, real broker",
     "tests/faults/test_sigkill.py::test_killed_consumers_of_a_real_broker_leave_the_same_figures"),
    ("F3", "model check: 200 schedules of torn inserts, zombies and rewinds, and five mutants",
     f"{_MODEL_CHECK}::test_every_schedule_of_crashes_zombies_and_rewinds_ends_with_the_truth"),
    ("F7", "the server of the store ends while a consumer waits for it",
     "tests/faults/test_store_ends.py::test_sigterm_ends_a_consumer_that_waits_for_its_server"),
    ("F8", "each insert of a flush fails once, before or after it was written",
     "tests/consumers/test_loop.py::test_a_flush_repeated_after_any_failed_insert_loses_and_doubles_nothing"),
    ("F9", "the disk of the log full",
     "tests/driftline/transport/test_local.py::test_a_full_disk_is_unavailable_and_what_was_queued_is_appended_later"),
    ("F10", "thirty kinds of poison, alone and in bursts of 100",
     "tests/consumers/decoding/test_poison.py::test_poison_among_events_is_kept_apart_to_the_record"),
    ("F11", "most records bad: paused, resumed",
     "tests/consumers/reading/test_breaker.py::test_a_pause_holds_for_every_process_until_it_is_resumed"),
    ("F12", "a record that ends the process",
     "tests/faults/test_dead_letters.py::"
     "test_a_record_that_ends_the_process_is_quarantined_and_everything_else_counts_once"),
    ("F13", "one id in two partitions, healed",
     "tests/consumers/auditing/test_healing.py::test_an_id_in_two_partitions_counts_once_after_healing"),
    ("F15", "events from the future, a log's clock that goes back",
     "tests/consumers/counting/test_segments.py::test_an_event_from_the_future_is_dead_and_moves_no_watermark"),
    ("F15", "a consumer whose clock is an hour off, or is set while it reads",
     "tests/consumers/test_loop.py::test_a_consumer_whose_clock_is_wrong_counts_the_same"),
    ("F16", "one of four partitions silent for ten windows, then a burst",
     f"{_IDLENESS}::test_an_idle_partition_holds_windows_back_for_idle_after_and_its_burst_is_counted"),
    ("F16", "a partition paused with records waiting",
     f"{_IDLENESS}::test_a_paused_partition_with_records_waiting_is_not_idle"),
    ("F19", "records deleted before they were read",
     "tests/consumers/test_loop.py::test_records_lost_to_retention_are_a_gap_with_its_exact_range"),
    ("F20", "offsets read again, by several owners at once",
     f"{_MODEL_CHECK}::test_the_same_schedules_end_with_the_truth_on_the_real_engine"),
    ("F22", "a run of a job that dies before its commit record",
     f"{_BATCH}::test_a_run_that_dies_before_its_commit_record_shows_nothing_and_is_made_up_for"),
    ("F22", "two workers on the same windows",
     f"{_JOB_FAULTS}::test_two_workers_on_the_same_windows_leave_one_run_of_each_revision"),
    ("F22", "a worker whose data is overtaken between its figures and their commit",
     f"{_JOB_FAULTS}::test_a_stale_worker_that_finishes_last_replaces_nothing"),
    ("F23", "hints lost, doubled, out of order",
     f"{_JOB_FAULTS}::test_windows_run_within_one_look_whatever_hints_are_lost_doubled_or_out_of_order"),
    ("F24", "labels late, early, corrected twice, never, orphaned",
     f"{_JOB_FAULTS}::test_labels_late_early_corrected_absent_and_orphaned_end_with_the_truth"),
    ("F24", "predictions, labels, corrections, duplicates in any order",
     "tests/batch/rows/test_joins.py::test_any_order_of_arrival_gives_the_same_rows_and_figures"),
    ("F25", "a client that returns nothing of a partition",
     "tests/driftline/transport/test_kafka_watchdogs.py::"
     "test_that_returns_nothing_of_a_partition_is_replaced_and_goes_on_where_it_was"),
    ("–", "a producer through an outage of its broker (60 s)",
     "tests/driftline/transport/test_kafka_delivery.py::test_neither_loses_nor_doubles_an_acknowledged_event"),
    ("–", "`dlq redrive` killed between pages",
     "tests/faults/test_dead_letters.py::test_a_redrive_killed_at_any_moment_and_repeated_counts_every_event_once"),
    ("F26", "the log torn at its tail",
     "tests/faults/test_log_changes.py::test_a_torn_tail_of_the_log_leaves_whole_appends"),
    ("F26", "a byte flipped in the tail of the log",
     "tests/faults/test_log_changes.py::"
     "test_a_flipped_byte_in_the_unfinished_part_of_the_log_never_changes_a_record"),
    ("F26", "one bit flipped anywhere in the file of the embedded log, 400 times",
     "tests/faults/test_log_changes.py::test_a_flipped_bit_anywhere_in_the_log_is_refused_or_changes_nothing"),
    ("F27", "a damaged profile",
     "tests/batch/inputs/test_profiling.py::test_a_damaged_profile_is_an_error_and_the_checks_are_judged_all_the_same"),
    ("F30", "markup, SQL, formulas, terminal codes in every text",
     "tests/consumers/decoding/test_poison.py::test_every_kind_of_poison_has_one_fate"),
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the whole table."""
    lines = [*_measured(rows), *_elsewhere()]
    return "\n".join([_HEAD, *(line for _, line in sorted(lines, key=lambda pair: pair[0]))])


def _measured(rows: list[dict[str, Any]]) -> Iterator[tuple[tuple[int, int], str]]:
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row["fault"], row["test"])
        if row["full"] or not newest.get(key, {}).get("full"):
            newest[key] = row
    for (fault, test), row in newest.items():
        figures = f"{row['repetitions']:,} | {row['events']:,} | {row['wrong_windows']} of {row['windows']:,}"
        yield (_number(fault), 0), f"| {fault} | {row['done']} | {figures} | {row['seed']} | {_short(test)} |"


def _elsewhere() -> Iterator[tuple[tuple[int, int], str]]:
    for fault, done, test in ELSEWHERE:
        yield (_number(fault), 1), f"| {fault} | {done} | | | | | {_short(test)} |"


def _number(fault: str) -> int:
    return int(fault[1:]) if fault.startswith("F") else 99


def _short(test: str) -> str:
    path, _, name = test.partition("::")
    return f"`{path}`: `{name.rpartition('::')[2]}`" if name else f"`{path}`"


def main() -> None:
    """Write the table into the page."""
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    text = PAGE.read_text(encoding="utf-8")
    between = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    PAGE.write_text(between.sub(lambda _: f"{_BEGIN}\n{table(rows)}\n{_END}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
