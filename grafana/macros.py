"""Grafana's way from a panel's SQL to the SQL that runs: template variables, then time macros.

A port of what the frontend and grafana-clickhouse-datasource 4.20 do, so that the preview sends
the store what Grafana would. Owns text only; what a frame is made of is ``frames``'s. One
deliberate difference: ``singlequote`` also escapes backslashes, which Grafana leaves alone.

Statement macros (``$__columns``, ``$__lttb``, …) are absent: our dashboards do not use them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from driftline.clock import from_ms
from driftline.errors import UsageError
from grafana.macro_text import Macro, blank_comments, expand

_VARIABLE = re.compile(r"\$\{(?P<braced>[A-Za-z]\w*)(?::(?P<format>\w+))?\}|\$(?P<bare>[A-Za-z]\w*)")
_GO_DURATION = re.compile(r"(?:\d+(?:h|m|s|ms))+\Z")
_GO_UNITS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_QUOTING_FORMATS = frozenset({"singlequote", "sqlstring"})


@dataclass(frozen=True, slots=True)
class TimeRange:
    """What the time picker says, and the step that fits a panel's width; epoch milliseconds, both ends inclusive."""

    from_ms: int
    to_ms: int
    interval_ms: int = 60_000

    @property
    def step_seconds(self) -> int:
        """The step in whole seconds, at least one."""
        return max(self.interval_ms // 1000, 1)


@dataclass(frozen=True, slots=True)
class Selection:
    """The values chosen for one template variable; ``is_all`` when the choice is "All" (values: every option)."""

    values: tuple[str, ...]
    is_all: bool = False
    multi: bool = True


def prepare(sql: str, time_range: TimeRange, variables: Mapping[str, Selection]) -> str:
    """Return the SQL that Grafana would send: ``$__conditionalAll``, variables, macros, in this order.

    Raises:
        UsageError: a variable is not defined, or a macro has the wrong number of arguments.
    """
    conditions_resolved = expand(blank_comments(sql), {"conditionalAll": _conditional_all(variables)})
    return expand_macros(interpolate(conditions_resolved, variables), time_range)


def interpolate(sql: str, variables: Mapping[str, Selection]) -> str:
    r"""Return ``sql`` with ``$name``, ``${name}`` and ``${name:format}`` replaced; ``$__macros`` stay.

    >>> interpolate("x IN (${v:singlequote})", {"v": Selection(("v1", "o'x"))})
    "x IN ('v1','o\\'x')"
    """

    def replaced(match: re.Match[str]) -> str:
        name = match["braced"] or match["bare"]
        if name not in variables:
            msg = f"variable `{name}` is not defined by the dashboard; define it or remove ${name} from the query"
            raise UsageError(msg)
        return _formatted(variables[name], match["format"], name)

    return _VARIABLE.sub(replaced, sql)


def variables_in(sql: str) -> set[str]:
    """Return the names of the template variables that ``sql`` uses."""
    return {match["braced"] or match["bare"] for match in _VARIABLE.finditer(blank_comments(sql))}


def unquoted_variables(sql: str) -> set[str]:
    """Return the variables whose values would reach the engine unquoted; a hostile value there is an injection."""
    bare_conditions = expand(blank_comments(sql), {"conditionalAll": lambda _name, arguments: ",".join(arguments[:-1])})
    return {
        match["braced"] or match["bare"]
        for match in _VARIABLE.finditer(bare_conditions)
        if match["format"] not in _QUOTING_FORMATS
    }


def unconditional_variables(sql: str) -> set[str]:
    """Return the variables used outside ``$__conditionalAll``, where "All" would have to list every option."""
    return variables_in(expand(blank_comments(sql), {"conditionalAll": lambda _name, _arguments: "1=1"}))


def expand_macros(sql: str, time_range: TimeRange) -> str:
    """Return ``sql`` with comments blanked and time macros expanded, innermost first; unknown macros stay.

    >>> expand_macros("$__timeFilter(t)", TimeRange(0, 60_000))
    't >= toDateTime(0) AND t <= toDateTime(60)'
    """
    return expand(blank_comments(sql), _time_macros(time_range))


def _time_macros(time_range: TimeRange) -> dict[str, Macro]:
    start, end = time_range.from_ms, time_range.to_ms
    step, step_ms = time_range.step_seconds, max(time_range.interval_ms, 1)
    from_time, to_time = f"toDateTime({start // 1000})", f"toDateTime({end // 1000})"
    from_time_ms, to_time_ms = f"fromUnixTimestamp64Milli({start})", f"fromUnixTimestamp64Milli({end})"
    from_date, to_date = (f"toDate('{from_ms(moment):%Y-%m-%d}')" for moment in (start, end))

    def between(low: str, high: str) -> Callable[[str], str]:
        return lambda column: f"{column} >= {low} AND {column} <= {high}"

    in_seconds, in_days = between(from_time, to_time), between(from_date, to_date)

    def date_and_time(date: str, time: str) -> str:
        return f"({in_days(date)}) AND ({in_seconds(time)})"

    return {
        "timeFilter": _taking(1, in_seconds),
        "timeFilter_ms": _taking(1, between(from_time_ms, to_time_ms)),
        "dateFilter": _taking(1, in_days),
        "dateTimeFilter": _taking(2, date_and_time),
        "dt": _taking(2, date_and_time),
        "fromTime": _taking(0, lambda: from_time),
        "toTime": _taking(0, lambda: to_time),
        "fromTime_ms": _taking(0, lambda: from_time_ms),
        "toTime_ms": _taking(0, lambda: to_time_ms),
        "timeFrom": _taking(1, lambda column: f"{column} >= {from_time}"),
        "timeTo": _taking(1, lambda column: f"{column} <= {to_time}"),
        "timeInterval": _taking(1, lambda c: f"toStartOfInterval(toDateTime({c}), INTERVAL {step} second)"),
        "timeInterval_ms": _taking(
            1, lambda c: f"toStartOfInterval(toDateTime64({c}, 3), INTERVAL {step_ms} millisecond)"
        ),
        "timeGroup": _taking(2, _time_group),
        "interval_s": _taking(0, lambda: str(step)),
        "from": _taking(0, lambda: str(start)),
        "to": _taking(0, lambda: str(end)),
    }


def _time_group(column: str, duration: str) -> str:
    text = duration.strip("'\"")
    if not _GO_DURATION.match(text):
        msg = f"`$__timeGroup` needs a duration such as 5m or 1h30m; got {duration}"
        raise UsageError(msg)
    length = timedelta(milliseconds=sum(int(n) * _GO_UNITS[u] for n, u in re.findall(r"(\d+)(ms|h|m|s)", text)))
    return f"toStartOfInterval(toDateTime({column}), INTERVAL {int(length.total_seconds())} second)"


def _taking(count: int, expand: Callable[..., str]) -> Macro:
    def macro(name: str, arguments: list[str]) -> str:
        if len(arguments) != count:
            msg = f"`$__{name}` takes {count} arguments; got {len(arguments)}"
            raise UsageError(msg)
        return expand(*arguments)

    return macro


def _conditional_all(variables: Mapping[str, Selection]) -> Macro:
    def macro(name: str, arguments: list[str]) -> str:
        if len(arguments) < 2 or not arguments[-1].startswith("$"):
            msg = f"`$__{name}` takes a condition and a variable, such as (a IN (${{v:singlequote}}), $v)"
            raise UsageError(msg)
        chosen = variables.get(arguments[-1].lstrip("$"))
        return "1=1" if chosen is None or chosen.is_all or not chosen.values else ", ".join(arguments[:-1])

    return macro


def _formatted(selection: Selection, wanted: str | None, name: str) -> str:
    # Nothing chosen is the empty text, which matches nothing, rather than a syntax error.
    values = selection.values or ("",)
    if wanted == "singlequote":
        return ",".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)
    if wanted == "sqlstring":
        return ",".join("'" + value.replace("\\", "\\\\").replace("'", "''") + "'" for value in values)
    if wanted == "pipe":
        return "|".join(values)
    if wanted in {"csv", "raw"}:
        return ",".join(values)
    if wanted is None:
        return ",".join(f"'{value}'" for value in values) if selection.multi else "".join(values)
    msg = f"variable `{name}` is asked for in format {wanted}; use singlequote"
    raise UsageError(msg)
