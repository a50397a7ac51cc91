"""Everybody else: anonymous orders, recorded books and recorded trades.

What other people do meets the orders of accounts by the desk's rules, and is not kept: a restart
of the process forgets it.
"""

from runner.exchange.desk import Desk, wanted
from runner.exchange.markets import ONE, Side, TimeInForce

_LOT = 10_000


class Crowd(Desk):
    """The desk, open to traders without accounts; their funds are unlimited."""

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
        accounts are ordinary trades.

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
        listing = self.listings[condition_id]
        tick = listing.market.tick
        if price % tick or not tick <= price <= ONE - tick or size <= 0 or size % _LOT:
            raise ValueError(f"no such order: {size} at {price}, tick {tick}")
        if not listing.accepting:
            return None
        order = self._house(listing, outcome, side, price, size, time_in_force)
        want = wanted(order)
        fills = listing.book.plan(want)
        if time_in_force == "FOK" and not listing.book.satisfies(want, fills):
            return None
        self._house_orders[order.order_id] = order
        self._match(order, listing, fills)
        self._rest(order, listing)
        return order.order_id if order.closed_at is None else None

    def house_cancel(self, order_id: str) -> bool:
        """Takes a house order off the book; False if it isn't there any more (filled)."""
        order = self._house_orders.get(order_id)
        if order is None:
            return False
        self._close(order, "CANCELED")
        return True

    def set_displayed(self, condition_id: str, side: Side, price: int, size: int) -> None:
        """Sets the anonymous size of one level of a recorded book. It never fills anything.

        In terms of the first outcome: BUY is a bid for the first token. Size 0 removes the level.
        Giving the size that was given last changes nothing, so that what takers consumed since
        stays consumed; call it for every level of every recorded frame. A smaller size reduces
        what is `ahead` of account orders to at most the displayed size.
        """
        self.listings[condition_id].book.set_displayed(side == "BUY", price, size)

    def displayed(self, condition_id: str) -> dict[tuple[Side, int], int]:
        """The sizes last given to `set_displayed`, by side and price (without the zeros)."""
        recorded = self.listings[condition_id].book.recorded()
        return {("BUY" if bid else "SELL", price): size for (bid, price), size in recorded.items()}

    def recorded_print(
        self, condition_id: str, side: Side, price: int, size: int, *, inferred: bool = False
    ) -> None:
        """A recorded trade: an anonymous taker of `side` traded `size` at `price`.

        In terms of the first outcome. Account orders at prices better for the taker fill first,
        then, once what is `ahead` of them has traded, those at its price; never more than `size`
        in all. Displayed sizes stay as they are (the recording's next frame tells them).
        Publishes the last trade price; of an `inferred` trade only what it filled, as nobody has
        seen the rest.
        """
        listing = self.listings[condition_id]
        bid = side == "BUY"
        fills, passed = listing.book.plan_print(bid, price, size)
        taker = self._house(listing, 0, side, price, size, "FAK")
        self._match(taker, listing, fills, announce=inferred)
        listing.book.print_passed(bid, price, passed)
        if not inferred:
            self._publish_last(listing, 0, side, price, size)
