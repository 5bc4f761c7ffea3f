"""Every query of every dashboard runs on the engine, whatever is chosen and whatever the store holds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driftline.store import Store
from grafana.builder.files import dashboards
from grafana.builder.lint import queries_of
from grafana.frames import Frame, long_to_wide, read_frame
from grafana.macros import Selection, TimeRange, prepare
from tests.grafana import monitored

CHOICES = {
    "all": Selection((), is_all=True),
    "one": Selection(("x",)),
    "hostile": Selection(("' OR 1=1 --", "\\", "\\'); DROP TABLE segments; --", "${model}", "$__fromTime")),
}
TARGETS = [
    pytest.param(target, id=f"{panel['id']}{target['refId']}")
    for dashboard in dashboards()
    for panel, target in queries_of(dashboard)
]
VARIABLES = [item for dashboard in dashboards() for item in dashboard["templating"]["list"] if item["type"] == "query"]


@pytest.fixture(scope="module", params=["filled", "empty"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with monitored.opened_store(tmp_path_factory.mktemp("store"), filled=request.param == "filled") as opened:
        yield opened


def choices(store: Store) -> list[Selection]:
    """Every choice on a filled store; on an empty one they all come to the same, and All is the longest way."""
    return list(CHOICES.values()) if store.scalar("SELECT count() FROM contracts") else [CHOICES["all"]]


def run(store: Store, sql: str, selections: dict[str, Selection]) -> Frame:
    end_ms = int(monitored.newest_midnight().timestamp() * 1000)
    prepared = prepare(sql, TimeRange(end_ms - 14 * 86_400_000, end_ms), selections)
    return read_frame(store.text(prepared, output_format="JSONCompact"))


@pytest.mark.parametrize("target", TARGETS)
def test_a_panels_query_runs_and_its_columns_fit_its_format(store: Store, target: dict[str, object]) -> None:
    for choice in choices(store):
        names = {variable["name"] for variable in VARIABLES}
        frame = run(store, str(target["rawSql"]), dict.fromkeys(names, choice))
        kinds = [column.kind for column in frame.fields]
        assert "other" not in kinds
        if target["format"] == 0:
            assert kinds.count("time") == 1
            assert "number" in kinds
            long_to_wide(frame)


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable["name"])
def test_a_variables_query_runs_and_gives_one_column_of_text(store: Store, variable: dict[str, dict[str, str]]) -> None:
    for choice in choices(store):
        frame = run(store, variable["query"]["rawSql"], {"model": choice})
        assert [column.kind for column in frame.fields] == ["string"]
