"""References as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch.drift.reference_comparison import Comparison
    from driftline.cli.referencing import KnownReference

_MOST_VALUES = 8


def description(found: KnownReference) -> str:
    """Return what is known of a reference, a fact per line."""
    from driftline.cli.terminal import plain

    return "\n".join(plain(line, keep="") for line in _lines(found))


def print_comparison(found: Comparison) -> None:
    """Print columns, then figures of quality, as two tables."""
    import msgspec

    from driftline.cli.sql import print_rows

    columns = [_column_row(one) for one in msgspec.to_builtins(found.columns)]
    figures = [
        {"model_version": version, "metric": metric, found.first: _number(past), found.second: _number(now)}
        for version, metrics in found.quality.items()
        for metric, (past, now) in metrics.items()
    ]
    for rows in (columns, figures):
        print_rows("".join(msgspec.json.encode(row).decode() + "\n" for row in rows))


def _lines(found: KnownReference) -> Iterator[str]:
    facts = found.facts
    yield f"{found.reference_id}  {found.source}{', current' if found.is_current else ''}"
    yield f"period     {found.window_start:%Y-%m-%dT%H:%MZ} to {found.window_end:%Y-%m-%dT%H:%MZ}"
    if found.hours:
        yield f"hours      {', '.join(_spans(found.hours))}"
    sampled = f", of which {facts.sampled_rows:,} are kept" if facts.sampled_rows < found.n_rows else ""
    yield f"rows       {found.n_rows:,}{sampled}"
    yield f"created    {found.created:%Y-%m-%dT%H:%M:%SZ} under contract {found.contract_id}"
    for name, share in facts.missing_shares.items():
        yield f"column     {name}: {', '.join(_about(found, name, share))}"
    for version, figures in facts.quality.items():
        yield f"quality    {version}: {', '.join(f'{name} {_number(value)}' for name, value in figures.items())}"
    for use in found.used_by:
        older = f", {use.windows - use.latest} judged again since" if use.windows > use.latest else ""
        span = f"{use.first:%Y-%m-%d} to {use.end:%Y-%m-%d}"
        yield f"used by    {use.job} {use.granularity}: {use.windows} windows, {span}{older}"
    if not found.used_by:
        yield "used by    no window"


def _about(found: KnownReference, name: str, missing_share: float) -> Iterator[str]:
    if quantiles := found.facts.quantiles.get(name):
        yield " ".join(f"{level.removeprefix('quantile_')}%={_number(value)}" for level, value in quantiles.items())
    if (values := found.facts.vocabularies.get(name)) is not None:
        shown = " ".join(values[:_MOST_VALUES]) + (" …" if len(values) > _MOST_VALUES else "")
        yield f"{len(values)} values ({shown})"
    yield f"{missing_share:.1%} missing"


def _spans(seasons: Sequence[int]) -> Iterator[str]:
    """Yield hours that follow each other on days of one class together."""
    for name, low in (("weekdays", 0), ("Saturdays", 24), ("Sundays", 48)):
        hours = [season - low for season in seasons if low <= season < low + 24]
        firsts = [hour for hour in hours if hour - 1 not in hours]
        lasts = [hour for hour in hours if hour + 1 not in hours]
        for first, last in zip(firsts, lasts, strict=True):
            yield f"{name} {first:02}:00 to {last + 1:02}:00"


def _column_row(one: dict[str, Any]) -> dict[str, Any]:
    changed = [f"+{value}" for value in one["appeared"]] + [f"-{value}" for value in one["vanished"]]
    more = f" and {len(changed) - _MOST_VALUES} more" if len(changed) > _MOST_VALUES else ""
    return {
        "column": one["column"],
        "method": one["method"],
        "score": _number(one["score"]),
        "threshold": one["threshold"],
        "drifted": one["drifted"],
        "values": " ".join(changed[:_MOST_VALUES]) + more,
        "reason": one["reason"],
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
