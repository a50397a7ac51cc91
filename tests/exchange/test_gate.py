"""Modes of trading, rate limits and clocks: what isn't let in, and with which words."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.exchange.limits import TIERS, Bucket
from runner.exchange.requests import Response
from tests.exchange.kit import RAIN, START, Clock, Trader, cents, make, shares

YES, NO = RAIN.token_ids
NOW_S = int(START.timestamp())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ann(clock: Clock) -> Trader:
    return Trader(make(clock), 1, "100000", t1001="500")


def limit(trader: Trader, **body: Any) -> Any:
    return trader.control("POST", "/_exchange/limits", body)


def told(response: Response) -> dict[str, str]:
    """The limiter's headers, by the last word of their names."""
    return {
        name.removeprefix("Poly-RateLimit-"): value
        for name, value in response.headers.items()
        if name.startswith("Poly-RateLimit-")
    }


class TestModes:
    def test_cancel_only_takes_cancels(self, ann: Trader) -> None:
        resting = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        ann.control("POST", "/_exchange/mode", {"mode": "cancel_only"})
        text = (
            "Trading is currently cancel-only. New orders are not accepted, "
            "but cancels are allowed."
        )
        assert ann.refused(YES, "BUY", cents(40), shares("10"), post_only=True) == (503, text)
        assert ann.send("POST", "/orders", []).status == 503
        assert ann.ask("DELETE", "/order", {"orderID": resting})["canceled"] == [resting]
        ann.control("POST", "/_exchange/mode", {"mode": "normal"})
        ann.place(YES, "BUY", cents(40), shares("10"))

    def test_disabled_takes_nothing_and_shows_everything(self, ann: Trader) -> None:
        resting = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        ann.control("POST", "/_exchange/mode", {"mode": "disabled"})
        text = "Trading is currently disabled. Check polymarket.com for updates"
        assert ann.refused(YES, "BUY", cents(40), shares("10")) == (503, text)
        assert ann.send("DELETE", "/cancel-all").status == 503
        assert ann.open_ids() == [resting]

    @pytest.mark.parametrize("body", [{"mode": "open"}, {}, {"mode": None}, [], {"mod": 1}])
    def test_other_modes_are_refused(self, ann: Trader, body: Any) -> None:
        raw = json.dumps(body).encode()
        assert ann.exchange.handle("POST", "/_exchange/mode", {}, raw).status == 400


def test_a_region_is_refused_before_anybody_looks_who_asks(ann: Trader) -> None:
    fault = {"name": "refuse_request", "status": 403, "method": "POST", "path": "/order*"}
    ann.control("POST", "/_exchange/faults", fault)
    status, text = ann.refused(YES, "BUY", cents(40), shares("10"))
    assert (status, text.startswith("Trading restricted in your region, please refer to")) == (
        403,
        True,
    )
    assert ann.exchange.handle("POST", "/orders", {}, b"").status == 403
    assert ann.send("DELETE", "/cancel-all").status == 200


