"""The exchange's own hashes and signatures against the reference vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.exchange.orders import read
from runner.exchange.signatures import (
    SignedOrder,
    auth_hash,
    domain_separator,
    market_domain,
    order_hash,
    recover,
    request_hmac,
)

VECTORS: dict[str, Any] = json.loads(
    Path(__file__).with_name("order-vectors.json").read_text(encoding="utf-8")
)
ORDERS = VECTORS["orders"]


def by_name(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", ORDERS, ids=by_name)
def test_order_ids(vector: dict[str, Any]) -> None:
    domain = domain_separator(vector["domain"]["verifyingContract"], vector["domain"]["version"])
    assert "0x" + domain.hex() == vector["domain_separator"]
    order = read(json.loads(vector["body"])).order
    assert "0x" + order_hash(order, domain).hex() == vector["order_hash"]
    for neg_risk in (False, True):
        other = market_domain(neg_risk)
        same = order_hash(order, other).hex() == vector["order_hash"][2:]
        assert same == (other == domain)


def test_the_id_of_somebody_elses_order() -> None:
    vector = VECTORS["third_party_vector"]
    message = vector["message"]
    order = SignedOrder(
        salt=int(message["salt"]),
        maker=message["maker"],
        signer=message["signer"],
        token_id=int(message["tokenId"]),
        maker_amount=int(message["makerAmount"]),
        taker_amount=int(message["takerAmount"]),
        side="BUY",
        signature_type=3,
        timestamp=int(message["timestamp"]),
        metadata=bytes.fromhex(message["metadata"][2:]),
        builder=bytes.fromhex(message["builder"][2:]),
        signature=b"",
    )
    assert "0x" + order_hash(order, market_domain(neg_risk=False)).hex() == vector["order_hash"]


def test_the_attestation_of_a_key() -> None:
    headers = VECTORS["auth_vectors"]["l1_create_or_derive_key"]["headers"]
    digest = auth_hash(headers["POLY_ADDRESS"], headers["POLY_TIMESTAMP"], 0)
    assert recover(digest, bytes.fromhex(headers["POLY_SIGNATURE"][2:])) == headers["POLY_ADDRESS"]


@pytest.mark.parametrize("name", ["l2_get_data_orders", "l2_delete_order"])
def test_other_request_signatures(name: str) -> None:
    vector = VECTORS["auth_vectors"][name]
    secret, stamp = VECTORS["api_creds"]["api_secret"], vector["headers"]["POLY_TIMESTAMP"]
    body = (vector["body"] or "").encode()
    made = request_hmac(secret, stamp, vector["method"], vector["path_signed"], body)
    assert made == vector["headers"]["POLY_SIGNATURE"]


@pytest.mark.parametrize("vector", [v for v in ORDERS if v["signature_type"] != 3], ids=by_name)
def test_who_signed(vector: dict[str, Any]) -> None:
    digest = bytes.fromhex(vector["order_hash"][2:])
    signature = bytes.fromhex(vector["order_signature"][2:])
    assert recover(digest, signature) == vector["signer_address"]
    assert recover(digest[::-1], signature) != vector["signer_address"]
    assert recover(digest, signature[:-1]) is None
    assert recover(digest, signature[:-1] + b"\x05") is None


@pytest.mark.parametrize("vector", ORDERS, ids=by_name)
def test_request_signatures(vector: dict[str, Any]) -> None:
    headers = vector["headers"]
    secret, stamp = VECTORS["api_creds"]["api_secret"], headers["POLY_TIMESTAMP"]
    made = request_hmac(secret, stamp, "POST", "/order", vector["body"].encode())
    assert made == headers["POLY_SIGNATURE"]
