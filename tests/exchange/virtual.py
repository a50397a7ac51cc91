"""A whole exchange on a clock of its own: flow, settlement, faults, sockets, and an account.

`Day` steps from one due moment to the next, as a driver does, and folds everything that anybody
could see (answers, frames, when) into a trace.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from typing import Any

from runner.exchange.api import Exchange
from runner.exchange.faults import Fault
from runner.exchange.feeds import Session
from runner.exchange.markets import LOT, MarketConfig, Side
from runner.exchange.population import Scenario
from runner.exchange.requests import Response
from runner.exchange.server import opened
from tests.exchange.kit import Clock, Trader, shares


class Bot:
    """An account that trades for no reason at all, from a seed."""

    def __init__(self, day: "Day", seed: int, every_s: float) -> None:
        self.trader = Trader(day.exchange, 1 + seed % 1000, "100000")
        for market in day.markets:
            for token in market.token_ids:
                day.exchange.fund(self.trader.address, 0, {token: shares("5000")})
        self.every_s = every_s
        self.statuses: Counter[int] = Counter()
        self._day = day
        self._chance = Random(seed)
        self._known: list[str] = []

    def act(self) -> None:
        chance, draw = self._chance, self._chance.random()
        market = chance.choice(self._day.markets)
        token = chance.choice(market.token_ids)
        if draw < 0.6:
            self._place(market, token)
        elif draw < 0.75 and self._known:
            self._ask("DELETE", "/order", {"orderID": self._known.pop()})
        elif draw < 0.8:
            self._ask("DELETE", "/cancel-all")
        else:
            path = chance.choice(["/data/orders", "/data/trades", f"/book?token_id={token}"])
            if self._known and chance.random() < 0.3:
                path = f"/data/order/{chance.choice(self._known)}"
            self._ask("GET", path)

    def _place(self, market: MarketConfig, token: str) -> None:
        chance, listing = self._chance, self._day.exchange.tokens[token]
        side: Side = chance.choice(("BUY", "SELL"))
        outcome, tick = market.token_ids.index(token), listing.market.tick
        best = listing.best(outcome, chance.random() < 0.5) or 500_000
        price = min(max(best - best % tick, tick), 1_000_000 - tick)
        size = chance.randint(500, 5_000) * LOT
        kind = chance.choice(["GTC", "GTC", "FAK"])
        size -= size % (100 * LOT)  # whole shares: any price gives a whole amount
        body = self.trader.body(token, side, price, size, kind)
        answer = self._ask("POST", "/order", body)
        if answer.status == 200 and answer.body.startswith(b"{"):
            try:
                self._known.append(json.loads(answer.body)["orderID"])
            except ValueError:
                return  # a fault cut the answer

    def _ask(self, method: str, target: str, body: Any = None) -> Response:
        answer = self.trader.send(method, target, body)
        self.statuses[answer.status] += 1
        self._day.note(f"{method} {target} {answer.status} {answer.delay_s} {answer.lost}")
        self._day.note(answer.body.decode())
        return answer


class Day:
    """An exchange, its sockets and a bot, from `START` on.

    `frames` holds the market frames of the last step as text; `steps` counts the moments at which
    something was due.
    """

    def __init__(
        self, scenario: Scenario, seed: int, faults: Iterable[Fault] = (), every_s: float = 5
    ) -> None:
        self.clock = Clock()
        self.markets = scenario.markets
        self.exchange: Exchange = opened(None, scenario, self.clock)
        self.steps = 0
        self._trace = hashlib.sha256()
        self.bot = Bot(self, seed, every_s)
        self.market = self._socket("/ws/market", self._subscription())
        creds = {key: self.bot.trader.creds[key] for key in ("apiKey", "secret", "passphrase")}
        self.user = self._socket("/ws/user", {"type": "user", "auth": creds})
        for fault in faults:
            self.exchange.faults.add(fault)
        self.frames: list[str] = []

    def _subscription(self) -> dict[str, Any]:
        tokens = [token for market in self.markets for token in market.token_ids]
        return {"type": "market", "assets_ids": tokens, "custom_feature_enabled": True}

    def _socket(self, path: str, first: dict[str, Any]) -> Session:
        session = self.exchange.connect(path)
        session.receive(json.dumps(first))
        return session

    def note(self, text: str) -> None:
        self._trace.update(f"{self.clock.now.isoformat()} {text}\n".encode())

    def digest(self) -> str:
        ledger = self.exchange.handle("GET", "/_exchange/ledger", {}, b"").body
        faults = self.exchange.handle("GET", "/_exchange/faults", {}, b"").body
        return hashlib.sha256(self._trace.digest() + ledger + faults).hexdigest()

    def run(self, seconds: float) -> None:
        """Lets time pass; `after_step` is called after each moment at which something was due."""
        end = self.clock.now + timedelta(seconds=seconds)
        acts_at = self.clock.now + timedelta(seconds=self.bot.every_s)
        while self.clock.now < end:
            due = self.exchange.next_due()
            wait = timedelta(days=1) if due is None else due - self.exchange.now()
            self.clock.now = min(acts_at, end, self.clock.now + max(wait, timedelta()))
            if due is not None and due <= self.exchange.now():
                self.exchange.advance()
            if self.clock.now >= acts_at:
                self.bot.act()
                acts_at += timedelta(seconds=self.bot.every_s)
            self.steps += 1
            self._drain()
            self.after_step()

    def after_step(self) -> None:
        """For those who look at every step."""

    def _drain(self) -> None:
        self.frames = []
        for session in (self.market, self.user):
            while session.outgoing:
                text = session.outgoing.popleft()
                self.note(text)
                if session is self.market and text[:1] in "[{":
                    self.frames.append(text)
