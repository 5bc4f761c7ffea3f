"""``driftline dlq``: the records that are no events, and what to do about them.

Whatever comes from a record is printed escaped: it may hold codes that a terminal obeys.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftline.cli.terminal import plain

if TYPE_CHECKING:
    from consumers.dead_letters.letters import Choice, Letter, Status
    from driftline.cli.context import Context
    from driftline.contract import Contract
    from driftline.store import Store

app = typer.Typer(help="Dead letters: records that are no events.", no_args_is_help=True)

_Topics = Annotated[list[str] | None, typer.Option("--topic", help="Only this topic; may be repeated.")]
_Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason; may be repeated.")]
_Statuses = Annotated[
    list[str] | None, typer.Option("--status", help="new, redriven, failed, discarded or copy; may be repeated.")
]
_Since = Annotated[str | None, typer.Option("--since", help="Appended at this moment or later: 2023-02-03T14:00.")]
_All = Annotated[bool, typer.Option("--all", help="All of them; instead of --topic, --reason, --status, --since.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]

_STARTS_BYTES = 60


@app.command()
def ls(
    ctx: typer.Context,
    topic: _Topics = None,
    reason: _Reasons = None,
    status: _Statuses = None,
    since: _Since = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many letters, the newest first.")] = 20,
    as_json: _Json = False,
) -> None:
    """Count dead letters by topic and reason and list the newest; without --status, those that wait for somebody."""
    from consumers.dead_letters.letters import grouped, newest

    with _opened(ctx.obj) as (contract, store):
        choice = _choice(contract, topic, reason, status or ["new", "failed"], since)
        groups, letters = grouped(store, choice), newest(store, choice, limit, _STARTS_BYTES)
    if as_json:
        _echo_json([{"kind": "count", **_builtins(group)} for group in groups])
        _echo_json([{"kind": "letter", **_fields(letter)} for letter in letters])
        return
    for group in groups:
        typer.echo(
            f"{group.letters:>8,} {plain(group.reason, keep=''):<13} {group.status:<9} {plain(group.topic, keep='')}, "
            f"{group.first:%Y-%m-%d %H:%M:%S} to {group.last:%Y-%m-%d %H:%M:%S}"
        )
    if letters:
        typer.echo("")
    for letter in letters:
        typer.echo(_line(letter))
    if not groups:
        typer.echo("no dead letters wait")


@app.command()
def show(
    ctx: typer.Context,
    partition: Annotated[int, typer.Argument(min=0, max=65_535, help="The record's partition.")],
    offset: Annotated[int, typer.Argument(min=0, help="The record's offset.")],
    topic: _Topics = None,
    as_hex: Annotated[bool, typer.Option("--hex", help="The bytes in hexadecimal.")] = False,
    as_json: _Json = False,
) -> None:
    """Show one dead letter whole: what was wrong, what was done, its bytes (escaped), and what to do."""
    from consumers.dead_letters.letters import letters_at
    from driftline.errors import UsageError

    with _opened(ctx.obj) as (contract, store):
        letters = letters_at(store, _choice(contract, topic, None, None, None), partition, offset)
    if not letters:
        msg = f"there is no dead letter at partition {partition}, offset {offset}; see `driftline dlq ls`"
        raise UsageError(msg)
    if as_json:
        _echo_json([_fields(letter, whole=True) for letter in letters])
        return
    for letter in letters:
        _print_whole(letter, as_hex)


@app.command()
def redrive(
    ctx: typer.Context,
    topic: _Topics = None,
    reason: _Reasons = None,
    status: _Statuses = None,
    since: _Since = None,
    every: _All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, send nothing.")] = False,
    as_json: _Json = False,
) -> None:
    """Send dead letters through the log once more, after the contract was mended; without --status, new ones.

    Safe to repeat and to kill: what counts already is counted as a duplicate.
    """
    from consumers.dead_letters.redriving import Summary
    from consumers.dead_letters.redriving import redrive as send_again
    from driftline.cli.progress import progress
    from driftline.clock import SystemClock

    _require_choice(every, topic, reason, status, since, "redrive")
    context: Context = ctx.obj
    with _opened(context) as (contract, store), progress("redrive (records)", SystemClock()) as report:
        choice = _choice(contract, topic, reason, status or ["new"], since)
        transport = context.open_transport()
        try:

            def tell(done: Summary) -> None:
                report(done.sent, 0, "")

            done = send_again(store, transport, choice, _actor(), dry_run=dry_run, report=tell)
        finally:
            transport.close()
    if as_json:
        _echo_json([{"sent": done.sent, "refused": dict(done.refused), "dry_run": dry_run}])
        return
    typer.echo(f"{done.sent:,} records {'would be sent' if dry_run else 'sent'} again")
    for why, count in done.refused.most_common():
        typer.echo(f"{count:,} not sent: {why}")


@app.command()
def discard(
    ctx: typer.Context,
    topic: _Topics = None,
    reason: _Reasons = None,
    status: _Statuses = None,
    since: _Since = None,
    every: _All = False,
    note: Annotated[str, typer.Option("--note", help="Why; kept with the letters.")] = "",
    as_json: _Json = False,
) -> None:
    """Mark dead letters as looked at and given up; without --status, new and failed ones. They stay counted."""
    from consumers.dead_letters.letters import discard as give_up

    _require_choice(every, topic, reason, status, since, "discard")
    with _opened(ctx.obj) as (contract, store):
        done = give_up(store, _choice(contract, topic, reason, status or ["new", "failed"], since), _actor(), note)
    if as_json:
        _echo_json([{"discarded": done}])
    else:
        typer.echo(f"{done:,} dead letters discarded")


@app.command()
def resume(ctx: typer.Context, topic: Annotated[str, typer.Argument(help="The topic that is paused.")]) -> None:
    """Let consumers read a paused topic again, from the very offset where they stopped."""
    from consumers.reading.breaker import Pauses

    context: Context = ctx.obj
    with _opened(context) as (contract, store):
        _require_topics(contract, [topic])
        transport = context.open_transport()
        try:
            source_id = transport.describe_topic(topic).topic_id
        finally:
            transport.close()
        resumed = Pauses(store, contract.model, contract.id).resume(topic, source_id, _actor())
    typer.echo(f"topic {topic} is read again" if resumed else f"topic {topic} is not paused")


@contextmanager
def _opened(context: Context) -> Iterator[tuple[Contract, Store]]:
    contract, store = context.contract(), context.open_store()
    try:
        yield contract, store
    finally:
        store.close()


def _choice(
    contract: Contract,
    topics: Sequence[str] | None,
    reasons: Sequence[str] | None,
    statuses: Sequence[str] | None,
    since: str | None,
) -> Choice:
    from consumers.dead_letters.letters import STATUSES, Choice
    from consumers.decoding.envelopes import Reason
    from driftline.cli.moments import moment_of

    _require_topics(contract, topics or ())
    _require_known("--reason", reasons or (), [str(reason) for reason in Reason])
    _require_known("--status", statuses or (), STATUSES)
    chosen: tuple[Status, ...] = tuple(status for status in STATUSES if status in (statuses or ()))
    moment = moment_of("--since", since) if since else None
    return Choice(contract.model, tuple(topics or ()), tuple(reasons or ()), chosen, moment)


def _require_choice(every: bool, topic: Any, reason: Any, status: Any, since: Any, command: str) -> None:
    from driftline.errors import UsageError

    if every == any((topic, reason, status, since)):
        msg = f"`driftline dlq {command}` needs either --all or some of --topic, --reason, --status, --since"
        raise UsageError(msg)


def _require_topics(contract: Contract, topics: Sequence[str]) -> None:
    from driftline.events import STREAMS

    _require_known("--topic", topics, [getattr(contract.topics, stream) for stream in STREAMS])


def _require_known(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    from driftline.errors import UsageError

    for value in given:
        if value not in known:
            msg = f"`{option}` must be one of {', '.join(known)}; got {value}"
            raise UsageError(msg)


def _actor() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as containers have
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def _line(letter: Letter) -> str:
    copies = f" ({letter.redrives} sent)" if letter.redrives else ""
    return (
        f"{letter.append_time:%Y-%m-%d %H:%M:%S} {plain(str(letter.place), keep='')} {letter.status}{copies} "
        f"{plain(letter.reason, keep='')}: {plain(letter.error, keep='')} | {_escaped(letter.raw)}"
        f"{'…' if letter.raw_bytes > len(letter.raw) else ''}"
    )


def _print_whole(letter: Letter, as_hex: bool) -> None:
    from driftline.cli.remedies import remedy

    typer.echo(f"{plain(str(letter.place), keep='')}, appended {letter.append_time:%Y-%m-%d %H:%M:%S.%f} UTC")
    typer.echo(f"{plain(letter.reason, keep='')}: {plain(letter.error, keep='')}")
    who = f" by {plain(letter.acted_by, keep='')} at {letter.acted_at:%Y-%m-%d %H:%M:%S}" if letter.acted_at else ""
    note = f": {plain(letter.note, keep='')}" if letter.note else ""
    typer.echo(f"status {letter.status}{who}{note}")
    if letter.redrive_of:
        typer.echo(f"copy {letter.redrives} of {plain(letter.redrive_of, keep='')}")
    elif letter.redrives:
        typer.echo(f"sent again {letter.redrives} times")
    typer.echo(f"judged under contract {letter.contract_id}; source {plain(letter.place.source_id, keep='')}")
    kept = "" if letter.raw_bytes == len(letter.raw) else f", the first {len(letter.raw):,} kept"
    typer.echo(f"{letter.raw_bytes:,} bytes{kept}, SHA-256 {letter.raw_sha256}")
    typer.echo(letter.raw.hex(" ", 4) if as_hex else _escaped(letter.raw))
    typer.echo(f"what to do: {remedy(letter)}")


def _escaped(raw: bytes) -> str:
    """Return the bytes as printable ASCII."""
    return repr(raw)[2:-1]


def _fields(letter: Letter, *, whole: bool = False) -> dict[str, Any]:
    from driftline.cli.remedies import remedy

    fields = _builtins(letter)
    place = fields.pop("place")
    fields.pop("raw")
    fields |= {"raw_start": _escaped(letter.raw[:_STARTS_BYTES])}
    if whole:
        fields |= {"raw_hex": letter.raw.hex(), "remedy": remedy(letter)}
    return {**place, **fields}


def _builtins(value: Any) -> dict[str, Any]:
    import msgspec

    built: dict[str, Any] = msgspec.to_builtins(value)
    return built


def _echo_json(values: Sequence[dict[str, Any]]) -> None:
    import json

    for value in values:
        typer.echo(json.dumps(value))  # ASCII: escapes whatever a terminal would obey
