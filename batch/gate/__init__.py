"""Is this file fit for release: the contract's checks over rows that no log has seen.

``check_frame`` is for notebooks and scripts, ``driftline check`` for builds.
"""

from batch.gate.check import check_frame

__all__ = ["check_frame"]