class TestSignerLimits:
    """Reference 8.2; Standard: 40 orders a second and a burst of 60, 80 cancels and 120."""

    def test_every_order_and_cancel_is_told_what_is_left(self, ann: Trader) -> None:
        response = ann.post(YES, "BUY", cents(40), shares("10"))
        assert told(response) == {"Remaining": "59", "Reset": str(NOW_S), "Tier": "Standard"}
        assert told(ann.post(YES, "BUY", cents(40), shares("1")))["Remaining"] == "58"  # refused
        assert told(ann.send("DELETE", "/order", {"orderID": "0x00"}))["Remaining"] == "119"
        assert told(ann.send("GET", "/data/orders")) == {}

    def test_a_warning_is_no_refusal(self, ann: Trader) -> None:
        for _ in range(60):
            response = ann.post(YES, "BUY", cents(1), shares("5"))
            assert (response.status, "Warning" in told(response)) == (200, False)
        response = ann.post(YES, "BUY", cents(1), shares("5"))
        assert response.status == 200
        expected = {"Remaining": "0", "Tier": "Standard", "Warning": "true"}
        assert told(response) == {**expected, "Reset": str(NOW_S + 1)}

    def test_enforced_it_is_429_until_there_are_tokens_again(
        self, ann: Trader, clock: Clock
    ) -> None:
        limit(ann, signers="enforce")
        for _ in range(60):
            ann.place(YES, "BUY", cents(1), shares("5"))
        response = ann.post(YES, "BUY", cents(1), shares("5"))
        assert (response.status, response.body) == (429, b'{"error":"Too Many Requests"}')
        assert response.headers["Retry-After"] == "1"
        assert "Warning" not in told(response)
        assert len(ann.control("GET", "/_exchange/ledger")["orders"]) == 60
        clock.forward(0.024)
        assert ann.post(YES, "BUY", cents(1), shares("5")).status == 429
        clock.forward(0.001)  # 40 a second is one every 25 ms
        ann.place(YES, "BUY", cents(1), shares("5"))
        assert ann.post(YES, "BUY", cents(1), shares("5")).status == 429

    def test_a_batch_is_let_in_whole_or_not_at_all(self, ann: Trader, clock: Clock) -> None:
        limit(ann, signers="enforce")
        for _ in range(50):
            ann.place(YES, "BUY", cents(1), shares("5"))
        legs = [ann.body(YES, "BUY", cents(1), shares("5")) for _ in range(15)]
        response = ann.send("POST", "/orders", legs)
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert told(response)["Remaining"] == "10"
        assert len(ann.control("GET", "/_exchange/ledger")["orders"]) == 50
        clock.forward(0.125)
        assert [leg["status"] for leg in ann.ask("POST", "/orders", legs)] == ["live"] * 15

    def test_more_than_the_burst_can_never_be_had(self, ann: Trader) -> None:
        limit(ann, signers="enforce")
        response = ann.send("DELETE", "/orders", [f"0x{n:064x}" for n in range(121)])
        assert (response.status, "Retry-After" in response.headers) == (429, False)
        assert ann.send("DELETE", "/orders", [f"0x{n:064x}" for n in range(120)]).status == 200

    def test_orders_and_cancels_and_signers_are_counted_apart(self, ann: Trader) -> None:
        limit(ann, signers="enforce")
        bob = Trader(ann.exchange, 2)
        for _ in range(60):
            ann.place(YES, "BUY", cents(1), shares("5"))
        assert ann.post(YES, "BUY", cents(1), shares("5")).status == 429
        bob.place(YES, "BUY", cents(1), shares("5"))
        assert len(ann.ask("DELETE", "/cancel-all")["canceled"]) == 60

    def test_a_cancel_of_everything_may_leave_a_debt(self, ann: Trader, clock: Clock) -> None:
        for _ in range(130):
            ann.place(YES, "BUY", cents(1), shares("5"))
        limit(ann, signers="enforce")
        response = ann.send("DELETE", "/cancel-all")
        assert len(json.loads(response.body)["canceled"]) == 130
        assert told(response)["Remaining"] == "-11"  # 120, less 1, less 130
        assert ann.send("DELETE", "/cancel-all").headers["Retry-After"] == "1"
        clock.forward(0.149)
        assert ann.send("DELETE", "/cancel-all").status == 429
        clock.forward(0.001)  # 12 tokens at 80 a second
        assert ann.send("DELETE", "/cancel-all").status == 200

    def test_without_debt_it_goes_down_to_none(self, ann: Trader, clock: Clock) -> None:
        limit(ann, signers="enforce", cancel_debt=False)
        limit(ann, signers="warn")
        for _ in range(130):
            ann.place(YES, "BUY", cents(1), shares("5"))
        market = {"market": RAIN.condition_id}
        response = ann.send("DELETE", "/cancel-market-orders", market)
        assert told(response)["Remaining"] == "0"

    def test_a_signer_may_have_a_tier_of_its_own(self, ann: Trader) -> None:
        limit(ann, tier="Elite", signer=ann.address.lower())
        bob = Trader(ann.exchange, 2)
        response = ann.post(YES, "BUY", cents(1), shares("5"))
        assert (told(response)["Tier"], told(response)["Remaining"]) == ("Elite", "899")
        assert told(bob.post(YES, "BUY", cents(1), shares("5")))["Tier"] == "Standard"

    def test_it_can_be_turned_off(self, ann: Trader) -> None:
        limit(ann, signers="off")
        assert told(ann.post(YES, "BUY", cents(1), shares("5"))) == {}
        assert told(ann.send("DELETE", "/cancel-all")) == {}

    @pytest.mark.parametrize(
        "body",
        [
            {"signers": "maybe"},
            {"tier": "Wood"},
            {"tier": []},
            {"signer": "ann", "tier": "Gold"},
            {"cancel_debt": 1},
            {"edge": "yes"},
            {"clock_skew_seconds": -1},
            {"clock_skew_seconds": True},
            {"limit": 1},
        ],
    )
    def test_nonsense_changes_nothing(self, ann: Trader, body: Any) -> None:
        before = limit(ann)
        raw = json.dumps(body).encode()
        assert ann.exchange.handle("POST", "/_exchange/limits", {}, raw).status == 400
        assert limit(ann) == before


