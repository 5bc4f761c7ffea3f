"""Files of labels into the topic: every good row is an event that counts, every bad one is named with its reason."""

from __future__ import annotations

import csv
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.decoding.decoder import Decoder
from driftline.clock import from_ms, to_ms
from driftline.contract import Contract, parse_contract
from driftline.errors import InputDataError
from driftline.events import find_marker
from driftline.transport import Partition, open_transport
from producers.label_files import LabelColumns, LabelFile, RawLabel
from producers.label_loading import PRODUCER, LabelLoad, LabelLoader, rejects_file
from producers.label_rows import BadLabel, LabelReader

NOW = datetime(2023, 6, 1, tzinfo=UTC)


def contract_of(task: str = "regression", extra: str = "") -> Contract:
    positive = "positive_class: 'yes'\n" if task == "binary" else ""
    return parse_contract(
        f"model: shop\ntask: {task}\n{positive}{extra}\ncolumns: {{amount: {{type: number}}}}", "test"
    )


CONTRACT = contract_of(extra="event_time: {timezone: America/New_York}")


def read(row: RawLabel, contract: Contract = CONTRACT) -> dict[str, object]:
    found: dict[str, object] = json.loads(LabelReader(contract, NOW).event(row).value)
    return found


def refused(row: RawLabel, contract: Contract = CONTRACT) -> str:
    with pytest.raises(BadLabel) as caught:
        LabelReader(contract, NOW).event(row)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2023-02-01T10:00:00Z", datetime(2023, 2, 1, 10, tzinfo=UTC)),
        ("2023-02-01T10:00:00+02:00", datetime(2023, 2, 1, 8, tzinfo=UTC)),
        ("2023-02-01 10:00:00", datetime(2023, 2, 1, 15, tzinfo=UTC)),
        ("2023-02-01", datetime(2023, 2, 1, 5, tzinfo=UTC)),
        ("1675245600000", datetime(2023, 2, 1, 10, tzinfo=UTC)),
        (1675245600000, datetime(2023, 2, 1, 10, tzinfo=UTC)),
        (1675245600000.0, datetime(2023, 2, 1, 10, tzinfo=UTC)),
        (datetime(2023, 2, 1, 10), datetime(2023, 2, 1, 15, tzinfo=UTC)),  # noqa: DTZ001 - as a Parquet may hold it
        (datetime(2023, 2, 1, 10, tzinfo=ZoneInfo("Asia/Tokyo")), datetime(2023, 2, 1, 1, tzinfo=UTC)),
        (datetime(2023, 2, 1).date(), datetime(2023, 2, 1, 5, tzinfo=UTC)),  # noqa: DTZ001
    ],
)
def test_a_time_without_a_zone_is_the_contracts(written: object, moment: datetime) -> None:
    assert read(RawLabel("line 2", "a", "1", written))["label_time"] == to_ms(moment)


