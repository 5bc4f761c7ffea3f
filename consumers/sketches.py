"""The profiles of one segment: one per profile window and model version, made when first needed."""

from __future__ import annotations

import numpy as np

from consumers.counters import BoolArray, Key
from consumers.decoding import Decoded, IntArray
from consumers.values import Kind
from driftline.profiles import Kind as ProfileKind
from driftline.profiles import Profile


class WindowProfiles:
    """Profiles of the windows that one segment has touched."""

    def __init__(self, kinds: dict[str, Kind]) -> None:
        self._kinds: dict[str, ProfileKind] = {
            name: "number" if kind in ("number", "datetime", "boolean") else "text" for name, kind in kinds.items()
        }
        self.profiles: dict[Key, Profile] = {}
        self.rows: dict[Key, int] = {}
        self.dirty: set[Key] = set()

    def add(self, events: Decoded, starts_ms: IntArray, versions: list[str] | None, fresh: BoolArray) -> None:
        """Sketch the ``fresh`` events; ``starts_ms`` is the start of each event's profile window."""
        chosen = np.flatnonzero(fresh)
        keys = list(zip(starts_ms[chosen].tolist(), versions or [""] * len(events), strict=False))
        if versions is not None:
            keys = [(start, versions[row]) for (start, _), row in zip(keys, chosen.tolist(), strict=True)]
        for key, rows in _grouped(keys, chosen).items():
            self._add_window(key, events, rows)

    def _add_window(self, key: Key, events: Decoded, rows: IntArray) -> None:
        profile = self.profiles.get(key)
        if profile is None:
            profile = self.profiles[key] = Profile(self._kinds)
        for name, kind in self._kinds.items():
            values = events.columns[name][rows]
            if kind == "number":
                profile.add_numbers(name, values.astype(np.float64))
            else:
                profile.add_texts(name, values)
        self.rows[key] = self.rows.get(key, 0) + len(rows)
        self.dirty.add(key)


def _grouped(keys: list[Key], rows: IntArray) -> dict[Key, IntArray]:
    groups: dict[Key, list[int]] = {}
    for key, row in zip(keys, rows.tolist(), strict=True):
        groups.setdefault(key, []).append(row)
    return {key: np.array(members, dtype=np.int64) for key, members in groups.items()}