class TestEdgeLimits:
    """Reference 8.1; off unless asked for."""

    def test_one_address_may_ask_so_often_in_ten_seconds(self, ann: Trader, clock: Clock) -> None:
        limit(ann, edge=True)
        for _ in range(50):
            assert ann.send("GET", "/balance-allowance/update?asset_type=COLLATERAL").status == 200
        bob = Trader(ann.exchange, 2)
        response = bob.send("GET", "/balance-allowance/update?asset_type=COLLATERAL")
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert bob.send("GET", "/balance-allowance?asset_type=COLLATERAL").status == 200
        clock.forward(0.2)
        query = "/balance-allowance/update?asset_type=COLLATERAL"
        assert [bob.send("GET", query).status for _ in range(2)] == [200, 429]

    def test_ten_minutes_have_a_limit_of_their_own(self, ann: Trader, clock: Clock) -> None:
        limit(ann, edge=True, signers="off")
        statuses = []
        for _ in range(40):
            statuses += [ann.send("DELETE", "/cancel-all").status for _ in range(250)]
            clock.forward(10)
        # 6000 at once, 250 of them go in ten seconds and 100 come back: 150 are there at last
        assert statuses == [200] * (39 * 250 + 150) + [429] * 100

    def test_it_is_off_by_itself(self, ann: Trader) -> None:
        query = "/balance-allowance/update?asset_type=COLLATERAL"
        assert {ann.send("GET", query).status for _ in range(60)} == {200}


class TestClocks:
    def test_headers_signed_too_long_ago_are_refused(self, ann: Trader, clock: Clock) -> None:
        limit(ann, clock_skew_seconds=5)
        clock.forward(5)
        assert ann.send("GET", "/data/orders").status == 200
        clock.forward(1)
        response = ann.send("GET", "/data/orders")
        assert (response.status, response.body) == (
            401,
            b'{"error":"Unauthorized/Invalid api key"}',
        )
        clock.forward(-12)
        assert ann.send("GET", "/data/orders").status == 401  # from the future
        limit(ann, clock_skew_seconds=None)
        assert ann.send("GET", "/data/orders").status == 200


@settings(deadline=None)
@given(
    st.sampled_from(sorted(TIERS)),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 100)), max_size=60),
)
def test_no_bucket_gives_more_than_its_burst_and_rate(
    tier: str, asks: list[tuple[int, int]]
) -> None:
    """Over any stretch of time: at most the burst, plus what came back meanwhile."""
    rate, burst = TIERS[tier]["orders"]
    bucket, now_ms = Bucket(rate, 1000, burst, 0), 0
    taken: list[tuple[int, int]] = []
    for pause_ms, cost in asks:
        now_ms += pause_ms
        wait_ms = bucket.wait_ms(cost, now_ms)
        if wait_ms == 0:
            bucket.take(cost)
            taken.append((now_ms, cost))
        elif cost <= burst:
            assert bucket.wait_ms(cost, now_ms) == wait_ms  # looking takes nothing
            assert bucket.wait_ms(cost, now_ms + wait_ms - 1) == 1
            assert bucket.wait_ms(cost, now_ms + wait_ms) == 0
            now_ms += wait_ms
    for first, (start, _) in enumerate(taken):
        for last in range(first, len(taken)):
            spent = sum(cost for _, cost in taken[first : last + 1])
            assert spent * 1000 <= burst * 1000 + rate * (taken[last][0] - start)
