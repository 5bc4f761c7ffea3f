"""A dashboard's frame and its template variables, as dicts of Grafana's classic JSON."""

from __future__ import annotations

from collections.abc import Sequence

from grafana.builder.panels import DATASOURCE, Json

# The last model of the classic JSON that Grafana 11.6 reads; newer versions upgrade it on load.
SCHEMA_VERSION = 41


def dashboard(uid: str, title: str, description: str, variables: Sequence[Json], panels: Sequence[Json]) -> Json:
    """Return a dashboard that refreshes every 5 s, in UTC, over the last two weeks."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["driftline", "ml-monitoring"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "timezone": "utc",
        "refresh": "5s",
        "time": {"from": "now-14d", "to": "now"},
        "editable": False,
        "graphTooltip": 1,
        "templating": {"list": list(variables)},
        "annotations": {"list": []},
        "links": [],
        "panels": list(panels),
    }


def datasource_variable() -> Json:
    """Return the variable that chooses the ClickHouse data source."""
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "grafana-clickhouse-datasource",
        "refresh": 1,
        "current": {"text": "ClickHouse", "value": "clickhouse"},
    }


def query_variable(name: str, label: str, sql: str, *, multi: bool = False, default: str | None = None) -> Json:
    """Return a variable whose options are the rows of ``sql``; ``multi`` ones offer "All".

    ``default`` is chosen at first ("$__all" for All); without it Grafana takes the first option.
    """
    variable: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"refId": f"var-{name}", "editorType": "sql", "queryType": "sql", "rawSql": sql.strip()},
        "refresh": 2,
        "multi": multi,
        "includeAll": multi,
    }
    if default == "$__all":
        variable["current"] = {"text": ["All"], "value": ["$__all"]}
    elif default is not None:
        variable["current"] = {"text": default, "value": default}
    return variable
