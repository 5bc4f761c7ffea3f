"""``driftline status``: how far everything has got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.terminal import plain

if TYPE_CHECKING:
    from driftline.cli.context import Context
    from driftline.contract import Contract
    from driftline.ops.processes import ProcessReport
    from driftline.store import Store
    from driftline.transport import Transport


def status(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> None:
    """Show watermarks, lag, windows open, complete and judged, the last event, the last job and the processes."""
    import msgspec

    from driftline.ops.processes import recent_processes

    context: Context = ctx.obj
    contract, store, transport = context.contract(), context.open_store(), context.open_transport()
    try:
        found = {
            "model": contract.model,
            "contract_id": contract.id,
            "store": {"address": str(store.address), "engine": store.version()},
            "transport": transport.url,
            "topics": [_topic(store, transport, contract, stream) for stream in ("inputs", "predictions", "labels")],
            "windows": _windows(store, contract),
            "last_event": _last_event(store, contract),
            "last_job": _last_job(store, contract),
            "dead_letters": store.scalar(
                "SELECT count() FROM dead_letter_status WHERE model = {model:String} AND status IN ('new', 'failed')",
                {"model": contract.model},
            ),
            "processes": [_process(one) for one in recent_processes(store)],
        }
    finally:
        transport.close()
        store.close()
    if as_json:
        typer.echo(msgspec.json.encode(found, order="deterministic").decode())
    else:
        _print(found)


def _topic(store: Store, transport: Transport, contract: Contract, stream: str) -> dict[str, Any]:
    from consumers.reading.breaker import Pauses
    from driftline.errors import TopicNotFound
    from driftline.transport import Partition
    from driftline.transport.topic_check import check_topics

    name: str = getattr(contract.topics, stream)
    try:
        topic = transport.describe_topic(name)
    except TopicNotFound:
        return {"topic": name, "stream": stream, "exists": False}
    partitions = [Partition(name, index) for index in range(topic.partitions)]
    with transport.consumer() as consumer:
        consumer.assign(dict.fromkeys(partitions, 0))
        ends = consumer.end_offsets(partitions)
    key = {"topic": name, "source": topic.topic_id}
    reached = store.query(
        "SELECT p, max(hi) AS hi FROM segments FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} GROUP BY p",
        key,
    )
    done = {row["p"]: row["hi"] for row in reached}
    horizon = store.query(
        "SELECT watermark, complete_to FROM topic_progress "
        "WHERE topic = {topic:String} AND source_id = {source:String}",
        key,
    )
    return {
        "topic": name,
        "stream": stream,
        "exists": True,
        "partitions": topic.partitions,
        "lag": sum(end - done.get(partition.index, 0) for partition, end in ends.items()),
        "watermark": _moment(horizon[0]["watermark"] if horizon else None),
        "complete_to": _moment(horizon[0]["complete_to"] if horizon else None),
        "producers": _producers(store, key),
        "guarantees_lost": [found.lost for found in check_topics(transport, [name]) if found.accepted],
        "not_read": _regressed(store, key),
        "paused": Pauses(store, contract.model, contract.id).paused({name: topic.topic_id}).get(name),
    }


def _regressed(store: Store, key: dict[str, Any]) -> dict[str, str]:
    """Return the partitions that nobody reads any more because the log has lost what was counted of them."""
    rows = store.query(
        "SELECT p, from_o, to_o FROM data_gaps FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} AND reason = 'log_regressed' ORDER BY p",
        key,
    )
    return {str(row["p"]): f"log lost offsets {row['from_o']} to {row['to_o']}" for row in rows}


def _producers(store: Store, key: dict[str, Any]) -> dict[str, Any]:
    """Return what each marking producer has promised last: whoever holds windows open stands here."""
    import msgspec

    rows = store.query(
        "SELECT argMax(producers, lo) AS producers FROM segments FINAL "
        "WHERE topic = {topic:String} AND source_id = {source:String} GROUP BY p",
        key,
    )
    found: dict[str, Any] = {}
    for row in rows:
        for name, promise in msgspec.json.decode(row["producers"] or "{}").items():
            found[name] = {"up_to": _from_ms(promise["up_to"]), "ended": promise["ended"]}
    return found


def _windows(store: Store, contract: Contract) -> dict[str, int]:
    counts = store.query(
        "SELECT countIf(NOT is_complete) AS open, countIf(is_complete) AS complete FROM ("
        "  SELECT window_start, any(is_complete) AS is_complete FROM stream_metrics"
        "  WHERE model = {model:String} AND metric = 'row_count' GROUP BY window_start)",
        {"model": contract.model},
    )[0]
    run = store.scalar(
        "SELECT uniqExact(job, granularity, window_start) FROM job_runs FINAL WHERE model = {model:String}",
        {"model": contract.model},
    )
    return {"open": counts["open"], "complete": counts["complete"], "run": run}


def _last_event(store: Store, contract: Contract) -> dict[str, Any] | None:
    from driftline.store.inputs_table import ensure_inputs_table

    ensure_inputs_table(store, contract)
    rows = store.query(
        f"SELECT max(event_time) AS event_time, max(append_time) AS append_time, count() AS n "  # noqa: S608
        f"FROM {contract.raw_inputs_table}"
    )
    if not rows or not rows[0]["n"]:
        return None
    return {"event_time": _moment(rows[0]["event_time"]), "append_time": _moment(rows[0]["append_time"])}


def _last_job(store: Store, contract: Contract) -> dict[str, Any] | None:
    rows = store.query(
        "SELECT job, granularity, window_start, toString(status) AS status, as_of FROM job_runs FINAL "
        "WHERE model = {model:String} ORDER BY as_of DESC LIMIT 1",
        {"model": contract.model},
    )
    if not rows:
        return None
    return {**rows[0], "window_start": _moment(rows[0]["window_start"]), "as_of": _moment(rows[0]["as_of"])}


def _process(one: ProcessReport) -> dict[str, Any]:
    import msgspec

    figures: dict[str, Any] = msgspec.to_builtins(one)
    return {**figures, "started": _moment(one.started), "last_seen": _moment(one.last_seen)}


def _moment(moment: Any) -> str | None:
    if moment is None or moment.year < 1971:
        return None
    text: str = moment.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _from_ms(epoch_ms: int) -> str | None:
    from driftline.clock import from_ms

    return _moment(from_ms(epoch_ms))


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"model {found['model']}, contract {found['contract_id']}")
    typer.echo(f"store {found['store']['address']} ({found['store']['engine']}), log {found['transport']}")
    for topic in found["topics"]:
        if not topic["exists"]:
            typer.echo(f"  {topic['topic']}: no such topic yet")
            continue
        typer.echo(
            f"  {topic['topic']}: lag {topic['lag']:,}, watermark {topic['watermark'] or 'none'}, "
            f"complete to {topic['complete_to'] or 'none'}"
        )
        for partition, reason in topic["not_read"].items():
            typer.echo(f"    partition {partition} is not read: {reason}")
        for lost in topic["guarantees_lost"]:
            typer.echo(f"    not guaranteed: {lost}")
        if topic["paused"]:
            typer.echo(f"    {topic['paused']}")
    windows, event, job = found["windows"], found["last_event"], found["last_job"]
    typer.echo(f"windows: {windows['open']} open, {windows['complete']} complete, {windows['run']} judged")
    typer.echo(f"last event: {event['event_time'] if event else 'none'}")
    typer.echo(f"last job: {job['job'] + ' ' + job['window_start'] + ' ' + job['status'] if job else 'none'}")
    if found["dead_letters"]:
        typer.echo(f"dead letters: {found['dead_letters']:,}")
    for one in found["processes"]:
        if one["state"] != "ended":
            cost = f"{one['rss_bytes'] / 2**20:,.0f} MiB, {one['cpu_seconds']:,.0f} s of CPU"
            name = f"{one['role']} {one['pid']} on {plain(one['host'])}"
            typer.echo(f"process {name}: {one['state']}, last seen {one['last_seen']}, {cost}")
