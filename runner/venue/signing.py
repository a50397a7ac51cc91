"""Orders, ids and headers, signed through the official client's builders.

The order id is the EIP-712 hash of the signed struct (reference 3.6), so it is known before
anything is sent. The builder gets our own integers, salt and timestamp: no float, no hidden read,
no second signature. The signature is deterministic (RFC 6979), hence

1. the same fields always give the same id, the same signature and the same body bytes;
2. `expiration`, order type, post-only and owner are in the body but not in the hash: two bodies
   that differ only there are duplicates to the exchange.

Keys and secrets live in opaque types; nothing here puts them into a `repr` or a message.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from py_clob_client_v2.clob_types import ApiCreds, RequestArgs
from py_clob_client_v2.config import get_contract_config
from py_clob_client_v2.headers.headers import create_level_1_headers, create_level_2_headers
from py_clob_client_v2.order_utils.exchange_order_builder_v2 import ExchangeOrderBuilderV2
from py_clob_client_v2.order_utils.model.order_data_v2 import SignedOrderV2, order_to_json_v2
from py_clob_client_v2.order_utils.model.side import Side as WireSide
from py_clob_client_v2.order_utils.model.signature_type_v2 import SignatureTypeV2
from py_clob_client_v2.signer import Signer as OfficialSigner

from runner.core.model import Side, TimeInForce
from runner.core.money import amounts
from runner.venue.ports import SignedOrder
from runner.venue.translate import unix_ms

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr

    from runner.venue.ports import NewOrder

_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1 (SEC 2, section 2.4.1): a private key is a number above zero and below it."""

SALT_LIMIT = 2**53
"""Salts stay below this, so that a JSON number carries them exactly (reference 1.2)."""

ZERO_BYTES32 = "0x" + "00" * 32


class Contract(NamedTuple):
    """The exchange contract an order is signed for: its address and signing-domain version."""

    address: str
    version: str = "2"


@dataclass(frozen=True, slots=True)
class Credentials:
    """API credentials (reference 2.1). The key is a public name; the other two are secrets."""

    api_key: str
    secret: SecretStr
    passphrase: SecretStr

    def redact(self, text: str) -> str:
        """`text` without these secrets, should somebody have echoed them."""
        for secret in (self.secret, self.passphrase):
            if value := secret.get_secret_value():
                text = text.replace(value, "[redacted]")
        return text


@dataclass(frozen=True, slots=True)
class OrderFields:
    """Everything that decides the bytes of one order.

    Amounts are integers in millionths, `timestamp_ms` Unix milliseconds (uniqueness, not
    validity), `expiration` Unix seconds, 0 for none. `metadata` and `builder` are signed 32-byte
    words, zero if unused (reference 3.1).
    """

    contract: Contract
    token_id: str
    side: Side
    maker_amount: int
    taker_amount: int
    salt: int
    timestamp_ms: int
    time_in_force: TimeInForce
    owner: str
    post_only: bool = False
    expiration: int = 0
    metadata: str = ZERO_BYTES32
    builder: str = ZERO_BYTES32


