"""Orders, cancels and reads against the embedded exchange, in process, on virtual time."""

import asyncio
import json
from datetime import timedelta
from decimal import Decimal

import pytest

from runner.core.errors import VenueRefused, VenueUnknown, VenueUnreachable
from runner.core.model import (
    Liquidity,
    OrderReport,
    ReportStatus,
    Side,
    TimeInForce,
    TradeState,
    VenueMode,
)
from runner.core.plan import MarketRef
from runner.exchange.faults import Fault
from runner.venue.ports import Accepted, Outcome, Refused, SignedOrder, Unknown
from runner.venue.requests import VenueSettings
from runner.venue.throttle import Rate
from tests.venue.world import CASH, CUP, NO, RAIN, SIGNER, YES, World, make_venue, world
from tests.virtual_time import START, now, run


def accepted(outcome: object) -> OrderReport:
    assert isinstance(outcome, Accepted), outcome
    return outcome.report


def test_an_order_is_known_by_the_id_that_we_computed() -> None:
    async def main() -> None:
        async with world() as w:
            signed = w.signed(life_s=3600)
            report = accepted(await w.venue.submit(signed))
            assert report.order_id == signed.order_id
            assert report.status is ReportStatus.LIVE
            assert (await w.venue.open_orders()) == (await w.venue.order(signed.order_id),)
            assert signed.order_id in w.exchange.orders

    run(main())


def test_the_same_bytes_again_are_a_duplicate_and_no_second_order() -> None:
    async def main() -> None:
        async with world() as w:
            signed = w.signed()
            accepted(await w.venue.submit(signed))
            again = accepted(await w.venue.submit(signed))
            assert again.status is ReportStatus.PRESENT
            assert len(w.exchange.orders) == 1

    run(main())


@pytest.mark.parametrize("fault", ["lose_answer", "error_after_accept"])
def test_an_answer_that_never_comes_is_unknown_and_the_order_is_there(fault: str) -> None:
    async def main() -> None:
        async with world() as w:
            w.exchange.faults.add(Fault.model_validate({"name": fault, "path": "/order"}))
            signed = w.signed()
            assert isinstance(await w.venue.submit(signed), Unknown)
            w.exchange.faults.clear()
            found = await w.venue.order(signed.order_id)
            assert found is not None
            assert found.status is ReportStatus.LIVE

    run(main())


def test_a_post_that_hangs_is_unknown_after_our_own_time_out() -> None:
    async def main() -> None:
        async with world() as w:
            w.exchange.faults.add(Fault(name="lose_request", path="/order", hang=True))
            began, signed = now(), w.signed()
            assert isinstance(await w.venue.submit(signed), Unknown)
            assert now() - began == timedelta(seconds=5)
            assert await w.venue.order(signed.order_id) is None

    run(main())


def test_a_post_may_land_long_after_we_gave_up() -> None:
    async def main() -> None:
        async with world() as w:
            w.exchange.faults.add(Fault(name="delay_request", path="/order", seconds=60, hang=True))
            signed = w.signed()
            assert isinstance(await w.venue.submit(signed), Unknown)
            assert await w.venue.order(signed.order_id) is None
            await asyncio.sleep(60)
            assert await w.venue.order(signed.order_id) is not None

    run(main())


def test_the_sender_may_be_gone_and_the_order_still_arrives() -> None:
    async def main() -> None:
        async with world(latency=lambda: 1.0) as w:
            signed = w.signed()
            sending = asyncio.create_task(w.venue.submit(signed))
            await asyncio.sleep(0.5)
            sending.cancel()
            await asyncio.sleep(2)
            assert signed.order_id in w.exchange.orders

    run(main())


