from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import quoting
from runner.core.errors import PlanError
from runner.core.model import (
    Book,
    Job,
    JobKey,
    JobState,
    Level,
    Market,
    MarketInfo,
    Memory,
    OrderState,
    Quote,
    Segment,
    Side,
    TimeInForce,
    WorkingOrder,
)
from runner.core.money import in_range, mirror, on_tick
from runner.core.plan import BeyondLimit, JobSpec, MarketRef, QuoteSpec, Style

D = Decimal
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = JobKey("p", "j")
FRESH = Memory()
INFO = MarketInfo(
    token_id="1",
    complement="2",
    condition_id="0x0",
    slug="s",
    question="q",
    outcome="Yes",
    tick=D("0.01"),
    min_size=D(5),
    neg_risk=False,
    accepting=True,
    fee_rate=D(0),
    fee_exponent=1,
    at=T0,
)


def seconds(s: float) -> datetime:
    return T0 + timedelta(milliseconds=round(s * 1000))


def levels(text: str) -> tuple[Level, ...]:
    """`0.34x100 0.33x50`"""
    return tuple(Level(D(p), D(s)) for p, s in (part.split("x") for part in text.split()))


def order(
    price: str,
    size: str = "10",
    *,
    side: Side = Side.BUY,
    state: OrderState = OrderState.LIVE,
    key: JobKey = KEY,
    leaving: bool = False,
) -> WorkingOrder:
    return WorkingOrder(
        order_id=f"0x{price}{size}",
        key=key,
        token_id="1",
        side=side,
        price=D(price),
        size=D(size),
        matched=D(0),
        state=state,
        cancel_requested=leaving,
        created_at=T0,
        expires_at=None,
        time_in_force=TimeInForce.GTD,
    )


def job_of(
    limit: str = "0.40", side: Side = Side.BUY, working: tuple[WorkingOrder, ...] = (), **q: object
) -> Job:
    spec = JobSpec(
        market=MarketRef(token_id="1"),
        side=side,
        total_shares=D(100),
        limit_price=D(limit),
        quote=QuoteSpec.model_validate({"style": Style.TOP_BIDDER, **q}),
    )
    return Job(
        key=KEY,
        spec=spec,
        state=JobState.WORKING,
        token_id="1",
        total=D(100),
        filled=D(0),
        segment=Segment(1, T0, D(0)),
        slices=(),
        ends_at=None,
        seed="s",
        max_order_size=D(100),
        working=working,
    )


def see(
    job: Job,
    bids: str,
    asks: str,
    *,
    own: tuple[WorkingOrder, ...] = (),
    memory: Memory = FRESH,
    at: float = 0,
    tick: str = "0.01",
    due: str = "50",
) -> quoting.Quoted:
    book = Book(levels(bids), levels(asks), T0)
    market = Market(replace(INFO, tick=D(tick)), book, own or job.working)
    return quoting.quote(job, market, D(due), D(5), memory, seconds(at))


def price(seen: quoting.Quoted) -> str | None:
    return None if seen.quote is None else f"{seen.quote.price.normalize():f}"


# limit


def test_limit_rests_at_its_price_whatever_the_book_says() -> None:
    job = job_of("0.40", style=Style.LIMIT)
    market = Market(INFO, None)
    seen = quoting.quote(job, market, D(50), D(5), Memory(), T0)
    assert seen.quote == Quote(Side.BUY, D("0.40"), D(50), TimeInForce.GTC, post_only=False)
    assert seen.hold is False
    assert price(see(job, "0.39x10", "0.35x10")) == "0.4"


def test_shares_per_order_caps_what_is_shown_and_a_plan_may_say_how() -> None:
    job = job_of(
        "0.40",
        style=Style.LIMIT,
        shares_per_order=D(20),
        post_only=True,
        time_in_force=TimeInForce.GTD,
    )
    seen = see(job, "", "")
    assert seen.quote == Quote(Side.BUY, D("0.40"), D(20), TimeInForce.GTD, post_only=True)


