"""What is not there to be listed: liquidity rewards, and orders from before the second contract.

No market here pays rewards, so no order scores, nobody earns, and no market is listed for them;
and no order here is older than the exchange. The answers are those of the real API for nothing,
in the shapes the official clients ask for; private ones check the API key first.
"""

from runner.exchange.records import Refused
from runner.exchange.requests import END, Request

_PAGE = 100


def reward_markets(request: Request) -> object:
    """`GET /rewards/markets/current`, `/multi` and `/{condition}`: the markets with rewards."""
    del request
    return _nothing()


def earnings(request: Request) -> object:
    """`GET /rewards/user` and `/rewards/user/markets`: what orders earned in a day."""
    request.key()
    return _nothing()


def old_orders(request: Request) -> object:
    """`GET /data/pre-migration-orders` (reference 5.2)."""
    request.key()
    return _nothing()


def total_earnings(request: Request) -> object:
    """`GET /rewards/user/total`."""
    request.key()
    return []


def reward_percentages(request: Request) -> object:
    """`GET /rewards/user/percentages`: the share of each market's rewards."""
    request.key()
    return {}


def scoring(request: Request) -> object:
    """`GET /order-scoring`."""
    request.key()
    if not request.query.get("order_id"):
        raise Refused(400, "Invalid orderID")
    return {"scoring": False}


def many_scoring(request: Request) -> object:
    """`POST /orders-scoring`."""
    request.key()
    order_ids = request.json()
    if not isinstance(order_ids, list) or not all(isinstance(i, str) for i in order_ids):
        raise Refused(400, "Invalid order payload")
    return dict.fromkeys(order_ids, False)


def _nothing() -> dict[str, object]:
    return {"limit": _PAGE, "count": 0, "next_cursor": END, "data": []}
