"""The rules between keys (contract 3), each broken alone, and what is not traded yet."""

from __future__ import annotations

import pytest

from runner.core.plan import Plan
from runner.core.plan_reading import unavailable
from runner.plan_folder import read_plan


def plan(*job: str, market: str | None = '{token_id: "7"}', more: str = "") -> str:
    top = ["version: 1", "plan: a-plan"] + ([f"market: {market}"] if market else [])
    keys = ["side: buy", "total_shares: 100", "limit_price: 0.5", *job]
    return "\n".join([*top, "jobs:", "  build:", *(f"    {key}" for key in keys), more]) + "\n"


def problems(text: str) -> list[tuple[str, str]]:
    found = read_plan(text.encode())
    return [] if isinstance(found, Plan) else [(one.field, one.message) for one in found]


TWAP = "time_window_minutes: 10"
BROKEN = [
    (("split: {strategy: twap}",), "jobs.build", "time_window_minutes is missing: twap"),
    (("split: {strategy: vwap}",), "jobs.build", "time_window_minutes is missing: vwap"),
    (("split: {strategy: random}",), "jobs.build", "time_window_minutes is missing: random"),
    ((TWAP, "split: {strategy: twap, slices: 4, interval_seconds: 9}"),
     "jobs.build.split.interval_seconds", "give slices or interval_seconds, not both"),
    ((TWAP, "split: {strategy: twap, interval_seconds: 601}"),
     "jobs.build.split.interval_seconds", "longer than the window of 10 minutes"),
    ((TWAP, "split: {strategy: vwap, slices: 3, profile: [1, 2]}"),
     "jobs.build.split.profile", "has 2 weights for 3 slices"),
    ((TWAP, "split: {strategy: vwap, profile: [0, 0]}"),
     "jobs.build.split.profile", "has only zeros"),
    ((TWAP, "split: {strategy: vwap, profile: []}"), "jobs.build.split.profile", "a list of 1 to"),
    ((TWAP, "split: {strategy: vwap, profile: even}"), "jobs.build.split.profile", "measured"),
    (("split: {strategy: pov}",), "jobs.build.split", "participation is missing"),
    (("split: {strategy: pov, participation: 0.1, max_participation: 0.2}",),
     "jobs.build.split.max_participation", "pov has participation"),
    (("split: {strategy: iceberg}",), "jobs.build.split", "display_size is missing"),
    (("split: {strategy: iceberg, display_size: 5, refill_delay_seconds: [5, 1]}",),
     "jobs.build.split.refill_delay_seconds", "write [1, 5]"),
    (("split: {strategy: iceberg, display_size: 5, refill_delay_seconds: 5}",),
     "jobs.build.split.refill_delay_seconds", "a list of two"),
    (("split: {strategy: iceberg, display_size: 5, min_order_size: 6}",),
     "jobs.build.split.display_size", "less than min_order_size 6"),
    (("split: {slices: 4}",), "jobs.build.split.slices", "belongs to twap and vwap"),
    (("split: {interval_seconds: 4}",), "jobs.build.split.interval_seconds", "here is single"),
    (("split: {profile: measured}",), "jobs.build.split.profile", "belongs to vwap"),
    (("split: {participation: 0.1}",), "jobs.build.split.participation", "belongs to pov"),
    (("split: {display_size: 5}",), "jobs.build.split.display_size", "belongs to iceberg"),
    (("split: {display_variance: 0.1}",), "jobs.build.split.display_variance", "to iceberg"),
    (("split: {refill_delay_seconds: [1, 2]}",),
     "jobs.build.split.refill_delay_seconds", "belongs to iceberg"),
    (("split: {size_variance: 0.1}",), "jobs.build.split.size_variance", "belongs to random"),
    (("split: {time_variance: 0.1}",), "jobs.build.split.time_variance", "belongs to random"),
    (("split: {catch_up: spread}",), "jobs.build.split.catch_up", "twap and vwap and random"),
    (("split: {min_order_size: 20, max_order_size: 10}",),
     "jobs.build.split.min_order_size", "20 is more than max_order_size 10"),
    (("split: {min_order_size: 5}", "quote: {shares_per_order: 4}"),
     "jobs.build.quote.shares_per_order", "4 is less than min_order_size 5"),
    (("quote: {improve_ticks: 2}",), "jobs.build.quote.improve_ticks", "here is limit"),
    (("quote: {style: join, min_competing_size: 5}",),
     "jobs.build.quote.min_competing_size", "belongs to top_bidder"),
    (("quote: {style: join, step_down_after_seconds: 5}",),
     "jobs.build.quote.step_down_after_seconds", "belongs to top_bidder"),
    (("quote: {dwell_seconds: 5}",), "jobs.build.quote.dwell_seconds", "join and top_bidder"),
    (("quote: {beyond_limit: stop}",), "jobs.build.quote.beyond_limit", "join and top_bidder"),
    (("quote: {style: top_bidder, time_in_force: fak}",),
     "jobs.build.quote.time_in_force", "rests in the book"),
    (("quote: {style: take, time_in_force: gtc}",),
     "jobs.build.quote.time_in_force", "take never rests"),
    (("quote: {post_only: true, time_in_force: fok}",), "jobs.build.quote.post_only", "fok takes"),
    (("quote: {post_only: true, style: take}",), "jobs.build.quote.post_only", "take takes"),
    (("at_end: take",), "jobs.build.at_end", "needs time_window_minutes"),
    (("when: {}",), "jobs.build.when", "exactly one of"),
    (("when: {price_at_most: 0.4, price_at_least: 0.3}",), "jobs.build.when", "exactly one of"),
    (("when:",), "jobs.build.when", "is empty: below it, indented, come price_at_most"),
    (("needs: [build]",), "jobs.build.needs[0]", "is this job itself"),
    (("needs: {build: ended}",), "jobs.build.needs.build", "is this job itself"),
    (("needs: [biuld]",), "jobs.build.needs[0]", "did you mean build?"),
    (("market: {slug: x}",), "jobs.build.market", "slug needs outcome"),
    ((f"market: {{condition_id: '0x{'0a' * 32}'}}",),
     "jobs.build.market", "condition_id needs outcome"),
    (("market: {outcome: Yes}",), "jobs.build.market", "names no token"),
    (("market: {slug: x, token_id: '5'}",), "jobs.build.market", "names the market twice"),
    (("market: {token_id: '5', outcome: Yes}",), "jobs.build.market.outcome", "says it all"),
]  # fmt: skip


