"""Scenario files. The numbers in test names are the invariants of `scenario.py`."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.exchange import scenario_schema
from runner.exchange.api import Exchange
from runner.exchange.faults import Fault, FaultName
from runner.exchange.feeds import Session
from runner.exchange.flow import Flow, FlowStyle, StandingBook
from runner.exchange.markets import ONE
from runner.exchange.population import Funding, Played, Scenario, Standing
from runner.exchange.replay import Replay
from runner.exchange.scenario import DATA, PACKAGED, ScenarioError, default_scenario, load
from runner.exchange.schedule import ModeChange, Planned, Restart, Schedule, StateChange, TickChange
from runner.exchange.server import opened
from runner.exchange.yamldoc import parse
from tests.exchange.kit import Clock

DOCS = Path(__file__).parents[2] / "docs" / "scenarios.md"
STARTED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RECORDED = "btc-updown-15m-1761786000"
BASE = """\
version: 1
markets:
  - slug: rain
    question: Will it rain?
"""


def read(tmp_path: Path, text: str, seed: int | None = None) -> Scenario:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, seed)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioError) as refused:
        read(tmp_path, text)
    return [line.removeprefix(f"{tmp_path / 's.yaml'}:") for line in refused.value.problems]


class TestPackaged:
    def test_the_default_has_four_markets_each_with_flow(self) -> None:
        scenario = default_scenario(seed=5)
        assert scenario.seed == 5
        standard = [market for market in scenario.markets if not market.neg_risk]
        neg_risk = [market for market in scenario.markets if market.neg_risk]
        assert [market.tick for market in standard] == [10_000, 1_000]
        assert [market.tick for market in neg_risk] == [10_000, 1_000]
        assert len({market.event_slug for market in neg_risk}) == 1
        assert len({market.event_slug for market in standard}) == 2
        assert all(isinstance(other, FlowStyle) for other in scenario.others.values())
        assert scenario.others.keys() == {market.condition_id for market in scenario.markets}

    def test_the_recorded_market_has_its_real_ids(self) -> None:
        for name, speed in (("recorded", 1), ("demo", 7)):
            scenario = load(name)
            market = scenario.markets[0]
            assert market.slug == RECORDED
            assert market.outcomes == ("Up", "Down")
            assert market.condition_id.startswith("0x9444d318")
            assert [token[:4] for token in market.token_ids] == ["8318", "4196"]
            assert (market.tick, market.min_size) == (10_000, 5 * ONE)
            played = scenario.others[market.condition_id]
            assert isinstance(played, Played)
            assert played.speed == speed
            assert not played.loop

    def test_the_demo_settles_within_its_two_minutes_and_adds_two_flows(self) -> None:
        scenario = load("demo")
        kinds = [type(scenario.others[market.condition_id]) for market in scenario.markets]
        assert kinds == [Played, FlowStyle, FlowStyle]
        assert scenario.mined_ms[1] + scenario.confirmed_ms[1] <= 4_000

    def test_quiet_stands_still(self) -> None:
        scenario = load("quiet")
        assert [market.neg_risk for market in scenario.markets] == [False, True]
        assert all(isinstance(other, Standing) for other in scenario.others.values())

    def test_every_packaged_scenario_loads_and_makes_its_traders(self) -> None:
        for path in PACKAGED.glob("*.yaml"):
            scenario = load(path.stem)
            assert scenario == load(path)
            traders = scenario.traders(STARTED)
            people = [t for t in traders if not isinstance(t, Schedule)]
            assert len(people) == len(scenario.others)
            assert all(isinstance(trader, Flow | Replay | StandingBook) for trader in people)
            assert all(trader.next_due() == STARTED for trader in people)
            assert (len(traders) > len(people)) == bool(scenario.schedule)

    def test_an_unknown_name_is_told_which_there_are(self) -> None:
        with pytest.raises(ScenarioError, match="there are calm, default, demo, extremes"):
            load("demmo")


class TestReading:
    def test_3_ids_follow_from_the_slug_alone(self, tmp_path: Path) -> None:
        first = read(tmp_path, BASE).markets[0]
        other = BASE.replace("Will it rain?", "Wet?") + "    tick: 0.001\nseed: 9\n"
        second = read(tmp_path, other).markets[0]
        assert (first.condition_id, first.token_ids) == (second.condition_id, second.token_ids)
        assert (
            len(
                {
                    *first.token_ids,
                    *read(tmp_path, BASE.replace("rain", "snow", 1)).markets[0].token_ids,
                }
            )
            == 4
        )
        assert all(0 < int(token) < 2**256 for token in first.token_ids)

    def test_a_seed_given_outside_wins(self, tmp_path: Path) -> None:
        assert read(tmp_path, BASE + "seed: 3\n").seed == 3
        assert read(tmp_path, BASE + "seed: 3\n", seed=4).seed == 4

    @given(st.decimals("0.01", 10**6, places=6).filter(lambda size: size >= Decimal("0.01")))
    def test_1_numbers_are_kept_exactly(self, size: Decimal) -> None:
        document = parse(f"{BASE}    min_size: {size:f}\n")
        file = scenario_schema.ScenarioFile.model_validate(document.value)
        assert file.markets[0].min_size == size * ONE

    def test_everything_arrives_where_it_belongs(self, tmp_path: Path) -> None:
        scenario = read(
            tmp_path,
            BASE
            + """\
    fee: {rate: 0.07, exponent: 2}
    taker_delay_seconds: 0.25
    end: 2026-12-31T23:00:00Z
    book: {bids: {0.4: 10.5}, asks: {0.6: 20}}
