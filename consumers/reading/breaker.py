"""A topic most of whose records are bad is paused, instead of draining a changed schema into the dead letters.

Owns when a topic is paused and the rows that say so (``topic_pauses``). A pause outlives the process that made it and
holds for every consumer, until somebody resumes the topic or consumes it under another contract. Stopping to read and
going on at the very offset where reading stopped is the loop's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consumers.counting.segments import Absorbed
from driftline.store import Store

BREAKER_RECORDS = 1_000
BREAKER_SHARE = 0.5


class Breaker:
    """Trips when more than half of the last thousand records of a topic are dead letters."""

    def __init__(self, records: int = BREAKER_RECORDS, share: float = BREAKER_SHARE) -> None:
        self._records, self._share = records, share
        self._recent: deque[bool] = deque(maxlen=records)

    def tripped(self, absorbed: Absorbed) -> bool:
        """Take note of a batch and return whether any stretch of the last thousand records was too bad.

        Records counted before are passed over: they were judged then, and a resumed topic must get past them.
        """
        bad = np.zeros(absorbed.records, dtype=bool)
        bad[[letter.index for letter in absorbed.events.dead]] = True
        bad = bad[absorbed.recounted :]
        history = np.concatenate([np.array(self._recent, dtype=bool), bad])
        self._recent.extend(bad.tolist())
        sums = np.concatenate([[0], np.cumsum(history)])
        stretches = sums[self._records :] - sums[: -self._records] if len(sums) > self._records else np.array([0])
        return bool((stretches > self._share * self._records).any())


def pause_reason(topic: str) -> str:
    """Return what is said of a topic whose breaker has tripped."""
    return (
        f"topic {topic} is paused: more than {BREAKER_SHARE:.0%} of its last {BREAKER_RECORDS} records cannot be read; "
        f"see `driftline dlq ls --topic {topic}`, mend the contract and start again, or mend the producer and run "
        f"`driftline dlq resume {topic}`"
    )


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses of one model's topics, as the store has them; all methods may raise ``StoreError``."""

    store: Store
    model: str
    contract_id: str

    def paused(self, sources: Mapping[str, str]) -> dict[str, str]:
        """Return why each paused one of ``sources`` (topic: source id) is; call at the start and once per flush."""
        rows = self.store.query(_PAUSED, {"model": self.model, "contract": self.contract_id})
        return {row["topic"]: row["reason"] for row in rows if sources.get(row["topic"]) == row["source_id"]}

    def pause(self, topic: str, source_id: str, writer: str) -> str:
        """Write down that the topic is paused and return the reason; call once what was absorbed is stored."""
        reason = pause_reason(topic)
        self._write(topic, source_id, "paused", reason, writer)
        return reason

    def resume(self, topic: str, source_id: str, actor: str) -> bool:
        """Let the topic be read again; returns False where it was not paused."""
        if topic not in self.paused({topic: source_id}):
            return False
        self._write(topic, source_id, "resumed", "", actor)
        return True

    def _write(self, topic: str, source_id: str, status: str, reason: str, actor: str) -> None:
        row = {"model": self.model, "topic": topic, "source_id": source_id, "contract_id": self.contract_id}
        self.store.insert_rows("topic_pauses", [{**row, "status": status, "reason": reason, "acted_by": actor}])


_PAUSED = """
    SELECT topic, source_id, reason FROM topic_pauses FINAL
    WHERE model = {model:String} AND contract_id = {contract:String} AND status = 'paused'
"""