class Signer:
    """One wallet's key. Signs orders and the headers of both authentication levels.

    Args:
        private_key: hex, with or without 0x.
        chain_id: 137 for Polygon, 80002 for its test chain.
        signature_type: 0 EOA, 1 proxy, 2 safe, 3 deposit wallet (reference 2.3).
        funder: the address that holds the money; the key's own address for type 0.

    Raises:
        ValueError: the key, chain, type or funder makes no sense; the text never holds the key.
    """

    def __init__(
        self,
        private_key: SecretStr,
        chain_id: int,
        signature_type: int = 0,
        funder: str | None = None,
    ) -> None:
        text = private_key.get_secret_value()
        if not _KEY.fullmatch(text) or not 0 < int(text, 16) < _CURVE_ORDER:
            # checked here, since what a library says of a bad key may quote it
            msg = "the private key is not 32 bytes of hex that make a valid key"
            raise ValueError(msg)
        self._official = OfficialSigner(text, chain_id)
        self.address: str = self._official.address()
        self.chain_id = chain_id
        self.signature_type = SignatureTypeV2(signature_type)
        own = self.signature_type is SignatureTypeV2.EOA
        if not own and funder is None:
            msg = f"signature type {signature_type} needs a funder address"
            raise ValueError(msg)
        if own and funder is not None and funder.lower() != self.address.lower():
            msg = "signature type 0 trades from the key's own address; leave funder out"
            raise ValueError(msg)
        self.funder: str = self.address if funder is None or own else funder
        config = get_contract_config(chain_id)
        self.standard = Contract(config.exchange_v2)
        self.neg_risk = Contract(config.neg_risk_exchange_v2)
        self._builder = cache(self._new_builder)

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def _new_builder(self, contract: Contract) -> ExchangeOrderBuilderV2:
        return ExchangeOrderBuilderV2(
            contract.address, self.chain_id, self._official, domain_version=contract.version
        )

    def sign(self, order: NewOrder, *, salt: int, now: datetime, owner: str) -> SignedOrder:
        """Sign a child order for the contract of its market.

        `expires_at` goes on the wire as it is, in whole seconds: the engine drops a GTD order one
        minute before it (reference 3.7), so the caller adds that minute.

        Args:
            order: what to sign; its size in whole lots, its price on the tick.
            salt: 0 <= salt < 2**53, from an injected source.
            now: becomes the order's timestamp.
            owner: the API key that will send it.

        Raises:
            ValueError: amounts that are not exact, a GTD order without an end or another with one.
        """
        if (order.expires_at is not None) != (order.time_in_force is TimeInForce.GTD):
            msg = "a gtd order has an expiry and no other order has one"
            raise ValueError(msg)
        maker, taker = amounts(order.side, order.price, order.size, order.time_in_force, order.tick)
        return self.sign_fields(
            OrderFields(
                contract=self.neg_risk if order.neg_risk else self.standard,
                token_id=order.token_id,
                side=order.side,
                maker_amount=maker,
                taker_amount=taker,
                salt=salt,
                timestamp_ms=unix_ms(now),
                time_in_force=order.time_in_force,
                owner=owner,
                post_only=order.post_only,
                expiration=0 if order.expires_at is None else unix_ms(order.expires_at) // 1000,
            )
        )

    def sign_fields(self, fields: OrderFields) -> SignedOrder:
        """Sign exactly these fields.

        Raises:
            ValueError: a salt outside 0 <= salt < 2**53.
        """
        if not 0 <= fields.salt < SALT_LIMIT:
            msg = f"a salt must be in 0 <= salt < 2**53, not {fields.salt}"
            raise ValueError(msg)
        builder = self._builder(fields.contract)
        deposit = self.signature_type is SignatureTypeV2.POLY_1271
        order = SignedOrderV2(
            salt=str(fields.salt),
            maker=self.funder,
            signer=self.funder if deposit else self.address,
            tokenId=fields.token_id,
            makerAmount=str(fields.maker_amount),
            takerAmount=str(fields.taker_amount),
            side=WireSide.BUY if fields.side is Side.BUY else WireSide.SELL,
            signatureType=self.signature_type,
            timestamp=str(fields.timestamp_ms),
            metadata=fields.metadata,
            builder=fields.builder,
            expiration=str(fields.expiration),
        )
        typed_data = builder.build_order_typed_data(order)
        order.signature = builder.build_order_signature(typed_data)
        body = order_to_json_v2(
            order, fields.owner, fields.time_in_force.upper(), post_only=fields.post_only
        )
        return SignedOrder(
            order_id=builder.build_order_hash(typed_data),
            body=json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode(),
            maker_amount=fields.maker_amount,
            taker_amount=fields.taker_amount,
        )

    def l1_headers(self, now: datetime, nonce: int = 0) -> dict[str, str]:
        """Headers that prove control of the key, for creating and deriving API keys."""
        return dict(create_level_1_headers(self._official, nonce, unix_ms(now) // 1000))

    def l2_headers(
        self, credentials: Credentials, now: datetime, method: str, path: str, body: bytes = b""
    ) -> dict[str, str]:
        """Headers of one private request (reference 2.2), to be made afresh for each send.

        Args:
            credentials: of the API key that sends.
            now: becomes the header's timestamp.
            method: upper case.
            path: without the query string.
            body: the exact bytes that will be sent.
        """
        creds = ApiCreds(
            credentials.api_key,
            credentials.secret.get_secret_value(),
            credentials.passphrase.get_secret_value(),
        )
        request = RequestArgs(method, path, serialized_body=body.decode())
        return dict(create_level_2_headers(self._official, creds, request, unix_ms(now) // 1000))
