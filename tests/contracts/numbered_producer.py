"""A process that appends numbered records and says on its standard output what was acknowledged.

``python -m tests.contracts.numbered_producer URL TOPIC NAME COUNT FLUSH_EVERY``: record ``i``
goes to partition 0 with the value ``NAME:i:`` and a filling that ends with ``!``.
"""

from __future__ import annotations

import sys

from driftline.transport import Partition, open_transport

_FILLING = b"x" * 1_000


def value_of(name: str, number: int) -> bytes:
    """Return the value of one record; a torn one would differ."""
    return f"{name}:{number}:".encode() + _FILLING + b"!"


def main(url: str, topic: str, name: str, count: str, flush_every: str) -> None:
    """Append records 0 to ``count`` - 1."""
    with open_transport(url).producer() as producer:
        for number in range(int(count)):
            producer.send(Partition(topic, 0), key=str(number).encode(), value=value_of(name, number))
            if (number + 1) % int(flush_every) == 0:
                producer.flush()
                print(producer.acknowledged[topic], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
