"""What the page may ask of the store: a panel's queries and a variable's options, by their place in a dashboard.

The SQL comes from the dashboard file; a request only names the panel and chooses values, which
reach the engine quoted. A dashboard whose SQL uses a variable unquoted is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from driftline.errors import UsageError
from driftline.store import Store
from grafana.frames import Frame, legend_names, long_to_wide, read_frame
from grafana.macros import Selection, TimeRange, prepare, unquoted_variables

Json = dict[str, Any]
ALL = "$__all"
_MAX_VALUES, _MAX_VALUE_CHARACTERS = 1000, 500


class PanelRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"from_ms": "from", "to_ms": "to"}):
    """What the browser sends for one panel; times in epoch milliseconds."""

    uid: str
    panel_id: int
    from_ms: int
    to_ms: int
    variables: dict[str, list[str]] = {}
    interval_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Dashboards:
    """The dashboards of one folder, by uid."""

    by_uid: Mapping[str, Json]

    @classmethod
    def load(cls, folder: Traversable) -> Dashboards:
        """Read every ``*.json`` of ``folder``."""
        files = sorted((item for item in folder.iterdir() if item.name.endswith(".json")), key=lambda item: item.name)
        loaded = [msgspec.json.decode(item.read_bytes()) for item in files]
        if not loaded:
            msg = f"no dashboard (*.json) in {folder}; run driftline dashboards build"
            raise UsageError(msg)
        return cls({dashboard["uid"]: dashboard for dashboard in loaded})

    def get(self, uid: str) -> Json:
        """Return the dashboard.

        Raises:
            UsageError: there is none of that uid.
        """
        if uid not in self.by_uid:
            msg = f"no dashboard `{uid}`; there are {', '.join(self.by_uid)}"
            raise UsageError(msg)
        return self.by_uid[uid]

    def panel(self, uid: str, panel_id: int) -> Json:
        """Return one panel of a dashboard."""
        found: Json | None = next((item for item in self.get(uid)["panels"] if item["id"] == panel_id), None)
        if found is None:
            msg = f"dashboard `{uid}` has no panel {panel_id}"
            raise UsageError(msg)
        return found


def run_panel(store: Store, dashboards: Dashboards, request: PanelRequest) -> list[Json]:
    """Return a panel's frames, one per query, in Grafana's shape with each field's legend name."""
    panel = dashboards.panel(request.uid, request.panel_id)
    selections = _selections(_query_variables(dashboards.get(request.uid)), request.variables)
    time_range = TimeRange(request.from_ms, request.to_ms, request.interval_ms)
    targets = [target for target in panel.get("targets", ()) if not target.get("hide")]
    frames = [_run(store, target, time_range, selections) for target in targets]
    names = legend_names(frames)
    return [
        {
            "refId": target["refId"],
            "fields": [
                {"name": name, "kind": column.kind, "labels": column.labels, "values": column.values}
                for name, column in zip(field_names, frame.fields, strict=True)
            ],
        }
        for target, frame, field_names in zip(targets, frames, names, strict=True)
    ]


def variable_options(
    store: Store, dashboard: Json, chosen: Mapping[str, Sequence[str]], time_range: TimeRange
) -> list[Json]:
    """Return each variable with its options and current values; a choice that is no option gives the default."""
    selections: dict[str, Selection] = {}
    described = []
    for variable in _query_variables(dashboard):
        sql = variable["query"]["rawSql"]
        _refuse_unquoted(sql)
        frame = read_frame(store.text(prepare(sql, time_range, selections), output_format="JSONCompact"))
        options = [str(value) for value in frame.fields[0].values]
        current = _current(variable, options, chosen.get(variable["name"], ()))
        selections |= _selections([variable], {variable["name"]: current})
        keys = ("name", "label", "multi", "includeAll")
        described.append({key: variable[key] for key in keys} | {"options": options, "current": current})
    return described


def _run(store: Store, target: Json, time_range: TimeRange, selections: Mapping[str, Selection]) -> Frame:
    _refuse_unquoted(target["rawSql"])
    sql = prepare(target["rawSql"], time_range, selections)
    frame = read_frame(store.text(sql, output_format="JSONCompact"))
    return long_to_wide(frame) if target["format"] == 0 else frame


def _query_variables(dashboard: Json) -> list[Json]:
    return [item for item in dashboard["templating"]["list"] if item["type"] == "query"]


def _current(variable: Json, options: Sequence[str], chosen: Sequence[str]) -> list[str]:
    if ALL in chosen and variable["includeAll"]:
        return [ALL]
    kept = [value for value in chosen if value in options]
    if kept:
        return kept if variable["multi"] else kept[:1]
    default = variable.get("current", {}).get("value", [])
    default = default if isinstance(default, list) else [default]
    usable = [value for value in default if value == ALL or value in options]
    return usable or list(options[:1])


def _selections(variables: Sequence[Json], chosen: Mapping[str, Sequence[str]]) -> dict[str, Selection]:
    unknown = sorted(set(chosen) - {variable["name"] for variable in variables})
    if unknown:
        msg = f"variable `{unknown[0]}` is not one of this dashboard's"
        raise UsageError(msg)
    return {item["name"]: _selection(item, chosen.get(item["name"], ())) for item in variables}


def _selection(variable: Json, values: Sequence[str]) -> Selection:
    if len(values) > _MAX_VALUES or any(len(value) > _MAX_VALUE_CHARACTERS for value in values):
        msg = (
            f"variable `{variable['name']}` takes at most {_MAX_VALUES} values of {_MAX_VALUE_CHARACTERS} characters; "
            f"got {len(values)} values"
        )
        raise UsageError(msg)
    is_all = ALL in values and variable["includeAll"]
    return Selection(() if is_all else tuple(values), is_all=is_all, multi=variable["multi"])


def _refuse_unquoted(sql: str) -> None:
    if unquoted := sorted(unquoted_variables(sql)):
        msg = f"variable `{unquoted[0]}` is used unquoted; write ${{{unquoted[0]}:singlequote}} in the dashboard"
        raise UsageError(msg)
