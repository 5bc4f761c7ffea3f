"""Single values out of files, as events of the contract's types carry them: what a reference and the gate agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FLAGS: Mapping[Any, bool] = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


def as_text(value: object) -> str:
    """Return a class, category or id as text: a column of whole numbers with a gap comes back from files as floats.

    Examples
    --------
    >>> [as_text(value) for value in (7.0, 7, "07", 7.5)]
    ['7', '7', '07', '7.5']
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def as_flag(value: Any) -> bool | None:
    """Return a boolean that is written as one, as 1 or 0, or as a word in any case; None for anything else.

    Examples
    --------
    >>> [as_flag(value) for value in (1.0, 0, "TRUE", "yes", 2)]
    [True, False, True, None, None]
    """
    return _FLAGS.get(value.lower() if isinstance(value, str) else value)
