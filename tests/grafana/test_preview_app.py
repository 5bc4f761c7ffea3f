"""The preview's answers over HTTP, on a filled store."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftline.clock import to_ms
from driftline.errors import UsageError
from driftline.store import Store
from grafana.preview import create_app, packaged_dashboards, serve
from tests.grafana import monitored

END_MS = to_ms(monitored.newest_midnight())
START_MS = END_MS - timedelta(days=monitored.DAYS) // timedelta(milliseconds=1)
UID = "driftline-overview"
CHOSEN = {
    "model": [monitored.MODEL],
    "slice": ["all"],
    "granularity": ["1d"],
    "model_version": ["$__all"],
    "column": ["$__all"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with monitored.opened_store(tmp_path_factory.mktemp("store"), filled=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[httpx.Client]:
    server = serve(create_app(store, packaged_dashboards()), 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    with httpx.Client(base_url=server.url, trust_env=False) as opened:
        yield opened
    server.stop()
    thread.join()


def ask(client: httpx.Client, panel: int, **changes: Any) -> Any:
    request = {"uid": UID, "panel_id": panel, "from": START_MS, "to": END_MS, "variables": CHOSEN}
    return client.post("/api/panel", json=request | changes)


def fields(client: httpx.Client, panel_id: int, **variables: list[str]) -> dict[str, list[Any]]:
    frames = ask(client, panel_id, variables=CHOSEN | variables).json()
    return {field["name"]: field["values"] for frame in frames for field in frame["fields"]}


def test_the_dashboard_is_the_committed_file(client: httpx.Client) -> None:
    committed = json.loads((packaged_dashboards() / "overview.json").read_text(encoding="utf-8"))
    assert client.get(f"/api/dashboards/{UID}").json() == committed


def test_final_and_provisional_errors_are_apart(client: httpx.Client) -> None:
    found = fields(client, 15)
    assert set(found) == {"time", "final gbm-1", "final linear's", "provisional gbm-1", "provisional linear's"}
    assert found["final gbm-1"] == [monitored.FINAL_MAE] * monitored.LABELLED_DAYS
    assert found["provisional gbm-1"] == [monitored.FINAL_MAE] * 2


def test_a_version_with_a_quote_in_its_name_can_be_chosen(client: httpx.Client) -> None:
    assert set(fields(client, 16, model_version=[monitored.CHALLENGER])) == {"time", "linear's"}


def test_coverage_counts_labelled_of_all_predictions(client: httpx.Client) -> None:
    assert fields(client, 6)["coverage"] == [pytest.approx(monitored.COVERAGE)]


def test_firing_counts_failures_and_not_warnings(client: httpx.Client) -> None:
    assert fields(client, 2)["firing"] == [1]
    found = fields(client, 18)
    assert list(zip(found["status"], found["column"], strict=True)) == [
        ("fail", "fare_amount"),
        ("warn", "trip_distance"),
    ]


def test_what_was_never_judged_is_null_and_not_zero(client: httpx.Client) -> None:
    assert fields(client, 2, model=["no such model"])["firing"] == [None]
    assert fields(client, 4, model=["no such model"])["drifted"] == [None]
    assert fields(client, 6, model=["no such model"])["coverage"] == [None]


def test_health_ends_with_the_last_window(client: httpx.Client) -> None:
    for frame in ask(client, 7).json():
        times, codes = (field["values"] for field in frame["fields"])
        assert times[-1] == END_MS
        assert codes[-1] is None
        assert None not in codes[:-1]


def test_health_shows_the_worst_status_of_each_layer(client: httpx.Client) -> None:
    found = {frame["fields"][1]["name"]: frame["fields"][1]["values"] for frame in ask(client, 7).json()}
    assert set(found["Traffic"][:-1]) == {0}
    assert (
        found["Data"][:-1] == [0] * monitored.INCIDENT_DAY * 24 + [3] * (monitored.DAYS - monitored.INCIDENT_DAY) * 24
    )
    assert found["Drift"][:-1] == [0] * 7 + [2] * 3
    assert found["Quality"][:-1] == [0] * 8 + [1] * 2


def test_the_sql_of_the_browser_is_refused(client: httpx.Client) -> None:
    answer = ask(client, 9, rawSql="SELECT 1")
    assert (answer.status_code, answer.json()) == (
        400, {"error": "the request cannot be read: Object contains unknown field `rawSql`"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"panel_id": 999}, f"dashboard `{UID}` has no panel 999"),
        ({"uid": "x"}, f"no dashboard `x`; there are {UID}"),
        ({"variables": {"nope": ["x"]}}, "variable `nope` is not one of this dashboard's"),
        ({"from": -1}, "a time is in epoch milliseconds between 1970 and 2100; got -1"),
        (
            {"variables": {"model": ["x" * 501]}},
            "variable `model` takes at most 1000 values of 500 characters; got 1 values",
        ),
    ],
)
def test_bad_requests_say_what_is_wrong(client: httpx.Client, changes: dict[str, Any], error: str) -> None:
    answer = ask(client, 9, **changes)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_request_that_is_not_json_is_refused(client: httpx.Client) -> None:
    answer = client.post("/api/panel", content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.json() == {"error": "a panel is asked for with content type application/json"}


def test_variables_come_with_options_and_defaults(client: httpx.Client) -> None:
    found = {item["name"]: (item["options"], item["current"]) for item in client.get(f"/api/variables/{UID}").json()}
    assert found == {
        "model": (["taxi"], ["taxi"]),
        "model_version": (["gbm-1", "linear's"], ["$__all"]),
        "slice": (["all"], ["all"]),
        "column": (["trip_distance"], ["trip_distance"]),
        "granularity": (["1d"], ["1d"]),
    }


def test_a_choice_that_is_no_option_falls_back(client: httpx.Client) -> None:
    found = client.get(
        f"/api/variables/{UID}", params={"var-model": "' OR 1=1 --", "var-model_version": ["gone", "gbm-1"]}
    )
    assert [item["current"] for item in found.json()][:2] == [["taxi"], ["gbm-1"]]


def test_the_extent_is_where_the_events_are(client: httpx.Client) -> None:
    found = client.get("/api/extent", params={"model": monitored.MODEL}).json()
    assert (found["first"], found["last"], found["outside"]) == (START_MS, END_MS, 0)
    assert client.get("/api/extent", params={"model": "no such model"}).json()["first"] is None


def test_the_status_counts_windows_and_what_jobs_have_not_done(client: httpx.Client) -> None:
    found = client.get("/api/status", params={"model": monitored.MODEL}).json()
    assert (found["complete"], found["open"], found["last_event"]) == (monitored.DAYS * 24 - 1, 1, END_MS)
    assert {item["job"]: item["behind"] for item in found["jobs"]} == {"drift": 0, "profile": 0, "quality": 0}


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_foreign_hosts_and_origins_are_turned_away(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.get("/api/dashboards", headers=headers)
    assert (answer.status_code, answer.text) == (
        403,
        "this page answers on loopback only; open http://127.0.0.1 instead\n",
    )


@pytest.mark.parametrize("path", ["/", "/healthz", "/static/main.js", "/no/such/path"])
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src 'self';" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_the_page_is_read_only(client: httpx.Client) -> None:
    assert [client.request(method, "/api/dashboards").status_code for method in ("POST", "PUT", "DELETE")] == [405] * 3


def test_plotly_comes_from_the_installed_package_and_is_cached(client: httpx.Client) -> None:
    answer = client.get("/plotly/5.js")
    assert "plotly.js v2" in answer.text[:200]
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_a_taken_port_is_named(store: Store) -> None:
    first = serve(create_app(store, packaged_dashboards()), 0)
    port = int(first.url.rpartition(":")[2])
    first.stop()
    with pytest.raises(
        UsageError, match=rf"^port {port} of 127\.0\.0\.1 cannot be bound: .+; choose another with --port$"
    ):
        serve(create_app(store, packaged_dashboards()), port)
    closing = threading.Thread(target=first.run)
    closing.start()
    closing.join()


def test_a_folder_without_dashboards_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no dashboard \(\*\.json\) in .+; run driftline dashboards build$"):
        create_app(store, tmp_path)
