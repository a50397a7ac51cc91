"""Words that people bring from elsewhere, and what a plan says instead.

The original request's configuration, other trading systems, and the exchange's own spellings. Keys
of these tables are lower case with underscores; a value is the word to write instead, or, where
that is not enough, a whole sentence. They only ever improve a refusal: none of them is accepted.
"""

from __future__ import annotations

_OUTCOME_AS_SIDE = "write buy or sell; the outcome (Yes, No) stands under market"
_STYLE_AS_STRATEGY = "that is a quote.style; split.strategy says how the total is cut"
_STRATEGY_AS_STYLE = "that is a split.strategy; quote.style says at what price"

SIDES = {
    "bid": "buy",
    "b": "buy",
    "long": "buy",
    "ask": "sell",
    "offer": "sell",
    "s": "sell",
    "short": "sell",
    "yes": _OUTCOME_AS_SIDE,
    "no": _OUTCOME_AS_SIDE,
    "up": _OUTCOME_AS_SIDE,
    "down": _OUTCOME_AS_SIDE,
}

STRATEGIES = {
    "randomized": "random",
    "randomised": "random",
    "time_weighted": "twap",
    "volume_weighted": "vwap",
    "participation": "pov",
    "none": "single",
    "false": "single",
    **dict.fromkeys(("limit", "join", "top_bidder", "take"), _STYLE_AS_STRATEGY),
}

STYLES = {
    "topbidder": "top_bidder",
    "top": "top_bidder",
    "true": "top_bidder",
    "false": "limit",
    "peg": "join",
    "market": "take",
    "taker": "take",
    "cross": "take",
    **dict.fromkeys(
        ("single", "twap", "vwap", "pov", "iceberg", "random", "randomized"), _STRATEGY_AS_STYLE
    ),
}

TIMES_IN_FORCE = {
    "ioc": "fak",
    "fill_and_kill": "fak",
    "immediate_or_cancel": "fak",
    "fill_or_kill": "fok",
    "good_til_cancelled": "gtc",
    "good_till_cancelled": "gtc",
    "day": "gtd",
    "good_til_date": "gtd",
}

AT_ENDS = {
    "market": "take",
    "cross": "take",
    "hold": "keep",
    "continue": "keep",
    "gtc": "keep",
    "expire": "cancel",
    "withdraw": "cancel",
    "stop": "cancel",
}

CATCH_UPS = {"next": "next_slice", "skip": "none", "no": "none", "false": "none", "even": "spread"}

BEYOND_LIMITS = {
    "wait": "rest",
    "keep": "rest",
    "hide": "withdraw",
    "cancel": "withdraw",
    "end": "stop",
}

NEED_STATES = {
    "complete": "completed",
    "filled": "completed",
    "done": "completed",
    "end": "ended",
    "expired": "ended",
    "withdrawn": "ended",
    "failed": "ended",
}

_SETTING = "that is a setting of the runner, not of a plan: put it in runner.yaml, as"
_ELSEWHERE = "secrets never belong in a plan: use PMRUN_PRIVATE_KEY or a keystore"

KEYS = {
    # The original request.
    "splitting_strategy": "write split.strategy, such as `split: {strategy: twap}`",
    "enable_top_bidder": "write `quote: {style: top_bidder}`",
    "max_total_exposure": "write max_exposure under risk (the runner's own is in runner.yaml)",
    "max_daily_loss": "write max_loss under risk (the runner's own is in runner.yaml)",
    "host": f"{_SETTING} exchange.host",
    "chain_id": f"{_SETTING} exchange.chain_id",
    "signature_type": f"{_SETTING} exchange.signature_type",
    "funder": f"{_SETTING} exchange.funder",
    "level": f"{_SETTING} logging.level",
    "format": f"{_SETTING} logging.format",
    "file": f"{_SETTING} logging.file",
    "logging": f"{_SETTING} logging",
    "key": _ELSEWHERE,
    "private_key": _ELSEWHERE,
    "api_key": _ELSEWHERE,
    "secret": _ELSEWHERE,
    "passphrase": _ELSEWHERE,
    # Other systems, and near words.
    "id": "the id of a plan is the key plan; a job's id is its key under jobs",
    "name": "the id of a plan is the key plan; a job's id is its key under jobs",
    "price": "write limit_price",
    "limit": "write limit_price",
    "max_price": "write limit_price: never worse than that, whatever happens",
    "min_price": "write limit_price: never worse than that, whatever happens",
    "size": "write total_shares",
    "shares": "write total_shares",
    "quantity": "write total_shares",
    "qty": "write total_shares",
    "amount": "write total_shares (shares, not dollars)",
    "type": "write quote.style (limit, join, top_bidder, take) or quote.time_in_force",
    "order_type": "write quote.style (limit, join, top_bidder, take) or quote.time_in_force",
    "tif": "write quote.time_in_force",
    "depends_on": "write needs",
    "after": "write needs for jobs, start for a time",
    "condition": "write when, such as `when: {price_at_most: 0.4}`",
    "end": "write time_window_minutes: the end is start plus the window",
    "start_time": "write start",
    "window": "write time_window_minutes",
    "duration": "write time_window_minutes",
    "duration_minutes": "write time_window_minutes",
    "interval": "write split.interval_seconds",
    "num_slices": "write split.slices",
    "number_of_orders": "write split.slices",
    "token": "write market.token_id, or market.slug with market.outcome",
    "asset_id": "write market.token_id",
    "market_id": "write market.condition_id with market.outcome",
    "enabled": "write paused (true stops it)",
    "visible_size": "write split.display_size",
    "<<": "merge keys are not read: write the keys out",
}
