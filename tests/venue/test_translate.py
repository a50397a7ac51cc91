"""The exchange's JSON in our words: exact numbers, our legs, the market's rules."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.model import Liquidity, ReportStatus, Side, TradeState
from runner.venue.translate import (
    Unreadable,
    exact,
    market_info,
    moment,
    order_report,
    parse,
    trade_reports,
    unix_ms,
)

AT = datetime(2026, 11, 24, tzinfo=UTC)
SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "samples"
OURS = "0x00000000000000000000000000000000000A0000"


def no_odd(word: str) -> None:
    raise AssertionError(f"unexpected: {word}")


# ---- numbers


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_numbers_are_exact_from_text_and_from_json(number: Decimal) -> None:
    assert exact(f"{number:f}") == number
    found = parse(f'{{"n": {number:f}}}')["n"]
    assert not isinstance(found, float)
    assert exact(found) == number


@pytest.mark.parametrize("value", [None, "", "x", "NaN", "Infinity", True, 0.5, [], {}])
def test_what_is_no_number_is_unreadable(value: object) -> None:
    with pytest.raises(Unreadable):
        exact(value)


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", '{"a": Infinity}', "<html>", "[" * 100_000, "\udcff"]
)
def test_what_is_no_json_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        parse(text)
    with pytest.raises(Unreadable):
        parse(text.encode("utf-8", "surrogatepass"))


@given(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1)))
def test_times_are_exact_both_ways(naive: datetime) -> None:
    at = naive.replace(tzinfo=UTC)
    millis = unix_ms(at)
    back = moment(Decimal(millis) / 1000)
    assert timedelta(0) <= at - back < timedelta(milliseconds=1)


def test_depth_has_a_limit_that_no_answer_reaches() -> None:
    assert parse("[" * 60 + "]" * 60)
    assert parse('{"question": "who [will] win {the} ]["}')
    for deep in ("[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200, "[{" * 50_000):
        with pytest.raises(Unreadable, match="deep"):
            parse(deep)


# ---- orders


def order(**fields: object) -> dict[str, object]:
    return {
        "id": "0xAB",
        "status": "LIVE",
        "original_size": "100",
        "size_matched": "25",
        "order_type": "GTC",
        "associate_trades": ["t1"],
        **fields,
    }


STATUSES = [
    ("LIVE", "25", ReportStatus.LIVE),
    ("ORDER_STATUS_LIVE", "25", ReportStatus.LIVE),
    ("DELAYED", "0", ReportStatus.LIVE),
    ("live", "0", ReportStatus.LIVE),
    ("MATCHED", "100", ReportStatus.FILLED),
    ("ORDER_STATUS_MATCHED", "100", ReportStatus.FILLED),
    ("MATCHED", "25", ReportStatus.CANCELLED),
    ("CANCELED", "25", ReportStatus.CANCELLED),
    ("CANCELLED", "25", ReportStatus.CANCELLED),
    ("CANCELED_MARKET_RESOLVED", "25", ReportStatus.CANCELLED),
    ("CANCELED_order couldn't be fully filled.", "", ReportStatus.CANCELLED),
    ("INVALID", "0", ReportStatus.CANCELLED),
    ("EXPIRED", "25", ReportStatus.EXPIRED),
]


@pytest.mark.parametrize(("word", "matched", "status"), STATUSES)
def test_every_status_word(word: str, matched: str, status: ReportStatus) -> None:
    report = order_report(order(status=word, size_matched=matched), no_odd)
    assert report.order_id == "0xab"
    assert report.status is status
    assert report.matched == (Decimal(matched) if matched else None)
    assert report.trade_ids == ("t1",)


def test_a_word_we_do_not_know_is_told_and_proves_nothing() -> None:
    odd: list[str] = []
    report = order_report(order(status="PONDERING"), odd.append)
    assert report.status is ReportStatus.UNRECOGNISED
    assert odd == ["order status 'PONDERING'"]


@pytest.mark.parametrize(
    ("kind", "order_type", "status", "meant"),
    [
        ("PLACEMENT", "GTC", "", ReportStatus.LIVE),
        ("UPDATE", "GTC", "", ReportStatus.LIVE),
        ("CANCELLATION", "GTC", "", ReportStatus.CANCELLED),
        ("UPDATE", "GTC", "MATCHED", ReportStatus.LIVE),
        ("UPDATE", "GTD", "MATCHED", ReportStatus.LIVE),
        ("UPDATE", "FAK", "MATCHED", ReportStatus.CANCELLED),
        ("UPDATE", "GTC", "CANCELED", ReportStatus.CANCELLED),
    ],
)
def test_events_of_an_order_that_is_partly_filled(
    kind: str, order_type: str, status: str, meant: ReportStatus
) -> None:
    event = order(event_type="order", type=kind, order_type=order_type, status=status)
    assert order_report(event, no_odd).status is meant


@pytest.mark.parametrize(
    "fields",
    [{"id": None}, {"id": ""}, {"size_matched": "x"}, {"associate_trades": "t1"}],
    ids=repr,
)
def test_an_order_that_makes_no_sense_is_unreadable(fields: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        order_report(order(**fields), no_odd)


# ---- trades


def maker(order_id: str, address: str, **fields: object) -> dict[str, object]:
    return {
        "order_id": order_id,
        "maker_address": address,
        "matched_amount": "25",
        "price": "0.48",
        "asset_id": "no",
        "side": "BUY",
        **fields,
    }


def trade(*makers: dict[str, object], **fields: object) -> dict[str, object]:
    return {
        "id": "t1",
        "taker_order_id": "0xTAKER",
        "asset_id": "yes",
        "side": "BUY",
        "size": "25",
        "price": "0.52",
        "status": "TRADE_STATUS_MATCHED",
        "match_time": "1790000001",
        "maker_address": "0xthem",
        "trader_side": "MAKER",
        "maker_orders": list(makers),
        **fields,
    }


def test_every_maker_leg_of_ours_with_its_own_token_side_and_price() -> None:
    legs = trade_reports(
        trade(
            maker("0xA", OURS),
            maker("0xB", "0xother"),
            maker("0xC", OURS.lower(), asset_id="yes", side="SELL", price="0.52"),
        ),
        OURS,
        no_odd,
    )
    assert [(leg.order_id, leg.token_id, leg.side, leg.price) for leg in legs] == [
        ("0xa", "no", Side.BUY, Decimal("0.48")),
        ("0xc", "yes", Side.SELL, Decimal("0.52")),
    ]
    assert {leg.liquidity for leg in legs} == {Liquidity.MAKER}
    assert {leg.trade_id for leg in legs} == {"t1"}
    assert {leg.fee for leg in legs} == {None}


def test_the_taker_leg_is_the_top_level() -> None:
    (leg,) = trade_reports(
        trade(maker("0xA", "0xother"), maker_address=OURS, trader_side="TAKER"), OURS, no_odd
    )
    assert (leg.order_id, leg.token_id, leg.side) == ("0xtaker", "yes", Side.BUY)
    assert (leg.size, leg.price, leg.liquidity) == (Decimal(25), Decimal("0.52"), Liquidity.TAKER)
    unnamed = trade(maker("0xA", "0xother"), trader_side="TAKER")
    del unnamed["maker_address"]
    assert trade_reports(unnamed, OURS, no_odd) == (leg,)


def test_both_legs_when_we_traded_with_ourselves() -> None:
    legs = trade_reports(trade(maker("0xA", OURS), maker_address=OURS), OURS, no_odd)
    assert {leg.order_id for leg in legs} == {"0xtaker", "0xa"}


@pytest.mark.parametrize(
    ("asset", "taker", "inferred"),
    [
        ("yes", "BUY", Side.SELL),
        ("yes", "SELL", Side.BUY),
        ("no", "BUY", Side.BUY),
        ("no", "SELL", Side.SELL),
    ],
)
def test_a_maker_side_that_is_not_said_follows_from_the_match(
    asset: str, taker: str, inferred: Side
) -> None:
    entry = maker("0xA", OURS, asset_id=asset)
    del entry["side"]
    (leg,) = trade_reports(trade(entry, side=taker), OURS, no_odd)
    assert leg.side is inferred


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("MATCHED", TradeState.MATCHED),
        ("MATCHED_NOT_BROADCASTED", TradeState.MATCHED),
        ("TRADE_STATUS_MINED", TradeState.MINED),
        ("RETRYING", TradeState.RETRYING),
        ("CONFIRMED", TradeState.CONFIRMED),
        ("TRADE_STATUS_FAILED", TradeState.FAILED),
    ],
)
def test_every_step_of_a_trade(word: str, state: TradeState) -> None:
    (leg,) = trade_reports(trade(maker("0xA", OURS), status=word), OURS, no_odd)
    assert leg.state is state


def test_a_step_we_do_not_know_is_told_and_stays_provisional() -> None:
    odd: list[str] = []
    (leg,) = trade_reports(trade(maker("0xA", OURS), status="FINALISING"), OURS, odd.append)
    assert leg.state is TradeState.MATCHED
    assert odd == ["trade status 'FINALISING'"]


def test_times_of_trades() -> None:
    base = datetime(2026, 9, 21, 14, 13, 21, tzinfo=UTC)
    cases: list[tuple[dict[str, object], datetime]] = [
        ({}, base),
        ({"match_time": None, "matchtime": "1790000001"}, base),
        ({"match_time_nano": "1790000001250000999"}, base + timedelta(milliseconds=250)),
    ]
    for fields, at in cases:
        (leg,) = trade_reports(trade(maker("0xA", OURS), **fields), OURS, no_odd)
        assert leg.matched_at == at


@pytest.mark.parametrize(
    "broken",
    [
        trade(maker("0xA", OURS, price="")),
        trade(maker("0xA", OURS, matched_amount=None)),
        trade(maker("0xA", OURS, asset_id=None)),
        trade(maker("", OURS)),
        trade(maker("0xA", OURS), id=None),
        trade(maker("0xA", OURS), match_time=None),
        trade(maker("0xA", OURS), match_time="9" * 30),
        trade(maker("0xA", OURS), maker_orders="all"),
    ],
)
def test_a_trade_that_makes_no_sense_is_unreadable(broken: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        trade_reports(broken, OURS, no_odd)


# ---- markets

SHORT: dict[str, Any] = {
    "c": "0xc",
    "t": [{"t": "yes", "o": "Yes"}, {"t": "no", "o": "No"}],
    "mts": Decimal("0.01"),
    "mos": 5,
    "fd": {"r": Decimal("0.07"), "e": 1, "to": True},
}
LONG: dict[str, Any] = {
    "condition_id": "0xc",
    "market_slug": "rain",
    "question": "Rain?",
    "accepting_orders": True,
    "active": True,
    "closed": False,
    "neg_risk": False,
}


def test_rules_of_a_market() -> None:
    info = market_info(SHORT, LONG, "no", AT)
    assert (info.token_id, info.complement, info.outcome) == ("no", "yes", "No")
    assert (info.tick, info.min_size) == (Decimal("0.01"), Decimal(5))
    assert (info.fee_rate, info.fee_exponent) == (Decimal("0.07"), 1)
    assert (info.neg_risk, info.accepting, info.at) == (False, True, AT)


def test_no_schedule_is_no_fee_and_neg_risk_is_left_out_when_false() -> None:
    short = {name: value for name, value in SHORT.items() if name != "fd"}
    assert market_info(short, LONG, "yes", AT).fee_rate == 0
    both = market_info(SHORT | {"nr": True}, LONG | {"neg_risk": True}, "yes", AT)
    assert both.neg_risk


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({}, {"accepting_orders": False}),
        ({}, {"accepting_orders": None}),
        ({}, {"active": False}),
        ({}, {"closed": True}),
        ({"ao": False}, {}),
    ],
)
def test_a_market_that_does_not_trade_is_not_accepting(
    short: dict[str, Any], long: dict[str, Any]
) -> None:
    assert not market_info(SHORT | short, LONG | long, "yes", AT).accepting


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"nr": True}, {}),
        ({}, {"neg_risk": True}),
        ({"t": [{"t": "yes", "o": "Yes"}]}, {}),
        ({"t": [{"t": "a", "o": "Yes"}, {"t": "b", "o": "No"}]}, {}),
        ({"t": None}, {}),
        ({"mts": None}, {}),
        ({"fd": {"r": "0.07", "e": "1.5"}}, {}),
        ({}, {"condition_id": None}),
    ],
)
def test_rules_that_are_missing_or_disagree_are_unreadable(
    short: dict[str, Any], long: dict[str, Any]
) -> None:
    with pytest.raises(Unreadable):
        market_info(SHORT | short, LONG | long, "yes", AT)


# ---- recorded by others, where the samples lie beside the project


def sample(name: str) -> Any:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded samples are not beside the project")
    return parse(json.dumps(json.loads(path.read_text())["message"]))


@pytest.mark.parametrize(
    ("name", "status", "matched"),
    [
        ("user-order-placement", ReportStatus.LIVE, Decimal(0)),
        ("user-order-cancellation", ReportStatus.CANCELLED, Decimal(5)),
        ("user-order-fok-killed", ReportStatus.CANCELLED, None),
        ("user-order-venue-cancel", ReportStatus.CANCELLED, Decimal(0)),
    ],
)
def test_recorded_order_events(name: str, status: ReportStatus, matched: Decimal | None) -> None:
    report = order_report(sample(name), no_odd)
    assert (report.status, report.matched) == (status, matched)


@pytest.mark.parametrize(
    ("name", "state", "legs"),
    [
        ("user-trade-matched-taker", TradeState.MATCHED, [("buy", "0.52", "5", "taker")]),
        ("user-trade-mined-maker", TradeState.MINED, [("sell", "0.518", "5", "maker")]),
        ("user-trade-confirmed-maker", TradeState.CONFIRMED, [("buy", "0.513", "5", "maker")]),
        (
            "user-trade-confirmed-maker-3",
            TradeState.CONFIRMED,
            [("buy", "0.4", "5", "maker"), ("buy", "0.3", "5", "maker")],
        ),
    ],
)
def test_recorded_trade_events(
    name: str, state: TradeState, legs: list[tuple[str, str, str, str]]
) -> None:
    found = trade_reports(sample(name), OURS, no_odd)
    assert {leg.state for leg in found} == {state}
    assert [(leg.side, str(leg.price), str(leg.size), leg.liquidity) for leg in found] == legs
