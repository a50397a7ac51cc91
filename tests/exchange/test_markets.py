"""Decimal text and fees, exactly."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.exchange.markets import ONE, decimal_text, millionths
from tests.exchange.kit import RAIN, cents, shares

CRYPTO = replace(RAIN, fee_rate=70_000)


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15))
def test_text_and_millionths_are_the_same_number(number: int) -> None:
    text = decimal_text(number)
    assert Decimal(text) * ONE == number
    assert millionths(text) == number
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


@pytest.mark.parametrize("text", ["", "1e3", "1.2345678", "1.", "--1", " 1", "1_000", "²", "nan"])
def test_what_is_no_plain_decimal(text: str) -> None:
    with pytest.raises(ValueError, match="not a decimal"):
        millionths(text)


@pytest.mark.parametrize(
    ("size", "price", "fee"),
    [
        ("100", 50, "1.75"),  # the example of reference 7
        ("10", 52, "0.17472"),
        ("0.01", 50, "0.00018"),  # 0.000175: half goes up
        ("0.01", 1, "0.00001"),  # 0.00000693, and never less than the least
    ],
)
def test_taker_fees(size: str, price: int, fee: str) -> None:
    assert decimal_text(CRYPTO.taker_fee(shares(size), cents(price))) == fee


def test_no_rate_no_fee() -> None:
    assert replace(RAIN, fee_rate=0).taker_fee(shares("100"), cents(50)) == 0


def test_a_steeper_exponent() -> None:
    fee = replace(CRYPTO, fee_exponent=2).taker_fee(shares("100"), cents(50))
    assert decimal_text(fee) == "0.4375"


def test_no_such_tick() -> None:
    with pytest.raises(ValueError, match="no such tick"):
        replace(RAIN, tick=20_000)
