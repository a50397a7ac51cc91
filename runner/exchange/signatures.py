"""Hashes and signatures of Polymarket's API, computed independently of the official client.

EIP-712 hashes of orders and of the key attestation (reference 2.1, 3.1, 3.6), the address that
signed them, directly or for a deposit wallet (reference 2.3), and the HMAC of private requests
(reference 2.2).
"""

import base64
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from coincurve import PublicKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from runner.exchange.markets import ProtocolVersion, Side

CHAIN_ID = 137
"""Polygon: the embedded exchange stands in for the real chain (reference 2.1)."""

EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"
NEG_RISK_EXCHANGE = "0xe2222d279d744050d28e00520010520000310F59"
EXCHANGE_V3 = "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa"
"""The contracts an order may be signed for (reference 3.2): of standard and of neg-risk markets,
and of markets of protocol version 2 (reference 3.3)."""

NEG_RISK_ADAPTER = "0xd91E80cF2E7be2e162c6513ceD06f1dD0dA35296"
"""Moves the collateral and tokens of neg-risk markets: its allowance is checked too."""

SignatureType = Literal[0, 1, 2, 3]

_ATTESTATION = "This message attests that I control the given wallet"


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """The signed struct of reference 3.1, with its signature. Amounts in base units (10^6)."""

    salt: int
    maker: str
    signer: str
    token_id: int
    maker_amount: int
    taker_amount: int
    side: Side
    signature_type: SignatureType
    timestamp: int
    metadata: bytes
    builder: bytes
    signature: bytes


@lru_cache(maxsize=4096)
def checksummed(address: str) -> str:
    """An address in its checksummed spelling.

    Raises:
        ValueError: It is no address.
    """
    return to_checksum_address(address)


def _type_hash(text: str) -> bytes:
    return keccak(text=text)


def _address_word(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x")).rjust(32, b"\0")


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


_ORDER_TEXT = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    "uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,"
    "bytes32 builder)"
)
_ORDER_TYPE = _type_hash(_ORDER_TEXT)
_NESTED_TYPE = _type_hash(
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)" + _ORDER_TEXT
)
_AUTH_TYPE = _type_hash("ClobAuth(address address,string timestamp,uint256 nonce,string message)")


@lru_cache
def domain_separator(contract: str, version: str = "2", chain_id: int = CHAIN_ID) -> bytes:
    """The EIP-712 domain of an exchange contract (reference 3.1); `version` 3 for ExchangeV3."""
    fields = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    return keccak(
        _type_hash(fields)
        + keccak(text="Polymarket CTF Exchange")
        + keccak(text=version)
        + _word(chain_id)
        + _address_word(contract)
    )


@lru_cache
def _auth_domain(chain_id: int) -> bytes:
    return keccak(
        _type_hash("EIP712Domain(string name,string version,uint256 chainId)")
        + keccak(text="ClobAuthDomain")
        + keccak(text="1")
        + _word(chain_id)
    )


def market_contract(neg_risk: bool, version: ProtocolVersion) -> str:
    """The exchange contract that trades a market (reference 3.2, 3.3)."""
    if version == "v2":
        return EXCHANGE_V3
    return NEG_RISK_EXCHANGE if neg_risk else EXCHANGE


def market_domain(neg_risk: bool, version: ProtocolVersion = "v1") -> bytes:
    """The domain that orders of a market are signed for."""
    return domain_separator(market_contract(neg_risk, version), "3" if version == "v2" else "2")


def _struct_hash(order: SignedOrder) -> bytes:
    return keccak(
        _ORDER_TYPE
        + _word(order.salt)
        + _address_word(order.maker)
        + _address_word(order.signer)
        + _word(order.token_id)
        + _word(order.maker_amount)
        + _word(order.taker_amount)
        + _word(0 if order.side == "BUY" else 1)
        + _word(order.signature_type)
        + _word(order.timestamp)
        + order.metadata
        + order.builder
    )


def order_hash(order: SignedOrder, domain: bytes) -> bytes:
    """The hash that identifies an order (reference 3.6); types 0 to 2 sign it as it is."""
    return keccak(b"\x19\x01" + domain + _struct_hash(order))


def wallet_envelope(order: SignedOrder, domain: bytes) -> tuple[bytes, bytes]:
    """How a deposit wallet's order is signed: a contract has it wrapped (reference 2.3, ERC-7739).

    Returns:
        The hash that the owner's key signs: that of the order nested in the wallet's own domain;
        and what follows those 65 bytes, to 317 in all: the exchange's domain separator, the
        order's struct hash, its type as text and the length of that.
    """
    struct, text = _struct_hash(order), _ORDER_TEXT.encode()
    nested = keccak(
        _NESTED_TYPE
        + struct
        + keccak(text="DepositWallet")
        + keccak(text="1")
        + _word(CHAIN_ID)
        + _address_word(order.signer)
        + _word(0)
    )
    digest = keccak(b"\x19\x01" + domain + nested)
    return digest, domain + struct + text + len(text).to_bytes(2, "big")


def order_signer(order: SignedOrder, domain: bytes) -> str | None:
    """The checksummed address whose key signed an order, or None if nobody's did.

    For a deposit wallet (type 3) that is its owner's key.
    """
    if order.signature_type != 3:
        return recover(order_hash(order, domain), order.signature)
    digest, wrapping = wallet_envelope(order, domain)
    return recover(digest, order.signature[:65]) if order.signature[65:] == wrapping else None


def auth_hash(address: str, timestamp: str, nonce: int, chain_id: int = CHAIN_ID) -> bytes:
    """The hash of the attestation that creates and derives API keys (reference 2.1)."""
    struct = keccak(
        _AUTH_TYPE
        + _address_word(address)
        + keccak(text=timestamp)
        + _word(nonce)
        + keccak(text=_ATTESTATION)
    )
    return keccak(b"\x19\x01" + _auth_domain(chain_id) + struct)


def recover(digest: bytes, signature: bytes) -> str | None:
    """The checksummed address that signed `digest`, or None if the signature is no signature."""
    if len(signature) != 65 or signature[64] not in {27, 28}:
        return None
    compact = signature[:64] + bytes([signature[64] - 27])
    try:
        key = PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError:
        return None
    return checksummed("0x" + keccak(key.format(compressed=False)[1:])[12:].hex())


def request_hmac(secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """The signature of a private request, over the exact bytes of its body (reference 2.2)."""
    message = f"{timestamp}{method}{path}".encode() + body
    digest = hmac.digest(base64.urlsafe_b64decode(secret), message, "sha256")
    return base64.urlsafe_b64encode(digest).decode()
