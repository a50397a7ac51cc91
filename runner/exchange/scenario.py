"""Scenarios: what an embedded exchange is populated with.

Purpose: turn one YAML file (docs/scenarios.md) into the markets, funded accounts, other traders,
faults and settlement delays of an exchange. Entry points: `load` for a path or the name of a
packaged scenario, and `default_scenario` for what is used without one.

Invariants, by number (the tests bear them):

1. Every number is read as text and kept exactly, as an integer in millionths.
2. All problems of a file are reported at once, each as `path:line:column: field: message`.
3. Ids that a file leaves out follow from the slug alone, so that plans can name them.
4. A scenario that loads can be run: its recordings are read and its flows fit their markets.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from runner.exchange import scenario_schema as schema
from runner.exchange.faults import Fault
from runner.exchange.flow import FlowStyle
from runner.exchange.markets import LOT, ONE, TICKS, MarketConfig, Side, decimal_text, position_ids
from runner.exchange.population import Funding, Others, Played, Scenario, Standing
from runner.exchange.recordings import RecordingError, load_recording
from runner.exchange.schedule import (
    ModeChange,
    Planned,
    Restart,
    StateChange,
    TickChange,
)
from runner.exchange.yamldoc import Document, Loc, Problem, parse

DATA = Path(str(files("runner.exchange") / "data"))
"""Packaged recordings."""

PACKAGED = Path(str(files("runner.exchange") / "scenarios"))
"""Packaged scenario files."""

_HALVES = "50/50"

SIZE_MAX_BYTES = 262_144
"""A scenario is written by hand; anything longer is some other file."""


class ScenarioError(ValueError):
    """A scenario that can't be used; `problems` are the lines to show, one a problem."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(where: str | Path, seed: int | None = None) -> Scenario:
    """Read a scenario.

    Args:
        where: the name of a packaged scenario (`demo`), or a path; a path has a dot or a slash.
        seed: replaces the file's own.

    Raises:
        ScenarioError: with every problem as `path:line:column: field: message`.
    """
    path = Path(where)
    if re.fullmatch(r"[a-z0-9_-]+", str(where)):
        path = PACKAGED / f"{where}.yaml"
        if not path.is_file():
            names = ", ".join(sorted(file.stem for file in PACKAGED.glob("*.yaml")))
            problem = f"{where}:1:1: document: no such packaged scenario; there are {names}"
            raise ScenarioError((problem,))
    document = parse(_text(path))
    problems = list(document.problems)
    if document.value is None:
        raise _refused(path, problems)
    try:
        file = schema.ScenarioFile.model_validate(document.value)
    except ValidationError as error:
        problems.extend(schema.problems_of(error, document))
        raise _refused(path, problems) from error
    builder = _Builder(file, document, path.parent)
    scenario = builder.scenario(file.seed if seed is None else seed)
    if problems or builder.problems:
        raise _refused(path, problems + builder.problems)
    return scenario


def default_scenario(seed: int) -> Scenario:
    """What an exchange is populated with when nobody asks for anything else (contract 6).

    Four markets, two standard and two of one neg-risk event, on ticks 0.01 and 0.001, each with
    a book and seeded flow.
    """
    return load("default", seed)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(SIZE_MAX_BYTES + 1)
        if len(raw) > SIZE_MAX_BYTES:
            raise ScenarioError((f"{path}:1:1: document: longer than {SIZE_MAX_BYTES} bytes",))
        return raw.decode("utf-8")
    except OSError as error:
        raise ScenarioError((f"{path}:1:1: document: {error.strerror}",)) from error
    except UnicodeDecodeError as error:
        raise ScenarioError((f"{path}:1:1: document: not UTF-8 text",)) from error


def _refused(path: Path, problems: list[Problem]) -> ScenarioError:
    return ScenarioError(
        tuple(f"{path}:{p.line}:{p.column}: {p.field}: {p.message}" for p in sorted(set(problems)))
    )


