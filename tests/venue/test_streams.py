"""Both sockets against the embedded exchange, in process, on virtual time, with what breaks."""

import asyncio
import json
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest

from runner.core.errors import VenueUnreachable
from runner.core.model import Liquidity, ReportStatus, Side, TimeInForce, TradeState
from runner.exchange.faults import Fault
from runner.venue.ports import Accepted
from runner.venue.streams import Channel, Streams, StreamSettings
from tests.venue.world import NO, RAIN, YES, World, make_venue, streaming, world
from tests.virtual_time import now, run


async def agree(w: World, *tokens: str) -> bool:
    """Whether the sockets' books are the exchange's."""
    for token in tokens:
        shown, truth = w.streams.book(token), await w.venue.book(token)
        if shown is None or (shown.bids, shown.asks) != (truth.bids, truth.asks):
            return False
    return True


async def until(w: World, *tokens: str, within_s: float) -> float:
    """Seconds until the books agree; fails after `within_s`."""
    began = now()
    while not await agree(w, *tokens):
        assert now() - began < timedelta(seconds=within_s), "the books never agreed"
        await asyncio.sleep(0.1)
    return (now() - began).total_seconds()


async def bustle(w: World, rng: Random, steps: int) -> None:
    """Other people place, trade and withdraw on RAIN for a while."""
    resting: list[str] = []
    for _ in range(steps):
        if resting and rng.random() < 0.3:
            w.exchange.house_cancel(resting.pop(rng.randrange(len(resting))))
        else:
            side = rng.choice([Side.BUY, Side.SELL])
            cents = rng.randrange(40, 52) if side is Side.BUY else rng.randrange(49, 61)
            take = rng.random() < 0.2
            outcome = rng.randrange(2)
            price = cents if outcome == 0 else 100 - cents
            placed = w.house(
                side if outcome == 0 else side.opposite,
                f"0.{price:02d}",
                str(rng.randrange(5, 30)),
                outcome,
                take=take,
            )
            if placed is not None:
                resting.append(placed)
        w.publish()
        await asyncio.sleep(rng.uniform(0, 0.5))


@pytest.mark.parametrize("seed", range(5))
def test_books_follow_the_exchange_frame_by_frame(seed: int) -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES, NO):
            rng = Random(seed)
            for _ in range(20):
                await bustle(w, rng, 10)
                assert await agree(w, YES, NO)
            assert w.heard.gaps == [Channel.MARKET, Channel.USER]
            assert w.heard.odd == []

    run(main())


def test_what_happens_to_our_order_is_told_as_it_happens() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            signed = w.signed()
            assert isinstance(await w.venue.submit(signed), Accepted)
            w.house(Side.SELL, "0.50", "4", take=True)
            w.publish()
            await asyncio.sleep(0.1)
            await w.venue.cancel([signed.order_id])
            await asyncio.sleep(600)
            mine = [(r.status, r.matched) for r in w.heard.orders()]
            assert mine[0] == (ReportStatus.LIVE, Decimal(0))
            assert (ReportStatus.LIVE, Decimal(4)) in mine
            assert mine[-1] == (ReportStatus.CANCELLED, Decimal(4))
            legs = w.heard.trades()
            assert {(leg.order_id, leg.size) for leg in legs} == {(signed.order_id, Decimal(4))}
            assert {leg.liquidity for leg in legs} == {Liquidity.MAKER}
            assert [leg.state for leg in legs] == [
                TradeState.MATCHED,
                TradeState.MINED,
                TradeState.CONFIRMED,
            ]

    run(main())


def test_an_event_may_come_before_the_answer_that_it_belongs_to() -> None:
    async def main() -> None:
        async with world(latency=lambda: 2.0) as w, streaming(w, YES):
            await asyncio.sleep(10)
            signed = w.signed()
            sending = asyncio.create_task(w.venue.submit(signed))
            await asyncio.sleep(3)
            assert [r.order_id for r in w.heard.orders()] == [signed.order_id]
            assert not sending.done()
            assert isinstance(await sending, Accepted)

    run(main())


