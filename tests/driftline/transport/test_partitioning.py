"""The partition of an id is the one that Kafka's Java client gives it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as murmur2_of_kafka_python

from driftline.transport.partitioning import murmur2, partition_for


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # from the test of org.apache.kafka.common.utils.Utils.murmur2, as signed integers
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_the_java_clients(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


@given(st.binary(max_size=64))
def test_the_hash_is_kafka_pythons(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_kafka_python(key)


@given(st.binary(max_size=64), st.integers(1, 50))
def test_a_key_belongs_to_one_partition_that_exists(key: bytes, partitions: int) -> None:
    assert partition_for(key, partitions) == (murmur2_of_kafka_python(key) & 0x7FFFFFFF) % partitions


def test_ids_spread_over_the_partitions() -> None:
    found = [partition_for(f"trip-{number}".encode(), 4) for number in range(4_000)]
    assert all(900 < found.count(index) < 1_100 for index in range(4))
