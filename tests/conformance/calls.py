"""Every public call of both official clients: checked by which test, or why it is not applicable.

Two registries, one a client, each from the tests to the calls they check and from the reasons to
the calls they excuse. `document` makes the table of docs/conformance.md of them (`make docs`);
test_calls.py holds them to the clients and to the tests.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Registry:
    package: str
    checked: Mapping[str, str]
    excused: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, str | None, str]]:
        """(call, the test that checks it or None, the reason if none does), by name."""
        found: list[tuple[str, str | None, str]] = []
        for test, names in self.checked.items():
            found += [(name, test, "") for name in names.split()]
        for reason, names in self.excused.items():
            found += [(name, None, reason) for name in names.split()]
        yield from sorted(found)


_CLOB = "test_official_client"
_CLOB_READS = "test_official_client_reads"
_CLIENT = "test_unified_client"
_READS = "test_unified_reads"
_STREAMS = "test_unified_streams"

_BUILDERS = (
    "the builder programme (attribution of orders, its keys and statistics) is not simulated; "
    "an order with a builder code trades as one without"
)
_NO_CHAIN = (
    "a transaction on the chain or through the relayer: the exchange has no chain; wallets are "
    "funded through its control face, and trades settle by themselves"
)
_QUOTES = "requests for quotes and combos are another service, not the order book"
_PERPS = "perpetuals are another exchange"
_EDITORIAL = "what people write around markets (comments, tags, series, sports, teams): none here"
_STATISTICS = "statistics of the website over many wallets or over years, no part of trading"

CLOB = Registry(
    "py-clob-client-v2",
    {
        f"{_CLOB}::test_keys_are_made_derived_and_listed": (
            "create_api_key derive_api_key get_api_keys get_closed_only_mode"
        ),
        f"{_CLOB}::test_public_reads": (
            "get_fee_exponent get_market get_markets get_midpoint get_neg_risk get_ok "
            "get_order_book get_order_book_hash get_order_books get_price get_prices_history "
            "get_server_time get_spread get_tick_size get_version"
        ),
        f"{_CLOB}::test_an_order_rests_is_read_and_cancelled": (
            "cancel_order get_open_orders get_order"
        ),
        f"{_CLOB}::test_a_neg_risk_order_is_for_its_own_contract": "create_order post_order",
        f"{_CLOB}::test_gtd_and_post_only": "create_and_post_order",
        f"{_CLOB}::test_market_orders_match_and_settle": "create_and_post_market_order get_trades",
        f"{_CLOB}::test_batches_and_every_way_to_cancel": (
            "cancel_all cancel_market_orders cancel_orders post_orders"
        ),
        f"{_CLOB}::test_heartbeats": "post_heartbeat",
        f"{_CLOB_READS}::test_what_a_client_may_do_depends_on_its_keys": (
            "assert_level_1_auth assert_level_2_auth create_or_derive_api_key get_address "
            "set_api_creds"
        ),
        f"{_CLOB_READS}::test_a_deleted_key_authenticates_nothing": "delete_api_key",
        f"{_CLOB_READS}::test_markets_in_every_list": (
            "get_clob_market_info get_sampling_markets get_sampling_simplified_markets "
            "get_simplified_markets"
        ),
        f"{_CLOB_READS}::test_prices_of_several_tokens": (
            "calculate_market_price get_fee_rate_bps get_midpoints get_prices get_spreads"
        ),
        f"{_CLOB_READS}::test_last_trades_activity_and_history": (
            "create_market_order get_last_trade_price get_last_trades_prices "
            "get_market_trades_events"
        ),
        f"{_CLOB_READS}::test_more_than_a_page_of_orders_and_a_page_of_trades": (
            "get_pre_migration_orders get_trades_paginated"
        ),
        f"{_CLOB_READS}::test_a_balance_is_refreshed": (
            "get_balance_allowance update_balance_allowance"
        ),
        f"{_CLOB_READS}::test_notices_of_fills_and_cancels_are_told_until_dropped": (
            "drop_notifications get_notifications"
        ),
        f"{_CLOB_READS}::test_nothing_is_paid_for_resting_orders": (
            "are_orders_scoring get_current_rewards get_earnings_for_user_for_day "
            "get_raw_rewards_for_market get_reward_percentages "
            "get_total_earnings_for_user_for_day get_user_earnings_and_markets_config "
            "is_order_scoring"
        ),
    },
    {
        _BUILDERS: (
            "create_builder_api_key get_builder_api_keys get_builder_trades revoke_builder_api_key"
        ),
        "what a read-only key admits to is not public": (
            "create_readonly_api_key delete_readonly_api_key get_readonly_api_keys"
        ),
        _QUOTES: (
            "rfq.accept_rfq_quote rfq.approve_rfq_order rfq.cancel_rfq_quote "
            "rfq.cancel_rfq_request rfq.create_rfq_quote rfq.create_rfq_request "
            "rfq.get_rfq_best_quote rfq.get_rfq_quoter_quotes rfq.get_rfq_requester_quotes "
            "rfq.get_rfq_requests rfq.rfq_config"
        ),
    },
)

UNIFIED = Registry(
    "polymarket-client",
    {
        f"{_CLIENT}::test_create_makes_derives_and_checks_credentials": (
            "create credentials fetch_api_keys signer wallet wallet_type"
        ),
        f"{_CLIENT}::test_a_deleted_key_authenticates_nothing": "delete_api_key",
        f"{_CLIENT}::test_end_authentication_deletes_the_key_and_leaves_a_reader": (
            "close end_authentication"
        ),
        f"{_CLIENT}::test_the_account_is_open_and_needs_no_wallet_set_up": (
            "get_closed_only_mode is_gasless_ready"
        ),
        f"{_CLIENT}::test_balances_and_allowances": "get_balance_allowance",
        f"{_CLIENT}::test_a_limit_order_rests_is_read_and_cancelled": "cancel_order get_order",
        f"{_CLIENT}::test_open_orders_by_page_and_by_filter": "create_limit_order list_open_orders",
        f"{_CLIENT}::test_a_signed_order_is_posted_once": "post_order",
        f"{_CLIENT}::test_gtd_and_post_only": "place_limit_order",
        f"{_CLIENT}::test_a_market_buy_matches_and_settles": (
            "create_market_order wait_for_order_fill_settlement"
        ),
        f"{_CLIENT}::test_market_orders_both_ways_within_their_bounds": (
            "place_market_order error.InsufficientLiquidityError"
        ),
        f"{_CLIENT}::test_account_trades_by_every_filter": "list_account_trades",
        f"{_CLIENT}::test_a_failed_fill_settles_nothing": "error.TransactionFailedError",
        f"{_CLIENT}::test_a_wait_for_settlement_ends": "error.TimeoutError",
        f"{_CLIENT}::test_a_batch_tells_what_became_of_each_leg": "post_orders",
        f"{_CLIENT}::test_every_way_to_cancel": "cancel_all cancel_market_orders cancel_orders",
        f"{_CLIENT}::test_heartbeats": "send_order_heartbeat error.OrderHeartbeatMismatchError",
        f"{_CLIENT}::test_notices_of_fills_and_cancels_are_told_until_dropped": (
            "drop_notifications get_notifications"
        ),
        f"{_CLIENT}::test_nothing_is_paid_for_resting_orders": (
            "get_order_scoring get_orders_scoring get_reward_percentages "
            "get_total_earnings_for_user_for_day list_user_earnings_and_markets_config "
            "list_user_earnings_for_day"
        ),
        f"{_CLIENT}::test_a_builder_code_costs_nothing": "get_builder_fee_rates",
        f"{_CLIENT}::test_the_error_classes": (
            "error.RequestRejectedError error.TransportError error.UnexpectedResponseError "
            "error.UserInputError"
        ),
        f"{_CLIENT}::test_a_rate_limit_is_its_own_error": "error.RateLimitError",
        f"{_READS}::test_books_and_prices": (
            "environment get_midpoint get_midpoints get_order_book get_order_books get_price "
            "get_prices get_spread get_spreads"
        ),
        f"{_READS}::test_the_last_trade": "get_last_trade_price get_last_trade_prices",
        f"{_READS}::test_an_estimate_walks_the_book": "estimate_market_price",
        f"{_READS}::test_price_history_by_interval_window_and_moment": "list_price_history",
        f"{_READS}::test_a_market_by_id_slug_and_address": "get_market",
        f"{_READS}::test_markets_by_page_and_by_filter": "list_markets",
        f"{_READS}::test_events_and_a_search": "get_event list_events search",
        f"{_READS}::test_what_a_wallet_holds": (
            "get_portfolio_value list_market_holders list_positions"
        ),
        f"{_READS}::test_what_a_wallet_did": "get_user_volume list_activity list_trades",
        f"{_READS}::test_tokens_by_id_and_by_condition": "get_token_references",
        f"{_READS}::test_no_market_pays_rewards": (
            "list_current_rewards list_market_rewards list_reward_markets"
        ),
        f"{_READS}::test_nobody_has_a_profile": "get_public_profile",
        f"{_STREAMS}::test_the_market_stream": "stream.MarketSpec",
        f"{_STREAMS}::test_the_user_stream_follows_orders_and_trades": "stream.UserSpec",
        f"{_STREAMS}::test_one_handle_merges_both_streams": "subscribe",
    },
    {
        _BUILDERS: (
            "create_builder_api_key fetch_builder_api_keys get_builder_volumes "
            "list_builder_leaderboard list_builder_trades revoke_builder_api_key"
        ),
        _NO_CHAIN: (
            "approve_erc1155_for_all approve_erc20 execute_collateral_return_plan "
            "execute_transaction get_trading_approvals_state merge_multiple_positions "
            "merge_positions plan_collateral_return redeem_positions setup_gasless_wallet "
            "setup_trading_approvals split_position transfer_erc20 "
            "error.InsufficientAllowanceError"
        ),
        "session keys are granted by the relayer's wallet contracts": (
            "authorize_session_key fetch_session_keys revoke_session_key"
        ),
        _QUOTES: (
            "accept_combo_quote fetch_rfq_status list_combo_activity list_combo_markets "
            "list_combo_positions open_rfq_session request_combo_quote wait_for_combo_fill"
        ),
        _PERPS: (
            "deposit_to_perps fetch_perps_book fetch_perps_builder_status fetch_perps_fees "
            "fetch_perps_instruments fetch_perps_position_snapshots fetch_perps_registration "
            "fetch_perps_ticker fetch_perps_tickers list_perps_candles "
            "list_perps_funding_history list_perps_trades open_perps_session "
            "revoke_perps_credentials withdraw_from_perps stream.PerpsBboSpec "
            "stream.PerpsBookSpec stream.PerpsCandlesSpec stream.PerpsStatisticsSpec "
            "stream.PerpsTickersSpec stream.PerpsTradesSpec error.AutoCancelDailyLimitError "
            "error.PerpsCancelRetryError"
        ),
        _EDITORIAL: (
            "get_comment_thread get_event_tags get_market_tags get_related_tag_resources "
            "get_related_tags get_series get_sports get_sports_market_types get_tag "
            "list_comments list_comments_by_user_address list_series list_tags list_teams "
            "stream.CommentsSpec stream.SportsSpec error.PaginationLimitError"
        ),
        _STATISTICS: (
            "download_accounting_snapshot get_trader_leaderboard_standing get_user_pnl "
            "get_user_stats list_biggest_winners list_trader_leaderboard"
        ),
        "prices of other things than outcomes come from other services": (
            "stream.CryptoPriceSpec stream.CryptoPricesChainlinkTwapSpec stream.CryptoPricesSpec "
            "stream.CryptoTwapPriceSpec stream.EquityPriceSpec stream.EquityPricesSpec "
            "stream.EquityTwapPriceSpec"
        ),
        "tokens handed out by the control face are backed by nothing, and the volume of "
        "anonymous trades is not kept: there is no honest number to tell": (
            "get_event_live_volume get_open_interests"
        ),
        "the oracle's proposals and disputes are not simulated; an outcome is told by the market "
        "channel, `get_market` and `get_token_references`": "get_resolutions",
        "the exchange books a maker's rebates by day, not by market: it has no such row to tell": (
            "get_current_rebates"
        ),
        "raised by the client itself, whatever the exchange answers": (
            "error.CancelledSigningError error.ConnectionLostError error.SigningError"
        ),
    },
)


_TITLE = """\
# Conformance

Generated by `make docs` from `tests/conformance/calls.py`; a test compares, and another holds the
list to the clients: a public call that is missing here fails the build.

Both official clients run unmodified against the embedded exchange, over real sockets. The second
one is checked with its sync and its async client; what needs no key, with its two public clients
too.
"""


def document() -> str:
    """The whole text of docs/conformance.md."""
    parts = [_TITLE]
    for registry in (CLOB, UNIFIED):
        rows = list(registry.rows())
        covered = sum(test is not None for _, test, _ in rows)
        parts.append(
            f"\n## {registry.package} {version(registry.package)}\n\n{covered} calls covered, "
            f"{len(rows) - covered} not applicable.\n\n| call | covered | how checked, or why "
            "not |\n|---|---|---|\n"
        )
        for name, test, reason in rows:
            how = reason if test is None else _shown(test)
            parts.append(f"| `{name}` | {'no' if test is None else 'yes'} | {how} |\n")
    return "".join(parts)


def _shown(test: str) -> str:
    module, name = test.split("::")
    return f"{name.removeprefix('test_').replace('_', ' ')} (`{module}.py`)"


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "conformance.md").write_text(document(), "utf-8")
