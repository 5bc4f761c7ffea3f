from __future__ import annotations

import json
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from driftline.errors import StatementRejected
from driftline.metrics import METRICS
from driftline.store import Address, Store
from driftline.store.holder import read_note
from driftline.store.opening import open_store
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
        f"driftline: store chdb://{home}/store refuses the statement: Code: 497. DB::Exception: a reader may not use "
        "a statement that starts with INSERT. (ACCESS_DENIED); --write lifts what a reader may not\n"
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
        assert (code, "--write lifts" in err) == (2, True)


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
        f"value, lower, upper, engine, method, n) VALUES ({key}, 'all', '{run_id}', '', 'mae', 1.5, 1.2, 1.8, 'numpy', "
        "'mean', 7)",
    ):
        assert run(home, "sql", "--write", statement)[0] == 0

    code, out, _ = run(home, "metrics", "--metric", "mae", "--granularity", "1d", "--since", "2023-02-01", "--json")

    assert code == 0
    assert json.loads(out) == {
        "window_start": "2023-02-01T00:00:00Z", "window_end": "2023-02-02T00:00:00Z", "model": "nyc_green_taxi",
        "model_version": "champion", "granularity": "1d", "source": "batch", "slice": "all", "column": "",
        "metric": "mae", "value": 1.5, "lower": 1.2, "upper": 1.8, "n": 7,
        "n_predictions": 10, "n_labels": 8, "n_scored": 7, "coverage": 0.8,
        "revision": 2, "is_final": True, "run_id": run_id,
        "engine": "numpy", "method": "mean", "computed_at": "2023-03-01T00:00:00Z",
    }  # fmt: skip
    assert run(home, "metrics", "--metric", "mae", "--until", "2023-02-01", "--json")[:2] == (0, "")
    assert run(home, "metrics", "--model-version", "challenger", "--json")[:2] == (0, "")


def test_a_time_that_is_none_is_refused(home: Path) -> None:
    code, _, err = run(home, "metrics", "--since", "yesterday")
    assert (code, err) == (
        2,
        "driftline: `--since`: a moment is a date or time such as 2023-02-20 or 2023-02-20T06:30:00; got 'yesterday'\n",
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
        f"driftline: store chdb://{home}/store refuses the statement: Code: 497. DB::Exception: a reader may not use "
        "several statements in one. (ACCESS_DENIED); --write lifts what a reader may not\n",
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


_NOTE = "no monitors/ folder and no --monitor: using the packaged example nyc_green_taxi\n"


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("metrics", "--since", "0001-01-01"), "--since"),
        (("metrics", "--until", "2100-01-01T00:00Z"), "--until"),
        (("jobs", "run", "--window", "9999-12-31"), "--window"),
        (("profile", "show", "0001-01-01T00:00+14:00"), "WINDOW"),
    ],
)
def test_a_time_that_no_window_can_have_is_refused(home: Path, words: tuple[str, ...], option: str) -> None:
    message = f"driftline: `{option}`: a moment lies between 1970-01-01 and 2100-01-01; got {words[-1]!r}\n"
    code, out, err = run(home, *words)
    assert (code, out, err.removeprefix(_NOTE)) == (2, "", message)


_OUTSIDE = (
    "SELECT file('/etc/hostname')",
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
    "SELECT * FROM `/etc/hostname`",
    "DESCRIBE url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:1/b/k', 'CSV')",
    "SELECT * FROM remote('127.0.0.1', default.annotations)",
    "SELECT * FROM executable('x', 'LineAsString', 'a String')",
    "SELECT aiGenerate('x', map())",
    "SELECT 1 SETTINGS readonly = 0",
)