settlement: {mined_seconds: [0.5, 1.5], confirmed_seconds: [2, 3]}
accounts:
  - address: "0x00000000000000000000000000000000000000aA"
    cash: 100.25
    tokens: {rain: {"No": 7}}
faults:
  - {name: lose_answer, every: 3, method: POST, path: /order}
  - {name: delay_answer, rate: 0.5, seconds: 1.5}
""",
        )
        market = scenario.markets[0]
        assert (market.fee_rate, market.fee_exponent, market.taker_delay_ms) == (70_000, 2, 250)
        assert market.end == datetime(2026, 12, 31, 23, tzinfo=UTC)
        assert scenario.others[market.condition_id] == Standing(
            {("BUY", 400_000): 10_500_000, ("SELL", 600_000): 20_000_000}
        )
        assert (scenario.mined_ms, scenario.confirmed_ms) == (
            (500, 1_500),
            (2_000, 3_000),
        )
        holder = "0x00000000000000000000000000000000000000aA"
        assert scenario.accounts == (
            Funding(holder, 100_250_000, {market.token_ids[1]: 7_000_000}),
        )
        assert scenario.faults == (
            Fault(name="lose_answer", every=3, method="POST", path="/order"),
            Fault(name="delay_answer", rate=0.5, seconds=1.5),
        )

        exchange = opened(None, scenario, lambda: STARTED)
        account = exchange.accounts.find(holder)
        assert account is not None
        assert (account.cash, account.tokens) == (100_250_000, {market.token_ids[1]: 7_000_000})
        reported = exchange.faults.report()
        assert [fault["name"] for fault in reported] == ["lose_answer", "delay_answer"]
        book = exchange.listings[market.condition_id].book
        assert book.levels(bid=True) == [(400_000, 10_500_000)]

    def test_a_recording_beside_the_scenario_is_found(self, tmp_path: Path) -> None:
        shutil.copy(DATA / f"{RECORDED}.jsonl.gz", tmp_path / "mine.gz")
        text = (PACKAGED / "recorded.yaml").read_text(encoding="utf-8")
        keys = "{file: ./mine.gz, speed: 2.5, start_seconds: 60, at_end: loop}"
        scenario = read(tmp_path, text[: text.index("replay:")] + f"replay: {keys}\n")
        played = scenario.others[scenario.markets[0].condition_id]
        assert isinstance(played, Played)
        assert (played.speed, played.offset_us, played.loop) == (Fraction(5, 2), 60_000_000, True)


MARKET_PROBLEMS = [
    ("tick: 0.02", "5:11: markets[0].tick: rain: no such tick: 0.02"),
    ("tick: 1_0", "5:11: markets[0].tick: must be a plain decimal from 0.000001 to 0.999999"),
    ("tikc: 0.01", "5:5: markets[0].tikc: no such key; did you mean tick?"),
    ("slug: wet", "5:5: markets[0].slug: given twice, first in line 3"),
    ("neg_risk: no", "5:15: markets[0].neg_risk: must be true or false"),
    ("end: tomorrow", "5:10: markets[0].end: must be a UTC time"),
    ("outcomes: [Yes]", "5:15: markets[0].outcomes[1]: is required"),
    ("outcomes: [Yes, Yes]", "5:15: markets[0].outcomes: must be two different names"),
    ('token_ids: ["7", "7"]', "5:16: markets[0].token_ids: must be two different tokens"),
    ("min_size: &size 5", "5:15: markets[0].min_size: anchors and aliases aren't read"),
    ("min_size: !!int 5", "5:15: markets[0].min_size: tags aren't read"),
    ("min_size: 1e3", "5:15: markets[0].min_size: must be a plain decimal"),
    ("book: {bids: {0.5: 1}, asks: {0.5: 1}}", "5:11: markets[0].book: bids must be below asks"),
    ("book: {bids: {0.505: 1}}", "5:18: markets[0].book.bids: 0.505: 1 is off tick or lot"),
    ("book: {bids: {up: 1}}", "5:19: markets[0].book.bids.up: must be a plain decimal"),
    ("book: 5", "5:11: markets[0].book: must be a mapping"),
    ("flow: {fair_price: 0.08}", "5:11: markets[0].flow: fair_price must be on the tick"),
    ("flow: {fair_price: 0.5, order_size: [9, 8]}", "5:41: markets[0].flow.order_size: must be ["),
    ("flow: {fair_price: 0.5, levels: 3}", "5:37: markets[0].flow.levels: must be a whole number"),
    ("replay: {file: nope.gz}", "5:20: markets[0].replay.file: "),
    ("replay: {file: x, at_end: jump}", "5:31: markets[0].replay.at_end: Input should be"),
]

DOCUMENT_PROBLEMS = [
    ("", "1:1: document: is empty"),
    ("just text", "1:1: document: must be a mapping"),
    ("version: [1", "1:12: document: "),
    ("version: 1\n---\nversion: 1\n", "2:1: document: but found another document"),
    ("version: 2\n" + BASE.partition("\n")[2], "1:10: version: Input should be '1'"),
    ("version: 1\nmarkets: []\n", "2:10: markets: must have at least one"),
    ("version: 1\n", "1:1: markets: is required"),
    (BASE + "? [a]\n: 1\n", "5:3: document: a key must be plain text"),
    (BASE + "<<: {seed: 1}\n", "5:1: <<: merge keys aren't read"),
    (BASE + "seed: 08a\n", "5:7: seed: must be a whole number"),
    (BASE + "accounts: [{address: 0x12}]\n", "5:22: accounts[0].address: must be 0x and 40"),
    (BASE + "faults: [{name: lose_answer, rate: 1.5}]\n", "5:36: faults[0].rate: must be a"),
    (BASE + "faults: [{name: lose_anwser}]\n", "5:17: faults[0].name: Input should be 'lose_"),
    (
        BASE + f"accounts: [{{address: 0x{'0' * 40}, tokens: {{rain: {{Maybe: 1}}}}}}]\n",
        "5:82: accounts[0].tokens.rain.Maybe: no such market and outcome",
    ),
    (
        BASE + "  - slug: rain\n    question: Again?\n",
        "5:11: markets[1].slug: rain is listed already",
    ),
]


class TestSchedule:
    SCHEDULE = (
        BASE
        + """\
  - slug: late
    question: Will it snow?
    opens_after_seconds: 60
    book: {bids: {0.40: 10}}
