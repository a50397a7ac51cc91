"""The life of a trade after the match (reference 7).

MATCHED is the engine's word; a few seconds later the transaction is MINED, which moves cash and
tokens, and CONFIRMED. It may be RETRYING in between, or FAILED: then nothing moves, and what an
order matched is not listed again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from runner.exchange.records import Account, Trade, TradeStatus


@dataclass(frozen=True, slots=True)
class Delays:
    """Shortest and longest time from match to mined, and from mined to confirmed; milliseconds."""

    mined_ms: tuple[int, int]
    confirmed_ms: tuple[int, int]


CHAIN_DELAYS = Delays(mined_ms=(1_500, 4_000), confirmed_ms=(2_000, 6_000))
"""Those of a chain with blocks of some two seconds."""


def course(
    matched_at: int,
    delays: Delays,
    chance: Random,
    *,
    retries: bool = False,
    fails: bool = False,
) -> list[tuple[int, TradeStatus]]:
    """What will happen to a trade, and when (Unix milliseconds).

    Args:
        matched_at: Unix milliseconds.
        delays: How long each step takes; a retry or a failure as long as being mined.
        chance: Where the delays are drawn from.
        retries: Whether the first transaction doesn't go through.
        fails: Whether no transaction ever does.
    """
    steps: list[TradeStatus] = ["RETRYING"] if retries else []
    steps += ["FAILED"] if fails else ["MINED", "CONFIRMED"]
    at = matched_at
    result = []
    for status in steps:
        at += chance.randint(*(delays.confirmed_ms if status == "CONFIRMED" else delays.mined_ms))
        result.append((at, status))
    return result


def settle(trade: Trade, wallet: Callable[[str], Account]) -> list[Account]:
    """Moves cash and tokens of every leg; the wallets that changed.

    Buyers' dollars pay sellers; where buyers of both outcomes meet, their dollars are locked for
    a new pair of tokens, and where sellers meet, a pair is given back for its dollar.
    """
    changed = []
    for leg in trade.legs():
        account = wallet(leg.address)
        sign = 1 if leg.side == "BUY" else -1
        account.cash -= sign * leg.dollars + leg.fee
        account.tokens[leg.token_id] = account.tokens.get(leg.token_id, 0) + sign * leg.size
        changed.append(account)
    return changed
