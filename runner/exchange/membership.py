"""What a member has and is: API keys, standing, balances, dead man's switch (reference 2 and 5)."""

from collections.abc import Mapping
from typing import Literal

from runner.exchange.records import Account, ApiKey, Refused
from runner.exchange.requests import Request, listing_of
from runner.exchange.signatures import (
    EXCHANGE,
    EXCHANGE_V3,
    NEG_RISK_ADAPTER,
    NEG_RISK_EXCHANGE,
)

_ASSET_SPENDERS = {
    "CONDITIONAL": (EXCHANGE, NEG_RISK_EXCHANGE, NEG_RISK_ADAPTER),
    "CONDITIONAL-V2": (EXCHANGE_V3,),
}


def create_key(request: Request) -> object:
    """`POST /auth/api-key`."""
    address, nonce = request.engine.accounts.attested(request.headers)
    key = request.engine.accounts.create_key(address, nonce)
    request.engine.note_key(key)
    return _credentials(key)


def derive_key(request: Request) -> object:
    """`GET /auth/derive-api-key`."""
    accounts = request.engine.accounts
    return _credentials(accounts.derive_key(*accounts.attested(request.headers)))


def list_keys(request: Request) -> object:
    """`GET /auth/api-keys`."""
    address = request.key().address
    keys = request.engine.accounts.all_keys()
    return {"apiKeys": [key.key for key in keys if key.active and key.address == address]}


def delete_key(request: Request) -> object:
    """`DELETE /auth/api-key`: the key that signed the request."""
    key = request.key()
    key.active = False
    request.engine.note_key(key)
    return "OK"


def closed_only(request: Request) -> object:
    """`GET /auth/ban-status/closed-only`."""
    return {"closed_only": request.engine.accounts.standing(request.key().address) == "closed_only"}


def balance(request: Request) -> object:
    """`GET /balance-allowance`: settled balances in base units; nothing is subtracted."""
    account, token_id, allowed = _asked_balance(request)
    engine = request.engine
    stale = engine.faults.strike("stale_balance", request.method, request.path) is not None
    held = engine.views.balance(account, token_id or "", stale=stale) if token_id is not None else 0
    asset: Literal["COLLATERAL", "CONDITIONAL"] = "CONDITIONAL" if token_id else "COLLATERAL"
    allowances = {spender: str(account.allowance(asset, spender)) for spender in allowed}
    return {"balance": str(held), "allowances": allowances}


def refresh_balance(request: Request) -> object:
    """`GET /balance-allowance/update`: refreshes the view that the other call shows."""
    account, token_id, _ = _asked_balance(request)
    if token_id is not None:
        request.engine.views.refresh(account, token_id)
    return b""


def _asked_balance(request: Request) -> tuple[Account, str | None, tuple[str, ...]]:
    """The wallet, the token (empty for cash) and the spenders that a balance is asked for.

    A token asked for under the other protocol's asset type is held by another contract, and so
    is None: nobody has any of it there.
    """
    key, query = request.key(), request.query
    wallet = request.engine.accounts.wallet(key.address, _signature_type(query))
    account = wallet or Account(key.address, key.address)
    kind = query.get("asset_type")
    if kind == "COLLATERAL":
        return account, "", (EXCHANGE, NEG_RISK_EXCHANGE, NEG_RISK_ADAPTER, EXCHANGE_V3)
    if kind not in _ASSET_SPENDERS:
        raise Refused(400, "assetAddress invalid hex address")
    token_id = query.get("token_id", "")
    listing, _ = listing_of(request.engine, token_id)
    fits = (listing.market.version == "v2") == (kind == "CONDITIONAL-V2")
    return account, token_id if fits else None, _ASSET_SPENDERS[kind]


def heartbeat(request: Request) -> object:
    """`POST /v1/heartbeats` (reference 5.6)."""
    key, body = request.key(), request.json()
    given = body.get("heartbeat_id", "") if isinstance(body, dict) else None
    answer = request.engine.heartbeat(key, given) if isinstance(given, str) else None
    if answer is None:
        wrong = "Invalid Heartbeat ID"
        raise Refused(400, wrong, {"error_msg": wrong, "heartbeat_id": key.heartbeat_id})
    return {"heartbeat_id": answer}


def _signature_type(query: Mapping[str, str]) -> int:
    text = query.get("signature_type", "0")
    if text not in {"0", "1", "2", "3"}:
        raise Refused(400, "invalid signature type")
    return int(text)


def _credentials(key: ApiKey) -> object:
    return {"apiKey": key.key, "secret": key.secret, "passphrase": key.passphrase}
