"""Findings about a store and a log that can be reached."""

from __future__ import annotations

from datetime import datetime, timedelta

from driftline.clock import Clock, from_ms
from driftline.contract import Contract
from driftline.ops.findings import Finding, Status
from driftline.store import Store
from driftline.store.migrations import migration_status
from driftline.store.safety import require_safe_settings
from driftline.transport import Partition, Transport
from driftline.transport.topic_check import check_topics

# Clocks held by NTP agree within milliseconds; an event may lie five minutes in its log's future, no more.
_CLOCK_WARNS, _CLOCK_FAILS = timedelta(seconds=2), timedelta(minutes=2)


def check_store(store: Store, clock: Clock) -> list[Finding]:
    """Return what is true of an open store: engine, schema, settings, clock.

    Raises:
        StoreUnsafe: its settings could drop rows.
    """
    require_safe_settings(store)
    safe = Finding("settings", "ok", "the engine drops no row without an error")
    engine = Finding("store", "ok", f"{store.address} answers, engine {store.version()}")
    before = clock.now()
    theirs: datetime = store.scalar("SELECT now64(6, 'UTC')")
    ours = before + (clock.now() - before) / 2
    return [engine, _schema(store), safe, compare_clocks("clock", "the store's clock", theirs - ours)]


def check_log(transport: Transport) -> Finding:
    """Return that an open log has answered."""
    return Finding("log", "ok", f"{transport.url} answers")


def check_topic_rules(transport: Transport, contract: Contract, clock: Clock) -> list[Finding]:
    """Return whether the contract's topics keep the rules, and the log's clock where it has stamped a record."""
    names = (contract.topics.inputs, contract.topics.predictions, contract.topics.labels)
    findings: list[Finding] = []
    for topic in check_topics(transport, names):
        mended_by_us = topic.status == "missing" or not topic.remedy
        status: Status = "ok" if topic.status == "ok" else "warn" if mended_by_us else "fail"
        findings.append(Finding("topics", status, f"{topic.topic} {topic.message}", topic.remedy))
        if topic.partitions and (stamp := _last_append_time(transport, topic.topic, topic.partitions)):
            ahead = max(stamp - clock.now(), timedelta(0))  # a stamp of the past only says when a record came
            findings.append(compare_clocks("log clock", f"the last stamp of {topic.topic}", ahead))
    return findings


def compare_clocks(check: str, whose: str, ahead: timedelta) -> Finding:
    """Return what a difference between a clock and this machine's means."""
    message = f"{whose} is {ahead.total_seconds():+.3f} s from this machine's clock"
    if abs(ahead) < _CLOCK_WARNS:
        return Finding(check, "ok", message)
    status: Status = "fail" if abs(ahead) >= _CLOCK_FAILS else "warn"
    return Finding(check, status, message, "run NTP on both machines")


def _schema(store: Store) -> Finding:
    known = migration_status(store)
    written = {
        row["number"]: row["checksum"]
        for row in store.query("SELECT number, checksum FROM schema_migrations FINAL ORDER BY number")
    }
    pending = [f"{one.number:04}" for one in known if not one.applied]
    other = [f"{one.number:04}" for one in known if one.applied and written[one.number] != one.checksum]
    if pending:
        return Finding("schema", "fail", f"migrations {', '.join(pending)} are missing", "driftline db migrate")
    if other:
        message = f"migrations {', '.join(other)} were applied with another text than this version's"
        return Finding("schema", "fail", message, "install the version that made the store, or make a new store")
    return Finding("schema", "ok", f"has all {len(known)} migrations")


def _last_append_time(transport: Transport, topic: str, partitions: int) -> datetime | None:
    """Return the newest stamp among the last records of the topic's partitions; None where there are none."""
    parts = [Partition(topic, index) for index in range(partitions)]
    with transport.consumer() as consumer:
        consumer.assign(dict.fromkeys(parts, 0))
        begins, ends = consumer.begin_offsets(parts), consumer.end_offsets(parts)
        filled = {part: ends[part] - 1 for part in parts if ends[part] > begins[part]}
        if not filled:
            return None
        consumer.assign(filled)
        stamps = [stamp for batch in consumer.poll(2.0, len(filled)) for stamp in batch.append_times_ms]
    return from_ms(max(stamps)) if stamps else None
