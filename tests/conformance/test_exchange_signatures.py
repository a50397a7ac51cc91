"""The exchange's own hashes and signatures against the reference vectors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.exchange.orders import read
from runner.exchange.signatures import (
    EXCHANGE_V3,
    SignedOrder,
    auth_hash,
    domain_separator,
    market_domain,
    order_hash,
    order_signer,
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
    for other in (market_domain(False), market_domain(True), market_domain(False, "v2")):
        same = order_hash(order, other).hex() == vector["order_hash"][2:]
        assert same == (other == domain)


def test_protocol_v2_has_a_contract_and_a_version_of_its_own() -> None:
    assert market_domain(False, "v2") == market_domain(True, "v2")
    assert market_domain(False, "v2") == domain_separator(EXCHANGE_V3, "3")


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
def test_who_signed_an_order(vector: dict[str, Any]) -> None:
    order = read(json.loads(vector["body"])).order
    domain = domain_separator(vector["domain"]["verifyingContract"], vector["domain"]["version"])
    assert order_signer(order, domain) == vector["signer_address"]
    assert order_signer(replace(order, salt=order.salt + 1), domain) != vector["signer_address"]
    other = domain_separator(vector["domain"]["verifyingContract"], "4")
    assert order_signer(order, other) != vector["signer_address"]


DEPOSIT = next(vector for vector in ORDERS if vector["signature_type"] == 3)


@pytest.mark.parametrize("byte", [0, 40, 65, 97, 129, 200, 315, 316])
def test_a_wrapped_signature_counts_in_every_part(byte: int) -> None:
    order = read(json.loads(DEPOSIT["body"])).order
    assert len(order.signature) == 317
    raw = bytearray(order.signature)
    raw[byte] ^= 1
    changed = replace(order, signature=bytes(raw))
    domain = market_domain(False)
    assert order_signer(changed, domain) != DEPOSIT["signer_address"]
    assert order_signer(replace(order, signature=order.signature[:65]), domain) is None
    assert order_signer(replace(order, signature=order.signature + b"\0"), domain) is None


def test_a_wrapped_signature_is_for_one_wallet() -> None:
    order = read(json.loads(DEPOSIT["body"])).order
    other = replace(order, signer="0x" + "11" * 20, maker="0x" + "11" * 20)
    assert order_signer(other, market_domain(False)) is None


@pytest.mark.parametrize("vector", ORDERS, ids=by_name)
def test_request_signatures(vector: dict[str, Any]) -> None:
    headers = vector["headers"]
    secret, stamp = VECTORS["api_creds"]["api_secret"], headers["POLY_TIMESTAMP"]
    made = request_hmac(secret, stamp, "POST", "/order", vector["body"].encode())
    assert made == headers["POLY_SIGNATURE"]
