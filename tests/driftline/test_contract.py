"""What a monitor file may say, and what it is told when it says something else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.contract import Contract, find_contract, parse_contract, read_contract
from driftline.errors import ContractError

BASE = "model: m\ncolumns:\n  a: {type: number}\n"
MONITORS = sorted(Path(str(resources.files("monitors"))).glob("*.yaml"))
DURATION = "a duration is a positive whole number and d, h, m or s, such as 1h"


def complaint_about(text: str) -> str:
    with pytest.raises(ContractError) as caught:
        parse_contract(text, "m.yaml")
    return str(caught.value)


def column(rest: str) -> str:
    return f"model: m\ncolumns:\n  a: {{{rest}}}\n"


def test_identity_time_columns_prediction_and_label_suffice() -> None:
    contract = parse_contract(BASE, "m.yaml")

    assert contract.topics.model_dump() == {"inputs": "m.inputs", "predictions": "m.predictions", "labels": "m.labels"}
    assert contract.event_time.floor == datetime(2000, 1, 1, tzinfo=UTC)
    assert (contract.windows.stream, contract.windows.drift) == (timedelta(hours=1), timedelta(days=1))
    assert contract.windows.largest == timedelta(days=1)
    assert contract.versions.all == ("champion",)
    assert contract.raw_inputs_table == "inputs_m"
    assert contract.known_at_prediction() == contract.columns_of_type("number") == ("a",)


@pytest.mark.parametrize("path", MONITORS, ids=lambda path: path.stem)
def test_every_packaged_monitor_is_valid(path: Path) -> None:
    assert read_contract(path).model == path.stem


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model: m\n", "m.yaml:1: `columns` is required; add it"),
        ("columns:\n  a: {type: number}\n", "m.yaml:1: `model` is required; add it"),
        (
            BASE + "colour: red\n",
            "m.yaml:4: `colour` is not a key of the contract; got 'red'; remove it or correct its spelling "
            "(`driftline config schema` lists the keys)",
        ),
        (
            column("type: number, rnge: [0, 1]"),
            "m.yaml:3: `columns.a.rnge` is not a key of the contract; got [0, 1]; remove it or correct its spelling "
            "(`driftline config schema` lists the keys)",
        ),
        (
            column("type: float"),
            "m.yaml:3: `columns.a.type` input should be 'number', 'category', 'boolean', 'text' or 'datetime'; got 'float'",  # noqa: E501
        ),
        (
            "model: M-1\ncolumns:\n  a: {type: number}\n",
            "m.yaml:1: `model` must be lower-case letters, digits and underscores, starting with a letter; got 'M-1'",
        ),
        (
            column("type: number, range: [5, 1]"),
            "m.yaml:3: `columns.a.range` must have its low end first; got [5, 1]; swap them",
        ),
        (
            column("type: number, range: [1]"),
            "m.yaml:3: `columns.a.range` must be a pair [low, high], null for an open side; got [1]",
        ),
        (
            column("type: category, range: [1, 2]"),
            "m.yaml:3: `columns.a.range` needs type number; got type category; remove it or change the type",
        ),
        (
            column("type: number, values: [x]"),
            "m.yaml:3: `columns.a.values` needs type category; got type number; remove it or change the type",
        ),
        (
            column("type: category, values: [no, yes]"),
            "m.yaml:3: `columns.a.values.0` must be text or a whole number; got False; put it in quotes",
        ),
        (
            column("type: number, max_missing_share: 2"),
            "m.yaml:3: `columns.a.max_missing_share` input should be less than or equal to 1; got 2",
        ),
        (
            column("type: number, range: [0, .inf]"),
            "m.yaml:3: `columns.a.range.high` input should be a finite number; got inf",
        ),
        (
            "model: m\ncolumns:\n  x: {type: text}\n  ID: {type: number}\n",
            "m.yaml:4: `columns.ID` is driftline's own column; rename it and put the event's name in `field`",
        ),
        (
            "model: m\ncolumns:\n  a-b: {type: number}\n",
            "m.yaml:3: `columns.a-b` must be letters, digits and underscores, not starting with a digit; rename it and "
            "put the event's name in `field`",
        ),
        (
            "model: m\ncolumns:\n  a: {type: number, field: x}\n  b: {type: number, field: x}\n",
            "m.yaml:4: `columns.b` reads the event's x, as `columns.a` does; remove one of the two",
        ),
        (
            'model: m\nfields: {features: "."}\ncolumns:\n  a: {type: number, field: event_time}\n',
            "m.yaml:4: `columns.a` reads the event's event_time, as `fields.event_time` does; remove one of the two",
        ),
        (
            BASE + "fields: {id: label}\n",
            "m.yaml:4: `fields.id` must be a name of its own in the event; got label; rename it in the producer",
        ),
        (
            BASE + "fields:\n  id: t\n  event_time: t\n",
            "m.yaml:5: `fields.id` must be a name of its own in the event; got t; rename it in the producer",
        ),
        (
            BASE + "task: binary\n",
            "m.yaml:1: `positive_class` is needed for task binary; name the class that a probability belongs to",
        ),
        (
            BASE + "checks:\n  - {metric: mae}\n",
            "m.yaml:5: `checks.0` needs `min`, `max` or both; got {'metric': 'mae'}",
        ),
        (
            BASE + "checks:\n  - {metric: missing_share, column: a, min: 1, max: 0}\n",
            "m.yaml:5: `checks.0.min` must not exceed `max`; got 1 and 0; swap them",
        ),
        (
            BASE + "checks:\n  - {metric: missing_share, max: 1}\n  - {metric: missing_share, column: zz, max: 1}\n",
            "m.yaml:6: `checks.1.column` must be one of the contract's columns; got zz; use one of a, prediction, label",  # noqa: E501
        ),
        (
            BASE + "windows:\n  stream: 1h\n  drift: 90m\n",
            "m.yaml:6: `windows.drift` must be a multiple of `windows.stream` (1h); got 90m; use 1h or 2h",
        ),
        (
            BASE + "windows:\n  stream: 1d\n  profile: 1d\n  quality: [1d, 1h]\n",
            "m.yaml:7: `windows.quality.1` must be a multiple of `windows.stream` (1d); got 1h; use 1d",
        ),
        (
            BASE + "windows: {stream: 0}\n",
            "m.yaml:4: `windows.stream` must be longer than zero; got 0s; use 1h, or another duration",
        ),
        (
            BASE + "windows: {idle_after: 0}\n",
            "m.yaml:4: `windows.idle_after` must be longer than zero; got 0s; use 2m, or leave it out",
        ),
        (BASE + "windows: {stream: 1 hour}\n", f"m.yaml:4: `windows.stream` {DURATION}; got '1 hour'"),
        (BASE + "windows: {stream: 0.5}\n", f"m.yaml:4: `windows.stream` {DURATION}; got '0.5'"),
        (BASE + "windows: {allowed_lateness: -60}\n", f"m.yaml:4: `windows.allowed_lateness` {DURATION}; got '-60'"),
        (
            BASE + "windows: {data: 99999999999999d}\n",
            "m.yaml:4: `windows.data` a duration has at most 8 digits; got '99999999999999d'",
        ),
        (
            BASE + "topics: {inputs: a, predictions: a, labels: b}\n",
            "m.yaml:4: `topics` must name three different topics; got {'inputs': 'a', 'labels': 'b', 'predictions': 'a'}",  # noqa: E501
        ),
        (
            BASE + "event_time: {timezone: Mars}\n",
            "m.yaml:4: `event_time.timezone` must be a time zone of the IANA database, such as America/New_York; got 'Mars'",  # noqa: E501
        ),
        (
            BASE + "event_time: {floor: 1950-01-01}\n",
            "m.yaml:4: `event_time.floor` must be 1970-01-01 or later; windows and watermarks count from there; "
            "got datetime.date(1950, 1, 1)",
        ),
        (
            BASE + "reference: {days: 7}\n",
            "m.yaml:4: `reference.days` needs kind trailing or seasonal; got 7 and kind fixed; remove it",
        ),
        (
            BASE + "versions: {champion: x, challengers: [y, x]}\n",
            "m.yaml:4: `versions.challengers.1` must be a version not named before; got x; remove it",
        ),
        (BASE + "model: x\n", "m.yaml:4: `model` stands twice; YAML would drop the first; keep one"),
        (column("type: number, type: text"), "m.yaml:3: `type` stands twice; YAML would drop the first; keep one"),
        ("- a\n", "m.yaml:1: a monitor file is a mapping of keys; got list; start with `model: NAME`"),
        ("", "m.yaml:1: a monitor file is a mapping of keys; got NoneType; start with `model: NAME`"),
        (
            "model: [\n",
            "m.yaml:2: not valid YAML: expected the node content, but found '<stream end>'; check indentation and quoting",  # noqa: E501
        ),
        (BASE + "tags: &a [*a]\n", "m.yaml:4: `tags.0` input should be a valid string; got [[[[...]]]]"),
    ],
)
def test_a_broken_rule_names_file_line_key_value_and_remedy(text: str, complaint: str) -> None:
    assert complaint_about(text) == complaint


def test_two_thousand_columns_are_the_limit() -> None:
    def monitor(count: int) -> str:
        return "model: m\ncolumns:\n" + "".join(f"  c{number}: {{type: number}}\n" for number in range(count))

    assert len(parse_contract(monitor(2_000), "m.yaml").columns) == 2_000
    assert complaint_about(monitor(2_001)) == (
        "m.yaml:2: `columns` must be at most 2,000 columns; got 2,001; "
        "leave out those that nobody looks at, or monitor them as a second model"
    )


def test_a_changed_copy_goes_by_an_id_of_its_own() -> None:
    contract = parse_contract(BASE, "m.yaml")
    written = parse_contract(BASE + "owner: someone\n", "m.yaml")
    assert contract.id != written.id

    assert contract.model_copy(update={"owner": "someone"}).id == written.id
    assert contract.model_copy(deep=True).id == contract.id


def test_all_broken_rules_are_named_at_once() -> None:
    text = "model: M\ncolumns:\n  a: {type: numbr}\nquality: {min_labels: 0}\n"

    assert [line.split("`")[1] for line in complaint_about(text).splitlines()] == [
        "model",
        "columns.a.type",
        "quality.min_labels",
    ]


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_contract_or_a_contract_error(text: str) -> None:
    try:
        parse_contract(text, "m.yaml")
    except ContractError as error:
        assert re.match(r"m\.yaml:\d+: ", str(error))  # noqa: PT017


def test_aliases_of_aliases_take_no_time() -> None:
    levels = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 5))

    assert complaint_about(f"x0: &x0 [a]\n{levels}").startswith("m.yaml:1: `model` is required; add it\n")


def test_a_file_that_is_absent_or_no_text_says_what_to_do(tmp_path: Path) -> None:
    absent, binary = tmp_path / "absent.yaml", tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ContractError) as missing:
        read_contract(absent)
    with pytest.raises(ContractError) as unreadable:
        read_contract(binary)

    assert str(missing.value) == (
        f"{absent}: no such monitor file; check --monitor, or leave it out for the packaged taxi example"
    )
    assert str(unreadable.value) == (
        f"{binary}: monitor file cannot be read: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    )


def test_the_contract_is_the_one_named_else_the_folders_else_the_packaged_one(tmp_path: Path) -> None:
    named = tmp_path / "named.yaml"
    named.write_text(BASE.replace("model: m", "model: named"))

    assert find_contract(None, tmp_path).packaged
    (tmp_path / "monitors").mkdir()
    (tmp_path / "monitors" / "one.yml").write_text(BASE.replace("model: m", "model: one"))
    assert find_contract(None, tmp_path).contract.model == "one"
    assert find_contract(named, tmp_path).contract.model == "named"
    (tmp_path / "monitors" / "two.yaml").write_text(BASE)
    with pytest.raises(ContractError) as caught:
        find_contract(None, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'monitors'} holds several monitors (one.yml, two.yaml); choose one with --monitor FILE"
    )


CHANGES = [
    "owner: someone",
    "tags: [x]",
    "task: multiclass",
    "topics: {inputs: a, predictions: b, labels: c}",
    "fields: {id: key}",
    "event_time: {timezone: Europe/Berlin}",
    "event_time: {floor: 2001-01-01}",
    "versions: {champion: v2}",
    "prediction: {range: [0, 1]}",
    "label: {delay: {max: 2d}}",
    "windows: {allowed_lateness: 5m}",
    "slices: [{name: zone, by: a}]",
    "reference: {kind: trailing}",
    "drift: {number_threshold: 0.2}",
    "quality: {min_labels: 51}",
    "checks: [{metric: missing_share, column: a, max: 0.5}]",
    "alerts: [{metric: mae, above: 3, for: 1h}]",
    "retention: {raw: 7d}",
]


def test_the_id_changes_with_any_key_and_with_nothing_else() -> None:
    ids = {parse_contract(BASE + change + "\n", "m.yaml").id for change in CHANGES}
    same = parse_contract("# a comment\ncolumns: {a: {type: 'number'}}\nmodel: m\ntask: regression\n", "other.yaml")

    assert len(ids | {parse_contract(BASE, "m.yaml").id}) == len(CHANGES) + 1
    assert same.id == parse_contract(BASE, "m.yaml").id
    assert re.fullmatch(r"[0-9a-f]{16}", same.id)


def test_a_digest_of_parts_changes_with_those_parts_alone() -> None:
    base, edited = parse_contract(BASE, "m.yaml"), parse_contract(BASE + "drift: {min_rows: 9}\n", "m.yaml")

    assert base.digest("columns", "label") == edited.digest("columns", "label")
    assert base.digest("drift") != edited.digest("drift")
    assert base.digest("drift") != base.digest("columns")


@pytest.mark.parametrize("path", MONITORS, ids=lambda path: path.stem)
def test_a_contract_survives_its_own_json(path: Path) -> None:
    contract = read_contract(path)

    again = Contract.model_validate_json(contract.model_dump_json(by_alias=True))

    assert again.id == contract.id


def test_categories_may_be_written_as_whole_numbers() -> None:
    assert parse_contract(column('type: category, values: [1, "02", x]'), "m.yaml").columns["a"].values == (
        "1",
        "02",
        "x",
    )


def test_the_packaged_examples_are_plain_yaml() -> None:
    assert MONITORS
    for path in MONITORS:
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