def test_sql_that_only_reads_reaches_neither_files_nor_the_network(tmp_path: Path) -> None:
    written = tmp_path / "written"
    statements = (*_OUTSIDE, f"SELECT 1 INTO OUTFILE '{written}'")
    with open_store(f"chdb://{tmp_path}/store", tmp_path, serve=True) as held:
        note = read_note(tmp_path)
        assert note is not None
        through = Address(host=note.host, port=note.port or 0, user=note.user, password=note.token)
        with Store(through) as served:
            for store, statement in product((held, served), statements):
                with pytest.raises(StatementRejected) as caught:
                    store.read_text(statement, output_format="JSONEachRow")
                assert caught.value.code in {164, 497}, statement
    assert not written.exists()


def test_write_lifts_what_a_reader_may_not(home: Path, tmp_path: Path) -> None:
    (tmp_path / "line").write_text("here")
    statement = f"SELECT line FROM file('{tmp_path}/line', 'LineAsString')"
    assert run(home, "sql", statement) == (
        2,
        "",
        f"driftline: store chdb://{home}/store refuses the statement: Code: 497. DB::Exception: a reader may not use "
        "the function file. (ACCESS_DENIED); --write lifts what a reader may not\n",
    )
    assert run(home, "sql", "--write", statement, "--json") == (0, '{"line":"here"}\n', "")


@pytest.mark.parametrize(
    ("option", "value", "known"),
    [
        ("--granularity", "7x", "1d, 1h"),
        ("--source", "strem", "batch, stream"),
        (
            "--column",
            "distance",
            "'', DOLocationID, PULocationID, RatecodeID, VendorID, congestion_surcharge, fare_amount, label, "
            "passenger_count, payment_type, prediction, store_and_fwd_flag, tip_amount, tolls_amount, total_amount, "
            "trip_distance, trip_type",
        ),
    ],
)
def test_a_value_that_no_metric_can_have_names_the_known_ones(
    tmp_path: Path, option: str, value: str, known: str
) -> None:
    code, out, err = run(tmp_path, "metrics", option, value)
    message = f"driftline: `{option}` must be a known one; got {value!r}; known: {known}\n"
    assert (code, out, err.removeprefix(_NOTE)) == (2, "", message)


def test_a_version_not_seen_yet_is_noted(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "metrics", "--model-version", "x\x1b[2J", "--json")
    assert (code, out) == (0, "")
    assert err.removeprefix(_NOTE) == "no metrics of `--model-version` x\\x1b[2J; known: none yet\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ("--store", "foo://x", "sql", "SELECT 1"),
            2,
            "--store must be chdb:///folder or clickhouse://user@host:port/database; got 'foo://x'",
        ),
        (
            ("--transport", "foo://x", "status"),
            2,
            "transport must be local:///path or kafka://host:port; got 'foo://x'",
        ),
        (
            ("--monitor", "/nosuch", "status"),
            2,
            "/nosuch: no such monitor file; check --monitor, or leave it out for the packaged taxi example",
        ),
        (
            ("--store", "clickhouse://127.0.0.1:1", "sql", "SELECT 1"),
            3,
            "store clickhouse://127.0.0.1:1/default does not answer: Connection refused; "
            "check that it runs, then retry",
        ),
        (
            ("--home", "/proc/x", "sql", "SELECT 1"),
            3,
            "folder /proc/x cannot be made: no such file or directory; name another with --home",
        ),
    ],
)
def test_what_cannot_be_opened_is_one_line(home: Path, words: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = run(home, *words)
    assert (found, out, err.removeprefix(_NOTE)) == (code, "", f"driftline: {message}\n")


def test_commands_go_on_after_the_process_that_served_was_killed(tmp_path: Path) -> None:
    with holding(tmp_path, serve=True) as holder:
        holder.kill()
        holder.wait(timeout=10)
    assert run(tmp_path, "sql", "SELECT 1 AS a", "--json") == (0, '{"a":1}\n', "")
    code, out, err = run(tmp_path, "status")
    assert (code, err.removeprefix(_NOTE)) == (0, "")
    assert out.startswith("model nyc_green_taxi")