@pytest.mark.parametrize(("job", "field", "message"), BROKEN)
def test_a_broken_rule_is_reported_where_it_is_broken(
    job: tuple[str, ...], field: str, message: str
) -> None:
    assert problems(plan()) == []
    ((where, what),) = problems(plan(*job))
    assert where == field
    assert message in what


def test_a_bad_value_does_not_hide_a_broken_rule_nor_invent_one() -> None:
    found = problems(plan("split: {strategy: twap, min_order_size: x, max_order_size: 5}"))
    assert [where for where, _ in found] == ["jobs.build", "jobs.build.split.min_order_size"]
    # What belongs to an unreadable strategy isn't known, so nothing is said of slices.
    found = problems(plan("split: {strategy: toowap, slices: 4}"))
    assert [where for where, _ in found] == ["jobs.build.split.strategy"]


def test_a_market_is_needed_once_and_complained_of_once() -> None:
    ((where, what),) = problems(plan(market=None))
    assert where == "jobs.build.market"
    assert "name the token here or for the whole plan" in what
    second = "  other: {side: sell, total_shares: 5, limit_price: 0.5}"
    found = problems(plan(market="{token_id: x}", more=second))
    assert [where for where, _ in found] == ["market.token_id"]


OTHER = "  {name}: {{side: sell, total_shares: {total}, limit_price: 0.6, needs: {needs}}}"


def other(name: str, needs: str, total: str = "5") -> str:
    return OTHER.format(name=name, needs=needs, total=total)


