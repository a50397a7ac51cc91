"""Counts and latencies of this run, for `status`. Kept in memory, written down every few seconds.

Latencies are seconds on the loop's clock. They are measurements, not money: floats are right.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field

_KEPT = 500


@dataclass(slots=True)
class Metrics:
    """What is counted, and the last few hundred of what is timed."""

    counts: dict[str, int] = field(default_factory=dict)
    timed: dict[str, deque[float]] = field(default_factory=dict)
    changed: bool = False

    def count(self, name: str, by: int = 1) -> None:
        """Add to a count."""
        if by:
            self.counts[name] = self.counts.get(name, 0) + by
            self.changed = True

    def time(self, name: str, seconds: float) -> None:
        """Note how long something took."""
        self.timed.setdefault(name, deque(maxlen=_KEPT)).append(seconds)
        self.changed = True

    def dump(self) -> str:
        """As JSON: counts, and p50, p99 and max in milliseconds of each latency."""
        latencies = {}
        for name, values in sorted(self.timed.items()):
            ordered = sorted(values)
            latencies[name] = {
                "n": len(ordered),
                "p50_ms": round(ordered[len(ordered) // 2] * 1000, 3),
                "p99_ms": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000, 3),
                "max_ms": round(ordered[-1] * 1000, 3),
            }
        return json.dumps({"counts": self.counts, "latencies": latencies}, sort_keys=True)
