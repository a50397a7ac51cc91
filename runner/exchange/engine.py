"""The exchange's rules over an injected clock: no sockets, no threads, no ambient time.

(The traders' side of the interface comes first; the rest is being built.)
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runner.exchange.markets import MarketConfig, Side, TimeInForce


class Traders(Protocol):
    """Other people: something that trades on its own as time goes by."""

    def next_due(self) -> datetime | None:
        """When `act` wants to be called next; None for never again."""

    def act(self, engine: "Engine") -> None:
        """Does everything that is due by `engine.now()`."""


class Engine:
    """Markets, books, accounts, orders and trades, and everything that may happen to them."""

    def __init__(
        self,
        state_path: Path | None,
        clock: Callable[[], datetime],
        seed: int,
        markets: Sequence[MarketConfig],
    ) -> None:
        raise NotImplementedError

    def now(self) -> datetime:
        """The injected clock, UTC."""
        raise NotImplementedError

    def add_traders(self, traders: Traders) -> None:
        """Lets `traders` act from now on, whenever `advance` finds them due."""
        raise NotImplementedError

    def house_order(
        self,
        condition_id: str,
        outcome: int,
        side: Side,
        price: int,
        size: int,
        time_in_force: TimeInForce = "GTC",
    ) -> str | None:
        """An order of an anonymous trader with unlimited funds.

        It matches by price and time like any other, is visible in the book, and its trades with
        accounts are ordinary trades. It isn't recorded: a restart of the process forgets it.

        Args:
            condition_id: The market.
            outcome: 0 or 1, the index of the token traded.
            side: BUY or SELL of that token.
            price: Millionths of a dollar, of that token; a multiple of the tick.
            size: Millionths of a share.
            time_in_force: GTC rests with what is left; FAK drops it; FOK is all or nothing.

        Returns:
            The id of the order if (part of) it rests, else None.

        Raises:
            KeyError: No such market.
            ValueError: A price off the tick or out of range, or a size of no whole lot (0.01).
        """
        raise NotImplementedError

    def house_cancel(self, order_id: str) -> bool:
        """Takes a house order off the book; False if it isn't there any more (filled)."""
        raise NotImplementedError

    def set_displayed(self, condition_id: str, side: Side, price: int, size: int) -> None:
        """Sets the anonymous size of one level of a recorded book. It never fills anything.

        In terms of the first outcome: BUY is a bid for the first token. Size 0 removes the level.
        Giving the size that was given last changes nothing, so that what takers consumed since
        stays consumed; call it for every level of every recorded frame. A smaller size reduces
        what is `ahead` of account orders to at most the displayed size.
        """
        raise NotImplementedError

    def displayed(self, condition_id: str) -> dict[tuple[Side, int], int]:
        """The sizes last given to `set_displayed`, by side and price (without the zeros)."""
        raise NotImplementedError

    def recorded_print(self, condition_id: str, side: Side, price: int, size: int) -> None:
        """A recorded trade: an anonymous taker of `side` traded `size` at `price`.

        In terms of the first outcome. Account orders at prices better for the taker fill first,
        then, once what is `ahead` of them has traded, those at its price; never more than `size`
        in all. Displayed sizes stay as they are (the recording's next frame tells them).
        Publishes the last trade price.
        """
        raise NotImplementedError
