"""Contracts as rows: their order in time, and the rules that views judge by.

Every row that depends on a contract carries its id; the sequence says which of two ids is newer.
"""

from __future__ import annotations

from datetime import timedelta

from driftline.checks import Rule, rules_of
from driftline.contract.model import Contract
from driftline.errors import ContractError
from driftline.store.client import Store
from driftline.windows import granularity, parse_granularity


def register_contract(store: Store, contract: Contract) -> int:
    """Make ``contract`` the one in force and return its sequence; a contract already in force keeps its own.

    One that was in force before and returns gets a new sequence, so that its rules apply again.

    Raises:
        ContractError: as ``require_same_windows``; the store is as it was.
    """
    require_same_windows(store, contract)
    known = store.query(
        "SELECT contract_id, contract_seq FROM contracts FINAL WHERE model = {model:String} "
        "ORDER BY contract_seq DESC, registered DESC LIMIT 1",
        {"model": contract.model},
    )
    newest: int = known[0]["contract_seq"] if known else 0
    if known and known[0]["contract_id"] == contract.id:
        return newest
    # Rules first: a contract without its rules would judge nothing.
    store.insert_rows("check_rules", [_rule_row(contract, rule) for rule in rules_of(contract)])
    store.insert_rows(
        "contracts",
        [
            {
                "model": contract.model,
                "contract_id": contract.id,
                "contract_seq": newest + 1,
                "body": contract.model_dump_json(by_alias=True),
            }
        ],
    )
    return newest + 1


def require_same_windows(store: Store, contract: Contract) -> None:
    """Refuse window sizes that do not go together with those of what has been counted and is not counted again.

    A partition's last segment is counted again by the next consumer, those before it stay as they are.

    Raises:
        ContractError: ``windows.stream`` differs, or ``windows.profile`` is no multiple of what sketches cover.
    """
    for row in store.query(_KEPT_WINDOWS, {"model": contract.model}):
        stream, profile = parse_granularity(row["stream"]), parse_granularity(row["profile"])
        if stream != contract.windows.stream:
            raise other_windows(row["place"], "stream", stream, contract.windows.stream)
        if contract.windows.profile % profile:
            raise other_windows(row["place"], "profile", profile, contract.windows.profile)


def other_windows(place: str, name: str, counted: timedelta, wanted: timedelta) -> ContractError:
    """Return the error for windows of another size than those that ``place`` (a partition) is counted in."""
    return ContractError(
        f"`windows.{name}` must stay {granularity(counted)}, the windows that {place} is counted in; got "
        f"{granularity(wanted)}; set it back, or count the topic anew in another --home or --store"
    )


_KEPT_WINDOWS = """
    SELECT c.stream AS stream, c.profile AS profile, min(concat(s.topic, '[', toString(s.p), ']')) AS place
    FROM (
        SELECT topic, p, lo, contract_id, n_ok, max(lo) OVER (PARTITION BY topic, source_id, p) AS last_lo
        FROM segments FINAL WHERE model = {model:String}
    ) AS s
    INNER JOIN (
        SELECT contract_id, JSONExtractString(body, 'windows', 'stream') AS stream,
            JSONExtractString(body, 'windows', 'profile') AS profile
        FROM contracts FINAL WHERE model = {model:String}
    ) AS c ON c.contract_id = s.contract_id
    WHERE s.lo < s.last_lo AND s.n_ok > 0
    GROUP BY c.stream, c.profile
"""


def _rule_row(contract: Contract, rule: Rule) -> dict[str, object]:
    return {
        "model": contract.model,
        "contract_id": contract.id,
        "check": rule.check,
        "metric": rule.metric,
        "column": rule.column,
        "slice": rule.slice,
        "source": rule.source,
        "granularity": rule.granularity,
        "lower": rule.lower,
        "upper": rule.upper,
        "is_share": rule.is_share,
        "min_rows": rule.min_rows,
        "severity": rule.severity,
    }
