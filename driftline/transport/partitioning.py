"""Which partition an id belongs to: the same in both backends and in every other Kafka client.

An event is known by its id within one partition only, so every producer of a topic must agree.
This is the default partitioner of Kafka's Java client: MurmurHash2 (Austin Appleby, public
domain) of the key, sign bit cleared, modulo the number of partitions.
"""

from __future__ import annotations

import struct

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def partition_for(key: bytes, partitions: int) -> int:
    """Return the index of the partition of ``key``, from 0 to ``partitions`` - 1.

    Examples
    --------
    >>> partition_for(b"trip-1", 4)
    3
    """
    if partitions == 1:
        return 0
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of ``data``, unsigned, with Kafka's seed."""
    words = len(data) >> 2
    state = _SEED ^ len(data)
    for word in struct.unpack_from(f"<{words}I", data):
        mixed = word * _MULTIPLIER & _MASK
        mixed = (mixed ^ mixed >> 24) * _MULTIPLIER & _MASK
        state = state * _MULTIPLIER & _MASK ^ mixed
    tail = data[words << 2 :]
    if tail:
        state = (state ^ int.from_bytes(tail, "little")) * _MULTIPLIER & _MASK
    state = (state ^ state >> 13) * _MULTIPLIER & _MASK
    return state ^ state >> 15
