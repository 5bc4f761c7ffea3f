"""Figures in a table for people; JSON keeps every digit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``row`` with four significant digits.

    >>> rounded({"slice": "zone=74", "excess": 2.799362613134171, "p_value": 3.92e-14, "n": 122})
    {'slice': 'zone=74', 'excess': '2.799', 'p_value': '3.92e-14', 'n': 122}
    """
    return {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
