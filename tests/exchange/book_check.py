"""A book rebuilt from market-channel frames, which complains of whatever does not agree.

The same check is run on the embedded exchange's own channel and on frames recorded from the real
one, so that a mistake in the check itself would show.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Levels = dict[Decimal, Decimal]


@dataclass
class Rebuilt:
    """The books of every asset heard of, from its first `book` frame on.

    `compared` counts book frames that were compared with a rebuilt book, `tops` the best prices
    that were, `problems` says what did not agree.
    """

    sides: dict[tuple[str, str], Levels] = field(default_factory=dict)
    compared: int = 0
    tops: int = 0
    problems: list[str] = field(default_factory=list)

    def frame(self, frame: Mapping[str, Any]) -> None:
        if frame["event_type"] == "book":
            self.book(frame)
        elif frame["event_type"] == "price_change":
            known = [c for c in frame["price_changes"] if (c["asset_id"], "BUY") in self.sides]
            for change in known:
                levels = self.sides[change["asset_id"], change["side"]]
                levels[Decimal(change["price"])] = Decimal(change["size"])
                if not Decimal(change["size"]):
                    del levels[Decimal(change["price"])]
            for change in known:
                self.top(frame["timestamp"], change)

    def book(self, frame: Mapping[str, Any], *, first: bool = False) -> None:
        """A whole book: the same as the rebuilt one, unless there is none yet."""
        for side, name in (("BUY", "bids"), ("SELL", "asks")):
            shown = {Decimal(level["price"]): Decimal(level["size"]) for level in frame[name]}
            prices = [Decimal(level["price"]) for level in frame[name]]
            if prices != sorted(prices, reverse=side == "SELL"):
                self.problems.append(f"{frame['timestamp']}: {name} are not worst first")
            rebuilt = self.sides.get((frame["asset_id"], side))
            if rebuilt is not None and not first:
                self.compared += 1
                if rebuilt != shown:
                    odd = sorted(rebuilt.items() ^ shown.items())
                    self.problems.append(f"{frame['timestamp']}: {name} differ: {odd}")
            self.sides[frame["asset_id"], side] = shown

    def top(self, timestamp: str, change: Mapping[str, Any]) -> None:
        """The best prices that a change tells; 0 and 1 stand for an empty side."""
        asset = change["asset_id"]
        best = max(self.sides[asset, "BUY"], default=0), min(self.sides[asset, "SELL"], default=1)
        told = Decimal(change["best_bid"]), Decimal(change["best_ask"])
        self.tops += 1
        if best != told:
            self.problems.append(f"{timestamp}: best are {best}, told {told}")
