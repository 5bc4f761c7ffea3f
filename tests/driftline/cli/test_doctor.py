"""``driftline doctor`` on good and bad installations."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from driftline.clock import ManualClock, SystemClock
from driftline.contract import parse_contract
from driftline.transport import Partition
from driftline.transport.local import LocalTransport
from tests.driftline.cli.running import COMMAND

pytestmark = pytest.mark.timeout(60)
MONITOR = "model: shop\ncolumns:\n  amount: {type: number}\n"
TOPICS = parse_contract(MONITOR, "shop.yaml").topics


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a monitor, and with a log that has its topics."""
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "shop.yaml").write_text(MONITOR)
    log = LocalTransport(tmp_path / "log", SystemClock())
    for topic in (TOPICS.inputs, TOPICS.predictions, TOPICS.labels):
        log.create_topic(topic, 2)
    log.close()
    return tmp_path


def doctor(home: Path, *options: str) -> tuple[int, dict[str, list[dict[str, str]]], str]:
    """Exit code, findings by check, and standard error."""
    command = [*COMMAND, "--home", str(home), *options, "doctor", "--json"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    found: dict[str, list[dict[str, str]]] = {}
    for line in done.stdout.splitlines():
        finding = json.loads(line)
        found.setdefault(finding.pop("check"), []).append(finding)
    return done.returncode, found, done.stderr


def statuses(found: dict[str, list[dict[str, str]]], check: str) -> list[str]:
    return [finding["status"] for finding in found[check]]


def test_a_good_installation_has_no_failure(home: Path) -> None:
    code, found, err = doctor(home)
    assert (code, err) == (0, "")
    expected = "python libraries crc32c disk environment heartbeat contract store schema settings clock log topics"
    assert list(found) == expected.split()
    assert [status for check in found if check != "disk" for status in statuses(found, check)].count("ok") == (
        sum(len(found[check]) for check in found if check != "disk")
    )
    assert all(not finding["remedy"] for finding in found["topics"])


def test_every_failure_is_shown_with_its_remedy_and_the_exit_code_is_one(home: Path) -> None:
    (home / "monitors" / "shop.yaml").write_text("model: shop\n")
    code, found, err = doctor(home, "--store", "clickhouse://127.0.0.1:9/d", "--transport", "kafkaesque://x")
    assert code == 1
    assert [statuses(found, check) for check in ("contract", "store", "log")] == [["fail"]] * 3
    assert all(found[check][0]["remedy"] for check in ("contract", "store", "log"))
    total = sum(len(findings) for findings in found.values())
    assert err == f"driftline: 3 of {total} findings must be mended; see the lines that begin with fail\n"


def test_missing_topics_are_a_warning_since_commands_make_them(home: Path, tmp_path: Path) -> None:
    code, found, _ = doctor(home, "--transport", f"local://{tmp_path}/other")
    assert (code, statuses(found, "topics")) == (0, ["warn"] * 3)
    assert found["topics"][0]["remedy"] == "create it with `driftline topics create`"


def test_a_stamp_from_the_future_gives_the_logs_clock_away(home: Path) -> None:
    clock = ManualClock(SystemClock().now())
    clock.sleep(3600)
    log = LocalTransport(home / "log", clock)
    with log.producer() as producer:
        producer.send(Partition(TOPICS.inputs, 1), key=b"k", value=b"{}")
        producer.flush()
    log.close()
    code, found, _ = doctor(home)
    assert (code, statuses(found, "log clock")) == (1, ["fail"])
    assert found["log clock"][0]["remedy"] == "run NTP on both machines"


def test_tokens_that_others_may_read_are_a_failure(home: Path) -> None:
    doctor(home)
    (home / "endpoint.json").chmod(0o644)
    # The store's holder writes its note anew; the file is looked at before.
    code, found, _ = doctor(home)
    assert (code, statuses(found, "tokens")) == (1, ["fail"])


def test_an_edited_migration_is_noticed(home: Path) -> None:
    doctor(home)
    edit = "INSERT INTO schema_migrations (number, name, checksum, applied) VALUES (1, 'tables', 'x', now64(3) + 60)"
    subprocess.run([*COMMAND, "--home", str(home), "sql", "--write", edit], cwd=home, check=True)
    code, found, _ = doctor(home)
    assert (code, found["schema"][0]["message"]) == (
        1,
        "migrations 0001 were applied with another text than this version's",
    )


def test_a_person_reads_a_line_per_finding(home: Path) -> None:
    command = [*COMMAND, "--home", str(home), "doctor"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "ok    python       Python 3." in done.stdout
    assert all(line[:4].strip() in {"ok", "warn"} for line in done.stdout.splitlines())