def test_a_killed_order_is_told_as_cancelled() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            await w.venue.submit(w.signed(time_in_force=TimeInForce.FOK))
            await asyncio.sleep(1)
            (report,) = w.heard.orders()
            assert (report.status, report.matched) == (ReportStatus.CANCELLED, None)

    run(main())


def test_a_cut_is_a_gap_and_the_book_is_not_shown_until_a_fresh_one_is_there() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            w.house(Side.BUY, "0.40", "10")
            w.publish()
            await asyncio.sleep(1)
            assert await agree(w, YES)
            w.heard.gaps.clear()
            w.wire.cut()
            await asyncio.sleep(0.001)
            w.house(Side.BUY, "0.41", "10")
            w.publish()
            assert w.streams.book(YES) is None
            assert await until(w, YES, within_s=10) > 0
            await asyncio.sleep(5)
            assert sorted(w.heard.gaps) == [Channel.MARKET, Channel.USER]
            assert w.streams.up == {Channel.MARKET, Channel.USER}

    run(main())


def test_a_half_open_connection_is_given_up_and_comes_back() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            await asyncio.sleep(30)
            assert w.streams.book(YES) is not None
            w.heard.gaps.clear()
            w.wire.fail(down=True)
            await asyncio.sleep(16)
            assert w.streams.up == set()
            assert w.streams.book(YES) is None
            await asyncio.sleep(600)
            w.wire.fail(down=False)
            await until(w, YES, within_s=31)
            await asyncio.sleep(31)
            assert sorted(w.heard.gaps) == [Channel.MARKET, Channel.USER]

    run(main())


def test_reconnects_to_a_dead_network_do_not_storm() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            w.wire.fail(down=True)
            before = w.wire.attempts
            await asyncio.sleep(3600)
            # two channels, waits of 15 s on average once the bound has grown to 30 s
            assert 300 < w.wire.attempts - before < 700

    run(main())


def test_a_silent_freeze_is_found_by_comparing_with_a_query() -> None:
    """The sockets stay open and answer PONG, but nothing else comes (faults W1)."""

    async def main() -> None:
        async with world() as w, streaming(w, YES, NO):
            w.exchange.faults.add(Fault(name="stall_sockets"))
            w.house(Side.BUY, "0.44", "12")
            w.publish()
            assert not await agree(w, YES, NO)
            waited = await until(w, YES, NO, within_s=15)
            assert waited > 1
            assert w.streams.up == {Channel.MARKET, Channel.USER}
            w.exchange.faults.clear()
            w.house(Side.BUY, "0.45", "3")
            w.publish()
            assert await until(w, YES, NO, within_s=1) < 1

    run(main())


def test_a_quiet_market_that_agrees_stays_fresh_without_resubscribing() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            w.house(Side.BUY, "0.44", "12")
            w.publish()
            await asyncio.sleep(1)
            told = len(w.heard.books)
            await asyncio.sleep(3600)
            book = w.streams.book(YES)
            assert book is not None
            assert now() - book.at <= timedelta(seconds=12)
            assert len(w.heard.books) == told

    run(main())


@pytest.mark.parametrize("seed", range(5))
def test_lost_frames_are_noticed_and_healed(seed: int) -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES, NO):
            w.exchange.faults.add(Fault(name="drop_frames", rate=0.3))
            await bustle(w, Random(seed), 100)
            w.exchange.faults.clear()
            await until(w, YES, NO, within_s=15)

    run(main())


@pytest.mark.parametrize("text", ["{", "INVALID OPERATION", "[1]", "7", '{"event_type": "book"'])
@pytest.mark.parametrize("channel", list(Channel))
def test_a_frame_that_cannot_be_read_is_a_gap(channel: Channel, text: str) -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            w.heard.gaps.clear()
            w.wire.inject(f"/ws/{channel}", text)
            await asyncio.sleep(0.01)
            assert w.heard.gaps == [channel]
            assert (w.streams.book(YES) is None) == (channel is Channel.MARKET)
            await until(w, YES, within_s=5)

    run(main())


def test_kinds_of_frames_that_we_do_not_know_pass_by() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            w.heard.gaps.clear()
            for channel in Channel:
                w.wire.inject(f"/ws/{channel}", '[{"event_type": "new_kind"}, {}]')
            await asyncio.sleep(0.1)
            assert w.heard.gaps == []
            assert await agree(w, YES)

    run(main())


