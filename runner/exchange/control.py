"""The exchange's own control face, `/_exchange` (contract 6): the truth, and what may befall it."""

from collections.abc import Callable, Mapping
from typing import Literal, cast, get_args

from eth_utils.address import is_address
from pydantic import ValidationError

from runner.exchange.agenda import instant
from runner.exchange.faults import Fault
from runner.exchange.gate import TradingMode
from runner.exchange.limits import TIERS, SignerMode
from runner.exchange.listings import Listing
from runner.exchange.markets import MarketState, decimal_text, millionths
from runner.exchange.records import (
    UNLIMITED,
    Account,
    Approval,
    Order,
    Refused,
    Standing,
    Trade,
    WalletType,
)
from runner.exchange.requests import Request, market_of
from runner.exchange.signatures import checksummed

_HALVES = "50/50"


def ledger(request: Request) -> object:
    """`GET /_exchange/ledger`: every account, order and trade; `?owner=` for one account.

    Orders are those that were accepted: a FAK or FOK that was killed on arrival was refused.
    """
    engine, owner = request.engine, _owner(request)
    accounts = {
        account.address: _wallet(account)
        for account in engine.accounts.all()
        if owner in {None, account.address}
    }
    orders = [
        _order(order)
        for order in engine.orders.values()
        if owner in {None, order.maker} and not order.killed
    ]
    trades = [
        _trade(t)
        for t in engine.trades.values()
        if owner in {None, t.address, *(maker.address for maker in t.makers)}
    ]
    rebates = [
        {
            "day": _time(r.day * 86_400_000)[:10],
            "address": r.address,
            "amount": decimal_text(r.amount),
        }
        for r in engine.treasury.rebates
        if owner in {None, r.address}
    ]
    return {
        "now": _time(engine.now_ms()),
        "accounts": accounts,
        "orders": orders,
        "trades": trades,
        "rebates": rebates,
    }


def markets(request: Request) -> object:
    """`GET /_exchange/markets`: what one needs to trade on each."""
    return [
        {
            "condition_id": listing.market.condition_id,
            "slug": listing.market.slug,
            "question": listing.market.question,
            "event_slug": listing.market.event_slug,
            "tokens": [
                {"token_id": token, "outcome": outcome}
                for token, outcome in zip(
                    listing.market.token_ids, listing.market.outcomes, strict=True
                )
            ],
            "tick": decimal_text(listing.market.tick),
            "min_size": decimal_text(listing.market.min_size),
            "neg_risk": listing.market.neg_risk,
            "fee_rate": decimal_text(listing.market.fee_rate),
            "state": listing.state,
        }
        for listing in request.engine.listings.values()
    ]


def fund(request: Request) -> object:
    """`POST /_exchange/accounts`: adds `cash` and `tokens` to an account.

    `signer` names the key that signs for a contract wallet and `signature_type` what kind it is
    (1 proxy, 2 safe, 3 deposit wallet; without it the wallet answers to any of them). `standing`
    says how the exchange stands to the address, `allowances` what contracts may move:
    `{"COLLATERAL" | "CONDITIONAL": {spender: dollars, or "unlimited"}}` (tokens: "0" or that).
    """
    keys = {"address", "cash", "tokens", "signer", "signature_type", "standing", "allowances"}
    body, engine = _object(request, keys), request.engine
    signer, kind, standing = (body.get(k) for k in ("signer", "signature_type", "standing"))
    if kind not in (None, *get_args(WalletType)):
        raise Refused(400, "signature_type: 1, 2 or 3")
    if standing not in (None, *get_args(Standing)):
        raise Refused(400, f"standing: one of {', '.join(get_args(Standing))}")
    approvals = _approvals(body.get("allowances", {}))
    account = engine.fund(
        str(body.get("address", "")),
        _amount(body.get("cash", "0")),
        {token: _amount(size) for token, size in _entries(body, "tokens").items()},
        None if signer is None else str(signer),
        cast("WalletType | None", kind),
    )
    account.allowances |= approvals
    if standing is not None:
        account.standing = cast("Standing", standing)
    return {
        "address": account.address,
        "cash": decimal_text(account.cash),
        "tokens": {token: decimal_text(size) for token, size in account.tokens.items()},
        "standing": account.standing,
    }


def set_fault(request: Request) -> object:
    """`POST /_exchange/faults`: puts one fault (an object) or several (a list) in force."""
    body = request.json()
    try:
        faults = [Fault.model_validate(f) for f in (body if isinstance(body, list) else [body])]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(400, f"{place}: {first['msg']}") from error
    for fault in faults:
        request.engine.faults.add(fault)
    return list_faults(request)


def list_faults(request: Request) -> object:
    """`GET /_exchange/faults`: those in force, with how often each was asked for and struck."""
    return {"faults": request.engine.faults.report()}


def clear_faults(request: Request) -> object:
    """`DELETE /_exchange/faults`: ends them all, and tells their last counts."""
    report = list_faults(request)
    request.engine.faults.clear()
    return report