@pytest.mark.parametrize(
    ("side", "limit", "tick", "at"),
    [
        (Side.BUY, "0.555", "0.01", "0.55"),
        (Side.SELL, "0.555", "0.01", "0.56"),
        (Side.BUY, "0.999", "0.01", "0.99"),
        (Side.SELL, "0.001", "0.01", "0.01"),
        (Side.BUY, "0.01", "0.01", "0.01"),
        (Side.SELL, "0.99", "0.01", "0.99"),
        (Side.BUY, "0.005", "0.01", None),
        (Side.SELL, "0.995", "0.01", None),
    ],
)
def test_a_coarser_tick_regrids_to_the_safe_side(
    side: Side, limit: str, tick: str, at: str | None
) -> None:
    for style in (Style.LIMIT, Style.TOP_BIDDER):
        job = job_of(limit, side, style=style)
        if style is Style.LIMIT:
            assert price(see(job, "", "", tick=tick)) == at
        elif at is None:
            assert see(job, "", "", tick=tick).reasons[0].startswith("NO_LEGAL_PRICE")


def test_what_cannot_rest_waits_for_something_to_take() -> None:
    job = job_of("0.40", style=Style.LIMIT, time_in_force=TimeInForce.FAK)
    assert see(job, "0.30x10", "0.41x10").reasons == ("NOTHING_TO_TAKE",)
    assert price(see(job, "0.30x10", "0.40x10")) == "0.4"
    sell = job_of("0.40", Side.SELL, style=Style.LIMIT, time_in_force=TimeInForce.FOK)
    assert price(see(sell, "0.39x10", "0.41x10")) is None
    assert price(see(sell, "0.40x10", "0.41x10")) == "0.4"


def test_take_is_not_pretended() -> None:
    with pytest.raises(PlanError, match="not available yet"):
        see(job_of(style=Style.TAKE), "0.30x10", "0.41x10")


# the price of a pegged quote


@pytest.mark.parametrize(
    ("bids", "asks", "at"),
    [
        ("0.34x100 0.33x50", "0.45x10", "0.35"),  # a tick better
        ("0.34x100", "0.35x10", "0.34"),  # a tick better would cross: join
        ("0.40x100", "0.45x10", "0.4"),  # at the limit: join
        ("0.42x100", "0.45x10", "0.4"),  # beyond it: rest at the limit
        ("0.39x100", "0.45x10", "0.4"),
        ("", "0.45x10", "0.01"),  # nobody: the first price is the top
        ("", "", "0.01"),
        ("0.34x100", "", "0.35"),
        ("", "0.01x10", None),  # any price would cross
    ],
)
def test_top_bidder(bids: str, asks: str, at: str | None) -> None:
    assert price(see(job_of(), bids, asks)) == at
    sell = job_of("0.60", Side.SELL)
    turned_bids = " ".join(f"{mirror(lv.price)}x{lv.size}" for lv in levels(asks))
    turned_asks = " ".join(f"{mirror(lv.price)}x{lv.size}" for lv in levels(bids))
    seen = price(see(sell, turned_bids, turned_asks))
    assert seen == (None if at is None else f"{mirror(D(at)).normalize():f}")


@pytest.mark.parametrize(
    ("bids", "asks", "at"),
    [
        ("0.34x100 0.33x50", "0.45x10", "0.34"),
        ("0.42x100", "0.45x10", "0.4"),
        ("", "0.45x10", None),
    ],
)
def test_join(bids: str, asks: str, at: str | None) -> None:
    assert price(see(job_of(style=Style.JOIN), bids, asks)) == at


def test_pegged_quotes_are_post_only_unless_the_plan_says_otherwise() -> None:
    seen = see(job_of(), "0.34x100", "0.45x10").quote
    assert seen is not None
    assert seen.post_only is True
    plain = see(job_of(post_only=False), "0.34x100", "0.45x10").quote
    assert plain is not None
    assert plain.post_only is False


def test_improve_ticks_and_small_rivals() -> None:
    assert price(see(job_of(improve_ticks=3), "0.34x100", "0.45x10")) == "0.37"
    small = job_of(min_competing_size=D(20))
    assert price(see(small, "0.36x19.99 0.34x20", "0.45x10")) == "0.35"
    assert price(see(small, "0.36x20 0.34x20", "0.45x10")) == "0.37"


@pytest.mark.parametrize(
    ("policy", "at", "stop"),
    [
        (BeyondLimit.REST, "0.4", None),
        (BeyondLimit.WITHDRAW, None, None),
        (BeyondLimit.STOP, None, "BEYOND_LIMIT"),
    ],
)
def test_beyond_the_limit(policy: BeyondLimit, at: str | None, stop: str | None) -> None:
    seen = see(job_of(beyond_limit=policy), "0.41x100", "0.45x10")
    assert (price(seen), seen.stop, seen.hold) == (at, stop, False)
    joined = see(job_of(beyond_limit=policy), "0.40x100", "0.45x10")
    assert (price(joined), joined.stop) == ("0.4", None)
    assert joined.reasons == ("QUOTE: best 0.4, ours 0.4",)


