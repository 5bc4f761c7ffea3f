"""Which partitions a consumer reads: a fixed share of them, or what its consumer group gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from driftline.errors import UsageError


@dataclass(frozen=True, slots=True)
class Share:
    """Every partition whose index is ``number`` modulo ``of``. Overlaps are harmless, gaps are never read."""

    number: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read ``i/n``: the ``i``-th of ``n`` shares, counted from 0.

        Raises:
            UsageError: it is something else.
        """
        match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
        if not match or int(match[1]) >= int(match[2]):
            msg = f"a share is written i/n with i from 0 to n-1; got {text!r}; two processes take 0/2 and 1/2"
            raise UsageError(msg)
        return cls(int(match[1]), int(match[2]))

    def holds(self, index: int) -> bool:
        """Return whether the partition of this index belongs to the share."""
        return index % self.of == self.number


@dataclass(frozen=True, slots=True)
class Group:
    """Whatever the log's consumer group of this name gives to its member."""

    name: str


Membership = Share | Group
EVERYTHING = Share()
