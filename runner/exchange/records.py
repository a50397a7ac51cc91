"""What the exchange keeps about accounts, orders and trades. All amounts in millionths."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from runner.exchange.markets import ONE, Side, TimeInForce

OrderStatus = Literal[
    "DELAYED", "LIVE", "MATCHED", "CANCELED", "CANCELED_MARKET_RESOLVED", "INVALID"
]
TradeStatus = Literal["MATCHED", "MINED", "CONFIRMED", "RETRYING", "FAILED"]
WalletType = Literal[1, 2, 3]
Standing = Literal["open", "deposit_wallet_only", "closed_only", "banned"]
"""How the exchange stands to an address: it takes its orders, only those of deposit wallets, only
those that sell, or none (reference 2.3, 3.9)."""

Approval = tuple[Literal["COLLATERAL", "CONDITIONAL"], str]
"""What an allowance is of: the asset, and the contract that may move it."""

UNLIMITED: int = 2**256 - 1
"""The allowance of a contract that was approved without limit, as wallets do it."""


class Refused(Exception):
    """A request the exchange refuses: the status and JSON body of the answer.

    Args:
        status: HTTP status.
        text: The `error` text (reference 3.9).
        more: Further keys of the body.
        retry_after_s: Value of the Retry-After header, or None.
        headers: Further headers.
    """

    def __init__(
        self,
        status: int,
        text: str,
        more: Mapping[str, object] | None = None,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.body: dict[str, object] = {"error": text, **(more or {})}
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)


@dataclass(slots=True)
class Account:
    """A wallet: settled cash and tokens, and the key that may sign for it.

    Args:
        address: The wallet.
        signer: The key that signs for it: its own address, or the owner of a contract wallet.
        cash: Millionths of a dollar.
        tokens: Millionths of a share by token id.
        wallet_type: The signature type of a contract wallet; None: any (or it is no contract).
        standing: How the exchange stands to it.
        allowances: What contracts may move of its funds, where it isn't `UNLIMITED`.
    """

    address: str
    signer: str
    cash: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    wallet_type: WalletType | None = None
    standing: Standing = "open"
    allowances: dict[Approval, int] = field(default_factory=dict)

    def allowance(self, asset: Literal["COLLATERAL", "CONDITIONAL"], spender: str) -> int:
        """What a contract may move; base units."""
        return self.allowances.get((asset, spender), UNLIMITED)


@dataclass(slots=True)
class ApiKey:
    """API credentials of one (address, nonce), and the dead man's switch armed on them."""

    key: str
    address: str
    nonce: int
    secret: str
    passphrase: str
    active: bool = True
    heartbeat_id: str = ""
    heartbeat_at: int = 0


@dataclass(slots=True)
class Order:
    """An order that reached the book's engine, in terms of its own token.

    Args:
        order_id: Its EIP-712 hash (reference 3.6).
        owner: The API key it came with.
        maker: The wallet whose cash or tokens it trades.
        signer: The address whose key signed it: that of its API key.
        condition_id: Its market.
        outcome: Index of its token, 0 or 1.
        token_id: Its token.
        side: BUY or SELL.
        price: Limit, derived exactly from the signed amounts.
        size: Shares it was signed for.
        dollars: What a FAK or FOK buy may spend (reference 3.7), else None.
        time_in_force: GTC, GTD, FAK or FOK.
        expiration: Stated end in Unix seconds; 0 for none.
        post_only: Whether it may only rest.
        received_at: Unix milliseconds.
        status: As `/data/order` tells it.
        matched: Shares matched; never falls, also when a trade fails (reference 7).
        closed_at: Unix milliseconds, or None while it is in the book.
        returned: Shares of failed trades that are shown as matched no longer (`Trade.returns`).
        trades: Ids of its trades.
    """

    order_id: str
    owner: str
    maker: str
    signer: str
    condition_id: str
    outcome: int
    token_id: str
    side: Side
    price: int
    size: int
    dollars: int | None
    time_in_force: TimeInForce
    expiration: int
    post_only: bool
    received_at: int
    status: OrderStatus = "LIVE"
    matched: int = 0
    closed_at: int | None = None
    returned: int = 0
    trades: list[str] = field(default_factory=list)

    @property
    def leaves(self) -> int:
        """What is left to match; a buy bounded by dollars may bring more than its size."""
        return max(0, self.size - self.matched)

    @property
    def cost_left(self) -> int:
        """Dollars that a buy may still spend, without fees."""
        if self.dollars is not None:
            return self.dollars
        return dollars(self.price, self.leaves)

    @property
    def killed(self) -> bool:
        """Whether it was killed on arrival: refused with a 400, although its id is taken.

        One that its market held first was taken, and is cancelled when nothing is left for it.
        """
        market_order = self.time_in_force in {"FAK", "FOK"}
        return market_order and not self.trades and self.closed_at == self.received_at

    @property
    def bid(self) -> bool:
        """Whether it stands on the bid side of the merged book."""
        return (self.side == "BUY") == (self.outcome == 0)

    @property
    def book_price(self) -> int:
        """Its limit in terms of the first outcome."""
        return self.price if self.outcome == 0 else ONE - self.price

    @property
    def expires_at(self) -> int | None:
        """When the engine drops it, Unix milliseconds: a minute before its stated expiration."""
        return (self.expiration - 60) * 1000 if self.time_in_force == "GTD" else None


