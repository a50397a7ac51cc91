"""Amounts, prices and sizes on every tick (reference 3.4), held against the official client's.

The client computes with floats and then floors, so it may sign a hundredth of a share less than
it was told; what it signed is always what the exchange makes of it.
"""

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from py_clob_client_v2.order_builder.builder import ROUNDING_CONFIG, OrderBuilder

from runner.exchange.markets import ONE, TICKS, MarketConfig, Side, TimeInForce, decimal_text
from runner.exchange.orders import Submission, Terms, check
from runner.exchange.records import Refused
from runner.exchange.signatures import SignedOrder
from tests.exchange.kit import RAIN, shares

BUILDER = OrderBuilder(None, 0)  # its amounts need no key
ID = "0x" + "0d" * 32
SIDES = st.sampled_from(get_args(Side))


@st.composite
def ticks_and_prices(draw: Any) -> tuple[int, int]:
    tick = draw(st.sampled_from(sorted(TICKS)))
    return tick, tick * draw(st.integers(1, ONE // tick - 1))


def market(tick: int) -> MarketConfig:
    return replace(RAIN, tick=tick)


def judged(
    tick: int, side: Side, maker: int, taker: int, time_in_force: TimeInForce = "GTC"
) -> Terms:
    order = SignedOrder(
        salt=1,
        maker="",
        signer="",
        token_id=1001,
        maker_amount=maker,
        taker_amount=taker,
        side=side,
        signature_type=0,
        timestamp=0,
        metadata=b"",
        builder=b"",
        signature=b"",
    )
    submission = Submission(order, "", time_in_force, post_only=False, expiration=0)
    return check(submission, ID, market(tick), 0)


def refusal(*args: Any) -> str:
    with pytest.raises(Refused) as caught:
        judged(*args)
    return caught.value.text


def test_the_client_knows_the_same_ticks_and_decimals() -> None:
    assert {decimal_text(tick): market(tick).amount_decimals for tick in TICKS} == {
        tick: rounding.amount for tick, rounding in ROUNDING_CONFIG.items()
    }


@settings(deadline=None)
@given(ticks_and_prices(), SIDES, st.integers(500, 10_000_000))
def test_limit_orders_of_the_client_are_what_it_meant(
    tick_price: tuple[int, int], side: Side, hundredths: int
) -> None:
    tick, price = tick_price
    rounding = ROUNDING_CONFIG[decimal_text(tick)]
    _, maker, taker = BUILDER.get_order_amounts(side, hundredths / 100, price / ONE, rounding)
    size = taker if side == "BUY" else maker
    assume(size >= RAIN.min_size)
    terms = judged(tick, side, maker, taker)
    assert terms == Terms(price, size, None)
    assert hundredths * 10_000 - size in {0, 10_000}


@settings(deadline=None)
@given(ticks_and_prices(), st.integers(100, 1_000_000))
def test_market_buys_are_bounded_by_their_dollars(
    tick_price: tuple[int, int], spent_cents: int
) -> None:
    """Floored to four decimals of a share as the reference advises, on every tick."""
    tick, price = tick_price
    places = min(4, market(tick).amount_decimals)
    exact = Decimal(spent_cents) / 100 / (Decimal(price) / ONE)
    size = int(exact.quantize(Decimal(1).scaleb(-places), ROUND_FLOOR) * ONE)
    assume(size > 0)
    for time_in_force in ("FAK", "FOK"):
        terms = judged(tick, "BUY", spent_cents * 10_000, size, time_in_force)
        assert (terms.dollars, terms.size) == (spent_cents * 10_000, size)
        # Fewer shares for the same dollars look like a higher price, by so much at most.
        assert 0 <= terms.price - price <= price * 10 ** (6 - places) // size


@settings(deadline=None)
@given(st.integers(1, 99), st.integers(100, 1_000_000))
def test_market_buys_of_the_client_on_a_cent_are_what_it_meant(
    price_cents: int, spent_cents: int
) -> None:
    rounding = ROUNDING_CONFIG["0.01"]
    price = price_cents / 100
    _, maker, taker = BUILDER.get_market_order_amounts("BUY", spent_cents / 100, price, rounding)
    terms = judged(10_000, "BUY", maker, taker, "FAK")
    assert terms.dollars == maker
    assert terms.price // 10_000 in {price_cents, price_cents - 1}  # it floors floats: 0.29 is 0.28
    if round(price * 100) == int(price * 100):
        assert terms.price == price_cents * 10_000


@settings(deadline=None)
@given(ticks_and_prices(), st.integers(1, 10_000_000))
def test_market_sells_are_exact(tick_price: tuple[int, int], hundredths: int) -> None:
    tick, price = tick_price
    maker = hundredths * 10_000
    assert judged(tick, "SELL", maker, maker * price // ONE, "FAK") == Terms(price, maker, None)


@st.composite
def prices_between(draw: Any) -> tuple[int, int]:
    tick = draw(st.sampled_from(sorted(TICKS - {100})))
    price = tick * draw(st.integers(0, ONE // tick - 1))
    return tick, price + 100 * draw(st.integers(1, tick // 100 - 1))


@settings(deadline=None)
@given(prices_between(), SIDES)
def test_a_price_between_two_ticks_is_refused(tick_price: tuple[int, int], side: Side) -> None:
    tick, wrong = tick_price
    size = shares("100")
    amounts = (wrong * 100, size) if side == "BUY" else (size, wrong * 100)
    step = 10 ** (6 - market(tick).amount_decimals)
    text = refusal(tick, side, *amounts)
    if amounts[side == "SELL"] % step:
        assert text.startswith("invalid amounts")
    else:
        shown = f"Price ({decimal_text(wrong)}) breaks minimum tick size rule: "
        assert text == f"order {ID} is invalid. {shown}{decimal_text(tick)}"


@pytest.mark.parametrize("tick", sorted(TICKS), ids=decimal_text)
@pytest.mark.parametrize("side", get_args(Side))
def test_dollars_have_as_many_decimals_as_the_tick_allows(tick: int, side: Side) -> None:
    places = market(tick).amount_decimals
    size, paid = shares("10"), tick * 10
    judged(tick, side, *((paid, size) if side == "BUY" else (size, paid)))
    if places == 6:
        return  # nothing finer can be said
    off = paid + 10 ** (5 - places)
    text = refusal(tick, side, *((off, size) if side == "BUY" else (size, off)))
    maker, taker = (places, 2) if side == "BUY" else (2, places)
    assert text == (
        f"invalid amounts, the {side.lower()} orders maker amount supports a max accuracy of "
        f"{maker} decimals, taker amount a max of {taker} decimals"
    )


@pytest.mark.parametrize("tick", sorted(TICKS), ids=decimal_text)
def test_prices_reach_from_a_tick_to_one_less_a_tick(tick: int) -> None:
    size = shares("100")
    for price in (tick, ONE - tick):
        assert judged(tick, "SELL", size, price * 100).price == price
    for price in (0, ONE, ONE + tick):
        text = refusal(tick, "SELL", size, price * 100)
        assert "breaks minimum tick size rule" in text or text.startswith("invalid amounts")