def test_a_limit_of_half_in_a_market_at_sixty_two_never_trades_at_sixty_two() -> None:
    seen = see(job_of("0.50"), "0.62x100", "0.63x100")
    assert price(seen) == "0.5"
    assert seen.reasons == ("REST_AT_LIMIT: best 0.62, limit 0.5",)


# our own orders


def test_it_never_outbids_itself() -> None:
    job = job_of(working=(order("0.35", "10"),))
    seen = see(job, "0.35x10 0.34x100", "0.45x10", at=100)
    assert price(seen) == "0.35"
    assert seen.reasons == ("IN_PLACE: 0.35",)


def test_other_plans_of_this_account_are_no_rivals() -> None:
    other = order("0.36", "25", key=JobKey("q", "j"))
    assert price(see(job_of(), "0.36x25 0.34x100", "0.45x10", own=(other,))) == "0.35"
    assert price(see(job_of(), "0.36x26 0.34x100", "0.45x10", own=(other,))) == "0.37"


def test_own_orders_of_the_other_side_count_as_what_would_cross() -> None:
    sell = order("0.35", side=Side.SELL, key=JobKey("q", "j"))
    assert price(see(job_of(), "0.34x100", "0.45x10", own=(sell,))) == "0.34"


@pytest.mark.parametrize("state", [OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.CLOSING])
def test_it_holds_while_an_unclear_order_of_ours_decides_the_reference(state: OrderState) -> None:
    unclear = order("0.36", "25", state=state)
    job = job_of()
    held = see(job, "0.36x30 0.34x100", "0.45x10", own=(unclear,))
    assert price(held) == "0.37"  # five of somebody else's at least: clear
    held = see(job, "0.36x25 0.34x100", "0.45x10", own=(unclear,))
    assert held.hold is True
    assert held.reasons == ("OWN_ORDER_UNCLEAR: at 0.36",)
    elsewhere = see(job, "0.38x30 0.36x25", "0.45x10", own=(unclear,))
    assert price(elsewhere) == "0.39"
    too_small = job_of(min_competing_size=D(26))
    assert price(see(too_small, "0.36x25 0.34x100", "0.45x10", own=(unclear,))) == "0.35"


def test_an_order_being_cancelled_is_unclear_too() -> None:
    going = order("0.36", "25", leaving=True)
    assert see(job_of(), "0.36x25 0.34x100", "0.45x10", own=(going,)).hold is True


def test_while_it_holds_what_stands_within_the_limit_may_stay() -> None:
    unknown = order("0.36", "25", state=OrderState.UNKNOWN)
    held = see(job_of(working=(unknown,)), "0.36x25 0.34x100", "0.45x10")
    assert (held.hold, price(held)) == (True, "0.36")
    held = see(job_of("0.35", working=(unknown,)), "0.36x25 0.34x100", "0.45x10")
    assert (held.hold, price(held)) == (True, None)
    at_limit = see(job_of("0.36", working=(unknown,)), "0.36x25 0.34x100", "0.45x10")
    assert (at_limit.hold, price(at_limit)) == (True, "0.36")
    two = (unknown, order("0.35", "9"))
    assert price(see(job_of(working=two), "0.36x25 0.34x100", "0.45x10")) == "0.36"


@pytest.mark.parametrize(
    ("book", "reason"),
    [
        (None, "BOOK_MISSING"),
        (Book(levels("0.36x1"), levels("0.36x1"), T0), "BOOK_CROSSED"),
        (Book(levels("0.37x1"), levels("0.36x1"), T0), "BOOK_CROSSED"),
    ],
)
def test_it_holds_without_a_sound_book(book: Book | None, reason: str) -> None:
    for style in (Style.JOIN, Style.TOP_BIDDER):
        seen = quoting.quote(job_of(style=style), Market(INFO, book), D(50), D(5), Memory(), T0)
        assert (seen.hold, seen.reasons, seen.quote) == (True, (reason,), None)


# moving