def change_market(request: Request) -> object:
    """`POST /_exchange/markets/{condition_id}`: `tick`, `state`, or both.

    With state resolved goes `winner`: an outcome's name, or "50/50". Paused is what the API shows
    as not accepting orders.
    """
    body = _object(request, {"tick", "state", "winner"})
    listing, engine = market_of(request.engine, request.argument), request.engine
    condition_id, outcomes = listing.market.condition_id, listing.market.outcomes
    state, winner = body.get("state"), body.get("winner")
    if state not in (None, *get_args(MarketState)):
        raise Refused(400, f"state: one of {', '.join(get_args(MarketState))}")
    if (state == "resolved") != (winner is not None) or winner not in (None, *outcomes, _HALVES):
        raise Refused(
            400, "winner: one of the outcomes or 50/50, with state resolved, and only then"
        )
    try:
        if "tick" in body:
            engine.set_tick(condition_id, _amount(body["tick"]))
        if state is not None:
            index = outcomes.index(str(winner)) if winner in outcomes else None
            engine.set_state(condition_id, cast("MarketState", state), index)
    except ValueError as error:
        raise Refused(400, f"{listing.market.slug}: {error}") from error
    return {"tick": decimal_text(listing.market.tick), "state": listing.state}


def split(request: Request) -> object:
    """`POST /_exchange/split`: an account's dollars become `size` pairs of both tokens."""
    account, listing, size = _pairs(request)
    request.engine.treasury.split(account, listing, size)
    return _wallet(account)


def merge(request: Request) -> object:
    """`POST /_exchange/merge`: `size` pairs of both tokens become an account's dollars."""
    account, listing, size = _pairs(request)
    request.engine.treasury.merge(account, listing, size)
    return _wallet(account)


def redeem(request: Request) -> object:
    """`POST /_exchange/redeem`: an account's tokens of a resolved market are paid out.

    As on the real chain nothing is redeemed by itself. Tokens of trades that haven't settled are
    left: redeem again.
    """
    body = _object(request, {"address", "condition_id"})
    account, listing = _account(request, body), _market(request, body)
    paid = request.engine.treasury.redeem(account, listing)
    return {"paid": decimal_text(paid), **_wallet(account)}


def restart(request: Request) -> object:
    """`POST /_exchange/restart`: 425 for `seconds`, then post-only (reference 8.3)."""
    body = _object(request, {"seconds", "post_only_seconds"}) if request.body else {}
    down, after = body.get("seconds", 5), body.get("post_only_seconds", 120)
    if not isinstance(down, int) or not isinstance(after, int) or down < 0 or after < 0:
        raise Refused(400, "seconds, post_only_seconds: whole numbers")
    request.engine.gate.restart(request.engine.now_ms(), down, after)
    return {"restarting_seconds": down, "post_only_seconds": after}


def set_mode(request: Request) -> object:
    """`POST /_exchange/mode`: `mode` normal, cancel_only or disabled (reference 3.9)."""
    mode = _object(request, {"mode"}).get("mode")
    if mode not in get_args(TradingMode):
        raise Refused(400, f"mode: one of {', '.join(get_args(TradingMode))}")
    request.engine.gate.mode = cast("TradingMode", mode)
    return {"mode": mode}


def set_limits(request: Request) -> object:
    """`POST /_exchange/limits`: what of clients' haste and clocks is refused (reference 8).

    `signers`: off, warn or enforce; `tier`: of every signer, or with `signer` of that one;
    `cancel_debt`: whether a cancel of everything may cost more than there is; `edge`: whether
    one address's requests are counted; `clock_skew_seconds`: how far the time in the headers of
    private requests may be off, null for any.
    """
    keys = {"signers", "tier", "signer", "cancel_debt", "edge", "clock_skew_seconds"}
    body, gate = _object(request, keys), request.engine.gate
    signers = gate.signers
    mode, tier = body.get("signers", signers.mode), body.get("tier", signers.tier)
    signer, skew = body.get("signer"), body.get("clock_skew_seconds", gate.clock_skew_s)
    debt, edge = body.get("cancel_debt", signers.cancel_debt), body.get("edge", gate.edge.enforced)
    if mode not in get_args(SignerMode):
        raise Refused(400, f"signers: one of {', '.join(get_args(SignerMode))}")
    if not isinstance(tier, str) or tier not in TIERS:
        raise Refused(400, f"tier: one of {', '.join(TIERS)}")
    if not (signer is None or is_address(signer)):
        raise Refused(400, "signer: not an address")
    if not (skew is None or (type(skew) is int and skew >= 0)):
        raise Refused(400, "clock_skew_seconds: a whole number, or null")
    if not isinstance(debt, bool) or not isinstance(edge, bool):
        raise Refused(400, "cancel_debt, edge: true or false")
    if signer is None:
        signers.tier = tier
    else:
        signers.tiers[checksummed(str(signer))] = tier
    signers.mode, signers.cancel_debt = cast("SignerMode", mode), debt
    gate.edge.enforced, gate.clock_skew_s = edge, skew
    return {
        "signers": signers.mode,
        "tier": signers.tier,
        "tiers": dict(signers.tiers),
        "cancel_debt": debt,
        "edge": edge,
        "clock_skew_seconds": skew,
    }


