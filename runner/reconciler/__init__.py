"""The reconciler: compare what the plans want with what the exchange has, send the difference.

`loop` is the pass and its wake-ups. `intake` observes, `work` decides and records, `act` sends.
`plans` follows the folder, `commands` the operator; `desk` is the account as a pass sees it.
`sweep` is the emergency stop's own path, which needs no runner.
"""

from runner.reconciler.config import Config
from runner.reconciler.loop import Reconciler
from runner.reconciler.sweep import VenueSweep

__all__ = ["Config", "Reconciler", "VenueSweep"]
