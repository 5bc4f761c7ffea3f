"""Reports of windows: drawn, made harmless, kept, listed and removed."""

from __future__ import annotations

import gzip
import json
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import mean_absolute_error

from batch.reports.files import Drawn, ReportKey, list_reports, prune, save
from batch.reports.joined import joined_frame
from batch.reports.neutral import neutral_names, neutral_text
from batch.reports.reporting import Desk, alerting, write_alerting, write_report
from batch.reports.sinks import Sink, parse_sink, remember, sink_run_of
from batch.results import DriftSpec
from batch.rows.frames import to_arrow_bytes
from batch.workers.pool import Workers
from batch.workers.process import Task
from driftline.clock import SystemClock
from driftline.errors import InputDataError, UsageError
from driftline.windows import Window
from tests.batch.conftest import Monitored, day, trips

HOSTILE = "</script><script>document.title='owned'</script>"
DAY = Window(day(0), day(1))


@pytest.fixture
def desk(monitored: Monitored, tmp_path: Path) -> Desk:
    return Desk(monitored.store, monitored.contract, monitored.workers, tmp_path / "reports")


def hostile(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(zone=np.where(frame["zone"] == "74", HOSTILE, frame["zone"]))


def reports_of_checks(monitored: Monitored) -> dict[str, set[str]]:
    rows = monitored.store.query(
        "SELECT toString(window_start) AS day, report FROM checks WHERE model = {m:String} AND source = 'batch'",
        {"m": monitored.contract.model},
    )
    return {start: {row["report"] for row in rows if row["day"] == start} for start in {row["day"] for row in rows}}


def test_a_joined_row_holds_inputs_every_versions_answer_and_the_latest_label(monitored: Monitored) -> None:
    frame = trips(60, 1, days=1)
    monitored.add(frame)
    corrected = frame.iloc[:5].assign(label=7.0, label_time=frame["label_time"].iloc[:5] + pd.Timedelta("9D"))
    monitored.log.add_labels(corrected)
    monitored.log.add_predictions(trips(3, 8, days=1).assign(prediction=1.0), "orphan")

    found = joined_frame(monitored.store, monitored.contract, DAY).set_index("id")

    assert list(found) == [
        "event_time", *monitored.contract.columns, "prediction.champion", "prediction.challenger", "prediction.orphan",
        "label", "label_time",
    ]  # fmt: skip
    assert len(found) == 63
    expected = frame.assign(label=np.where(frame.index < 5, 7.0, frame["label"])).set_index("id")
    for name in ("distance", "fare", "prediction.champion", "prediction.challenger", "label"):
        pd.testing.assert_series_equal(found.loc[expected.index, name], expected[name], check_names=False)
    assert found.loc[expected.index, "zone"].tolist() == expected["zone"].tolist()
    assert found.loc[~found.index.isin(expected.index), "prediction.orphan"].tolist() == [1.0, 1.0, 1.0]
    assert found["event_time"].is_monotonic_increasing


def test_a_sample_of_joined_rows_is_the_same_every_time(monitored: Monitored) -> None:
    monitored.add(trips(60, 1, days=1))

    first, again = (joined_frame(monitored.store, monitored.contract, DAY, 20) for _ in range(2))

    assert len(first) == 20
    pd.testing.assert_frame_equal(first, again)


def test_a_report_shows_the_window_and_no_value_of_it_can_run(desk: Desk, monitored: Monitored) -> None:
    monitored.build_reference(hostile(trips(80, 1)))
    monitored.add(hostile(trips(80, 2, days=1)).assign(fare=np.nan))
    monitored.log.complete()

    written = write_report(desk, DAY)

    page = gzip.decompress(written.file.read_bytes()).decode()
    assert HOSTILE not in page
    assert "<script>document" not in page
    assert json.dumps(neutral_text(HOSTILE))[1:-1] in page
    for shown in ("Dataset Drift", "distance", "zone", "prediction"):
        assert shown in page
    frame = trips(80, 2, days=1)
    valid = frame[frame["label"].between(1, 60)]
    expected = mean_absolute_error(valid["label"], valid["prediction.champion"])
    drawn = re.findall(r'"value": "([-0-9.]+) \([-0-9.]+\)", "label": "MAE"', page)
    assert float(drawn[0]) == pytest.approx(expected, abs=0.006), "the page rounds to two digits"
    assert written.left_out == {"fare": "no values in this window"}
    assert "<li>fare: no values in this window</li>" in page
    [listed] = list_reports(monitored.store, monitored.contract.model)
    assert (listed.window_start, listed.model_version, listed.n_rows) == (day(0), "champion", 80)
    assert listed.left_out == written.left_out
    assert written.file == desk.folder / f"{listed.path}.gz"
    assert not list(written.file.parent.glob(".*")), "nothing half-written stays"


def test_a_column_that_evidently_cannot_draw_does_not_take_the_others_along(workers: Workers) -> None:
    rows = pd.DataFrame({"huge": [1.7e308] * 60, "fine": np.linspace(0, 1, 60)})
    specs = tuple(DriftSpec(name, "number", "wasserstein", 0.1, 20) for name in rows)
    options = {"title": "t", "task": "regression", "positive_class": None, "left_out": {}}
    table = pa.Table.from_pandas(rows, preserve_index=False)

    [answer] = workers.answers([Task("report", to_arrow_bytes(table), specs, options=options)])

    assert answer.failures == ()
    assert answer.values["left_out"]["huge"].startswith("Evidently cannot draw it: ValueError: ")
    assert '"fine"' in gzip.decompress(answer.values["html"]).decode()


def test_what_cannot_be_said_is_left_out_and_named(desk: Desk, monitored: Monitored) -> None:
    monitored.add(trips(10, 2, days=1), labels=False)
    missing = {
        "label": "no values in this window",
        "quality": "no row has both a valid label and a prediction",
    }

    assert write_report(desk, DAY).left_out == {**missing, "drift": "there is no reference"}
    monitored.build_reference(trips(80, 1))
    assert write_report(desk, DAY).left_out == {**missing, "drift": "10 rows; drift is judged from 20"}
    assert len(list_reports(monitored.store, monitored.contract.model)) == 1, "the newer replaces the older"


def test_a_window_without_rows_has_no_report(desk: Desk, monitored: Monitored) -> None:
    model = monitored.contract.model
    asked = "between 2023-02-01 00:00 and 2023-02-02 00:00 UTC"
    message = f"{model} has no rows {asked}; see `driftline status` for what there is"
    with pytest.raises(InputDataError, match=f"^{re.escape(message)}$"):
        write_report(desk, DAY)

    monitored.add(trips(10, 2, days=1))
    message = f"{model} has no predictions of other {asked}; it has champion, challenger"
    with pytest.raises(InputDataError, match=f"^{re.escape(message)}$"):
        write_report(desk, DAY, "other")


def test_failing_windows_get_a_report_once_and_their_checks_link_to_it(desk: Desk, monitored: Monitored) -> None:
    monitored.build_reference(trips(80, 1))
    frame = trips(120, 2, days=3)
    broken = frame["event_time"] < day(2)
    monitored.add(frame.assign(distance=np.where(broken, np.nan, frame["distance"])))
    monitored.log.complete()
    monitored.run("data")
    assert [key.window.start for key in alerting(desk)] == [day(1), day(0)]

    [(key, written)] = write_alerting(desk, newest=1)

    assert key.window.start == day(1)
    assert not isinstance(written, str)
    assert [key.window.start for key in alerting(desk)] == [day(0)], "that of day 1 is newer than its verdict"
    assert reports_of_checks(monitored) == {
        "2023-02-01 00:00:00.000": {""},
        "2023-02-02 00:00:00.000": {f"/reports/{key.path}"},
        "2023-02-03 00:00:00.000": {""},
    }


def test_old_reports_are_removed_with_their_rows(desk: Desk, monitored: Monitored) -> None:
    store, model, now = monitored.store, monitored.contract.model, SystemClock().now()
    drawn = Drawn(ReportKey(model, "a/../b", DAY), b"page", {}, 1, "", "")
    file = save(store, desk.folder, drawn, "person")

    assert file.read_bytes() == b"page"
    assert file.parent == desk.folder / model, "a version's name makes no path"
    assert prune(store, desk.folder, model, now - timedelta(days=1)) == []
    assert [info.window_start for info in prune(store, desk.folder, model, now + timedelta(days=1))] == [day(0)]

    assert list_reports(store, model) == []
    assert not file.exists()
    save(store, desk.folder, drawn, "person")
    assert len(list_reports(store, model)) == 1, "it can be drawn again"


def test_a_window_sent_again_takes_its_place_in_the_workspace(desk: Desk, monitored: Monitored) -> None:
    monitored.add(trips(10, 2, days=1))
    key, sink = ReportKey(monitored.contract.model, "champion", DAY), Sink("workspace", str(desk.folder / "evidently"))

    runs = []
    for _ in range(2):
        runs.append(write_report(desk, DAY, sink=sink).workspace_run)
        remember(monitored.store, key, sink, runs[-1])

    assert runs[0] != runs[1]
    assert sink_run_of(monitored.store, key, sink) == runs[1]
    stored = [path.stem for path in Path(sink.target).rglob("*") if path.stem in runs]
    assert stored == [runs[1]]


def test_mlflow_that_is_not_installed_is_named_with_its_extra() -> None:
    message = "--to mlflow needs MLflow, which is not installed; install the extra: pip install 'driftline[mlflow]'"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        parse_sink("mlflow")
    with pytest.raises(UsageError, match=r"^--to must be workspace:PATH, mlflow or mlflow:URI; got s3://x$"):
        parse_sink("s3://x")


def test_different_texts_stay_different_when_they_are_made_harmless() -> None:
    hostile_texts = ["a<b", "a‹b", "</script>", "&lt;", "x" * 200 + "1", "x" * 200 + "2", "\u2028", "\x00", "{{7*7}}"]
    found = neutral_names(hostile_texts)

    assert len(set(found.values())) == len(hostile_texts)
    assert not set("<>&\"'`\\{}$\u2028\x00") & set("".join(found.values()))
