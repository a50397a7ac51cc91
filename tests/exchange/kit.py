"""A signing client for the exchange in process, and a clock that only tests move.

It signs with coincurve over hashes whose code `conformance/` holds to the reference vectors.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from runner.exchange.api import Exchange
from runner.exchange.markets import ONE, MarketConfig, Side
from runner.exchange.records import dollars
from runner.exchange.requests import Response
from runner.exchange.settlement import CHAIN_DELAYS, Delays
from runner.exchange.signatures import (
    SignatureType,
    SignedOrder,
    auth_hash,
    market_domain,
    order_hash,
    request_hmac,
    wallet_envelope,
)

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
RAIN = MarketConfig(
    slug="rain",
    question="Rain?",
    event_slug="weather",
    condition_id="0x" + "a1" * 32,
    token_ids=("1001", "1002"),
    fee_rate=40_000,
)
SNOW = MarketConfig(
    slug="snow",
    question="Snow?",
    event_slug="winter",
    condition_id="0x" + "b2" * 32,
    token_ids=("2001", "2002"),
    tick=1_000,
    neg_risk=True,
)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def make(
    clock: Clock,
    state: Path | None = None,
    seed: int = 7,
    delays: Delays = CHAIN_DELAYS,
) -> Exchange:
    return Exchange(state, clock, seed, [RAIN, SNOW], delays)


class Trader:
    """An account with credentials, over `Exchange.handle`."""

    def __init__(self, exchange: Exchange, number: int, cash: str = "1000", **tokens: str) -> None:
        self.exchange = exchange
        self._key = PrivateKey(number.to_bytes(32, "big"))
        public = self._key.public_key.format(compressed=False)[1:]
        self.address: str = to_checksum_address(keccak(public)[12:])
        self.maker: str = self.address
        self.signature_type: SignatureType = 0
        self._salt = 1000 * number
        if not exchange.accounts.find(self.address):
            held = {token.removeprefix("t"): size for token, size in tokens.items()}
            body = {"address": self.address, "cash": cash, "tokens": held}
            self.control("POST", "/_exchange/accounts", body)
        answer = self.l1("POST", "/auth/api-key")
        if answer.status == 400:
            answer = self.l1("GET", "/auth/derive-api-key")
        self.creds: dict[str, str] = json.loads(answer.body)

    def l1(self, method: str, path: str, nonce: int = 0) -> Response:
        digest = auth_hash(self.address, "1795521600", nonce)
        headers = {
            "POLY_ADDRESS": self.address,
            "POLY_SIGNATURE": "0x" + self.sign(digest).hex(),
            "POLY_TIMESTAMP": "1795521600",
            "POLY_NONCE": str(nonce),
        }
        return self.exchange.handle(method, path, headers, b"")

    def sign_order(self, order: SignedOrder, domain: bytes) -> bytes:
        if order.signature_type != 3:
            return self.sign(order_hash(order, domain))
        digest, wrapping = wallet_envelope(order, domain)
        return self.sign(digest) + wrapping

    def sign(self, digest: bytes) -> bytes:
        raw = self._key.sign_recoverable(digest, hasher=None)
        return raw[:64] + bytes([raw[64] + 27])

    def headers(self, method: str, path: str, body: bytes) -> dict[str, str]:
        stamp = "1795521600"
        return {
            "POLY_ADDRESS": self.address,
            "POLY_SIGNATURE": request_hmac(self.creds["secret"], stamp, method, path, body),
            "POLY_TIMESTAMP": stamp,
            "POLY_API_KEY": self.creds["apiKey"],
            "POLY_PASSPHRASE": self.creds["passphrase"],
        }

    def send(self, method: str, target: str, body: Any = None) -> Response:
        raw = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        path = target.partition("?")[0]
        return self.exchange.handle(method, target, self.headers(method, path, raw), raw)

    def ask(self, method: str, target: str, body: Any = None) -> Any:
        return json.loads(self.send(method, target, body).body)

    def control(self, method: str, target: str, body: Any = None) -> Any:
        raw = b"" if body is None else json.dumps(body).encode()
        response = self.exchange.handle(method, target, {}, raw)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def body(
        self,
        token_id: str,
        side: Side,
        price: int,
        size: int,
        order_type: str = "GTC",
        *,
        post_only: bool = False,
        expiration: int = 0,
        amounts: tuple[int, int] | None = None,
        salt: int | None = None,
        neg_risk: bool | None = None,
    ) -> dict[str, Any]:
        """A signed body of `POST /order`; `amounts` (maker, taker) replace price and size."""
        if salt is None:
            self._salt += 1
            salt = self._salt
        if amounts is None:
            cost = dollars(price, size)
            amounts = (cost, size) if side == "BUY" else (size, cost)
        market = self.exchange.tokens[token_id].market if token_id in self.exchange.tokens else RAIN
        order = SignedOrder(
            salt=salt,
            maker=self.maker,
            signer=self.maker if self.signature_type == 3 else self.address,
            token_id=int(token_id),
            maker_amount=amounts[0],
            taker_amount=amounts[1],
            side=side,
            signature_type=self.signature_type,
            timestamp=1795521600123,
            metadata=bytes(32),
            builder=bytes(32),
            signature=b"",
        )
        domain = market_domain(market.neg_risk if neg_risk is None else neg_risk, market.version)
        return {
            "order": {
                "salt": salt,
                "maker": self.maker,
                "signer": order.signer,
                "tokenId": token_id,
                "makerAmount": str(amounts[0]),
                "takerAmount": str(amounts[1]),
                "side": side,
                "expiration": str(expiration),
                "signatureType": self.signature_type,
                "timestamp": "1795521600123",
                "metadata": "0x" + "00" * 32,
                "builder": "0x" + "00" * 32,
                "signature": "0x" + self.sign_order(order, domain).hex(),
            },
            "owner": self.creds["apiKey"],
            "orderType": order_type,
            "deferExec": False,
            "postOnly": post_only,
        }

    def post(self, *args: Any, **kwargs: Any) -> Response:
        return self.send("POST", "/order", self.body(*args, **kwargs))

    def place(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """An order that must be accepted."""
        response = self.post(*args, **kwargs)
        assert response.status == 200, response.body
        answer: dict[str, Any] = json.loads(response.body)
        return answer

    def refused(self, *args: Any, **kwargs: Any) -> tuple[int, str]:
        """Status and text of an order that must be refused."""
        response = self.post(*args, **kwargs)
        assert response.status != 200, response.body
        return response.status, json.loads(response.body)["error"]

    def order(self, order_id: str) -> Any:
        return self.ask("GET", f"/data/order/{order_id}")

    def open_ids(self) -> list[str]:
        return [row["id"] for row in self.ask("GET", "/data/orders")["data"]]

    def wallet(self) -> tuple[str, dict[str, str]]:
        """Settled cash and tokens, from the ledger."""
        ledger = self.control("GET", f"/_exchange/ledger?owner={self.address}")
        account = ledger["accounts"][self.address]
        return account["cash"], account["tokens"]


def cents(number: int) -> int:
    """A price in whole cents, in millionths."""
    return number * ONE // 100


def shares(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * ONE + int(part.ljust(6, "0"))
