"""The life of orders and trades on the running system: renewals, races, refusals, failed trades."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from runner.core.model import Side, TimeInForce
from runner.venue.ports import NewOrder
from tests.simulation.rig import NO, Rig, job, plan, simulated
from tests.venue.world import RAIN, YES
from tests.virtual_time import now

LIVE = "SELECT 1 FROM orders WHERE state = 'live'"
ENDED = "SELECT 1 FROM plans WHERE ended_at IS NOT NULL"
OPEN = "SELECT price, leaves FROM open_orders ORDER BY submitted_at"
DONE = {"state": "completed", "filled_shares": 30.0}
RESULT = "SELECT state, filled_shares FROM jobs"


def one(**keys: object) -> str:
    return plan("one", {"buy": job(**keys)})


async def started(rig: Rig, text: str) -> None:
    rig.drop("one.yaml", text)
    await rig.until(LIVE)


@simulated
async def test_an_order_at_the_end_of_its_life_is_renewed_while_wanted(rig: Rig) -> None:
    rig.with_config(order_life_s=180.0)
    async with rig.runner():
        await started(rig, one())
        rig.hit("12")
        await asyncio.sleep(600)
        states = [row["state"] for row in rig.rows("SELECT state FROM orders ORDER BY rowid")]
        assert states == ["expired", "expired", "expired", "live"]
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 18.0}]
        rig.hit("18")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@simulated
async def test_a_fill_that_races_the_cancel_of_a_move_is_counted_before_the_replacement(
    rig: Rig,
) -> None:
    rig.latency = lambda: 0.5
    async with rig.runner():
        await started(rig, one())
        rig.fault("stall_sockets")
        rig.fault("delay_answer", method="DELETE", seconds=3)
        rig.drop("one.yaml", one(limit_price="0.52"))
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelling'")
        rig.hit("12", "0.51")
        await rig.until("SELECT 1 FROM orders WHERE price = 0.52 AND state = 'live'", within_s=90)
        assert rig.rows("SELECT size, filled, state FROM orders ORDER BY submitted_at") == [
            {"size": 30.0, "filled": 12.0, "state": "cancelled"},
            {"size": 18.0, "filled": 0.0, "state": "live"},
        ]
        rig.clear_faults()
        rig.hit("60")
        await rig.until(ENDED, within_s=120)
        assert rig.row(RESULT) == DONE


@simulated
async def test_refusals_that_waiting_cures_back_off_from_1_s_doubling_to_60_s(rig: Rig) -> None:
    async with rig.runner():
        # nothing is held: the exchange refuses every sell for want of balance
        rig.drop("one.yaml", one(side="sell", limit_price="0.60"))
        await asyncio.sleep(300)
        times = [
            datetime.fromisoformat(row["submitted_at"])
            for row in rig.rows("SELECT submitted_at FROM orders WHERE state = 'rejected'")
        ]
        gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
        for gap, least in zip(gaps, [1, 2, 4, 8, 16, 32, 60, 60], strict=False):
            assert least <= gap <= least + 4, gaps
        assert len(gaps) >= 8
        assert rig.row("SELECT state FROM jobs") == {"state": "working"}
        rig.control("accounts", address=rig.owner, tokens={YES: "30"})
        await rig.until(LIVE, within_s=70)
        rig.house("buy", "0.60", "700", take=True)
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@simulated
async def test_five_refusals_in_a_row_that_waiting_cannot_cure_fail_the_job(rig: Rig) -> None:
    # a life so short that the network's slowness eats it: `invalid expiration`, each time
    rig.with_config(order_life_s=1.0)
    rig.latency = lambda: 2.0
    async with rig.runner():
        rig.drop("one.yaml", one())
        await rig.until(ENDED, within_s=120)
        assert rig.row("SELECT state FROM plans") == {"state": "failed"}
        assert rig.value("SELECT reason FROM jobs").startswith("REFUSED_FOR_GOOD")
        assert rig.value("SELECT COUNT(*) FROM orders WHERE state = 'rejected'") == 5


@simulated
async def test_a_post_only_order_that_would_have_crossed_is_refused_and_harms_nothing(
    rig: Rig,
) -> None:
    rig.latency = lambda: 0.5
    async with rig.runner():
        rig.drop("one.yaml", one(quote={"style": "limit", "post_only": True}))
        await rig.until("SELECT 1 FROM orders WHERE state = 'submitting'")
        rig.house("sell", "0.51", "20")
        await rig.until("SELECT 1 FROM orders WHERE state = 'rejected'")
        assert rig.row(RESULT) == {"state": "working", "filled_shares": 0.0}
        rig.house("buy", "0.51", "20", take=True)
        await rig.until(LIVE)
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE
        assert {row["liquidity"] for row in rig.rows("SELECT liquidity FROM trades")} == {"maker"}


@simulated
async def test_a_trade_that_fails_while_draining_is_reversed_and_bought_again(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("fail_trade", count=1)
        rig.hit("30")
        await rig.until("SELECT 1 FROM jobs WHERE state = 'draining'")
        assert rig.value("SELECT shares FROM positions") == 30.0
        await rig.until("SELECT 1 FROM trades WHERE state = 'failed'")
        assert rig.row("SELECT shares, exposure, realized_pnl, fees FROM positions")["shares"] == 0
        await rig.until("SELECT 1 FROM jobs WHERE state = 'working'")
        # the order that matched stays filled; another one buys again
        assert rig.value("SELECT state FROM orders ORDER BY submitted_at LIMIT 1") == "filled"
        await rig.until(LIVE)
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 30.0}]
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE
        assert rig.value("SELECT settled_shares FROM positions") == 30.0


@simulated
async def test_a_trade_that_fails_while_working_makes_room_for_another(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("fail_trade", count=1)
        rig.hit("12")
        await rig.until("SELECT 1 FROM trades WHERE state = 'failed'")
        await rig.until("SELECT 1 FROM open_orders GROUP BY plan HAVING SUM(leaves) = 30")
        await asyncio.sleep(2)
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@simulated
async def test_a_trade_that_fails_after_the_window_lets_the_job_expire(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one(time_window_minutes=1))
        ends_at = now() + timedelta(minutes=1)
        rig.fault("fail_trade", count=1)
        await asyncio.sleep((ends_at - now()).total_seconds() - 2)
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == {"state": "expired", "filled_shares": 0.0}
        assert rig.value("SELECT reason FROM jobs") == "TRADE_FAILED: the window is over"


@simulated
async def test_a_retried_trade_is_provisional_until_it_is_confirmed(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.fault("retry_trade", count=1)
        rig.hit("30")
        await rig.until("SELECT 1 FROM trades WHERE state = 'retrying'")
        assert rig.row(RESULT) == {"state": "draining", "filled_shares": 30.0}
        assert rig.value("SELECT settled_shares FROM positions") == 0.0
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE
        assert rig.value("SELECT settled_shares FROM positions") == 30.0


@simulated
async def test_an_order_cancelled_by_hand_at_the_exchange_is_put_back(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        ident = rig.value("SELECT order_id FROM orders")
        body = b'{"orderID":"%s"}' % ident.encode()
        assert rig.account("DELETE", "/order", body)["canceled"] == [ident]
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        await rig.until(LIVE)
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 30.0}]


@simulated
async def test_a_foreign_order_raises_an_alert_and_is_left_alone(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        assert rig.venue is not None
        order = NewOrder(
            token_id=YES,
            side=Side.BUY,
            price=Decimal("0.40"),
            size=Decimal(20),
            time_in_force=TimeInForce.GTC,
            post_only=False,
            expires_at=None,
            tick=Decimal("0.01"),
            neg_risk=False,
        )
        owner = rig.venue.credentials.api_key
        signed = rig.venue.signer.sign(order, salt=77, now=now(), owner=owner)
        assert rig.account("POST", "/order", signed.body)["orderID"] == signed.order_id
        rig.foreign.add(signed.order_id)
        await rig.until("SELECT 1 FROM alerts WHERE code = 'FOREIGN_ORDER'")
        await rig.ask("cancel_all")
        await asyncio.sleep(60)
        assert rig.value("SELECT COUNT(*) FROM alerts") == 1
        assert rig.rows("SELECT 1 FROM orders WHERE order_id = ?", signed.order_id) == []
    # stopping leaves it alone, too
    assert rig.account("GET", f"/data/order/{signed.order_id}")["status"] == "LIVE"


@simulated
async def test_two_jobs_on_both_outcomes_never_trade_with_each_other(rig: Rig) -> None:
    async with rig.runner():
        jobs = {"yes": job(), "no": job(market=NO, limit_price="0.49")}
        rig.drop("both.yaml", plan("both", jobs))
        await rig.until(LIVE)
        await asyncio.sleep(60)
        # a buy of No at 0.49 is a sale of Yes at 0.51: the two would meet
        [first] = rig.rows("SELECT job FROM orders")
        [waits] = rig.rows("SELECT reason FROM jobs WHERE job <> ?", first["job"])
        assert "SELF_MATCH" in waits["reason"]
        rig.house("buy", "0.51", "30", take=True)
        rig.house("sell", "0.51", "30", take=True)
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 30")
        await rig.until("SELECT 1 FROM orders WHERE job <> ?", first["job"])
        await asyncio.sleep(20)
        mine = {row["order_id"] for row in rig.rows("SELECT order_id FROM orders")}
        for trade in rig.ledger()["trades"]:
            legs = {trade["taker_order_id"], *(m["order_id"] for m in trade["maker_orders"])}
            assert len(legs & mine) == 1


@simulated
async def test_a_tick_that_changes_under_a_working_order_is_followed(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one(limit_price="0.515"))
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 30.0}]
        rig.control(f"markets/{RAIN.condition_id}", tick="0.001")
        await rig.until("SELECT 1 FROM orders WHERE price = 0.515 AND state = 'live'")
        assert rig.rows(OPEN) == [{"price": 0.515, "leaves": 30.0}]
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@simulated
async def test_a_tick_change_that_nobody_told_costs_a_refusal_and_not_the_job(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        await rig.ask("pause", "one")
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        rig.fault("drop_frames")
        rig.control(f"markets/{RAIN.condition_id}", tick="0.1")
        rig.clear_faults()
        await rig.ask("resume", "one")
        await rig.until("SELECT 1 FROM orders WHERE state = 'rejected'")
        await asyncio.sleep(100)
        assert rig.row("SELECT state FROM jobs") == {"state": "working"}
        assert rig.rows(OPEN) == [{"price": 0.5, "leaves": 30.0}]


@simulated
async def test_a_paused_market_is_waited_for(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.control(f"markets/{RAIN.condition_id}", state="paused")
        await asyncio.sleep(120)
        assert rig.row("SELECT state FROM jobs") == {"state": "working"}
        rig.control(f"markets/{RAIN.condition_id}", state="open")
        await rig.until(LIVE, within_s=90)
        rig.hit("30", "0.51")
        rig.hit("30", "0.51")
        await rig.until(ENDED)
        assert rig.row(RESULT) == DONE


@simulated
async def test_a_market_that_closes_for_good_lets_the_window_end_the_job(rig: Rig) -> None:
    async with rig.runner(until_done=True) as task:
        await started(rig, one(time_window_minutes=10))
        rig.control(f"markets/{RAIN.condition_id}", state="closed")
        await asyncio.sleep(300)
        assert rig.rows("SELECT 1 FROM open_orders") == []
        await asyncio.wait_for(task, 400)
    assert rig.row(RESULT) == {"state": "expired", "filled_shares": 0.0}
