"""Every vector of the reference is reproduced: ids, signatures, bodies, headers.

`order-vectors.json` is a copy of the project's offline reference of the exchange's API, made with
py-clob-client-v2 1.2.1 (its own text says how it was cross-checked).
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from runner.core.model import Side, TimeInForce
from runner.venue.ports import NewOrder
from runner.venue.signing import Contract, Credentials, OrderFields, Signer

VECTORS: dict[str, Any] = json.loads(
    Path(__file__).with_name("order-vectors.json").read_text(encoding="utf-8")
)
ORDERS = VECTORS["orders"]
CREDS = Credentials(
    VECTORS["api_creds"]["api_key"],
    SecretStr(VECTORS["api_creds"]["api_secret"]),
    SecretStr(VECTORS["api_creds"]["api_passphrase"]),
)
SIGNED_AT = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=1790000000123)


def signer_of(vector: dict[str, Any]) -> Signer:
    kind = vector["signature_type"]
    funder = vector["funder"] if kind else None
    return Signer(SecretStr(vector["private_key"]), 137, kind, funder)


def fields_of(vector: dict[str, Any]) -> OrderFields:
    message, body = vector["message"], json.loads(vector["body"])
    return OrderFields(
        contract=Contract(vector["domain"]["verifyingContract"], vector["domain"]["version"]),
        token_id=message["tokenId"],
        side=Side.SELL if message["side"] else Side.BUY,
        maker_amount=int(message["makerAmount"]),
        taker_amount=int(message["takerAmount"]),
        salt=int(message["salt"]),
        timestamp_ms=int(message["timestamp"]),
        time_in_force=TimeInForce(body["orderType"].lower()),
        owner=body["owner"],
        post_only=body["postOnly"],
        expiration=int(body["order"]["expiration"]),
        metadata=message["metadata"],
        builder=message["builder"],
    )


@pytest.mark.parametrize("vector", ORDERS, ids=lambda v: v["name"])
def test_id_signature_body_and_headers(vector: dict[str, Any]) -> None:
    signer = signer_of(vector)
    assert signer.address == vector["signer_address"]
    signed = signer.sign_fields(fields_of(vector))
    assert signed.order_id == vector["order_hash"]
    assert json.loads(signed.body)["order"]["signature"] == vector["order_signature"]
    assert signed.body == vector["body"].encode()
    headers = signer.l2_headers(CREDS, SIGNED_AT, "POST", "/order", signed.body)
    assert headers == {k: v for k, v in vector["headers"].items() if k.startswith("POLY_")}


def limit_vectors() -> list[dict[str, Any]]:
    """Those that a child order of ours can be: a limit order on a token, nothing extra signed."""
    return [
        v
        for v in ORDERS
        if v["input"]["kind"] == "limit"
        and "token_id" in v["input"]["args"]
        and "builder_code" not in v["input"]["args"]
    ]


def new_order_of(vector: dict[str, Any]) -> NewOrder:
    given = vector["input"]
    args = given["args"]
    end = args.get("expiration")
    return NewOrder(
        token_id=args["token_id"],
        side=Side(args["side"].lower()),
        price=Decimal(str(args["price"])),
        size=Decimal(str(args["size"])),
        time_in_force=TimeInForce(given["order_type"].lower()),
        post_only=given["post_only"],
        expires_at=None if end is None else datetime.fromtimestamp(end, UTC),
        tick=Decimal(given["tick_size"]),
        neg_risk=given["neg_risk"],
    )


@pytest.mark.parametrize("vector", limit_vectors(), ids=lambda v: v["name"])
def test_a_child_order_becomes_the_same_bytes_from_decimals(vector: dict[str, Any]) -> None:
    """Our integers, our choice of contract, our expiry: the official client's bytes."""
    signer = signer_of(vector)
    order = new_order_of(vector)
    salt = int(vector["message"]["salt"])
    first = signer.sign(order, salt=salt, now=SIGNED_AT, owner=CREDS.api_key)
    assert first.body == vector["body"].encode()
    assert first.order_id == vector["order_hash"]
    assert first == signer.sign(order, salt=salt, now=SIGNED_AT, owner=CREDS.api_key)
    assert first == signer_of(vector).sign(order, salt=salt, now=SIGNED_AT, owner=CREDS.api_key)


