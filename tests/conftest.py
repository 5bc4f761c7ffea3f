"""Fixtures that several folders of tests share."""

from __future__ import annotations

from tests.kafka_broker import kafka_broker, kafka_cluster, kafka_jars

__all__ = ["kafka_broker", "kafka_cluster", "kafka_jars"]