@dataclass(frozen=True, slots=True)
class Placed:
    """What came of an accepted order: its id, whether it rests, and what it gave and got."""

    order_id: str
    rests: bool
    gave: int
    got: int
    trade_ids: tuple[str, ...]


@dataclass(slots=True)
class Held:
    """An order that its market delays: when it meets the book, and then what came of it."""

    order_id: str
    due_ms: int
    outcome: Placed | Refused | None = None

    def known(self) -> Placed:
        """What came of it, once it is due.

        Raises:
            Refused: What it was refused or killed with.
        """
        if isinstance(self.outcome, Placed):
            return self.outcome
        raise self.outcome or LookupError(f"{self.order_id} is not due yet")


@dataclass(frozen=True, slots=True)
class MakerFill:
    """One maker's part of a trade, in terms of the maker's own token."""

    order_id: str
    owner: str
    address: str
    outcome: int
    token_id: str
    side: Side
    price: int
    size: int


@dataclass(frozen=True, slots=True)
class Leg:
    """What one party gives and gets in a trade: `dollars` for `size` of a token, and the fee."""

    address: str
    token_id: str
    side: Side
    dollars: int
    size: int
    fee: int

    @property
    def gives_cash(self) -> int:
        """Cash that leaves the wallet when the trade settles."""
        return self.dollars + self.fee if self.side == "BUY" else 0

    @property
    def gives_tokens(self) -> int:
        """Tokens that leave the wallet when the trade settles."""
        return self.size if self.side == "SELL" else 0


@dataclass(slots=True)
class Trade:
    """One taker order against one or more maker orders at one price.

    A taker that walks several prices makes one trade a price, so that every price is exact.

    Args:
        trade_id: A UUID.
        condition_id: The market.
        taker_order_id: Id of the taker's order.
        owner: The taker's API key.
        address: The taker's wallet.
        outcome: Index of the taker's token.
        token_id: The taker's token.
        side: The taker's side.
        price: The taker's price, of its own token.
        size: Shares.
        fee: The taker's fee.
        makers: The makers' parts; their sizes sum to `size`.
        matched_at: Unix milliseconds.
        updated_at: Unix milliseconds of the last change of status.
        course: What is still to come: (Unix milliseconds, status), in order.
        status: Where it is in its life (reference 7).
        tx_hash: Transaction hash once mined, else empty.
        returns: Whether, if it fails, its orders are shown with that much less matched: public
            facts leave open which of the two the real exchange does.
    """

    trade_id: str
    condition_id: str
    taker_order_id: str
    owner: str
    address: str
    outcome: int
    token_id: str
    side: Side
    price: int
    size: int
    fee: int
    makers: tuple[MakerFill, ...]
    matched_at: int
    updated_at: int
    course: list[tuple[int, TradeStatus]]
    status: TradeStatus = "MATCHED"
    tx_hash: str = ""
    returns: bool = False

    @property
    def unsettled(self) -> bool:
        """Whether its transfer is still to come."""
        return self.status in {"MATCHED", "RETRYING"}

    def legs(self) -> Iterator[Leg]:
        """What each party gives and gets; the taker's leg first."""
        yield Leg(
            self.address,
            self.token_id,
            self.side,
            dollars(self.price, self.size),
            self.size,
            self.fee,
        )
        for maker in self.makers:
            cost = dollars(maker.price, maker.size)
            yield Leg(maker.address, maker.token_id, maker.side, cost, maker.size, 0)


@dataclass(frozen=True, slots=True)
class Rebate:
    """What a maker was paid for a day (days since 1970, UTC); millionths of a dollar."""

    day: int
    address: str
    amount: int


def dollars(price: int, size: int) -> int:
    """The product price x size, exactly.

    Raises:
        ArithmeticError: The product is no whole number of millionths (the book's quantum
            forbids such fills).
    """
    product, rest = divmod(price * size, ONE)
    if rest:
        raise ArithmeticError(f"{price} x {size} is no whole amount")
    return product