def test_a_new_tick_is_told_and_the_old_grid_is_dropped() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES, NO):
            w.house(Side.BUY, "0.44", "12")
            w.publish()
            await asyncio.sleep(1)
            path = f"/_exchange/markets/{RAIN.condition_id}"
            changed = w.exchange.handle("POST", path, {}, json.dumps({"tick": "0.001"}).encode())
            assert changed.status == 200, changed.body
            await asyncio.sleep(0.01)
            assert set(w.heard.markets) == {YES, NO}
            assert w.streams.book(YES) is None
            assert w.streams.book(NO) is None
            await until(w, YES, NO, within_s=5)

    run(main())


def test_what_is_watched_can_change_while_it_runs() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            assert w.streams.book(NO) is None
            w.streams.watch([NO])
            await asyncio.sleep(0.1)
            assert w.streams.book(YES) is None
            assert await agree(w, NO)
            w.heard.books.clear()
            w.house(Side.BUY, "0.44", "12")
            w.publish()
            await asyncio.sleep(0.1)
            assert set(w.heard.books) == {NO}
            w.streams.watch([])
            await asyncio.sleep(60)
            w.streams.watch([YES, NO])
            await asyncio.sleep(0.1)
            assert await agree(w, YES, NO)

    run(main())


def test_nothing_to_watch_opens_no_market_socket() -> None:
    async def main() -> None:
        async with world() as w, streaming(w):
            await asyncio.sleep(3600)
            assert w.streams.up == {Channel.USER}
            w.streams.watch([YES])
            await asyncio.sleep(0.1)
            assert await agree(w, YES)

    run(main())


def test_tokens_beyond_the_sockets_limit_are_kept_by_queries() -> None:
    async def main() -> None:
        async with world() as w:
            w.streams = Streams(
                w.wire,
                w.venue,
                now,
                rng=Random(1),
                hearers=w.heard.hearers(),
                settings=StreamSettings(tokens_max=1),
            )
            async with streaming(w, YES, NO):
                w.house(Side.BUY, "0.44", "12")
                w.publish()
                await asyncio.sleep(0.1)
                assert await agree(w, YES)
                assert w.streams.book(NO) is None
                await until(w, NO, within_s=12)

    run(main())


def test_a_user_socket_that_is_refused_is_tried_again_and_never_said_to_work() -> None:
    async def main() -> None:
        async with world() as w, streaming(w, YES):
            key = next(iter(w.exchange.accounts.all_keys()))
            key.active = False
            before = w.wire.attempts
            w.wire.cut()
            await asyncio.sleep(600)
            assert Channel.MARKET in w.streams.up
            assert 10 < w.wire.attempts - before < 120
            key.active = True
            await asyncio.sleep(60)
            assert w.streams.up == {Channel.MARKET, Channel.USER}

    run(main())


def test_without_credentials_it_does_not_start() -> None:
    async def main() -> None:
        async with world() as w:
            other = make_venue(w.wire, now, w.heard.odd.append)
            streams = Streams(w.wire, other, now, rng=Random(1), hearers=w.heard.hearers())
            with pytest.raises(VenueUnreachable):
                await streams.run()

    run(main())


def test_it_stops_at_once_when_it_is_cancelled() -> None:
    async def main() -> None:
        async with world() as w:
            async with streaming(w, YES):
                began = now()
            assert now() == began
            left = {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}
            assert left == {"the exchange's driver"}

    run(main())


@pytest.mark.parametrize("steps", range(8))
def test_a_cancel_at_the_moment_of_a_cut_is_not_lost(steps: int) -> None:
    async def main() -> None:
        async with world() as w:
            w.streams.watch([YES])
            running = asyncio.create_task(w.streams.run())
            await asyncio.sleep(1)
            w.wire.cut()
            for _ in range(steps):
                await asyncio.sleep(0)
            running.cancel()
            done, _ = await asyncio.wait([running], timeout=60)
            assert done
            assert running.cancelled()

    run(main())