def test_refusals_come_with_their_code() -> None:
    async def main() -> None:
        async with world() as w:
            cases: list[tuple[dict[str, object], str]] = [
                ({"size": Decimal(4)}, "ORDER_BELOW_MINIMUM"),
                ({"price": Decimal("0.505"), "tick": Decimal("0.001")}, "ORDER_OFF_TICK"),
                ({"size": Decimal(30_000)}, "ACCOUNT_BALANCE_SHORT"),
                ({"neg_risk": True}, "ORDER_SIGNATURE"),
                ({"time_in_force": TimeInForce.FAK}, "ORDER_KILLED_UNFILLED"),
                ({"time_in_force": TimeInForce.FOK}, "ORDER_KILLED_UNFILLED"),
            ]
            for changes, code in cases:
                outcome = await w.venue.submit(w.signed(**changes))
                assert isinstance(outcome, Refused), (changes, outcome)
                assert outcome.code == code
            assert await w.venue.open_orders() == ()

    run(main())


def test_post_only_does_not_cross() -> None:
    async def main() -> None:
        async with world() as w:
            w.house(Side.SELL, "0.45", "10")
            outcome = await w.venue.submit(w.signed(post_only=True))
            assert isinstance(outcome, Refused)
            assert (outcome.code, outcome.curable) == ("ORDER_CROSSES_BOOK", True)

    run(main())


def test_a_taker_is_filled_at_once_and_its_trade_goes_its_way() -> None:
    async def main() -> None:
        async with world() as w:
            w.house(Side.SELL, "0.48", "4")
            w.house(Side.SELL, "0.49", "20")
            signed = w.signed(time_in_force=TimeInForce.FAK)
            report = accepted(await w.venue.submit(signed))
            assert report.status is ReportStatus.FILLED
            assert report.matched is not None
            legs = await w.venue.trades(START)
            assert sum(leg.size for leg in legs) == report.matched
            assert {leg.trade_id for leg in legs} == set(report.trade_ids)
            for leg in legs:
                assert (leg.order_id, leg.token_id, leg.side) == (signed.order_id, YES, Side.BUY)
                assert leg.liquidity is Liquidity.TAKER
                assert leg.price <= Decimal("0.49")
            await asyncio.sleep(600)
            assert {leg.state for leg in await w.venue.trades(START)} == {TradeState.CONFIRMED}
            assert await w.venue.balance(YES) == 500 + report.matched

    run(main())


def test_our_maker_leg_of_a_cross_match_is_ours_and_nothing_else() -> None:
    """Somebody buys No at 0.50: that fills our bid for Yes (a mint). Their leg is not ours."""

    async def main() -> None:
        async with world() as w:
            signed = w.signed()
            accepted(await w.venue.submit(signed))
            w.house(Side.BUY, "0.50", "6", outcome=1, take=True)
            w.publish()
            (leg,) = await w.venue.trades(now())
            assert (leg.order_id, leg.token_id, leg.side) == (signed.order_id, YES, Side.BUY)
            assert (leg.price, leg.size) == (Decimal("0.5"), Decimal(6))
            assert leg.liquidity is Liquidity.MAKER
            found = await w.venue.order(signed.order_id)
            assert found is not None
            assert (found.status, found.matched) == (ReportStatus.LIVE, Decimal(6))
            assert found.trade_ids == (leg.trade_id,)

    run(main())


def test_cancels_say_what_was_cancelled_and_what_was_not() -> None:
    async def main() -> None:
        async with world() as w:
            live, stranger = w.signed(), "0x" + "ab" * 32
            accepted(await w.venue.submit(live))
            answer = await w.venue.cancel([stranger, live.order_id])
            assert answer.cancelled == {live.order_id}
            assert set(answer.not_cancelled) == {stranger}
            found = await w.venue.order(live.order_id)
            assert found is not None
            assert (found.status, found.matched) == (ReportStatus.CANCELLED, Decimal(0))
            assert await w.venue.cancel([]) == await w.venue.cancel(())

    run(main())


def test_a_cancel_without_an_answer_is_unknown_and_may_have_worked() -> None:
    async def main() -> None:
        async with world() as w:
            live = w.signed()
            accepted(await w.venue.submit(live))
            w.exchange.faults.add(Fault(name="lose_answer", method="DELETE", count=1))
            with pytest.raises(VenueUnknown):
                await w.venue.cancel([live.order_id])
            assert await w.venue.open_orders() == ()
            assert live.order_id in (await w.venue.cancel([live.order_id])).not_cancelled

    run(main())


