"""Nothing that a client sends breaks the engine: every request gets an answer of four kinds."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.exchange.api import _ROUTES
from tests.exchange.kit import RAIN, Clock, Trader, cents, make, shares

YES = RAIN.token_ids[0]

KEYS = """orderID market asset_id heartbeat_id order owner address cash tokens tick state winner
name rate seconds type assets_ids markets auth operation signer token_id"""
PARAMETERS = """token_id side market id next_cursor before after asset_id user interval startTs
fidelity asset_type signature_type owner slug"""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(
        [YES, RAIN.condition_id, "0x" + "ab " * 20, "9" * 5000, "MA==", "²", "resolved"]
    ),
)
names = st.sampled_from(KEYS.split())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=6,
)
words = st.sampled_from(
    [YES, RAIN.condition_id, "1", "-1", "9" * 400, "²", "BUY", "", "LTE=", "%ff"]
)
queries = st.dictionaries(st.sampled_from(PARAMETERS.split()), words, max_size=3)


@settings(deadline=None)
@given(st.sampled_from(sorted(_ROUTES)), words, queries, values)
def test_any_request_is_answered(
    route: tuple[str, str], argument: str, query: dict[str, str], body: Any
) -> None:
    ann = Trader(make(Clock()), 1)
    ann.place(YES, "BUY", cents(40), shares("10"))
    method, path = route[0], route[1].replace("{}", argument)
    target = path + "?" + "&".join(f"{name}={value}" for name, value in query.items())
    answer = ann.send(method, target, body)
    assert answer.status in {200, 400, 401, 404}
    if answer.body:
        json.loads(answer.body)
    ann.exchange.advance()


@settings(deadline=None)
@given(values, st.sampled_from(["salt", "maker", "makerAmount", "expiration", "side", "signature"]))
def test_any_field_of_an_order_may_be_wrong(value: Any, name: str) -> None:
    ann = Trader(make(Clock()), 1)
    body = ann.body(YES, "BUY", cents(40), shares("10"))
    body["order"][name] = value
    assert ann.send("POST", "/order", body).status == 400


@settings(deadline=None)
@given(st.lists(values, max_size=4), st.sampled_from(["/ws/market", "/ws/user"]))
def test_any_frame_is_taken(messages: list[Any], path: str) -> None:
    ann = Trader(make(Clock()), 1)
    session = ann.exchange.connect(path)
    session.receive("[" * 100_000)
    session.receive('{"type":"market"')
    for message in messages:
        session.receive(json.dumps(message))
        more = message if isinstance(message, dict) else {"assets_ids": message}
        session.receive(json.dumps({**more, "type": path.removeprefix("/ws/")}))
    ann.place(YES, "BUY", cents(40), shares("10"))
    for text in session.outgoing:
        assert text == "INVALID OPERATION" or json.loads(text) is not None


def test_headers_of_any_bytes() -> None:
    ann = Trader(make(Clock()), 1)
    for name in ann.headers("GET", "/data/orders", b""):
        for value in ("", "\udcff", "²", "9" * 5000, "-1"):
            headers = ann.headers("GET", "/data/orders", b"") | {name: value}
            assert ann.exchange.handle("GET", "/data/orders", headers, b"").status == 401
    for name in ("POLY_ADDRESS", "POLY_SIGNATURE", "POLY_TIMESTAMP", "POLY_NONCE"):
        for value in ("", "\udcff", "²", "9" * 5000, "-1"):
            headers = {"POLY_ADDRESS": ann.address, "POLY_TIMESTAMP": "1", "POLY_NONCE": "0"}
            answer = ann.exchange.handle("POST", "/auth/api-key", headers | {name: value}, b"")
            assert answer.status == 401
