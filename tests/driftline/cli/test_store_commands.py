from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driftline.metrics import METRICS
from tests.store_process import holding

pytestmark = pytest.mark.timeout(60)


def run(home: Path, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", "from driftline.cli.main import run; run()", "--home", str(home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_sql_prints_an_object_per_line_with_numbers_unquoted(home: Path) -> None:
    code, out, _ = run(home, "sql", "SELECT 18446744073709551615 AS n, number AS i FROM numbers(2)", "--json")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"n": 2**64 - 1, "i": 0}, {"n": 2**64 - 1, "i": 1}]


def test_sql_prints_a_table_on_request_of_a_person(home: Path) -> None:
    code, out, _ = run(home, "sql", "SELECT 1 AS one, '[b]x' AS text, NULL AS none;")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [["one", "text", "none"], ["1", "[b]x"]]


def test_sql_changes_nothing_unless_asked(home: Path) -> None:
    insert = "INSERT INTO annotations (model, title) VALUES ('m', 't')"
    code, _, err = run(home, "sql", insert)
    assert code == 2
    assert err == (
        f"driftline: store chdb://{home}/store refuses the statement: Code: 164. DB::Exception: default: "
        "Cannot execute query in readonly mode. (READONLY); add --write to change the store\n"
    )
    assert run(home, "sql", "--write", insert) == (0, "", "")
    assert run(home, "sql", "SELECT count() AS n FROM annotations", "--json") == (0, '{"n":1}\n', "")


def test_a_statement_that_the_engine_cannot_read_is_one_line_and_exit_code_two(home: Path) -> None:
    code, out, err = run(home, "sql", "SELECT * FROM nowhere")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Unknown table expression identifier 'nowhere'" in err


def test_commands_work_while_another_process_serves_the_store(home: Path) -> None:
    with holding(home, serve=True):
        assert run(home, "sql", "SELECT 1 AS a", "--json") == (0, '{"a":1}\n', "")
        code, _, err = run(home, "sql", "DROP TABLE annotations")
        assert (code, "add --write" in err) == (2, True)


def test_db_migrate_prints_the_statements_without_a_store(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path / "none", "db", "migrate", "--print-sql")
    assert code == 0
    assert out.startswith("-- 0001 tables\n")
    assert "CREATE VIEW metrics AS" in out
    assert not (tmp_path / "none").exists()


def test_db_status_lists_every_migration(home: Path) -> None:
    code, out, _ = run(home, "db", "status", "--json")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()][:2] == [
        {"number": 1, "name": "tables", "applied": True},
        {"number": 2, "name": "views", "applied": True},
    ]


def test_an_unknown_metric_lists_the_known_ones(home: Path) -> None:
    code, _, err = run(home, "metrics", "--metric", "rmsee")
    assert code == 2
    assert err.startswith(
        "driftline: `--metric` must be a known metric; got 'rmsee'; did you mean rmse? known: row_count, "
    )
    assert err.rstrip().endswith(list(METRICS)[-1])


def test_metrics_prints_the_views_rows_as_typed_values(home: Path) -> None:
    run_id = "00000000-0000-0000-0000-000000000001"
    key = "'quality', 'nyc_green_taxi', 'champion', '1d', '2023-02-01 00:00:00'"
    for statement in (
        "INSERT INTO job_runs (job, model, model_version, granularity, window_start, window_end, slice, run_id, as_of, "
        "revision, status, n_predictions, n_labels, n_scored, coverage, is_final) VALUES "
        f"({key}, '2023-02-02 00:00:00', 'all', '{run_id}', '2023-03-01 00:00:00', 2, 'ok', 10, 8, 7, 0.8, true)",
        "INSERT INTO job_metrics (job, model, model_version, granularity, window_start, slice, run_id, column, metric, "
        f"value, n) VALUES ({key}, 'all', '{run_id}', '', 'mae', 1.5, 7)",
    ):
        assert run(home, "sql", "--write", statement)[0] == 0

    code, out, _ = run(home, "metrics", "--metric", "mae", "--granularity", "1d", "--since", "2023-02-01", "--json")

    assert code == 0
    assert json.loads(out) == {
        "window_start": "2023-02-01T00:00:00Z", "window_end": "2023-02-02T00:00:00Z", "model": "nyc_green_taxi",
        "model_version": "champion", "granularity": "1d", "source": "batch", "slice": "all", "column": "",
        "metric": "mae", "value": 1.5, "n": 7, "n_predictions": 10, "n_labels": 8, "n_scored": 7, "coverage": 0.8,
        "revision": 2, "is_final": True, "run_id": run_id, "computed_at": "2023-03-01T00:00:00Z",
    }  # fmt: skip
    assert run(home, "metrics", "--metric", "mae", "--until", "2023-02-01", "--json")[:2] == (0, "")
    assert run(home, "metrics", "--model-version", "challenger", "--json")[:2] == (0, "")


def test_a_time_that_is_none_is_refused(home: Path) -> None:
    code, _, err = run(home, "metrics", "--since", "yesterday")
    assert (code, err) == (
        2,
        "driftline: `--since` must be an ISO 8601 time such as 2023-02-01 or 2023-02-01T06:00:00Z; got 'yesterday'\n",
    )


def test_serve_says_where_it_is_and_where_the_tokens_are_and_ends_cleanly(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from driftline.cli.main import run; run()",
        "--home",
        str(tmp_path),
        "store",
        "serve",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    where, tokens = process.stdout.readline(), process.stdout.readline()
    note = json.loads((tmp_path / "endpoint.json").read_text())
    assert where == f"store: http://127.0.0.1:{note['port']} (users driftline: read and write, reader: read only)\n"
    assert tokens == f"tokens: {tmp_path}/endpoint.json\n"
    code, _, err = run(tmp_path, "store", "serve")
    assert (code, err) == (
        3,
        f"driftline: process {process.pid} serves the store already at http://127.0.0.1:{note['port']}; "
        "use that one or stop it\n",
    )

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (0, "", "")


def test_sql_spells_out_what_a_terminal_would_obey_or_draw(home: Path) -> None:
    code, out, _ = run(home, "sql", r"SELECT '\x1b]0;x\x07\u202e' AS codes, 'a:x:b' AS text")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [["codes", "text"], [r"\x1b]0;x\x07\u202e", "a:x:b"]]


def test_sql_runs_one_statement(home: Path) -> None:
    assert run(home, "sql", "SELECT 1; SELECT 2") == (
        2,
        "",
        "driftline: the answer is not rows; `driftline sql` runs one statement, without a format of its own\n",
    )
    assert run(home, "sql", " ") == (
        2,
        "",
        'driftline: the statement is empty; write one, such as "SELECT * FROM metrics LIMIT 5"\n',
    )


def test_a_terminal_that_lacks_a_letter_shows_its_number(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    code, out, _ = run(home, "sql", "SELECT char(0xc3, 0xa9) AS letter")
    assert (code, out.split()) == (0, ["letter", r"\xe9"])


def test_the_store_stays_in_a_home_with_any_name(tmp_path: Path) -> None:
    home = tmp_path / "a#b;c%41"
    assert run(home, "sql", "SELECT 1 AS one", "--json") == (0, '{"one":1}\n', "")
    assert (home / "store").is_dir()
    assert [found.name for found in tmp_path.iterdir()] == [home.name]
    question = tmp_path / "a?b"
    assert run(question, "sql", "SELECT 1 AS one") == (
        2,
        "",
        f"driftline: the embedded store's folder must have no ? in its name; got chdb://{question}/store; "
        "rename it or use another --home\n",
    )
