"""What a classifier's answer says: one class, and the probabilities it came with.

An event holds a class or probabilities by class. Of probabilities the class is the likeliest one, for a binary contract
the positive class from the decision threshold on. Jobs decide anew by the threshold of their own contract, since the
probabilities are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from driftline.contract import Contract

PROBABILITIES = "probabilities"
"""Name of the probabilities in an envelope and in the table of predictions."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How a contract reads answers; ``positive`` is None unless it is binary."""

    positive: str | None
    threshold: float

    @classmethod
    def of(cls, contract: Contract) -> Answers:
        """Return how ``contract`` reads them."""
        return cls(contract.positive_class if contract.task == "binary" else None, contract.decision_threshold)

    def split(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], list[dict[str, float] | None]]:
        """Return the class of each value, and its probabilities where it is some."""
        given = [self.completed(value) if isinstance(value, dict) else None for value in values]
        named = (value if shares is None else self.decided(shares) for value, shares in zip(values, given, strict=True))
        return tuple(named), given

    def completed(self, shares: dict[str, float]) -> dict[str, float]:
        """Return ``shares`` with the positive class, which has what the others leave.

        >>> Answers("long", 0.5).completed({"short": 0.25})
        {'short': 0.25, 'long': 0.75}
        """
        if self.positive is None or self.positive in shares:
            return shares
        return {**shares, self.positive: max(0.0, 1.0 - sum(shares.values()))}

    def decided(self, shares: dict[str, float]) -> str:
        """Return the class that ``shares`` stand for; of equal ones the first in the alphabet.

        >>> Answers("long", 0.3).decided({"long": 0.3, "short": 0.7})
        'long'
        >>> Answers(None, 0.5).decided({"a": 0.2, "b": 0.4, "c": 0.4})
        'b'
        """
        if self.positive is None:
            return max(sorted(shares), key=shares.__getitem__)
        if shares.get(self.positive, 0.0) >= self.threshold:
            return self.positive
        others = sorted(set(shares) - {self.positive})
        return max(others, key=shares.__getitem__) if others else f"not {self.positive}"
