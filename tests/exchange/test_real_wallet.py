"""The wallet that holds real money has no part in a simulated exchange."""

import json

from tests.exchange.kit import RAIN, Clock, Trader, cents, make, shares


def fund(trader: Trader, **body: object) -> tuple[int, str]:
    raw = json.dumps({"address": trader.address, "cash": "5", "tokens": {}, **body}).encode()
    answer = trader.exchange.handle("POST", "/_exchange/accounts", {}, raw)
    return answer.status, json.loads(answer.body).get("error", "")


def test_it_is_neither_funded_nor_given_a_key_nor_does_it_trade() -> None:
    exchange = make(Clock())
    ann, bob = Trader(exchange, 1), Trader(exchange, 2)
    exchange.accounts.turn_away(ann.address.lower())
    said = f"{ann.address} is a wallet of real money: not on a simulated exchange"
    assert fund(ann) == (403, said)
    assert fund(bob, address="0x" + "77" * 20, signer=ann.address) == (403, said)
    for method, path in (("POST", "/auth/api-key"), ("GET", "/auth/derive-api-key")):
        assert ann.l1(method, path, nonce=3).status == 403
    status, text = ann.refused(RAIN.token_ids[0], "BUY", cents(40), shares("10"))
    assert (status, "banned" in text) == (400, True)
    assert fund(bob)[0] == 200
    bob.place(RAIN.token_ids[0], "BUY", cents(40), shares("10"))