class _Builder:
    """Builds a scenario from a file of the right shape, collecting what doesn't fit together."""

    def __init__(self, file: schema.ScenarioFile, document: Document, folder: Path) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._document = document
        self._folder = folder

    def scenario(self, seed: int) -> Scenario:
        """The scenario; only good for use if no problem was found."""
        markets: list[MarketConfig] = []
        others: dict[str, Others] = {}
        for index, market in enumerate(self._file.markets):
            loc: Loc = ("markets", index)
            config = self._config(market, loc)
            if config is None:
                continue
            self._names_are_new(config, markets, loc)
            markets.append(config)
            who = self._others(market, config, loc)
            if who is not None:
                others[config.condition_id] = who
        settlement = self._file.settlement
        return Scenario(
            seed=seed,
            markets=tuple(markets),
            others=others,
            accounts=tuple(self._funding(markets)),
            faults=tuple(self._faults()),
            schedule=tuple(self._schedule(markets)),
            mined_ms=settlement.mined_seconds,
            confirmed_ms=settlement.confirmed_seconds,
        )

    def _problem(self, loc: Loc, message: str, *, at_key: bool = False) -> None:
        self.problems.append(self._document.problem(loc, message, at_key=at_key))

    def _config(self, market: schema.Market, loc: Loc) -> MarketConfig | None:
        fee = market.fee or self._file.fee
        try:
            return MarketConfig(
                slug=market.slug,
                question=market.question,
                event_slug=market.event or market.slug,
                condition_id=market.condition_id or f"0x{_digest('condition', market.slug)}",
                token_ids=market.token_ids or _tokens(market),
                outcomes=market.outcomes,
                tick=market.tick,
                min_size=market.min_size,
                neg_risk=market.neg_risk,
                fee_rate=fee.rate,
                fee_exponent=fee.exponent,
                taker_delay_ms=market.taker_delay_seconds,
                seconds_delay=market.delay_seconds,
                version=market.version,
                rebate_rate=fee.rebate,
                fine_tick=market.fine_tick,
                description=market.description,
                end=market.end,
            )
        except ValueError as error:
            self._problem(loc if market.tick in TICKS else (*loc, "tick"), str(error))
            return None

    def _names_are_new(self, config: MarketConfig, earlier: list[MarketConfig], loc: Loc) -> None:
        if config.outcomes[0] == config.outcomes[1]:
            self._problem((*loc, "outcomes"), "must be two different names")
        elif config.token_ids[0] == config.token_ids[1]:
            self._problem((*loc, "token_ids"), "must be two different tokens")
        for other in earlier:
            if config.slug == other.slug:
                self._problem((*loc, "slug"), f"{config.slug} is listed already")
            elif config.condition_id == other.condition_id:
                self._problem((*loc, "condition_id"), f"is also {other.slug}'s")
            elif set(config.token_ids) & set(other.token_ids):
                self._problem((*loc, "token_ids"), f"one is also {other.slug}'s")

    def _others(self, market: schema.Market, config: MarketConfig, loc: Loc) -> Others | None:
        given = [name for name in ("book", "flow", "replay") if getattr(market, name) is not None]
        if len(given) > 1:
            self._problem((*loc, given[1]), f"{given[0]} trades here already; one of them at most")
        if market.book is not None:
            return self._standing(market.book, config, (*loc, "book"))
        if market.flow is not None:
            return self._flow(market.flow, config, (*loc, "flow"))
        if market.replay is not None:
            return self._played(market.replay, config, (*loc, "replay"))
        return None

    def _standing(self, book: schema.Book, config: MarketConfig, loc: Loc) -> Standing:
        for name, levels in (("bids", book.bids), ("asks", book.asks)):
            for price, size in levels.items():
                if price % config.tick or size % LOT:
                    message = f"{decimal_text(price)}: {decimal_text(size)} is off tick or lot"
                    self._problem((*loc, name), message)
        if book.bids and book.asks and max(book.bids) >= min(book.asks):
            self._problem(loc, "bids must be below asks")
        bids: dict[tuple[Side, int], int] = {("BUY", at): size for at, size in book.bids.items()}
        return Standing(bids | {("SELL", at): size for at, size in book.asks.items()})

    def _flow(self, flow: schema.FlowKeys, config: MarketConfig, loc: Loc) -> FlowStyle | None:
        style = FlowStyle(
            fair=flow.fair_price,
            wander=flow.wander,
            interval_us=60 * ONE * ONE // flow.events_per_minute,
            size_min=flow.order_size[0],
            size_max=flow.order_size[1],
            levels=flow.levels,
        )
        try:
            style.check(config.tick)
        except ValueError as error:
            self._problem(loc, str(error))
            return None
        return style

    def _played(self, replay: schema.ReplayKeys, config: MarketConfig, loc: Loc) -> Played | None:
        bare = "/" not in replay.file
        path = DATA / replay.file if bare else self._folder / replay.file
        try:
            recording = load_recording(path, *config.token_ids)
        except RecordingError as error:
            self._problem((*loc, "file"), str(error))
            return None
        offset_us = replay.start_seconds * 1000
        if offset_us >= recording.length_us:
            length = decimal_text(recording.length_us)
            self._problem((*loc, "start_seconds"), f"the recording is {length} seconds long")
        speed = Fraction(replay.speed, ONE)
        return Played(recording, speed, offset_us, replay.at_end == "loop")

    def _funding(self, markets: list[MarketConfig]) -> Iterator[Funding]:
        tokens = {
            (market.slug, outcome): token
            for market in markets
            for outcome, token in zip(market.outcomes, market.token_ids, strict=True)
        }
        for index, account in enumerate(self._file.accounts):
            held: dict[str, int] = {}
            for slug, outcomes in account.tokens.items():
                for outcome, size in outcomes.items():
                    token = tokens.get((slug, outcome))
                    if token is None:
                        loc = ("accounts", index, "tokens", slug, outcome)
                        self._problem(loc, "no such market and outcome", at_key=True)
                    else:
                        held[token] = size
            yield Funding(account.address, account.cash, held)

    def _schedule(self, markets: list[MarketConfig]) -> Iterator[Planned]:
        listed = {market.slug: market for market in markets}
        for market in self._file.markets:
            if market.opens_after_seconds is not None and market.slug in listed:
                condition_id = listed[market.slug].condition_id
                yield Planned(0, StateChange(condition_id, "paused"))
                opening = StateChange(condition_id, "open", announced=True)
                yield Planned(market.opens_after_seconds, opening)
        for index, keys in enumerate(self._file.schedule):
            yield from self._planned(keys, listed, ("schedule", index))

    def _planned(
        self, keys: schema.ScheduleKeys, listed: Mapping[str, MarketConfig], loc: Loc
    ) -> Iterator[Planned]:
        names = ("tick", "state", "restart", "mode")
        if sum(getattr(keys, name) is not None for name in names) != 1:
            self._problem(loc, f"must have one of {', '.join(names)}")
            return
        if keys.mode is not None:
            yield Planned(keys.at_seconds, ModeChange(keys.mode))
            return
        if keys.restart is not None:
            restart = Restart(keys.restart.down_seconds, keys.restart.post_only_seconds)
            yield Planned(keys.at_seconds, restart)
            return
        market = listed.get(keys.market or "")
        if market is None:
            self._problem((*loc, "market"), "must be the slug of a market of this file")
        elif keys.tick is not None:
            if keys.tick not in TICKS:
                self._problem((*loc, "tick"), f"no such tick: {decimal_text(keys.tick)}")
            yield Planned(keys.at_seconds, TickChange(market.condition_id, keys.tick))
        elif keys.state is not None:
            may_win = market.outcomes if market.neg_risk else (*market.outcomes, _HALVES)
            if (keys.state == "resolved") != (keys.winner is not None):
                self._problem((*loc, "winner"), "is required with state resolved, and only then")
            elif keys.winner not in {None, *may_win}:
                self._problem((*loc, "winner"), f"must be one of {', '.join(may_win)}")
            else:
                index = dict(zip(market.outcomes, (0, 1), strict=True)).get(keys.winner or "")
                yield Planned(keys.at_seconds, StateChange(market.condition_id, keys.state, index))

    def _faults(self) -> Iterator[Fault]:
        for index, keys in enumerate(self._file.faults):
            given: dict[str, object] = keys.model_dump(exclude_none=True)
            if keys.rate is not None:
                given["rate"] = decimal_text(keys.rate)
            if keys.seconds is not None:
                given["seconds"] = decimal_text(keys.seconds * 1000)
            try:
                yield Fault.model_validate(given)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                message = first["msg"].removeprefix("Value error, ")
                self._problem(("faults", index, *first["loc"]), message)


def _digest(purpose: str, *names: str) -> str:
    return hashlib.sha256("\n".join((purpose, *names)).encode()).hexdigest()


def _tokens(market: schema.Market) -> tuple[str, str]:
    if market.version == "v2":
        return position_ids(bytes.fromhex(_digest("position", market.slug)), market.neg_risk)
    first, second = (int(_digest("token", market.slug, name), 16) for name in market.outcomes)
    return str(first), str(second)
