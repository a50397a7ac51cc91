"""The book against an obvious, slow matcher, and its rules about displayed liquidity."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.exchange.markets import ONE
from runner.exchange.matching import Book, Fill, Want
from tests.exchange.kit import cents, shares

QUANTUM = 100  # of a 0.01 tick: four decimals of a share


@dataclass
class Slow:
    """All resting orders in one list by arrival; the best is looked for anew for each fill."""

    resting: list[list[int]] = field(default_factory=list)  # [number, bid, price, leaves]

    def enter(self, number: int, want: Want, rests: bool) -> list[tuple[int, int, int]]:
        fills = []
        size, money = want.size, want.dollars
        while True:
            others = [r for r in self.resting if r[1] != want.bid]
            others = [r for r in others if (r[2] <= want.limit if want.bid else r[2] >= want.limit)]
            if not others:
                break
            best = min(others, key=lambda r: r[2] if want.bid else -r[2])
            own = ONE - best[2] if want.mirrored else best[2]
            most = best[3]
            if size is not None:
                most = min(most, size)
            if money is not None:
                most = min(most, money * ONE // own)
            most = most // QUANTUM * QUANTUM
            if most == 0:
                break
            fills.append((best[0], best[2], most))
            best[3] -= most
            size = None if size is None else size - most
            money = None if money is None else money - own * most // ONE
            self.resting = [r for r in self.resting if r[3] > 0]
        if rests and size:
            self.resting.append([number, want.bid, want.limit, size])
        return fills


prices = st.integers(1, 99).map(cents)
sizes = st.integers(1, 5000).map(lambda lots: lots * 10_000)
limits = st.tuples(st.just("limit"), st.booleans(), prices, sizes, st.booleans())
buys = st.tuples(
    st.just("dollars"), st.booleans(), prices, st.integers(1, 300).map(cents), st.booleans()
)
cancels = st.tuples(st.just("cancel"), st.booleans(), prices, st.integers(0, 40), st.booleans())


@settings(deadline=None)
@given(st.lists(st.one_of(limits, buys, cancels), max_size=40))
def test_the_book_matches_as_the_slow_one_does(
    steps: list[tuple[str, bool, int, int, bool]],
) -> None:
    book, slow = Book(10_000), Slow()
    for number, (kind, bid, price, amount, any_outcome) in enumerate(steps):
        mirrored = any_outcome if kind == "limit" else not bid  # only buys are bounded by dollars
        if kind == "cancel":
            book.remove(str(amount))
            slow.resting = [r for r in slow.resting if r[0] != amount]
            continue
        size, money = (amount, None) if kind == "limit" else (None, amount)
        want = Want(bid, price, size, money, mirrored)
        fills = book.plan(want)
        for fill in fills:
            book.take(bid, fill)
        left = amount - sum(fill.size for fill in fills)
        if kind == "limit" and left:
            book.add(str(number), bid, price, left)
        expected = slow.enter(number, want, rests=kind == "limit")
        assert [(int(f.order_id or -1), f.price, f.size) for f in fills] == expected
        for side in (True, False):
            total: dict[int, int] = {}
            for _, resting_bid, at, leaves in slow.resting:
                if resting_bid == side:
                    total[at] = total.get(at, 0) + leaves
            assert book.levels(side) == sorted(total.items(), reverse=not side)


@settings(deadline=None)
@given(st.integers(1, 99), st.integers(1, 10**8), st.sampled_from([100_000, 10_000, 1_000, 100]))
def test_every_fill_is_a_whole_amount_of_money(ticks: int, size: int, tick: int) -> None:
    book = Book(tick)
    price = ticks * tick % ONE or tick
    book.set_displayed(False, price, size)
    for want in (Want(True, price, size=size), Want(True, price, dollars=size)):
        for fill in book.plan(want):
            assert fill.size % book.quantum == 0
            assert price * fill.size % ONE == 0


def test_a_dollar_bounded_buy_brings_more_shares_at_a_better_price() -> None:
    book = Book(10_000)
    book.add("cheap", False, cents(50), shares("10"))
    book.add("dear", False, cents(60), shares("100"))
    fills = book.plan(Want(True, cents(60), dollars=11 * ONE))
    assert fills == [
        Fill("cheap", cents(50), shares("10")),
        Fill("dear", cents(60), shares("10")),
    ]
    assert book.satisfies(Want(True, cents(60), dollars=11 * ONE), fills)


def test_the_second_outcome_is_bought_from_the_firsts_bids() -> None:
    book = Book(10_000)
    book.add("yes", True, cents(40), shares("10"))
    want = Want(bid=False, limit=cents(40), dollars=6 * ONE, mirrored=True)
    assert book.plan(want) == [Fill("yes", cents(40), shares("10"))]


class TestDisplayed:
    """Anonymous liquidity of a recorded book, and the orders among it."""

    def book(self) -> Book:
        book = Book(10_000)
        book.set_displayed(True, cents(50), shares("30"))
        book.add("ours", True, cents(50), shares("10"))
        book.set_displayed(True, cents(50), shares("50"))
        return book

    def sell(self, book: Book, size: str) -> list[Fill]:
        fills = book.plan(Want(False, cents(50), size=shares(size)))
        for fill in fills:
            book.take(False, fill)
        return fills

    def test_what_stood_ahead_is_served_first_then_the_order_then_the_rest(self) -> None:
        assert self.sell(self.book(), "45") == [
            Fill(None, cents(50), shares("30")),
            Fill("ours", cents(50), shares("10")),
            Fill(None, cents(50), shares("5")),
        ]

    def test_consumed_liquidity_stays_consumed_until_the_recording_changes(self) -> None:
        book = self.book()
        self.sell(book, "20")
        book.set_displayed(True, cents(50), shares("50"))
        assert book.level_size(True, cents(50)) == shares("40")
        book.set_displayed(True, cents(50), shares("60"))
        assert book.level_size(True, cents(50)) == shares("70")

    def test_flicker_fills_nothing_and_moves_the_order_up(self) -> None:
        book = self.book()
        for size in ("50", "0", "50", "8"):
            book.set_displayed(True, cents(50), shares(size))
        place = book.resting("ours")
        assert place is not None
        assert (place.leaves, place.ahead) == (shares("10"), 0)

    def test_a_print_at_the_price_fills_only_after_what_was_ahead(self) -> None:
        book = self.book()
        assert book.plan_print(False, cents(50), shares("30")) == ([], shares("30"))
        book.print_passed(False, cents(50), shares("30"))
        fills, passed = book.plan_print(False, cents(50), shares("4"))
        assert (fills, passed) == ([Fill("ours", cents(50), shares("4"))], 0)

    def test_a_print_beyond_the_price_fills_whatever_was_ahead(self) -> None:
        fills, passed = self.book().plan_print(False, cents(49), shares("4"))
        assert (fills, passed) == ([Fill("ours", cents(50), shares("4"))], 0)

    def test_a_print_never_fills_more_than_it_traded(self) -> None:
        book = Book(10_000)
        book.add("high", True, cents(51), shares("6"))
        book.add("low", True, cents(50), shares("6"))
        fills, _ = book.plan_print(False, cents(50), shares("7.5"))
        assert fills == [
            Fill("high", cents(51), shares("6")),
            Fill("low", cents(50), shares("1.5")),
        ]

    def test_a_restored_order_stands_behind_what_is_displayed_first(self) -> None:
        book = Book(10_000)
        book.add("old", True, cents(50), shares("10"), restored=True)
        book.set_displayed(True, cents(50), shares("20"))
        assert self.sell(book, "25") == [
            Fill(None, cents(50), shares("20")),
            Fill("old", cents(50), shares("5")),
        ]


def test_a_finer_tick_never_leaves_dust_in_the_book() -> None:
    book = Book(10_000)
    book.add("ours", False, cents(57), shares("5.0005"))
    book.new_tick(1_000)
    fills = book.plan(Want(True, cents(57), size=shares("10")))
    assert fills == [Fill("ours", cents(57), shares("5"))]
    book.take(True, fills[0])
    assert book.resting("ours") is None


@pytest.mark.parametrize("bid", [True, False])
def test_crossing_is_meeting_the_best_of_the_other_side(bid: bool) -> None:
    book = Book(10_000)
    book.set_displayed(not bid, cents(50), shares("1"))
    assert book.crosses(bid, cents(50))
    assert not book.crosses(bid, cents(49) if bid else cents(51))