def test_of_an_hour_that_comes_twice_the_first_is_meant() -> None:
    assert read(RawLabel("", "a", 1, "2022-11-06T01:30"))["label_time"] == to_ms(
        datetime(2022, 11, 6, 5, 30, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (RawLabel("", "", "1", "2023-02-01"), "the id is empty"),
        (RawLabel("", None, "1", "2023-02-01"), "the id is empty"),
        (RawLabel("", "x" * 1025, "1", "2023-02-01"), "the id must have at most 1024 characters; got 1025"),
        (RawLabel("", 1.5, "1", "2023-02-01"), "the id must be text or a whole number; got 1.5"),
        (RawLabel("", "a\udce9", "1", "2023-02-01"), "the id is not UTF-8"),
        (RawLabel("", "a", " ", "2023-02-01"), "the label is empty; leave the row out"),
        (RawLabel("", "a", "12,5", "2023-02-01"), "the label must be a number; got '12,5'"),
        (RawLabel("", "a", "nan", "2023-02-01"), "the label must be a number; got 'nan'"),
        (RawLabel("", "a", True, "2023-02-01"), "the label must be a number; got True"),
        (RawLabel("", "a", "1", None), "the label time is empty"),
        (
            RawLabel("", "a", "1", "yesterday"),
            "the label time must be ISO 8601, such as 2023-02-20T06:30:00, or epoch milliseconds; got 'yesterday'",
        ),
        (
            RawLabel("", "a", "1", "1675245600"),
            "the label time must be 2000-01-01 (the contract's `event_time.floor`) or later; got 1675245600; "
            "a number is epoch milliseconds",
        ),
        (RawLabel("", "a", "1", "2023-06-02"), "the label time lies in the future; got 2023-06-02"),
        (RawLabel("", "a", "1", b"x"), "the label time must be a time; got b'x'"),
        (
            RawLabel("", "a", "1", "2023-03-12T02:30"),
            "the label time 2023-03-12T02:30:00 does not exist in America/New_York, whose clocks went forward",
        ),
        (RawLabel("", problem="2 values; the header names 3"), "2 values; the header names 3"),
    ],
)
def test_a_bad_row_says_why(row: RawLabel, reason: str) -> None:
    assert refused(row) == reason


@pytest.mark.parametrize(("value", "label"), [("yes", "yes"), (3, "3"), (3.0, "3"), (True, "true")])
def test_a_class_is_text(value: object, label: str) -> None:
    assert read(RawLabel("", "a", value, "2023-02-01"), contract_of("multiclass"))["label"] == label


def test_ids_stand_where_the_contract_says() -> None:
    mapped = contract_of(extra="fields: {id: order}")
    assert read(RawLabel("", 7.0, 1, "2023-02-01"), mapped)["order"] == "7"


cells = st.one_of(
    st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.binary(max_size=4), st.datetimes(), st.dates()
)


@given(id_=cells, label=cells, at=cells, task=st.sampled_from(["regression", "multiclass"]))
def test_any_row_is_refused_or_an_event_that_the_consumer_keeps_whole(
    id_: object, label: object, at: object, task: str
) -> None:
    contract = contract_of(task, "event_time: {timezone: America/New_York}")
    try:
        event = LabelReader(contract, NOW).event(RawLabel("", id_, label, at))
    except BadLabel:
        return
    decoded = Decoder(contract, "labels").decode([event.value], [to_ms(NOW)], set())
    assert (len(decoded), decoded.dead, decoded.violations) == (1, [], {})
    assert decoded.ids == [event.key.decode()]
    assert decoded.columns["label"][0] == json.loads(event.value)["label"]


class Loading:
    """A local log with the topic of labels."""

    def __init__(self, folder: Path, contract: Contract = CONTRACT) -> None:
        self.transport = open_transport(f"local://{folder}/log")
        self.contract = contract
        self.bad: list[tuple[str, str]] = []

    def load(self, path: Path, complete_to: datetime | None = None, rejects: Path | None = None) -> LabelLoad:
        loader = LabelLoader(self.contract, self.transport, LabelReader(self.contract, NOW))
        with rejects_file(rejects) as write:

            def reject(row: RawLabel, reason: str) -> None:
                self.bad.append((row.place, reason))
                write(row, reason)

            return loader.load(LabelFile(path, self.contract, LabelColumns()), complete_to, threading.Event(), reject)

    def records(self) -> list[tuple[bytes | None, tuple[tuple[str, bytes], ...]]]:
        with self.transport.consumer() as consumer:
            consumer.assign({Partition("shop.labels", 0): 0})
            return [
                (value, batch.headers.get(index, ()))
                for batch in consumer.poll(1.0)
                for index, value in enumerate(batch.values)
            ]


