"""A worker that a certain label, or any other number, kills, in a module that is quick to import."""

from __future__ import annotations

import os
import struct
from multiprocessing.connection import Connection

from batch.results import Metric
from batch.workers.process import Answer, ReferenceRows

DEADLY_LABEL = 42.424242


def dies_of_a_label(connection: Connection) -> None:
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        if isinstance(task, ReferenceRows):
            continue
        if struct.pack("<d", DEADLY_LABEL) in task.frame:
            os._exit(137)
        connection.send(Answer((Metric("", "mae", 1.0, 10),)))