def test_outbid_it_moves_at_once_and_remembers_when() -> None:
    job = job_of(working=(order("0.35"),))
    seen = see(job, "0.36x50 0.35x10", "0.45x10", at=7)
    assert price(seen) == "0.37"
    assert seen.memory == Memory(alone_since=None, moved_at=seconds(7), price=D("0.37"))
    assert seen.reasons == ("QUOTE: best 0.36, ours 0.37",)


def test_two_moves_are_a_dwell_time_apart() -> None:
    job = job_of(working=(order("0.37"),))
    moved = Memory(moved_at=seconds(7), price=D("0.37"))
    early = see(job, "0.38x50 0.37x10", "0.45x10", memory=moved, at=7.499)
    assert (price(early), early.wake_at) == ("0.37", seconds(7.5))
    assert early.reasons == ("DWELLING: 0.37",)
    assert price(see(job, "0.38x50 0.37x10", "0.45x10", memory=moved, at=7.5)) == "0.39"


def test_between_cancel_and_replace_it_keeps_the_price_it_chose() -> None:
    """Its own ghost may still be in the book: it must not be outbid."""
    moved = Memory(moved_at=seconds(7), price=D("0.35"))
    going = job_of(working=())
    assert price(see(going, "0.36x10 0.34x100", "0.45x10", memory=moved, at=7.2)) == "0.35"
    assert price(see(going, "0.34x100", "0.45x10", memory=moved, at=7.6)) == "0.35"


def test_without_a_dwell_time_it_still_decides_once_a_moment() -> None:
    job = job_of(working=(order("0.37"),), dwell_seconds=D(0))
    alone = Memory(alone_since=seconds(0))
    down = see(job, "0.37x10 0.30x50", "0.45x10", memory=alone, at=9)
    assert price(down) == "0.31"
    assert price(see(job, "0.37x10 0.30x50", "0.45x10", memory=down.memory, at=9)) == "0.31"


def test_an_order_on_its_way_out_is_no_price_it_has() -> None:
    for going in (order("0.39", leaving=True), order("0.39", state=OrderState.CLOSING)):
        assert price(see(job_of(working=(going,)), "0.30x100", "0.45x10")) == "0.31"
        assert price(see(job_of(working=(going,)), "0.30x100", "0.45x10", due="3")) == "0.31"


def test_of_two_prices_it_has_the_better_one() -> None:
    job = job_of(working=(order("0.35"), order("0.37")))
    assert price(see(job, "0.37x10 0.35x10 0.30x50", "0.45x10")) == "0.37"


def test_alone_at_its_limit_it_takes_its_time_too() -> None:
    job = job_of("0.37", working=(order("0.37"),))
    assert price(see(job, "0.37x10 0.30x50", "0.45x10")) == "0.37"


def test_a_price_it_left_long_ago_binds_it_no_more() -> None:
    old = Memory(moved_at=seconds(0), price=D("0.39"))
    assert price(see(job_of(), "0.30x100", "0.45x10", memory=old, at=600)) == "0.31"


def test_alone_at_the_top_it_steps_down_only_after_a_while() -> None:
    job = job_of(working=(order("0.37"),))
    alone = see(job, "0.37x10 0.30x50", "0.45x10", at=10)
    assert (price(alone), alone.wake_at) == ("0.37", seconds(15))
    assert alone.memory.alone_since == seconds(10)
    later = see(job, "0.37x10 0.30x50", "0.45x10", memory=alone.memory, at=14.9)
    assert (price(later), later.wake_at) == ("0.37", seconds(15))
    down = see(job, "0.37x10 0.30x50", "0.45x10", memory=alone.memory, at=15)
    assert price(down) == "0.31"
    assert down.memory == Memory(alone_since=None, moved_at=seconds(15), price=D("0.31"))


def test_a_rival_coming_back_ends_the_time_alone() -> None:
    job = job_of(working=(order("0.37"),))
    alone = Memory(alone_since=seconds(10))
    back = see(job, "0.37x10 0.36x50", "0.45x10", memory=alone, at=14)
    assert (price(back), back.memory.alone_since) == ("0.37", None)
    above = see(job, "0.38x5 0.37x10", "0.45x10", memory=alone, at=14)
    assert (price(above), above.memory.alone_since) == ("0.39", None)


def test_without_any_rival_it_stays_where_it_stands() -> None:
    for style in (Style.JOIN, Style.TOP_BIDDER):
        job = job_of(style=style, working=(order("0.37"),))
        seen = see(job, "0.37x10", "0.45x10", memory=Memory(alone_since=seconds(0)), at=100)
        assert (price(seen), seen.memory.alone_since) == ("0.37", None)