def test_the_other_contract_gives_another_id() -> None:
    vector = ORDERS[0]
    signer = signer_of(vector)
    fields = fields_of(vector)
    assert fields.contract == signer.standard
    other = OrderFields(
        **{name: getattr(fields, name) for name in OrderFields.__slots__}
        | {"contract": signer.neg_risk}
    )
    assert signer.sign_fields(other).order_id != vector["order_hash"]


def test_third_party_order_id() -> None:
    """The id of a deposit-wallet order seen in production by somebody else."""
    vector = VECTORS["third_party_vector"]
    message = vector["message"]
    signer = Signer(SecretStr(ORDERS[0]["private_key"]), 137, 3, message["maker"])
    signed = signer.sign_fields(
        OrderFields(
            contract=Contract(vector["domain"]["verifyingContract"], vector["domain"]["version"]),
            token_id=message["tokenId"],
            side=Side.BUY,
            maker_amount=int(message["makerAmount"]),
            taker_amount=int(message["takerAmount"]),
            salt=int(message["salt"]),
            timestamp_ms=int(message["timestamp"]),
            time_in_force=TimeInForce.GTC,
            owner="",
            builder=message["builder"],
        )
    )
    assert signed.order_id == vector["order_hash"]


def test_level_1_headers() -> None:
    vector = VECTORS["auth_vectors"]["l1_create_or_derive_key"]
    signer = Signer(SecretStr(vector["private_key"]), vector["chain_id"])
    at = datetime.fromtimestamp(vector["timestamp"], UTC)
    assert signer.l1_headers(at, vector["nonce"]) == vector["headers"]


@pytest.mark.parametrize("name", ["l2_get_data_orders", "l2_delete_order"])
def test_level_2_headers(name: str) -> None:
    vector = VECTORS["auth_vectors"][name]
    signer = signer_of(ORDERS[0])
    body = (vector["body"] or "").encode()
    headers = signer.l2_headers(CREDS, SIGNED_AT, vector["method"], vector["path_signed"], body)
    assert headers == {k: v for k, v in vector["headers"].items() if k.startswith("POLY_")}


@pytest.mark.parametrize("salt", [-1, 2**53])
def test_a_salt_that_json_cannot_carry_is_refused(salt: int) -> None:
    fields = fields_of(ORDERS[0])
    wrong = OrderFields(
        **{name: getattr(fields, name) for name in OrderFields.__slots__} | {"salt": salt}
    )
    with pytest.raises(ValueError, match="salt"):
        signer_of(ORDERS[0]).sign_fields(wrong)


def test_an_expiry_belongs_to_gtd_and_to_nothing_else() -> None:
    signer = signer_of(ORDERS[0])
    gtc = new_order_of(ORDERS[0])
    parts = {name: getattr(gtc, name) for name in NewOrder.__slots__}
    with pytest.raises(ValueError, match="gtd"):
        signer.sign(
            NewOrder(**parts | {"time_in_force": TimeInForce.GTD}),
            salt=1,
            now=SIGNED_AT,
            owner="",
        )
    with pytest.raises(ValueError, match="gtd"):
        signer.sign(NewOrder(**parts | {"expires_at": SIGNED_AT}), salt=1, now=SIGNED_AT, owner="")


def test_wallets_that_make_no_sense_are_refused_without_quoting_the_key() -> None:
    key = ORDERS[0]["private_key"]
    with pytest.raises(ValueError, match="funder"):
        Signer(SecretStr(key), 137, 2)
    with pytest.raises(ValueError, match="funder"):
        Signer(SecretStr(key), 137, 0, "0x" + "11" * 20)
    with pytest.raises(ValueError, match="private key") as caught:
        Signer(SecretStr(key[:-2] + "zz"), 137)
    assert key[2:-2] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_secret_shows() -> None:
    signer = signer_of(ORDERS[0])
    shown = f"{signer!r} {signer} {CREDS!r} {CREDS}"
    secrets = [
        ORDERS[0]["private_key"][2:],
        VECTORS["api_creds"]["api_secret"],
        VECTORS["api_creds"]["api_passphrase"],
    ]
    for secret in secrets:
        assert secret not in shown
        assert secret[:8] not in shown
    echoed = f"bad key {secrets[1]} with {secrets[2]}"
    assert CREDS.redact(echoed) == "bad key [redacted] with [redacted]"
