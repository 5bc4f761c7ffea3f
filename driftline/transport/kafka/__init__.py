"""The log in Apache Kafka, through kafka-python 3.0.12: the only package that knows this client."""

from driftline.transport.kafka.cluster import KafkaTransport
from driftline.transport.kafka.consumer import KafkaLogConsumer
from driftline.transport.kafka.producer import KafkaLogProducer

__all__ = ["KafkaLogConsumer", "KafkaLogProducer", "KafkaTransport"]