def test_every_good_row_is_sent_and_every_bad_one_named_with_its_line(tmp_path: Path) -> None:
    path, rejects = tmp_path / "labels.csv", tmp_path / "rejects.csv"
    path.write_text(
        "\ufeffid, label ,label_time,note\n"
        "a,1.5,2023-02-01,\n"
        "\n"
        'b,"2","2023-02-02","two\nlines"\n'
        "c,three,2023-02-03,\n"
        "d,4\n"
        "e,5,2023-02-05,=cmd\n"
    )
    loading = Loading(tmp_path)
    summary = loading.load(path, rejects=rejects)
    assert (summary.rows, summary.loaded, summary.bad) == (5, 3, 2)
    assert [json.loads(value or b"")["id"] for value, _ in loading.records()] == ["a", "b", "e"]
    bad = [("line 6", "the label must be a number; got 'three'"), ("line 7", "2 values; the header names 4")]
    assert loading.bad == bad
    with rejects.open() as file:
        assert [(row["place"], row["reason"]) for row in csv.DictReader(file)] == bad


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_is_read_with_its_types(tmp_path: Path, unit: str) -> None:
    times = pd.to_datetime(["2023-02-01T10:00", "2023-02-01T11:00", None]).as_unit(unit).tz_localize("UTC")
    frame = pd.DataFrame({"label_time": times, "id": [7, 8, 9], "label": [1.0, float("inf"), 3.0]})
    frame.to_parquet(tmp_path / "labels.bin")
    loading = Loading(tmp_path)
    summary = loading.load(tmp_path / "labels.bin")
    assert (summary.loaded, summary.first_label_time) == (1, datetime(2023, 2, 1, 10, tzinfo=UTC))
    assert [place for place, _ in loading.bad] == ["row 2", "row 3"]


def test_the_topic_is_marked_complete_only_as_asked_and_only_when_every_row_was_good(tmp_path: Path) -> None:
    good, bad, upto = tmp_path / "good.csv", tmp_path / "bad.csv", NOW - timedelta(days=1)
    good.write_text("id,label,label_time\na,1,2023-02-01\n")
    bad.write_text("id,label,label_time\na,one,2023-02-01\n")
    loading = Loading(tmp_path)
    assert loading.load(good).complete_to is None
    assert loading.load(bad, complete_to=upto).complete_to is None
    assert len(loading.records()) == 1
    assert loading.load(good, complete_to=upto).complete_to == upto
    marker = find_marker(loading.records()[-1][1])
    assert marker is not None
    assert (marker.producer, from_ms(marker.up_to), marker.end) == (PRODUCER, upto, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "{path} is empty; a file of labels has a header and a row for each label"),
        (b"id,label,label_time\n", "{path} has a header and no rows; a file of labels has a row for each label"),
        (
            b"id,truth,label_time\n1,2,3\n",
            "{path} needs a column label; it has id, truth, label_time; name the column with --label-column",
        ),
        (
            b"id,label,when\n",
            "{path} needs a column label_time; it has id, label, when; name the column with --time-column",
        ),
        (b"id,label,label_time,id\n", "{path} has 2 columns id; keep one"),
        (
            b"\xff\xfe\x00",
            "{path} is neither CSV in UTF-8 nor Parquet: 'utf-8' codec can't decode byte 0xff in position 0: "
            "invalid start byte",
        ),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_whole(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(InputDataError) as caught:
        Loading(tmp_path).load(path)
    assert str(caught.value) == message.format(path=path)


def test_a_request_to_stop_leaves_what_was_sent_and_marks_nothing(tmp_path: Path) -> None:
    path, stop = tmp_path / "labels.csv", threading.Event()
    path.write_text(
        "id,label,label_time\n" + "".join(f"{n},x,2023-02-01\n" if n == 3 else f"{n},1,2023-02-01\n" for n in range(9))
    )
    loading = Loading(tmp_path)
    loader = LabelLoader(CONTRACT, loading.transport, LabelReader(CONTRACT, NOW))
    summary = loader.load(LabelFile(path, CONTRACT, LabelColumns()), NOW, stop, lambda _row, _reason: stop.set())
    assert (summary.loaded, summary.stopped, summary.complete_to) == (3, True, None)
    assert len(loading.records()) == 3
