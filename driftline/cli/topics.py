"""``driftline topics``: make and check the three topics of a contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from driftline.cli.context import Context
from driftline.errors import CheckFailedError

if TYPE_CHECKING:
    from driftline.transport import Transport
    from driftline.transport.topic_check import TopicFinding

app = typer.Typer(name="topics", help="Make and check the topics of a contract.", no_args_is_help=True)

_Partitions = Annotated[int | None, typer.Option(min=1, help="Partitions of each topic; default 1, on Kafka 4.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


@app.command()
def create(ctx: typer.Context, partitions: _Partitions = None, as_json: _Json = False) -> None:
    """Create the topics that are absent; check those that exist."""
    from driftline.transport.topic_check import check_topics, default_partitions

    with _open(ctx.obj) as (transport, names):
        for finding in check_topics(transport, names):
            if finding.status == "missing":
                transport.create_topic(finding.topic, partitions or default_partitions(transport))
        findings = check_topics(transport, names, partitions)
    _report(findings, as_json)


@app.command()
def check(
    ctx: typer.Context,
    partitions: Annotated[int | None, typer.Option(min=1, help="Partitions each topic must have.")] = None,
    as_json: _Json = False,
) -> None:
    """Check that the topics exist, keep the rules and have the partitions asked for: one line for each breach."""
    from driftline.transport.topic_check import check_topics

    with _open(ctx.obj) as (transport, names):
        findings = check_topics(transport, names, partitions)
    _report(findings, as_json)


@contextmanager
def _open(context: Context) -> Iterator[tuple[Transport, tuple[str, ...]]]:
    topics = context.contract().topics
    transport = context.open_transport()
    try:
        yield transport, (topics.inputs, topics.predictions, topics.labels)
    finally:
        transport.close()


def _report(findings: list[TopicFinding], as_json: bool) -> None:
    import msgspec

    for finding in findings:
        typer.echo(msgspec.json.encode(finding).decode() if as_json else str(finding))
    topics = list(dict.fromkeys(finding.topic for finding in findings))
    if wrong := list(dict.fromkeys(finding.topic for finding in findings if finding.is_wrong)):
        msg = f"{len(wrong)} of {len(topics)} topics are not as they must be: {', '.join(wrong)}; see the lines above"
        raise CheckFailedError(msg)
