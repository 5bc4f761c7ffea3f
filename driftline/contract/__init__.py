"""The contract: the one file a user writes to have a model monitored."""

from driftline.contract.loading import LoadedContract, find_contract, parse_contract, read_contract
from driftline.contract.model import Contract
from driftline.contract.parts import CheckRule, Column, Range

__all__ = [
    "CheckRule",
    "Column",
    "Contract",
    "LoadedContract",
    "Range",
    "find_contract",
    "parse_contract",
    "read_contract",
]
