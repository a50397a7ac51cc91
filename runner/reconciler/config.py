"""The reconciler's settings: every period and limit with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from runner.core.model import Limits

# reference 3.7: the engine drops a GTD order one minute before its stated expiration
GTD_MARGIN = timedelta(seconds=60)
# design 6: never-arrived is decided by expiry plus two minutes
PROOF_GRACE = timedelta(minutes=2)
# design 6: two complete reads prove an end only when they lie this far apart
READS_APART = timedelta(seconds=5)
# contract 3: five refusals in a row that waiting cannot cure fail the job
REFUSALS_MAX = 5


@dataclass(frozen=True, slots=True)
class Config:
    """What the loop is told about periods (seconds) and limits.

    More new orders in one pass than `actions_per_pass` would be a fault, not a plan.
    """

    limits: Limits = field(default_factory=Limits)
    rescan_s: float = 3.0
    settle_s: float = 0.2
    full_reconcile_s: float = 30.0
    removal_grace_s: float = 300.0
    order_life_s: float = 3600.0
    metrics_s: float = 2.0
    actions_per_pass: int = 100
