"""``driftline metrics``: the rows of the view ``metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from driftline.cli.context import Context
    from driftline.contract import Contract
    from driftline.store import Store

_COLUMNS = (
    "window_start, window_end, model, model_version, granularity, source, slice, column, metric, value, lower, "
    "upper, n, n_predictions, n_labels, n_scored, coverage, revision, is_final, run_id, engine, method, computed_at"
)
_HISTORY_COLUMNS = (
    "window_start, window_end, model, model_version, granularity, job, slice, column, metric, value, lower, upper, n, "
    "n_predictions, n_labels, n_scored, coverage, revision, is_final, status, run_id, contract_id, reference_id, "
    "computed_at"
)
_TABLE = ("window_start", "granularity", "source", "model_version", "slice", "column", "metric", "value",
          "lower", "upper", "n", "coverage", "revision", "is_final")  # fmt: skip
_HISTORY_TABLE = ("window_start", "granularity", "model_version", "slice", "column", "metric", "revision", "value", "n",
                  "coverage", "is_final", "status", "computed_at")  # fmt: skip
_LISTED, _NAME_WIDTH = 50, 60  # events name versions, any number of them and of any length


def metrics(
    ctx: typer.Context,
    metric: Annotated[str | None, typer.Option(help="Name of a metric, such as mae.")] = None,
    column: Annotated[str | None, typer.Option(help="A column; '' for metrics of whole rows.")] = None,
    model_version: Annotated[str | None, typer.Option(help="A model version.")] = None,
    granularity: Annotated[str | None, typer.Option(help="Window size, such as 1h or 1d.")] = None,
    source: Annotated[str | None, typer.Option(help="stream or batch.")] = None,
    slice_name: Annotated[str | None, typer.Option("--slice", help="A slice; all is the whole.")] = None,
    since: Annotated[str | None, typer.Option(help="First window start, ISO 8601; UTC where no zone is given.")] = None,
    until: Annotated[str | None, typer.Option(help="Window starts before this, ISO 8601.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many rows, the newest.", min=1)] = None,
    history: Annotated[bool, typer.Option("--history", help="Every revision of what jobs computed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Print metrics, oldest window first."""
    from driftline.cli.moments import moment_of
    from driftline.cli.sql import print_rows
    from driftline.errors import UsageError

    _refuse_unknown_metric(metric)
    if history and source is not None:
        msg = "`--source` is not for `--history`: only what jobs computed has revisions; leave it out"
        raise UsageError(msg)
    equal = {"metric": metric, "column": column, "model_version": model_version, "granularity": granularity,
             "source": source, "slice": slice_name}  # fmt: skip
    bounds = {
        "since": None if since is None else moment_of("--since", since),
        "until": None if until is None else moment_of("--until", until),
    }
    context: Context = ctx.obj
    contract = context.contract()
    chosen = {name: value for name, value in {**equal, **bounds}.items() if value is not None}
    with context.open_store() as store:
        rows = store.query(_statement(chosen, limit, history), {"model": contract.model, "limit": limit or 0, **chosen})
        if not rows:
            _tell_unknown(store, contract, chosen)
    lines = "".join(_line(row) + "\n" for row in rows)
    if as_json:
        typer.echo(lines, nl=False)
    else:
        names = _HISTORY_TABLE if history else _TABLE
        print_rows("".join(_line({name: row[name] for name in names}) + "\n" for row in rows))


def _statement(chosen: dict[str, Any], limit: int | None, history: bool) -> str:
    conditions = ["model = {model:String}"]
    for name in chosen:
        match name:
            case "since":
                conditions.append("window_start >= {since:DateTime64(3, 'UTC')}")
            case "until":
                conditions.append("window_start < {until:DateTime64(3, 'UTC')}")
            case _:
                conditions.append(f"{name} = {{{name}:String}}")
    where = " AND ".join(conditions)
    columns, view, last = (
        (_HISTORY_COLUMNS, "metric_history", "job, computed_at") if history else (_COLUMNS, "metrics", "source")
    )
    tail = f"granularity, metric, column, model_version, slice, {last}"
    newest = f"SELECT {columns} FROM {view} WHERE {where} ORDER BY window_start DESC, {tail}"  # noqa: S608 - fixed texts only; values are bound
    newest += " LIMIT {limit:UInt64}" if limit else ""
    order = f"ORDER BY window_start, {tail}"
    return f"SELECT * FROM ({newest}) {order}"  # noqa: S608


def _line(row: dict[str, Any]) -> str:
    import msgspec

    return msgspec.json.encode(row).decode()


def _tell_unknown(store: Store, contract: Contract, chosen: dict[str, Any]) -> None:
    """Refuse a value that neither the contract nor a stored row has; of versions and slices only say so.

    Those two come from events: one that has not been seen is no mistake yet.
    """
    from driftline.cli.terminal import plain
    from driftline.errors import UsageError

    for name in ("column", "granularity", "source", "model_version", "slice"):
        if name not in chosen:
            continue
        known = _of_contract(contract).get(name, set()) | _stored(store, contract.model, name)
        if chosen[name] in known:
            continue
        option = f"`--{name.replace('_', '-')}`"
        listed = ", ".join(_short(value) for value in sorted(known)[:_LISTED]) or "none yet"
        listed += ", …" if len(known) > _LISTED else ""
        if name in ("model_version", "slice"):
            typer.echo(f"no metrics of {option} {plain(chosen[name], keep='')}; known: {plain(listed)}", err=True)
        else:
            msg = f"{option} must be a known one; got {chosen[name]!r}; known: {listed}"
            raise UsageError(msg)


def _of_contract(contract: Contract) -> dict[str, set[str]]:
    from driftline.windows import granularity

    windows = contract.windows
    sizes = {windows.stream, windows.profile, windows.data, windows.drift, *windows.quality}
    return {
        "column": {"", "label", "prediction", *contract.columns},
        "granularity": {granularity(size) for size in sizes},
        "source": {"stream", "batch"},
        "slice": {"all"},
    }


def _stored(store: Store, model: str, name: str) -> set[str]:
    rows = store.query(f"SELECT DISTINCT {name} AS value FROM metrics WHERE model = {{model:String}}", {"model": model})  # noqa: S608 - fixed names
    return {row["value"] for row in rows}


def _short(value: str) -> str:
    text = value or "''"
    return text if len(text) <= _NAME_WIDTH else text[: _NAME_WIDTH - 1] + "…"


def _refuse_unknown_metric(name: str | None) -> None:
    from driftline.errors import UsageError
    from driftline.metrics import METRICS, is_known, similar_names

    if name is None or is_known(name):
        return
    similar = similar_names(name)
    hint = f"did you mean {' or '.join(similar)}? " if similar else ""
    msg = f"`--metric` must be a known metric; got {name!r}; {hint}known: {', '.join(METRICS)}"
    raise UsageError(msg)