def test_a_life_ends_by_itself_one_minute_before_its_stated_end() -> None:
    async def main() -> None:
        async with world() as w:
            signed = w.signed(life_s=3600)
            accepted(await w.venue.submit(signed))
            await asyncio.sleep(3590)
            assert len(await w.venue.open_orders()) == 1
            await asyncio.sleep(20)
            assert await w.venue.open_orders() == ()
            found = await w.venue.order(signed.order_id)
            assert found is not None
            assert found.status in {ReportStatus.CANCELLED, ReportStatus.EXPIRED}

    run(main())


def test_open_orders_over_several_pages_are_complete() -> None:
    async def main() -> None:
        settings = VenueSettings(orders=Rate(1000, 1000))
        async with world(settings=settings) as w:
            sent = {
                accepted(await w.venue.submit(w.signed(size=Decimal(5)))).order_id
                for _ in range(230)
            }
            found = await w.venue.open_orders()
            assert len(found) == 230
            assert {report.order_id for report in found} == sent

    run(main())


def test_a_list_with_more_pages_than_the_limit_is_no_list() -> None:
    async def main() -> None:
        settings = VenueSettings(orders=Rate(1000, 1000), pages_max=2)
        async with world(settings=settings) as w:
            for _ in range(230):
                accepted(await w.venue.submit(w.signed(size=Decimal(5))))
            with pytest.raises(VenueUnreachable, match="does not end"):
                await w.venue.open_orders()

    run(main())


@pytest.mark.parametrize(
    "ref",
    [
        MarketRef(token_id=YES),
        MarketRef(condition_id=RAIN.condition_id, outcome="yes"),
        MarketRef(slug=RAIN.slug, outcome="YES"),
    ],
    ids=["token", "condition", "slug"],
)
def test_a_market_is_found_by_each_of_its_names(ref: MarketRef) -> None:
    async def main() -> None:
        async with world() as w:
            info = await w.venue.market(ref)
            assert (info.token_id, info.complement) == (YES, NO)
            assert (info.condition_id, info.slug) == (RAIN.condition_id, RAIN.slug)
            assert (info.question, info.outcome) == (RAIN.question, "Yes")
            assert (info.tick, info.min_size) == (Decimal("0.01"), Decimal(5))
            assert (info.fee_rate, info.fee_exponent) == (Decimal("0.04"), 1)
            assert (info.neg_risk, info.accepting) == (False, True)
            assert info.at == now()

    run(main())


def test_the_other_outcome_of_a_neg_risk_market_and_an_order_on_it() -> None:
    async def main() -> None:
        async with world() as w:
            info = await w.venue.market(MarketRef(slug=CUP.slug, outcome="No"))
            assert (info.token_id, info.complement) == ("2002", "2001")
            assert (info.neg_risk, info.tick) == (True, Decimal("0.001"))
            signed = w.signed(
                token_id="2002",
                neg_risk=info.neg_risk,
                tick=info.tick,
                price=Decimal("0.057"),
                size=Decimal(20),
            )
            assert accepted(await w.venue.submit(signed)).order_id == signed.order_id

    run(main())


@pytest.mark.parametrize(
    "ref",
    [
        MarketRef(token_id="77"),
        MarketRef(condition_id="0x" + "00" * 32, outcome="Yes"),
        MarketRef(slug="no-such-market", outcome="Yes"),
        MarketRef(slug=RAIN.slug, outcome="Perhaps"),
    ],
)
def test_a_market_that_is_not_there_is_refused(ref: MarketRef) -> None:
    async def main() -> None:
        async with world() as w:
            with pytest.raises(VenueRefused):
                await w.venue.market(ref)

    run(main())


def test_a_book_is_best_first() -> None:
    async def main() -> None:
        async with world() as w:
            for price, size in [("0.40", "5"), ("0.45", "6.5")]:
                w.house(Side.BUY, price, size)
            for price, size in [("0.60", "7"), ("0.55", "8")]:
                w.house(Side.SELL, price, size)
            book = await w.venue.book(YES)
            assert book.bids == ((Decimal("0.45"), Decimal("6.5")), (Decimal("0.4"), Decimal(5)))
            assert book.asks == ((Decimal("0.55"), Decimal(8)), (Decimal("0.6"), Decimal(7)))
            mirror = await w.venue.book(NO)
            assert mirror.asks[0] == (Decimal("0.55"), Decimal("6.5"))

    run(main())


