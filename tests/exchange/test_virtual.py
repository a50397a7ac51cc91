"""The whole exchange in virtual time: its channel agrees with its books, and it repeats itself."""

import gzip
import json
from random import Random
from typing import Any, get_args

import pytest

from runner.exchange.faults import OPTIONS, Fault, FaultName
from runner.exchange.scenario import DATA, PACKAGED, load
from tests.exchange.book_check import Rebuilt
from tests.exchange.kit import shares
from tests.exchange.virtual import Day

SHIPPED = DATA / "btc-updown-15m-1761786000.jsonl.gz"


class Checked(Day):
    """A day whose market channel is rebuilt and compared with the books over REST."""

    rebuilt = Rebuilt()
    asked = 0

    def after_step(self) -> None:
        for shown in map(json.loads, self.frames):
            if isinstance(shown, list):  # the books that the subscription asked for
                for book in shown:
                    self.rebuilt.frame(book)
                continue
            self.rebuilt.frame(shown)
            if shown["event_type"] == "book":
                self._compare(shown)

    def _compare(self, frame: dict[str, Any]) -> None:
        """The book frame is the last word of its step, so REST says the same now."""
        target = f"/book?token_id={frame['asset_id']}"
        rest = json.loads(self.exchange.handle("GET", target, {}, b"").body)
        assert {key: rest[key] for key in frame if key != "event_type"} == {
            key: value for key, value in frame.items() if key != "event_type"
        }
        self.asked += 1


def test_the_channel_rebuilds_the_rest_book_at_every_book_frame_of_an_hour() -> None:
    day = Checked(load("extremes", 3), 3, every_s=4)
    day.rebuilt = Rebuilt()
    nearly_sure, nearly_impossible = day.exchange.listings.values()
    ticks = []
    for seconds in (119, 120, 120, 3241):
        day.run(seconds)
        ticks.append((nearly_sure.market.tick, nearly_impossible.market.tick))
    assert ticks == [(10_000, 1_000), (1_000, 1_000), (1_000, 100), (10_000, 100)]
    assert day.rebuilt.problems == []
    assert day.rebuilt.compared > 2_000
    assert day.rebuilt.tops > 10_000
    assert day.asked > 1_000


def recorded_frames() -> list[Any]:
    with gzip.open(SHIPPED, "rt") as lines:
        return [json.loads(line)["frame"] for line in lines]


def test_the_same_check_passes_on_what_the_real_exchange_sent() -> None:
    frames = recorded_frames()
    books = [i for i, frame in enumerate(frames) if frame["event_type"] == "book"]
    rebuilt = Rebuilt()
    for frame in frames[: books[1] + 1]:  # after these, price changes are missing
        rebuilt.frame(frame)
    assert rebuilt.problems == []
    assert (rebuilt.tops, rebuilt.compared) == (69, 2)


def test_the_check_sees_a_lost_change() -> None:
    frames = recorded_frames()
    seen = 0
    for lost in range(1, 70):
        rebuilt = Rebuilt()
        for frame in (*frames[:lost], *frames[lost + 1 : 71]):
            rebuilt.frame(frame)
        seen += bool(rebuilt.problems)
    assert seen == 17  # the other levels are set once more before a best price or a book shows them


def drawn(seed: int) -> list[Fault]:
    """A random few of the faults, each striking now and then."""
    chance = Random(seed)
    faults = []
    for name in chance.sample(get_args(FaultName), chance.randint(2, 8)):
        keys: dict[str, Any] = {"name": name, "rate": chance.choice([0.02, 0.1, 0.3])}
        if "seconds" in OPTIONS[name]:
            keys["seconds"] = chance.choice([1, 3, 20])
        faults.append(Fault.model_validate(keys))
    return faults


def trace(seed: int) -> tuple[str, int]:
    day = Day(load("fast", seed), seed, drawn(seed), every_s=0.4)
    day.run(12)
    day.exchange.close()
    return day.digest(), day.steps


@pytest.mark.parametrize("share", range(4))
def test_the_same_seed_gives_the_same_trace(share: int) -> None:
    seeds = range(10 * share, 10 * share + 10)
    traces = [trace(seed) for seed in seeds]
    assert traces == [trace(seed) for seed in seeds]
    assert len({digest for digest, _ in traces}) == len(traces)
    assert min(steps for _, steps in traces) > 100


@pytest.mark.soak
def test_the_same_seed_gives_the_same_trace_200_of_200() -> None:
    seeds = range(1000, 1200)
    assert [trace(seed) for seed in seeds] == [trace(seed) for seed in seeds]


def test_a_day_of_trading_passes_in_seconds() -> None:
    day = Day(load("calm", 5), 5, every_s=600)
    day.run(86_400)
    assert day.steps > 8_000


class TestPackagedScenarios:
    """Each does what it is for."""

    @pytest.mark.parametrize("name", sorted(path.stem for path in PACKAGED.glob("*.yaml")))
    def test_people_can_trade_on_every_one(self, name: str) -> None:
        day = Day(load(name, 1), 1, every_s=0.5)
        day.run(30)
        assert day.bot.statuses[200] > 20
        ledger = json.loads(day.exchange.handle("GET", "/_exchange/ledger", {}, b"").body)
        assert ledger["orders"]
        assert ledger["trades"]

    def test_resolving_ends_its_markets(self) -> None:
        day = Day(load("resolving", 1), 1, every_s=2)
        day.run(479)
        token = day.markets[0].token_ids[0]
        order_id = day.bot.trader.place(token, "BUY", 10_000, shares("10"))["orderID"]
        day.run(1)
        states = [listing.state for listing in day.exchange.listings.values()]
        assert states == ["resolved", "closed", "open"]
        assert day.bot.trader.order(order_id)["status"] == "CANCELED_MARKET_RESOLVED"

    def test_restarting_is_out_of_reach_and_then_post_only(self) -> None:
        day = Day(load("restarting", 1), 1, every_s=2)
        day.run(300)
        assert day.bot.statuses[425] >= 3
        assert day.bot.statuses[503] >= 10

    def test_hostile_meets_every_fault_it_names(self) -> None:
        day = Day(load("hostile", 1), 1, every_s=0.5)
        day.run(800)
        idle = [fault["name"] for fault in day.exchange.faults.report() if not fault["struck"]]
        assert idle == []
