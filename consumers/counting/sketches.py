"""The profiles of one segment: one per profile window and model version, made when first needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from consumers.counting.counters import BoolArray, Key
from consumers.decoding.decoder import Decoded, IntArray
from consumers.decoding.values import Kind
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
        names = [versions[row] for row in chosen.tolist()] if versions is not None else []
        for key, members in _grouped(starts_ms[chosen], names):
            self._add_window(key, events, chosen[members])

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


def _grouped(starts_ms: IntArray, names: list[str]) -> Iterator[tuple[Key, IntArray]]:
    """Yield each window and version with its members' indices, in order; no ``names`` means no versions."""
    if not len(starts_ms):
        return
    windows, codes = np.unique(starts_ms, return_inverse=True)
    labels = {"": 0}
    if names:
        labels = {name: number for number, name in enumerate(dict.fromkeys(names))}
        codes = codes * len(labels) + np.fromiter(map(labels.__getitem__, names), dtype=np.int64, count=len(names))
    order = np.argsort(codes, kind="stable")
    firsts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    versions = list(labels)
    for members in np.split(order, firsts[1:]):
        window, version = divmod(int(codes[members[0]]), len(labels))
        yield (int(windows[window]), versions[version]), members
