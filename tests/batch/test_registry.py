"""Contracts in the store: their order, and their rules."""

from __future__ import annotations

from driftline.checks import rules_of
from driftline.contract import Contract
from driftline.store import Store
from driftline.store.registry import register_contract


def described(contract: Contract, words: str) -> Contract:
    return Contract.model_validate({**contract.model_dump(by_alias=True), "description": words})


def test_a_new_contract_follows_the_last_and_a_known_one_keeps_its_place(store: Store, contract: Contract) -> None:
    newer = described(contract, "newer")
    assert [register_contract(store, one) for one in (contract, contract, newer, newer)] == [1, 1, 2, 2]


def test_a_contract_that_returns_is_in_force_again(store: Store, contract: Contract) -> None:
    newer = described(contract, "newer")
    assert [register_contract(store, one) for one in (contract, newer, contract)] == [1, 2, 3]


def test_every_rule_becomes_a_row(store: Store, contract: Contract) -> None:
    register_contract(store, contract)
    rows = store.query(
        "SELECT check, column, source, granularity, lower, upper, is_share, min_rows, severity FROM check_rules FINAL "
        "WHERE model = {m:String} AND contract_id = {c:String}",
        {"m": contract.model, "c": contract.id},
    )
    names = ("check", "column", "source", "granularity", "lower", "upper", "is_share", "min_rows", "severity")
    expected = {tuple(getattr(rule, name) for name in names) for rule in rules_of(contract)}
    assert {tuple(row[name] for name in names) for row in rows} == expected
    assert len(rows) == len(expected)
