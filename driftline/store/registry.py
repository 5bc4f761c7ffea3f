"""Contracts as rows: their order in time, and the rules that views judge by.

Every row that depends on a contract carries its id; the sequence says which of two ids is newer.
"""

from __future__ import annotations

from driftline.checks import Rule, rules_of
from driftline.contract.model import Contract
from driftline.store.client import Store


def register_contract(store: Store, contract: Contract) -> int:
    """Make ``contract`` the one in force and return its sequence; a contract already in force keeps its own.

    One that was in force before and returns gets a new sequence, so that its rules apply again.
    """
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
