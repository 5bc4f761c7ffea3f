"""Reading a stretch of the log again and writing it as a consumer would: how lost rows and counts come back.

Safe beside a running consumer, as any second owner is: the same offsets give the same rows under the same
keys. The watermarks are left alone, since the partition has got further than the stretch.
"""

from __future__ import annotations

import os
import socket
from bisect import bisect_left
from dataclasses import dataclass, replace

from consumers.auditing.segments import Place
from consumers.counting.rules import StreamRules
from consumers.counting.segments import PartitionState
from consumers.reading.recovery import begin_at
from consumers.writing.flushing import Flusher, Writer
from driftline.clock import Clock
from driftline.contract import Contract
from driftline.errors import TransportUnavailable
from driftline.events import Stream
from driftline.store import Store
from driftline.transport import Partition, RecordBatch, Transport

_POLL_SECONDS = 1.0
_EMPTY_POLLS = 30  # in a row; a log that returns nothing for so long is not there


@dataclass(frozen=True, slots=True)
class Rereader:
    """Reads stretches of the topics of the contract in force."""

    store: Store
    transport: Transport
    writer: Writer
    clock: Clock

    @classmethod
    def of(cls, store: Store, transport: Transport, contract: Contract, clock: Clock) -> Rereader | None:
        """Return one, or None where ``contract`` is not the one in force: it would count under rules nobody chose."""
        known = store.query(
            "SELECT contract_id, contract_seq FROM contracts FINAL WHERE model = {model:String} "
            "ORDER BY contract_seq DESC LIMIT 1",
            {"model": contract.model},
        )
        if not known or known[0]["contract_id"] != contract.id:
            return None
        name = f"{socket.gethostname()}:{os.getpid()}:audit"
        return cls(store, transport, Writer(name, contract, known[0]["contract_seq"]), clock)

    def reread(self, stream: Stream, place: Place, lo: int, hi: int, segment_size: int) -> None:
        """Read the offsets ``[lo, hi)`` of one partition again and store them; ``lo`` is where a segment starts.

        Raises:
            TransportUnavailable: the log does not return them.
            ContractError: the partition is counted in windows of another size.
        """
        contract = self.writer.contract
        rules = StreamRules.of(contract, stream)
        partition = Partition(getattr(contract.topics, stream), place.p)
        start = begin_at(self.store, rules, place.source_id, partition, lo)
        state = PartitionState(partition, rules, start, segment_size)
        self._absorb(state, hi)
        flush = Flusher(self.writer, self.clock).prepare([state], final=True)
        if flush:
            inserts = tuple(insert for insert in flush.inserts if insert[0] != "watermarks")
            replace(flush, inserts=inserts).write(self.store)

    def _absorb(self, state: PartitionState, hi: int) -> None:
        silent = 0
        with self.transport.consumer() as consumer:
            consumer.assign({state.partition: state.next_offset})
            while state.next_offset < hi:
                batches = consumer.poll(_POLL_SECONDS)
                for batch in batches:
                    state.absorb(_below(batch, hi))
                silent = 0 if batches else silent + 1
                if silent == _EMPTY_POLLS:
                    msg = f"{state.partition} does not return the records from offset {state.next_offset}; try again"
                    raise TransportUnavailable(msg)


def _below(batch: RecordBatch, hi: int) -> RecordBatch:
    if batch.next_offset <= hi:
        return batch
    kept = bisect_left(batch.offsets, hi)
    headers = {index: found for index, found in batch.headers.items() if index < kept}
    return RecordBatch(
        batch.partition, batch.offsets[:kept], batch.append_times_ms[:kept], batch.values[:kept], hi, headers
    )
