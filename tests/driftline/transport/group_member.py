"""A process that reads a topic as a member of a group and says, one JSON object a line, what it holds and reads.

Arguments: the log's address (with ``group``), the topic. It leaves in order on SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

from driftline.transport import open_transport


def main(url: str, topic: str) -> None:
    """Read each partition that the group gives from its beginning, until told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    transport = open_transport(url)
    with transport.consumer() as consumer:
        consumer.subscribe([topic])
        while not stop.is_set():
            batches = consumer.poll(0.2)
            for partition in consumer.changes().gained:
                consumer.seek(partition, 0)
            held = sorted(partition.index for partition in consumer.assignment())
            read = [value.decode() for batch in batches for value in batch.values if value is not None]
            print(json.dumps({"held": held, "read": read}), flush=True)
    transport.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