def test_an_unsafe_price_is_left_at_once() -> None:
    dwelling = Memory(moved_at=seconds(10), price=D("0.37"))
    lowered = job_of("0.33", working=(order("0.37"),))
    assert price(see(lowered, "0.37x10 0.30x50", "0.45x10", memory=dwelling, at=10.1)) == "0.31"
    crossing = job_of(working=(order("0.37"),))
    assert price(see(crossing, "0.30x50", "0.36x10", memory=dwelling, at=10.1)) == "0.31"


def test_a_rest_too_small_for_a_new_order_is_not_cancelled_into_dust() -> None:
    job = job_of(working=(order("0.35", "3"),))
    outbid = see(job, "0.36x50 0.35x3", "0.45x10", due="4.99")
    assert (price(outbid), outbid.reasons) == ("0.35", ("TOO_SMALL_TO_MOVE: 0.35",))
    alone = Memory(alone_since=seconds(0))
    assert price(see(job, "0.35x3 0.30x50", "0.45x10", due="4.99", memory=alone, at=9)) == "0.35"
    assert price(see(job, "0.36x50 0.35x3", "0.45x10", due="5")) == "0.37"
    unsafe = see(job_of("0.34", working=(order("0.35", "3"),)), "0.30x9", "0.45x1", due="4.99")
    assert price(unsafe) == "0.31"


@pytest.mark.parametrize(
    ("shown_price", "asks", "post_only", "least"),
    [
        ("0.05", "0.05x100", False, "20"),
        ("0.03", "0.03x100", False, "33.34"),
        ("0.05", "0.06x100", False, "5"),
        ("0.05", "0.05x100", True, "5"),
        ("0.50", "0.50x100", False, "5"),
    ],
)
def test_a_buy_that_trades_at_once_is_worth_a_dollar(
    shown_price: str, asks: str, post_only: bool, least: str
) -> None:
    market = Market(INFO, Book((), levels(asks), T0))
    shown = Quote(Side.BUY, D(shown_price), D(50), TimeInForce.GTC, post_only=post_only)
    assert quoting.least_to_show(market, shown, D(5)) == D(least)


# properties

ticks = st.sampled_from(["0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001"])


@given(
    data=st.data(),
    tick=ticks,
    side=st.sampled_from(Side),
    style=st.sampled_from([Style.JOIN, Style.TOP_BIDDER]),
    at=st.integers(0, 20),
)
def test_never_past_the_limit_never_crossing_always_legal(
    data: st.DataObject, tick: str, side: Side, style: Style, at: int
) -> None:
    step = D(tick)
    top = int(1 / step)
    grid = st.integers(1, top - 1)
    split = data.draw(grid)
    sizes = st.integers(1, 5000).map(lambda n: D(n).scaleb(-2))
    below = data.draw(st.lists(st.integers(1, split), max_size=6, unique=True))
    above = data.draw(st.lists(st.integers(split, top - 1), max_size=6, unique=True))
    bids = tuple(Level(step * n, data.draw(sizes)) for n in sorted(below, reverse=True))
    asks = tuple(Level(step * n, data.draw(sizes)) for n in sorted(above))
    limit = data.draw(st.integers(1, 9_999)) * D("0.0001")
    standing = data.draw(st.none() | grid)
    working = () if standing is None else (order(str(step * standing), side=side),)
    memory = Memory(
        alone_since=data.draw(st.none() | st.just(T0)),
        moved_at=data.draw(st.none() | st.just(T0)),
        price=data.draw(st.none() | grid.map(lambda n: step * n)),
    )
    job = job_of(str(limit), side, working, style=style)
    market = Market(replace(INFO, tick=step), Book(bids, asks, T0), working)
    seen = quoting.quote(job, market, D(50), D(5), memory, seconds(at))
    again = quoting.quote(job, market, D(50), D(5), seen.memory, seconds(at))
    assert (again.quote, again.memory) == (seen.quote, seen.memory)
    if seen.quote is None:
        return
    wanted = seen.quote.price
    assert on_tick(wanted, step)
    assert in_range(wanted, step)
    if side is Side.BUY:
        assert wanted <= limit
        assert seen.hold or not asks or wanted < asks[0].price
    else:
        assert wanted >= limit
        assert seen.hold or not bids or wanted > bids[0].price
    if seen.wake_at is not None:
        assert seen.wake_at > seconds(at)
