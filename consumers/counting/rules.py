"""What a contract says about one stream, in the form that the consumer works with."""

from __future__ import annotations

from dataclasses import dataclass

from consumers.counting.counters import Bounds, bounds_of
from consumers.decoding.decoder import Decoder
from driftline.contract import Contract
from driftline.events import Stream
from driftline.windows import to_window_ms


@dataclass(frozen=True, slots=True)
class StreamRules:
    """All that classifying and counting one stream depends on, beside the log: a function of the contract."""

    contract: Contract
    stream: Stream
    decoder: Decoder
    bounds: dict[str, Bounds]
    window_ms: int
    profile_ms: int

    @classmethod
    def of(cls, contract: Contract, stream: Stream) -> StreamRules:
        """Return the rules that ``contract`` sets for ``stream``."""
        decoder, windows = Decoder(contract, stream), contract.windows
        bounds = bounds_of(contract, stream, decoder.kinds)
        return cls(contract, stream, decoder, bounds, to_window_ms(windows.stream), to_window_ms(windows.profile))