def test_balances_and_the_clock() -> None:
    async def main() -> None:
        async with world() as w:
            assert await w.venue.balance() == CASH
            assert await w.venue.balance(NO) == 500
            assert abs(await w.venue.server_time() - now()) < timedelta(seconds=1)

    run(main())


def test_a_second_start_derives_the_same_key() -> None:
    async def main() -> None:
        async with world() as w:
            other = make_venue(w.wire, now, w.heard.odd.append)
            with pytest.raises(VenueUnreachable, match="not started"):
                await other.balance()
            await other.start()
            assert other.credentials == w.venue.credentials
            assert other.signer is SIGNER

    run(main())


def test_a_creation_whose_answer_is_lost_does_no_harm() -> None:
    async def main() -> None:
        async with world() as w:
            w.exchange.faults.add(Fault(name="lose_answer", path="/auth/*", count=1))
            other = make_venue(w.wire, now, w.heard.odd.append)
            await other.start()
            assert other.credentials == w.venue.credentials

    run(main())


def test_a_read_is_tried_again_and_then_gives_up_by_name() -> None:
    async def main() -> None:
        async with world() as w:
            w.exchange.faults.add(Fault(name="lose_answer", path="/data/orders", count=3))
            assert await w.venue.open_orders() == ()
            w.exchange.faults.add(Fault(name="lose_answer", path="/data/orders", count=4))
            with pytest.raises(VenueUnreachable):
                await w.venue.open_orders()
            assert await w.venue.open_orders() == ()

    run(main())


def test_a_dead_network_is_never_an_empty_account() -> None:
    async def main() -> None:
        async with world() as w:
            w.wire.fail(down=True)
            for read in (w.venue.open_orders(), w.venue.trades(START), w.venue.balance()):
                with pytest.raises(VenueUnreachable):
                    await read
            with pytest.raises(VenueUnreachable):
                await w.venue.order("0x" + "ab" * 32)

    run(main())


def mode(w: World) -> VenueMode:
    return w.venue.mode


def restart(w: World, **seconds: int) -> None:
    response = w.exchange.handle(
        "POST", "/_exchange/restart", {}, json.dumps(seconds).encode() if seconds else b""
    )
    assert response.status == 200, response.body


def test_a_restart_is_lived_through_as_the_modes_say() -> None:
    async def main() -> None:
        async with world() as w:
            restart(w)
            assert isinstance(await w.venue.submit(w.signed()), Unknown)
            assert mode(w) is VenueMode.RESTARTING
            for _ in range(100):
                await asyncio.sleep(2)
                if isinstance(await w.venue.submit(w.signed(post_only=True)), Accepted):
                    break
            outcome = await w.venue.submit(w.signed())
            assert isinstance(outcome, Refused)
            assert outcome.code == "VENUE_POST_ONLY"
            assert mode(w) is VenueMode.POST_ONLY
            accepted(await w.venue.submit(w.signed(post_only=True)))
            assert mode(w) is VenueMode.POST_ONLY
            await asyncio.sleep(200)
            assert mode(w) is VenueMode.NORMAL
            accepted(await w.venue.submit(w.signed()))

    run(main())


def test_orders_keep_to_their_rate_and_cancels_do_not_wait_for_them() -> None:
    async def main() -> None:
        settings = VenueSettings(orders=Rate(2, 3))
        async with world(latency=lambda: 0.0, settings=settings) as w:
            began = now()

            async def send(signed: SignedOrder) -> Outcome:
                await w.venue.turn()
                return await w.venue.submit(signed)

            sending = [asyncio.create_task(send(w.signed())) for _ in range(13)]
            await asyncio.sleep(0.1)
            await w.venue.cancel(["0x" + "ab" * 32])
            assert now() - began < timedelta(seconds=1)
            for sent in sending:
                accepted(await sent)
            assert now() - began == timedelta(seconds=5)

    run(main())
