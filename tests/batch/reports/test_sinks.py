"""What MLflow is sent: names that it takes, one for each figure, and a window's run taken up again."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.jobs import run_due
from batch.reports.files import ReportKey
from batch.reports.sinks import Sink, mlflow_names, send_to_mlflow, sink_run_of, window_figures
from batch.workers.pool import Workers
from driftline.clock import SystemClock
from driftline.store import Store
from driftline.windows import Window
from tests.batch.conftest import day
from tests.batch.quality.test_classification import DAY, MANY, answers, contract_of, send
from tests.consumers.running import Pipeline

HOSTILE = ("cat/dog=é", "..", "no: fish")
FIGURES = st.tuples(st.sampled_from(["mae", "recall"]), st.just("") | st.text().map(lambda name: f"class={name}"))


def test_a_name_holds_only_what_every_version_of_mlflow_takes() -> None:
    found = mlflow_names([("recall", f"class={name}") for name in HOSTILE] + [("drift_score", "fare"), ("mae", "")])

    assert list(found.values()) == [
        "recall.class_cat_dog__", "recall.class_..", "recall.class_no_ fish", "drift_score/fare", "mae",
    ]  # fmt: skip


def test_two_classes_that_would_be_named_alike_are_told_apart() -> None:
    one, other, third = (("recall", f"class={name}") for name in ("a+b", "a-b", "a&b"))

    alone, together = mlflow_names([one, other]), mlflow_names([third, other, one])

    assert (alone[one], together[other]) == ("recall.class_a_b", "recall.class_a-b")
    assert together[one] != together[third]
    assert all(re.fullmatch(r"recall\.class_a_b_[0-9a-f]{8}", together[name]) for name in (one, third))


@given(st.sets(FIGURES, max_size=20))
def test_any_figures_have_as_many_names_and_no_store_of_files_needs_a_folder_where_a_file_is(figures: Any) -> None:
    names = set(mlflow_names(figures).values())

    assert len(names) == len(figures)
    assert all(re.fullmatch(r"[A-Za-z0-9_.\- ]{1,250}", name) for name in names)


def test_mlflow_has_one_run_of_a_window_with_all_its_figures_and_the_page(
    store: Store, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is an extra, and not in the lock file")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    contract, frame = contract_of("sent_to_mlflow", "multiclass", MANY), answers(300, 2, HOSTILE)
    pipeline = Pipeline(store, contract, tmp_path / "log")
    send(pipeline, frame, HOSTILE)
    pipeline.consume()
    run_due(store, contract, workers, SystemClock(), ["quality"])
    page = tmp_path / "page.gz"
    page.write_bytes(gzip.compress(b"<p>drawn</p>"))
    key, sink = (
        ReportKey(contract.model, "v1", Window(DAY, DAY + (day(1) - day(0)))),
        Sink("mlflow", (tmp_path / "runs").as_uri()),
    )

    first, again = (send_to_mlflow(store, key, sink, page) for _ in range(2))

    assert first == again == sink_run_of(store, key, sink)
    run = mlflow.get_run(first)
    assert run.data.metrics["recall.class_cat_dog__"] == window_figures(store, key)["recall", "class=cat/dog=é"]
    assert sorted(run.data.metrics.values()) == sorted(window_figures(store, key).values())
    assert (
        Path(mlflow.artifacts.download_artifacts(run_id=first, artifact_path="report.html")).read_text()
        == "<p>drawn</p>"
    )
    assert len(mlflow.search_runs(experiment_names=["driftline sent_to_mlflow"], output_format="list")) == 1