def test_needs_that_go_round_are_named_and_nothing_else_is() -> None:
    circle = "\n".join([other("a", "[c]"), other("b", "[a]"), other("c", "[b]"), other("d", "[]")])
    ((where, what),) = problems(plan(more=circle))
    assert where == "jobs.a.needs"
    assert "goes round in a circle (a, b, c)" in what
    chain = "\n".join([other("a", "[build]"), other("b", "[a, build]"), other("c", "{b: ended}")])
    assert problems(plan(more=chain)) == []


def test_filled_needs_its_job_among_needs() -> None:
    assert problems(plan(more=other("exit", "[build]", "filled(build)"))) == []
    assert problems(plan(more=other("exit", "{build: ended}", "filled(build)"))) == []
    ((where, what),) = problems(plan(more=other("exit", "[]", "filled(build)")))
    assert where == "jobs.exit.total_shares"
    assert "write `needs: [build]`" in what


def test_a_plan_s_own_limit_below_the_smallest_order_is_refused() -> None:
    risk = "risk: {max_order_size: 4, max_position_size: 50, max_exposure: 9.5, max_loss: 1}"
    assert problems(plan("split: {min_order_size: 4}", more=risk)) == []
    ((where, what),) = problems(plan("split: {min_order_size: 5}", more=risk))
    assert where == "jobs.build.split.min_order_size"
    assert "risk.max_order_size 4" in what


def test_a_total_may_be_edited_below_every_bound() -> None:
    """A total at or below what is filled means "stop here": no bound may be in the way."""
    bounds = ("split: {min_order_size: 200, max_order_size: 500}", "quote: {shares_per_order: 400}")
    assert problems(plan(*bounds)) == []


def test_no_jobs_and_too_many_jobs() -> None:
    top = "version: 1\nplan: a\nmarket: {token_id: '7'}\njobs: "
    assert "at least one job" in problems(top + "{}\n")[0][1]
    many = "".join(f"\n  {other(f'j{n}', '[]').strip()}" for n in range(101))
    assert problems(top + many.replace(f"\n  {other('j100', '[]').strip()}", "") + "\n") == []
    ((where, what),) = problems(top + many + "\n")
    assert where == "jobs"
    assert "more than 100 jobs" in what


NOT_YET = [
    ((TWAP, "split: {strategy: vwap}"), "split.strategy", "vwap"),
    (("split: {strategy: pov, participation: 0.1}",), "split.strategy", "pov"),
    (("split: {strategy: iceberg, display_size: 5}",), "split.strategy", "iceberg"),
    ((TWAP, "split: {strategy: random}"), "split.strategy", "random"),
    (("split: {max_participation: 0.1}",), "split.max_participation", "max_participation"),
    (("quote: {style: take}",), "quote.style", "take"),
    (("quote: {time_in_force: fok}",), "quote.time_in_force", "fok"),
    (("quote: {time_in_force: fak}",), "quote.time_in_force", "fak"),
    ((TWAP, "at_end: take"), "at_end", "take"),
]


@pytest.mark.parametrize(("job", "field", "word"), NOT_YET)
def test_what_comes_later_is_valid_and_said_to_be_unavailable(
    job: tuple[str, ...], field: str, word: str
) -> None:
    found = read_plan(plan(*job).encode())
    assert isinstance(found, Plan)
    ((where, text),) = unavailable(found)
    assert where == f"jobs.build.{field}"
    assert text.startswith(f"{word} is not available yet: ")


def test_what_is_traded_is_available() -> None:
    for style in ("limit", "join", "top_bidder"):
        for split in ("{strategy: single}", "{strategy: twap, catch_up: none}"):
            keys = (
                TWAP, f"split: {split}", f"quote: {{style: {style}}}", "at_end: keep",
                "when: {price_at_most: 0.4}", "start: 2026-01-01T00:00:00Z",
            )  # fmt: skip
            found = read_plan(plan(*keys, more=other("x", "[build]", "filled(build)")).encode())
            assert isinstance(found, Plan)
            assert unavailable(found) == []