schedule:
  - {at_seconds: 300, market: rain, state: resolved, winner: "No"}
  - {at_seconds: 30.5, market: rain, tick: 0.001}
  - {at_seconds: 120, restart: {down_seconds: 10}}
  - {at_seconds: 270, mode: cancel_only}
"""
    )

    def run(self, tmp_path: Path, *seconds: float) -> tuple[Exchange, Clock, Session]:
        """The exchange with this schedule, started anew at each of the moments."""
        scenario, clock = read(tmp_path, self.SCHEDULE), Clock()
        for moment in seconds[:-1]:
            clock.now = STARTED + timedelta(seconds=moment)
            opened(tmp_path / "exchange.db", scenario, clock).close()
        clock.now = STARTED + timedelta(seconds=seconds[-1])
        exchange = opened(tmp_path / "exchange.db", scenario, clock)
        session = exchange.connect("/ws/market")
        tokens = [token for market in scenario.markets for token in market.token_ids]
        session.receive(
            json.dumps({"type": "market", "assets_ids": tokens, "custom_feature_enabled": True})
        )
        session.outgoing.clear()
        return exchange, clock, session

    def at(self, exchange: Exchange, clock: Clock, session: Session, seconds: float) -> list[str]:
        """The kinds of frames up to a moment, reached due by due."""
        end = STARTED + timedelta(seconds=seconds)
        while (due := exchange.next_due()) is not None and due <= end:
            clock.now = due
            exchange.advance()
        clock.now = end
        kinds = [json.loads(text)["event_type"] for text in session.outgoing]
        session.outgoing.clear()
        return kinds

    def test_it_is_read(self, tmp_path: Path) -> None:
        scenario = read(tmp_path, self.SCHEDULE)
        rain, late = (market.condition_id for market in scenario.markets)
        assert scenario.schedule == (
            Planned(0, StateChange(late, "paused")),
            Planned(60_000, StateChange(late, "open", announced=True)),
            Planned(300_000, StateChange(rain, "resolved", winner=1)),
            Planned(30_500, TickChange(rain, 1_000)),
            Planned(120_000, Restart(10_000, 120_000)),
            Planned(270_000, ModeChange("cancel_only")),
        )

    def test_everything_happens_in_its_time(self, tmp_path: Path) -> None:
        exchange, clock, session = self.run(tmp_path, 0)
        rain, late = exchange.listings.values()
        assert (late.state, rain.market.tick) == ("paused", 10_000)
        assert self.at(exchange, clock, session, 59) == ["tick_size_change", "tick_size_change"]
        assert (late.state, rain.market.tick) == ("paused", 1_000)
        assert self.at(exchange, clock, session, 60) == ["new_market"]
        assert late.state == "open"
        self.at(exchange, clock, session, 125)
        answer = exchange.handle("POST", "/order", {}, b"{}")
        assert answer.status == 425
        self.at(exchange, clock, session, 131)
        assert exchange.handle("POST", "/order", {}, b"{}").status == 503
        self.at(exchange, clock, session, 275)
        assert b"cancel-only" in exchange.handle("POST", "/order", {}, b"{}").body
        assert self.at(exchange, clock, session, 300) == ["market_resolved"]
        assert (rain.state, rain.winner) == ("resolved", 1)
        exchange.close()

    def test_an_exchange_that_was_away_makes_up_for_what_still_counts(self, tmp_path: Path) -> None:
        exchange, _, _ = self.run(tmp_path, 0, 125)
        rain, late = exchange.listings.values()
        assert (rain.market.tick, rain.state, late.state) == (1_000, "open", "open")
        assert exchange.handle("POST", "/order", {}, b"{}").status == 425
        exchange.close()
        exchange, clock, session = self.run(tmp_path, 200, 301, 400)
        rain, late = exchange.listings.values()
        assert (rain.state, rain.winner, late.state) == ("resolved", 1, "open")
        assert exchange.gate.mode == "cancel_only"
        assert self.at(exchange, clock, session, 500) == []
        exchange.close()

    def test_an_event_has_one_winner_whatever_was_planned(self, tmp_path: Path) -> None:
        text = "version: 1\nmarkets:\n"
        for slug in ("first", "second"):
            text += f"  - {{slug: {slug}, question: Who?, event: who, neg_risk: true}}\n"
        text += "schedule:\n"
        for slug in ("first", "second"):
            text += f"  - {{at_seconds: 60, market: {slug}, state: resolved, winner: 'Yes'}}\n"
        scenario, clock = read(tmp_path, text), Clock()
        exchange = opened(None, scenario, clock)
        clock.now = STARTED + timedelta(seconds=60)
        exchange.advance()
        assert [listing.state for listing in exchange.listings.values()] == ["resolved", "open"]

    def test_both_may_get_half(self, tmp_path: Path) -> None:
        text = "schedule:\n  - {at_seconds: 1, market: rain, state: resolved, winner: 50/50}\n"
        scenario, clock = read(tmp_path, BASE + text), Clock()
        exchange = opened(None, scenario, clock)
        clock.now = STARTED + timedelta(seconds=1)
        exchange.advance()
        (rain,) = exchange.listings.values()
        assert (rain.state, rain.winner) == ("resolved", None)

    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            ("{at_seconds: 1, market: rain}", "schedule[0]: must have one of tick, state, restart"),
            ("{at_seconds: 1, market: dry, tick: 0.01}", "schedule[0].market: must be the slug"),
            ("{at_seconds: 1, tick: 0.01}", "schedule[0].market: must be the slug"),
            ("{at_seconds: 1, market: rain, tick: 0.02}", "schedule[0].tick: no such tick: 0.02"),
            ("{at_seconds: 1, market: rain, state: resolved}", "schedule[0].winner: is required"),
            (
                "{at_seconds: 1, market: rain, state: resolved, winner: Maybe}",
                "schedule[0].winner: must be one of Yes, No, 50/50",
            ),
        ],
    )
    def test_a_wrong_entry_says_why(self, tmp_path: Path, entry: str, problem: str) -> None:
        (found,) = problems(tmp_path, f"{BASE}schedule:\n  - {entry}\n")
        assert problem in found


class TestProblems:
    @pytest.mark.parametrize(("line", "problem"), MARKET_PROBLEMS)
    def test_2_a_market_that_is_wrong_says_where(
        self, tmp_path: Path, line: str, problem: str
    ) -> None:
        found = problems(tmp_path, f"{BASE}    {line}\n")
        assert len(found) == 1
        assert found[0].startswith(problem)

    @pytest.mark.parametrize(("text", "problem"), DOCUMENT_PROBLEMS)
    def test_2_a_document_that_is_wrong_says_where(
        self, tmp_path: Path, text: str, problem: str
    ) -> None:
        assert [line[: len(problem)] for line in problems(tmp_path, text)][:1] == [problem]

    def test_2_all_problems_come_at_once_in_order(self, tmp_path: Path) -> None:
        found = problems(tmp_path, BASE + "    tick: x\n    min_size: y\n    end: z\nseed: w\n")
        assert [line.split(":")[0] for line in found] == ["5", "6", "7", "8"]

    def test_a_market_has_one_kind_of_others(self, tmp_path: Path) -> None:
        both = "    book: {bids: {0.4: 1}}\n    flow: {fair_price: 0.5}\n"
        assert problems(tmp_path, BASE + both) == [
            "6:11: markets[0].flow: book trades here already; one of them at most"
        ]

    def test_a_recording_of_another_market_is_refused(self, tmp_path: Path) -> None:
        keys = f"    replay: {{file: {RECORDED}.jsonl.gz}}\n"
        (problem,) = problems(tmp_path, BASE + keys)
        assert problem.startswith("5:20: markets[0].replay.file: ")
        assert problem.endswith(": no book of the first outcome")

    def test_a_start_beyond_the_recording_is_refused(self, tmp_path: Path) -> None:
        text = (PACKAGED / "recorded.yaml").read_text(encoding="utf-8")
        late = text.replace("speed: 1", "start_seconds: 900")
        assert problems(tmp_path, late)[0].endswith("the recording is 867.843 seconds long")

    def test_an_alias_bomb_is_refused_at_once(self, tmp_path: Path) -> None:
        layers = "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}*a{n - 1}]\n" for n in range(1, 20))
        assert any("aliases" in line for line in problems(tmp_path, f"a0: &a0 [x]\n{layers}"))

    def test_what_is_no_text_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "s.yaml").write_bytes(b"\xff\xfe")
        with pytest.raises(ScenarioError, match="not UTF-8"):
            load(tmp_path / "s.yaml")
        with pytest.raises(ScenarioError, match="No such file"):
            load(tmp_path / "none.yaml")
        with pytest.raises(ScenarioError, match="directory"):
            load(tmp_path)
        (tmp_path / "s.yaml").write_text("#" * 300_000)
        with pytest.raises(ScenarioError, match="longer than"):
            load(tmp_path / "s.yaml")
        assert problems(tmp_path, "[" * 20_000) == ["1:1: document: nested too deeply"]


def test_every_key_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [key for key in scenario_schema.KEYS if f"`{key}`" not in text] == []
    assert [name for name in get_args(FaultName) if f"`{name}`" not in text] == []


def test_the_example_in_the_docs_loads(tmp_path: Path) -> None:
    example = DOCS.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    assert read(tmp_path, example).seed == 7


def test_kinds_of_markets_and_the_makers_share_of_fees(tmp_path: Path) -> None:
    text = BASE + (
        "    version: v2\n    fine_tick: 0.001\n    delay_seconds: 3\n"
        "    fee: {rate: 0.04, rebate: 0.25}\n"
    )
    (market,) = read(tmp_path, text).markets
    assert (market.version, market.fine_tick, market.seconds_delay) == ("v2", 1_000, 3)
    assert (market.rebate_rate, market.neg_risk) == (250_000, False)
    again = read(tmp_path, text.replace("rain", "snow")).markets[0]
    assert set(again.token_ids).isdisjoint(market.token_ids)
    two_delays = problems(tmp_path, text + "    taker_delay_seconds: 1\n")
    assert two_delays == ["3:5: markets[0]: rain: either a taker delay or a delay in seconds"]
