"""Who may trade with which wallet, what it may promise, and how its balances are seen."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.exchange.api import Exchange
from runner.exchange.markets import MarketConfig, position_ids
from runner.exchange.signatures import (
    EXCHANGE,
    EXCHANGE_V3,
    NEG_RISK_ADAPTER,
    NEG_RISK_EXCHANGE,
    checksummed,
)
from tests.exchange.kit import RAIN, SNOW, Clock, Trader, cents, make, shares

YES, NO = RAIN.token_ids
WALLET = checksummed("0x" + "5a" * 20)
UNLIMITED = str(2**256 - 1)
HAIL = replace(
    RAIN,
    slug="hail",
    condition_id="0x" + "c3" * 32,
    token_ids=position_ids(b"hail" * 6, neg_risk=False),
    version="v2",
)


@pytest.fixture
def ann() -> Trader:
    return Trader(make(Clock()), 1, t1001="500", t1002="500")


def with_wallet(trader: Trader, kind: Any, **more: Any) -> Trader:
    """The trader, trading from now on with a contract wallet of that type."""
    body = {"address": WALLET, "cash": "50", "signer": trader.address, **more}
    trader.control("POST", "/_exchange/accounts", body)
    trader.maker, trader.signature_type = WALLET, kind
    return trader


def account(trader: Trader, **body: Any) -> Any:
    return trader.control(
        "POST", "/_exchange/accounts", {"address": trader.maker, "cash": "0", **body}
    )


def balance(trader: Trader, kind: str = "COLLATERAL", token: str = "", update: str = "") -> Any:
    query = f"asset_type={kind}&token_id={token}&signature_type={trader.signature_type}"
    return trader.send("GET", f"/balance-allowance{update}?{query}")


class TestSignatureTypes:
    @pytest.mark.parametrize("kind", [1, 2, 3])
    @pytest.mark.parametrize("declared", [True, False])
    def test_a_contract_wallet_trades_with_its_owners_key(
        self, ann: Trader, kind: int, declared: bool
    ) -> None:
        with_wallet(ann, kind, **({"signature_type": kind} if declared else {}))
        order_id = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        assert ann.open_ids() == [order_id]
        assert ann.order(order_id)["maker_address"] == WALLET
        (row,) = ann.control("GET", f"/_exchange/ledger?owner={WALLET}")["orders"]
        assert (row["order_id"], row["owner"]) == (order_id, WALLET)
        assert json.loads(balance(ann).body)["balance"] == "50000000"
        _, error = ann.refused(YES, "BUY", cents(50), shares("100"))
        assert "balance: 50000000, sum of active orders: 4000000" in error
        assert ann.ask("DELETE", "/cancel-all")["canceled"] == [order_id]

    @pytest.mark.parametrize("kind", [1, 2, 3])
    def test_a_wallet_answers_to_its_own_type_only(self, ann: Trader, kind: int) -> None:
        with_wallet(ann, kind % 3 + 1, signature_type=kind)
        assert ann.post(YES, "BUY", cents(40), shares("10")).status == 400
        assert json.loads(balance(ann).body)["balance"] == "0"  # another wallet: nothing there

    def test_an_owner_may_have_one_of_each(self, ann: Trader) -> None:
        for kind in (1, 2, 3):
            body = {
                "address": "0x" + f"{kind}" * 40,
                "cash": str(kind),
                "signer": ann.address,
                "signature_type": kind,
            }
            ann.control("POST", "/_exchange/accounts", body)
        for kind in (1, 2, 3):
            ann.signature_type = kind  # type: ignore[assignment]  # one of the three
            assert json.loads(balance(ann).body)["balance"] == str(kind * 10**6)

    @pytest.mark.parametrize("kind", [1, 2, 3])
    def test_nobody_elses_key_moves_a_wallet(self, ann: Trader, kind: int) -> None:
        with_wallet(ann, kind)
        bob = Trader(ann.exchange, 2)
        bob.maker, bob.signature_type = WALLET, ann.signature_type
        status, error = bob.refused(YES, "BUY", cents(40), shares("10"))
        text = "the order signer address has to be the address of the API KEY"
        assert (status, error) == (400, text if kind == 3 else "invalid signature")
        assert bob.open_ids() == ann.open_ids() == []

    def test_a_deposit_wallet_is_maker_and_signer(self, ann: Trader) -> None:
        with_wallet(ann, 3)
        body = ann.body(YES, "BUY", cents(40), shares("10"))
        body["order"]["signer"] = ann.address
        error = ann.ask("POST", "/order", body)["error"]
        assert error == "the order signer address has to be the address of the API KEY"

    def test_a_deposit_wallets_signature_must_be_wrapped(self, ann: Trader) -> None:
        with_wallet(ann, 3)
        body = ann.body(YES, "BUY", cents(40), shares("10"))
        body["order"]["signature"] = body["order"]["signature"][:132]
        assert ann.ask("POST", "/order", body) == {"error": "invalid signature"}

    def test_a_trade_moves_the_wallets_funds_not_its_owners(self) -> None:
        clock = Clock()
        ann = Trader(make(clock), 1)
        bob = Trader(ann.exchange, 2, t1001="100")
        with_wallet(ann, 3)
        bob.place(YES, "SELL", cents(40), shares("100"))
        ann.place(YES, "BUY", cents(40), shares("100"))
        clock.forward(60)
        ann.exchange.advance()
        accounts = ann.control("GET", "/_exchange/ledger")["accounts"]
        assert accounts[WALLET] == {"cash": "9.04", "tokens": {YES: "100"}}
        assert accounts[ann.address] == {"cash": "1000", "tokens": {}}
        (trade,) = ann.ask("GET", "/data/trades")["data"]
        assert (trade["maker_address"], trade["trader_side"]) == (WALLET, "TAKER")

    def test_what_a_wallet_is_outlives_the_process(self, tmp_path: Path) -> None:
        ann = with_wallet(Trader(make(Clock(), tmp_path / "x.db"), 1), 3, signature_type=3)
        account(ann, standing="closed_only", allowances={"COLLATERAL": {EXCHANGE: "7"}})
        ann.exchange.close()
        ann.exchange = make(Clock(), tmp_path / "x.db")
        kept = ann.exchange.accounts.find(WALLET)
        assert kept is not None
        assert (kept.signer, kept.wallet_type, kept.standing) == (ann.address, 3, "closed_only")
        assert kept.allowance("COLLATERAL", EXCHANGE) == 7 * 10**6
        assert str(kept.allowance("CONDITIONAL", EXCHANGE)) == UNLIMITED


class TestStanding:
    def test_a_banned_address_posts_nothing(self, ann: Trader) -> None:
        account(ann, standing="banned")
        text = f"'{ann.address}' address banned"
        assert ann.refused(YES, "BUY", cents(40), shares("10")) == (400, text)
        assert ann.refused(YES, "SELL", cents(40), shares("10")) == (400, text)

    def test_a_banned_owners_wallet_neither(self, ann: Trader) -> None:
        account(ann, standing="banned")
        with_wallet(ann, 2)
        assert ann.refused(YES, "BUY", cents(40), shares("10"))[1].endswith("address banned")

    def test_closed_only_sells_and_says_so(self, ann: Trader) -> None:
        resting = ann.place(YES, "BUY", cents(40), shares("10"))["orderID"]
        account(ann, standing="closed_only")
        text = f"'{ann.address}' address in closed only mode"
        assert ann.refused(YES, "BUY", cents(40), shares("10")) == (400, text)
        ann.place(YES, "SELL", cents(60), shares("10"))
        assert ann.ask("GET", "/auth/ban-status/closed-only") == {"closed_only": True}
        assert ann.ask("DELETE", "/order", {"orderID": resting})["canceled"] == [resting]
        account(ann, standing="open")
        ann.place(YES, "BUY", cents(40), shares("10"))

    def test_a_new_account_must_use_a_deposit_wallet(self, ann: Trader) -> None:
        account(ann, standing="deposit_wallet_only")
        text = "maker address not allowed, please use the deposit wallet flow"
        assert ann.refused(YES, "BUY", cents(40), shares("10")) == (400, text)
        with_wallet(ann, 3)
        ann.place(YES, "BUY", cents(40), shares("10"))

    def test_orders_of_version_1_are_told_apart(self, ann: Trader) -> None:
        body = ann.body(YES, "BUY", cents(40), shares("10"))
        body["order"] |= {"taker": "0x" + "00" * 20, "nonce": "0", "feeRateBps": "0"}
        assert ann.ask("POST", "/order", body) == {"error": "order_version_mismatch"}


class TestAllowances:
    def test_a_refusal_names_the_spender_and_takes_no_id(self, ann: Trader) -> None:
        account(ann, allowances={"COLLATERAL": {EXCHANGE: "0"}})
        body = ann.body(YES, "BUY", cents(40), shares("10"))
        error = ann.ask("POST", "/order", body)["error"]
        assert error == (
            "not enough balance / allowance: the allowance is not enough -> "
            f"spender: {EXCHANGE}, allowance: 0, order amount (inc. fees): 4000000"
        )
        account(ann, allowances={"COLLATERAL": {EXCHANGE.lower(): "unlimited"}})
        assert ann.ask("POST", "/order", body)["status"] == "live"  # as allowance recovery does it

    def test_open_orders_hold_it_too(self, ann: Trader) -> None:
        account(ann, allowances={"COLLATERAL": {EXCHANGE: "5"}})
        ann.place(YES, "BUY", cents(40), shares("10"))
        _, error = ann.refused(NO, "BUY", cents(40), shares("5"))
        assert "allowance: 5000000, sum of active orders: 4000000, order amount" in error

    def test_tokens_are_approved_as_a_whole(self, ann: Trader) -> None:
        account(ann, allowances={"CONDITIONAL": {EXCHANGE: "0"}})
        _, error = ann.refused(YES, "SELL", cents(40), shares("10"))
        assert f"spender: {EXCHANGE}, allowance: 0" in error
        ann.place(YES, "BUY", cents(40), shares("10"))
        raw = json.dumps({"address": ann.address, "allowances": {"CONDITIONAL": {EXCHANGE: "5"}}})
        assert ann.exchange.handle("POST", "/_exchange/accounts", {}, raw.encode()).status == 400

    @pytest.mark.parametrize("spender", [NEG_RISK_EXCHANGE, NEG_RISK_ADAPTER])
    def test_a_neg_risk_market_needs_two(self, ann: Trader, spender: str) -> None:
        account(ann, allowances={"COLLATERAL": {spender: "0"}})
        _, error = ann.refused(SNOW.token_ids[0], "BUY", cents(40), shares("10"))
        assert f"spender: {spender}, allowance: 0" in error
        ann.place(YES, "BUY", cents(40), shares("10"))

    def test_settled_buys_use_it_up(self) -> None:
        clock = Clock()
        bob = Trader(make(clock), 2, t1001="100")
        ann = Trader(bob.exchange, 1)
        account(ann, allowances={"COLLATERAL": {EXCHANGE: "50"}})
        bob.place(YES, "SELL", cents(40), shares("100"))
        ann.place(YES, "BUY", cents(40), shares("100"))
        clock.forward(60)
        ann.exchange.advance()
        shown = json.loads(balance(ann).body)
        assert shown["allowances"][EXCHANGE] == "9040000"  # 50 less 40 and a fee of 0.96
        assert shown["allowances"][NEG_RISK_EXCHANGE] == UNLIMITED


class TestBalances:
    def test_it_is_the_wallets_with_every_spender(self, ann: Trader) -> None:
        ann.place(YES, "BUY", cents(40), shares("10"))
        spenders = (EXCHANGE, NEG_RISK_EXCHANGE, NEG_RISK_ADAPTER)
        assert json.loads(balance(ann).body) == {
            "balance": "1000000000",  # open orders are not subtracted
            "allowances": dict.fromkeys((*spenders, EXCHANGE_V3), UNLIMITED),
        }
        assert json.loads(balance(ann, "CONDITIONAL", YES).body) == {
            "balance": "500000000",
            "allowances": dict.fromkeys(spenders, UNLIMITED),
        }

    def test_a_stale_view_hides_a_deposit_until_it_is_refreshed(self, ann: Trader) -> None:
        assert json.loads(balance(ann).body)["balance"] == "1000000000"
        ann.control("POST", "/_exchange/faults", {"name": "stale_balance"})
        account(ann, cash="500")
        assert json.loads(balance(ann).body)["balance"] == "1000000000"
        _, error = ann.refused(YES, "BUY", cents(50), shares("2500"))
        assert "balance: 1000000000, order amount" in error
        assert balance(ann, update="/update").body == b""
        assert json.loads(balance(ann).body)["balance"] == "1500000000"
        ann.place(YES, "BUY", cents(50), shares("2500"))

    def test_what_was_never_looked_at_is_nothing(self, ann: Trader) -> None:
        ann.control("POST", "/_exchange/faults", {"name": "stale_balance"})
        assert json.loads(balance(ann, "CONDITIONAL", NO).body)["balance"] == "0"
        ann.control("DELETE", "/_exchange/faults")
        assert json.loads(balance(ann, "CONDITIONAL", NO).body)["balance"] == "500000000"


class TestProtocolV2:
    @pytest.fixture
    def hall(self) -> Exchange:
        return Exchange(None, Clock(), 7, [RAIN, HAIL])

    def test_it_trades_positions_on_a_contract_of_its_own(self, hall: Exchange) -> None:
        yes, no = HAIL.token_ids
        ann, bob = Trader(hall, 1, **{f"t{yes}": "100"}), Trader(hall, 2)
        ann.place(yes, "SELL", cents(40), shares("50"))
        answer = bob.place(yes, "BUY", cents(40), shares("50"))
        assert (answer["status"], answer["takingAmount"]) == ("matched", "50")
        bob.place(no, "BUY", cents(40), shares("50"))  # rests: nobody sells No at that price
        with_wallet(ann, 3)
        ann.place(no, "BUY", cents(30), shares("50"))

    def test_its_orders_have_another_domain(self, hall: Exchange) -> None:
        ann = Trader(hall, 1)
        right = ann.body(HAIL.token_ids[0], "BUY", cents(40), shares("10"))
        for contract in (RAIN, SNOW):
            hall.tokens[HAIL.token_ids[0]].market = replace(
                HAIL, version="v1", neg_risk=contract.neg_risk
            )
            wrong = ann.body(HAIL.token_ids[0], "BUY", cents(40), shares("10"))
            hall.tokens[HAIL.token_ids[0]].market = HAIL
            assert ann.ask("POST", "/order", wrong) == {"error": "invalid signature"}
        assert ann.ask("POST", "/order", right)["status"] == "live"

    def test_its_balances_are_of_another_asset_type(self, hall: Exchange) -> None:
        yes = HAIL.token_ids[0]
        ann = Trader(hall, 1, t1001="5", **{f"t{yes}": "7"})
        assert json.loads(balance(ann, "CONDITIONAL-V2", yes).body) == {
            "balance": "7000000",
            "allowances": {EXCHANGE_V3: UNLIMITED},
        }
        assert json.loads(balance(ann, "CONDITIONAL", yes).body)["balance"] == "0"
        assert json.loads(balance(ann, "CONDITIONAL-V2", YES).body)["balance"] == "0"

    def test_its_allowance_is_the_third_contracts(self, hall: Exchange) -> None:
        ann = Trader(hall, 1)
        account(ann, allowances={"COLLATERAL": {EXCHANGE: "0", EXCHANGE_V3: "1"}})
        _, error = ann.refused(HAIL.token_ids[0], "BUY", cents(40), shares("10"))
        assert f"spender: {EXCHANGE_V3}, allowance: 1000000" in error

    @pytest.mark.parametrize(
        "tokens",
        [("1001", "1002"), HAIL.token_ids[::-1], position_ids(b"hail" * 6, neg_risk=True)],
        ids=["ids of version 1", "the wrong way round", "the neg-risk module"],
    )
    def test_only_positions_are_listed(self, tokens: tuple[str, str]) -> None:
        with pytest.raises(ValueError, match="a v2 market trades the two ids of a position"):
            replace(HAIL, token_ids=tokens)


def test_positions_are_as_the_official_client_reads_them() -> None:
    protocol = pytest.importorskip("polymarket._internal.protocol")
    for neg_risk in (False, True):
        for index, position in enumerate(position_ids(b"some 24 bytes of a seed.", neg_risk)):
            assert protocol.is_v2_position_id(position)
            decoded = protocol.decode_v2_outcome_position_id(position)
            assert decoded.outcome_index == index
            assert decoded.condition_id[:4] == ("0x02" if neg_risk else "0x01")
    assert not protocol.is_v2_position_id(MarketConfig("a", "b", "c", "d", (YES, NO)).slug)
