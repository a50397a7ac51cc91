"""What is signed is what was asked for, at no worse a price, on every tick of the reference."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runner.core.model import Side, TimeInForce
from runner.core.money import lot, never_worse
from runner.venue.ports import NewOrder
from tests.venue.world import SIGNER

TICKS = [Decimal(t) for t in ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")]
AT = datetime(2026, 11, 24, 12, 0, 0, 987654, tzinfo=UTC)


@given(
    tick=st.sampled_from(TICKS),
    step=st.integers(1, 9999),
    lots=st.integers(1, 100_000),
    side=st.sampled_from(Side),
    kind=st.sampled_from(TimeInForce),
    salt=st.integers(0, 2**53 - 1),
)
def test_the_signed_integers_are_the_order(
    tick: Decimal, step: int, lots: int, side: Side, kind: TimeInForce, salt: int
) -> None:
    price = tick * step
    assume(tick <= price <= 1 - tick)
    size = lot(side, kind, price) * lots
    gtd = kind is TimeInForce.GTD
    order = NewOrder(
        token_id="123",
        side=side,
        price=price,
        size=size,
        time_in_force=kind,
        post_only=False,
        expires_at=AT + timedelta(hours=1) if gtd else None,
        tick=tick,
        neg_risk=False,
    )
    signed = SIGNER.sign(order, salt=salt, now=AT, owner="key")
    body = json.loads(signed.body, parse_float=pytest.fail)
    sent = body["order"]
    assert (sent["makerAmount"], sent["takerAmount"]) == (
        str(signed.maker_amount),
        str(signed.taker_amount),
    )
    dollars, shares = signed.maker_amount, signed.taker_amount
    if side is Side.SELL:
        dollars, shares = shares, dollars
    assert (Decimal(shares) / 10**6, Decimal(dollars) / 10**6) == (size, price * size)
    assert never_worse(side, signed.maker_amount, signed.taker_amount, price)
    assert (sent["side"], body["orderType"]) == (side.upper(), kind.upper())
    assert (sent["salt"], sent["timestamp"]) == (salt, "1795521600987")
    assert sent["expiration"] == ("1795525200" if gtd else "0")


def test_another_salt_or_millisecond_is_another_order() -> None:
    order = NewOrder(
        token_id="123",
        side=Side.BUY,
        price=Decimal("0.5"),
        size=Decimal(10),
        time_in_force=TimeInForce.GTC,
        post_only=False,
        expires_at=None,
        tick=Decimal("0.01"),
        neg_risk=False,
    )
    ids = {
        SIGNER.sign(order, salt=salt, now=at, owner="key").order_id
        for salt in (1, 2)
        for at in (AT, AT + timedelta(milliseconds=1))
    }
    assert len(ids) == 4