ROUTES: Mapping[tuple[str, str], Callable[[Request], object]] = {
    ("GET", "/_exchange/ledger"): ledger,
    ("GET", "/_exchange/markets"): markets,
    ("POST", "/_exchange/markets/{}"): change_market,
    ("POST", "/_exchange/accounts"): fund,
    ("POST", "/_exchange/faults"): set_fault,
    ("GET", "/_exchange/faults"): list_faults,
    ("DELETE", "/_exchange/faults"): clear_faults,
    ("POST", "/_exchange/split"): split,
    ("POST", "/_exchange/merge"): merge,
    ("POST", "/_exchange/redeem"): redeem,
    ("POST", "/_exchange/restart"): restart,
    ("POST", "/_exchange/mode"): set_mode,
    ("POST", "/_exchange/limits"): set_limits,
}
"""Every call of the control face; `{}` stands for one segment of the path."""


def _owner(request: Request) -> str | None:
    owner = request.query.get("owner")
    if owner is None:
        return None
    if not is_address(owner):
        raise Refused(400, "owner: not an address")
    return checksummed(owner)


def _object(request: Request, keys: set[str]) -> dict[str, object]:
    body = request.json()
    if not isinstance(body, dict) or not body.keys() <= keys:
        raise Refused(400, f"an object with the keys {', '.join(sorted(keys))}")
    return body


def _account(request: Request, body: Mapping[str, object]) -> Account:
    address = body.get("address")
    account = request.engine.accounts.find(str(address)) if is_address(address) else None
    if account is None:
        raise Refused(404, "account not found")
    return account


def _market(request: Request, body: Mapping[str, object]) -> Listing:
    return market_of(request.engine, str(body.get("condition_id", "")))


def _pairs(request: Request) -> tuple[Account, Listing, int]:
    body = _object(request, {"address", "condition_id", "size"})
    return _account(request, body), _market(request, body), _amount(body.get("size"))


def _wallet(account: Account) -> dict[str, object]:
    return {
        "cash": decimal_text(account.cash),
        "tokens": {token: decimal_text(size) for token, size in account.tokens.items() if size},
    }


def _entries(body: dict[str, object], key: str) -> dict[str, object]:
    value = body.get(key, {})
    if not isinstance(value, dict):
        raise Refused(400, f"{key}: an object")
    return value


def _approvals(value: object) -> dict[Approval, int]:
    """Allowances as given: by asset, by spender."""
    assets: tuple[Literal["COLLATERAL"], Literal["CONDITIONAL"]] = ("COLLATERAL", "CONDITIONAL")
    if not isinstance(value, dict) or not value.keys() <= set(assets):
        raise Refused(400, f"allowances: an object with the keys {', '.join(assets)}")
    given = [(asset, *entry) for asset in assets for entry in _entries(value, asset).items()]
    for asset, spender, amount in given:
        if not is_address(spender) or (asset == "CONDITIONAL" and amount not in ("0", "unlimited")):
            raise Refused(400, f"allowances: {asset}: {spender}: {amount}")
    return {
        (asset, checksummed(spender)): UNLIMITED if amount == "unlimited" else _amount(amount)
        for asset, spender, amount in given
    }


def _amount(value: object) -> int:
    """A decimal given as text or as a whole number; nothing below zero is an amount."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Refused(400, f"a decimal as text, please: {value!r}")
    try:
        return millionths(str(value))
    except ValueError as error:
        raise Refused(400, str(error)) from error


def _time(unix_ms: int) -> str:
    return instant(unix_ms).isoformat(timespec="milliseconds")


def _order(order: Order) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "owner": order.maker,
        "token_id": order.token_id,
        "side": order.side,
        "price": decimal_text(order.price),
        "size": decimal_text(order.size),
        "matched": decimal_text(order.matched),
        "status": order.status,
        "time_in_force": order.time_in_force,
        "received_at": _time(order.received_at),
        "closed_at": None if order.closed_at is None else _time(order.closed_at),
    }


def _trade(trade: Trade) -> dict[str, object]:
    return {
        "trade_id": trade.trade_id,
        "taker_order_id": trade.taker_order_id,
        "taker": trade.address,
        "maker_orders": [
            {
                "order_id": maker.order_id,
                "owner": maker.address,
                "token_id": maker.token_id,
                "side": maker.side,
                "price": decimal_text(maker.price),
                "size": decimal_text(maker.size),
            }
            for maker in trade.makers
        ],
        "token_id": trade.token_id,
        "side": trade.side,
        "price": decimal_text(trade.price),
        "size": decimal_text(trade.size),
        "fee": decimal_text(trade.fee),
        "status": trade.status,
        "matched_at": _time(trade.matched_at),
    }
