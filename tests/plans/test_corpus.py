"""Faults F8 to F23 and the messages: what must be refused, at which place, in which words."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from runner.core.model import Side, TimeInForce
from runner.core.plan import (
    AtEnd,
    BeyondLimit,
    CatchUp,
    FilledOf,
    NeedState,
    Plan,
    Strategy,
    Style,
)
from runner.plan_folder import FILE_SIZE_MAX, read_plan

TOKEN = "21742633143463906290569050155826241533067272736897614950488156847949938836455"
CONDITION = "0x" + "5fE1" * 16
KEY = "ab12" * 16

HEAD = f"""version: 1
plan: a-plan
market: {{token_id: "{TOKEN}"}}
jobs:
  build:
"""
JOB = {"side": "buy", "total_shares": "1000", "limit_price": "0.55"}


def written(**keys: str | None) -> str:
    """A plan with one job, from line 6 on, in which `keys` replace or add to the usual ones."""
    lines = [f"    {key}: {value}" for key, value in (JOB | keys).items() if value is not None]
    return HEAD + "\n".join(lines) + "\n"


def read(text: str) -> Plan:
    found = read_plan(text.encode())
    assert isinstance(found, Plan), [problem.render("x") for problem in found]
    return found


def problems(text: str | bytes) -> list[str]:
    found = read_plan(text if isinstance(text, bytes) else text.encode())
    assert not isinstance(found, Plan)
    return [problem.render("p.yaml") for problem in found]


def only(text: str | bytes) -> str:
    (problem,) = problems(text)
    return problem


def test_the_contract_s_example_is_read_exactly() -> None:
    plan = read(f"""\
version: 1
plan: accumulate-yes              # a comment
description: Build 1,000 YES below 55 cents within the hour, quietly.
market:
  token_id: "{TOKEN}"
paused: false
jobs:
  build:
    side: buy
    total_shares: 1000
    limit_price: 0.55
    time_window_minutes: 60
    split: {{strategy: twap, min_order_size: 10, max_order_size: 100}}
    quote: {{style: top_bidder}}
  exit:
    needs: [build]
    side: sell
    total_shares: filled(build)
    limit_price: 0.62
    split: {{strategy: iceberg, display_size: 50}}
""")
    assert (plan.version, plan.plan, plan.paused) == (1, "accumulate-yes", False)
    assert plan.description.startswith("Build 1,000 YES")
    build, leave = plan.jobs["build"], plan.jobs["exit"]
    assert build.market.token_id == leave.market.token_id == TOKEN
    assert (build.side, build.total_shares) == (Side.BUY, Decimal(1000))
    assert build.limit_price == Decimal("0.55")
    assert build.split.strategy is Strategy.TWAP
    assert build.split.max_order_size == Decimal(100)
    assert build.quote.style is Style.TOP_BIDDER
    assert leave.total_shares == FilledOf(job="build")
    assert leave.needs == {"build": NeedState.COMPLETED}
    assert leave.quote.style is Style.LIMIT


def test_words_are_read_in_any_case_and_every_kind_of_value_in_its_form() -> None:
    plan = read(
        HEAD
        + """\
    market: {slug: will-it-rain, outcome: NO}
    side: BUY
    total_shares: "250.50"
    limit_price: 0.055
    start: 2026-01-31T14:30:00+02:00
    time_window_minutes: 0.5
    when: {price_at_least: 0.01}
    at_end: Keep
    split: {strategy: VWAP, profile: [3, 1.5, 0], catch_up: NEXT_SLICE, seed: 7}
    quote: {style: Top_Bidder, time_in_force: GTC, post_only: TRUE, beyond_limit: Stop}
  after:
    needs: {build: ENDED}
    side: Sell
    total_shares: FILLED( build )
    limit_price: 0.9999
"""
    )
    build, after = plan.jobs["build"], plan.jobs["after"]
    assert build.market.outcome == "NO"
    assert str(build.total_shares) == "250.50"
    assert build.start == datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    assert build.time_window_minutes == Decimal("0.5")
    assert build.when is not None
    assert build.when.price_at_least == Decimal("0.01")
    assert build.at_end is AtEnd.KEEP
    assert build.split.profile == (Decimal(3), Decimal("1.5"), Decimal(0))
    assert build.split.catch_up is CatchUp.NEXT_SLICE
    assert build.split.seed == 7
    assert build.quote.time_in_force is TimeInForce.GTC
    assert build.quote.post_only is True
    assert build.quote.beyond_limit is BeyondLimit.STOP
    assert after.needs == {"build": NeedState.ENDED}
    assert after.total_shares == FilledOf(job="build")
    assert after.market.token_id == TOKEN


NUMBERS = [
    # F10, F11: numbers that YAML readers disagree about
    ("010", "write 10"),
    ("0010.5", "write 10.5"),
    ("0x10", "plain decimal digits"),
    ("0o17", "plain decimal digits"),
    ("1_000", "write 1000"),
    ("12:30", "is not a plain decimal"),
    ("1e3", "write 1000"),
    ("1.0e+3", "write 1000"),
    ("+5", "write 5"),
    (".5", "write 0.5"),
    ("5.", "write 5"),
    ("-5", "is negative"),
    # F12: what is no number at all
    (".nan", "is not a finite number"),
    (".inf", "is not a finite number"),
    ("-.INF", "is not a finite number"),
    ("nan", "is not a finite number"),
    # F14: lengths
    ("1" * 10_000, "is too long for a number"),
    ("1e999999", "is not a plain decimal"),
    # F15: digits of other scripts
    ("١٢", "only the digits 0 to 9"),
    ("１２", "only the digits 0 to 9"),
    # F20: other notations
    ("1,5", "write 1.5"),
    ("1,000", "write 1000"),
    ("1,000,000.50", "write 1000000.50"),
    ("$100", "write 100"),
    ("100 shares", "write 100"),
    ("many", "write digits such as 100"),
    ("0", "must be more than 0"),
    ("0.001", "more than 2 decimals"),
    ("1000000000", "is more than 999999999"),
    # F9: words that some readers take for something else
    ("yes", "is not a plain decimal"),
    ("", "is empty"),
    ("~", "is empty"),
    ("null", "is empty"),
    ("[1]", "not a list"),
    ("{a: 1}", "not a group of keys"),
]


@pytest.mark.parametrize(("text", "message"), NUMBERS)
def test_f10_to_f15_a_number_is_plain_or_refused(text: str, message: str) -> None:
    problem = only(written(total_shares=text))
    assert problem.startswith("p.yaml:7:")
    assert ": jobs.build.total_shares: " in problem
    assert message in problem


PRICES = [
    ("0,55", "write 0.55"),
    ("55", "55 cents is 0.55"),
    ("62.5", "62.5 cents is 0.625"),
    ("55%", "write it as a plain decimal, 0.55"),
    ("55 cents", "write it as a plain decimal, 0.55"),
    ("55¢", "write 0.55"),
    ("$0.55", "write 0.55"),
    ("0", "is not between 0 and 1"),
    ("1", "is not between 0 and 1"),
    ("1.0", "is not between 0 and 1"),
    ("0.55555", "more than 4 decimals"),
]


@pytest.mark.parametrize(("text", "message"), PRICES)
def test_f20_a_price_is_dollars_a_share(text: str, message: str) -> None:
    problem = only(written(limit_price=text))
    assert ": jobs.build.limit_price: " in problem
    assert message in problem


WORDS = [
    ("side", "bid", "write buy (buy or sell)"),
    ("side", "b", "write buy"),
    ("side", "SHORT", "write sell"),
    ("side", "no", "the outcome (Yes, No) stands under market"),  # F9
    ("side", "on", "write buy or sell"),
    ("side", "buuy", "write buy"),
    ("side", "ѕell", r"'\u0455ell': write sell"),  # F16: not our s
    ("at_end", "hold", "write keep"),
    ("split", "{strategy: randomized}", "write random"),
    ("split", "{strategy: top_bidder}", "that is a quote.style"),
    ("split", "{strategy: TWAAP}", "write twap"),
    ("quote", "{style: market}", "write take"),
    ("quote", "{style: ICEBERG}", "that is a split.strategy"),
    ("quote", "{time_in_force: IOC}", "write fak"),
    ("quote", "{time_in_force: fill-or-kill}", "write fok"),
    ("quote", "{post_only: yes}", "write true"),
    ("quote", "{post_only: 0}", "write false"),
    ("quote", "{poll_interval: 3s}", "this key counts seconds, write 3"),
    ("quote", "{poll_interval: 0}", "must be more than 0"),
    ("time_window_minutes", "1h", "this key counts minutes, write 60"),
    ("time_window_minutes", "90 s", "this key counts minutes, write 1.5"),
    ("time_window_minutes", "1:30", "is a clock time"),
    ("start", "2026-01-31", "write a UTC time such as"),
    ("start", "2026-01-31T14:30:00", "add Z for UTC"),
    ("start", "2026-01-31T23:59:60Z", "is a leap second"),
    ("start", "2026-02-30T10:00:00Z", "is no time of the calendar"),
    ("start", "2026-01-31T24:30:00Z", "is no time of the calendar"),
    ("start", "0001-01-01T00:00:00+02:00", "write a UTC time such as"),
    ("start", "now", "write a UTC time such as"),
    ("needs", "other", "write [other]"),
    ("total_shares", "filled build", "write filled(JOB)"),
    ("split", "{seed: 1.5}", "is not a whole number"),
    ("split", "{slices: 4.0}", "belongs to twap and vwap"),
    ("split", "{strategy: pov, participation: 20%}", "write it as a plain decimal, 0.2"),
    ("split", "{strategy: pov, participation: 20}", "write 0.2 for 20 percent"),
    ("split", "{strategy: pov, participation: 0}", "would never trade"),
]


@pytest.mark.parametrize(("key", "value", "message"), WORDS)
def test_a_wrong_word_is_answered_with_the_right_one(key: str, value: str, message: str) -> None:
    problem = only(written(**{key: value}))
    assert f": jobs.build.{key}" in problem
    assert message in problem


KEYS = [
    ("splitting_strategy", "TWAP", "write split.strategy"),
    ("enable_top_bidder", "True", "write `quote: {style: top_bidder}`"),
    ("shares_per_order", "100", "it goes under quote"),
    ("poll_interval", "3", "it goes under quote"),
    ("min_order_size", "10", "it goes under split"),
    ("max_order_size", "100", "it goes under split or risk"),
    ("token_id", "1", "it goes under market"),
    ("max_position_size", "5000", "it goes under risk"),
    ("max_total_exposure", "10000", "write max_exposure under risk"),
    ("max_daily_loss", "500", "write max_loss under risk"),
    ("host", "x", "runner.yaml, as exchange.host"),
    ("chain_id", "137", "runner.yaml, as exchange.chain_id"),
    ("signature_type", "0", "runner.yaml, as exchange.signature_type"),
    ("max_prcie", "0.55", "write limit_price"),  # F19
    ("limit_prise", "0.55", "did you mean limit_price?"),
    ("Side", "buy", "write side, keys are spelt exactly so"),
    ("at-end", "keep", "write at_end"),
    ("ｓide", "buy", "'\\uff53ide' is not a key: did you mean side?"),  # F16
    ("zzz", "1", "the keys are at_end, limit_price, market,"),
    ("private_key", "x", "secrets never belong in a plan"),
]


@pytest.mark.parametrize(("key", "value", "message"), KEYS)
def test_f19_an_unknown_key_is_answered_with_the_right_one(
    key: str, value: str, message: str
) -> None:
    problem = only(written(**{key: value}))
    assert problem.startswith("p.yaml:9:5: jobs.build.")
    assert message in problem


def test_f8_a_key_that_stands_twice_is_refused_at_its_second_place() -> None:
    text = written() + "    limit_price: 0.6\n"
    assert only(text) == (
        "p.yaml:9:5: jobs.build.limit_price: 'limit_price' stands here twice "
        "(first in line 8): keep one"
    )


def test_f9_an_outcome_called_no_stays_text_and_a_truth_is_true_or_false() -> None:
    text = written(market="{slug: a-market, outcome: no}")
    assert read(text).jobs["build"].market.outcome == "no"
    assert "paused: 'on': write true" in only("paused: on\n" + written())


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("2.1742633143463906e+76", "rounded by another program"),
        ("0x" + "1f" * 20, "write all its digits"),
        ("0" + TOKEN, "write all its digits"),
        (str(1 << 256), "write all its digits"),
        ("9" * 20_000, "write all its digits"),
    ],
)
def test_f13_a_token_id_is_all_its_digits(token: str, message: str) -> None:
    problem = only(written(market=f"{{token_id: {token}}}"))
    assert ": jobs.build.market.token_id: " in problem
    assert message in problem
    unquoted = read(written(market=f"{{token_id: {TOKEN}}}"))
    assert unquoted.jobs["build"].market.token_id == TOKEN


@pytest.mark.parametrize(
    "character", ["\u200b", "\u202e", "\ufeff", "\u2028", "\u0007", "\u00ad", "\x7f", "\r"]
)
def test_f16_invisible_characters_are_refused_wherever_they_stand(character: str) -> None:
    named = f"U+{ord(character):04X}"
    head = "# comment\ndescription: a"
    assert only(f"{head}{character}b\n" + written()) == (
        f"p.yaml:2:15: file: holds the invisible character {named}: take it out"
    )
    escaped = f'description: "a\\u{ord(character):04x}b"\n' + written()
    assert only(escaped).endswith(f"holds the invisible character {named}: take it out")


def test_f16_a_byte_order_mark_is_named() -> None:
    assert "byte order mark" in only(b"\xef\xbb\xbf" + written().encode())


def test_f16_composed_and_decomposed_names_are_the_same() -> None:
    composed = read(written(market="{slug: x, outcome: Atlético}"))
    decomposed = read(written(market="{slug: x, outcome: Atle\u0301tico}"))
    assert composed == decomposed


@pytest.mark.parametrize(
    ("plan", "hint"),
    [
        ("My Plan", "write my-plan"),
        ("a_plan", "write a-plan"),
        ("plаn", ""),
        ("x" * 64, ""),
        ("-x", ""),
        ("../etc/passwd", ""),
    ],
)
def test_f16_f22_an_id_is_plain(plan: str, hint: str) -> None:
    problem = only(written().replace("plan: a-plan", f"plan: {plan}"))
    assert problem.startswith("p.yaml:2:7: plan: ")
    assert "is not an id" in problem
    assert hint in problem


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
)
NOT_A_PLAN = [
    ("f17-anchor", "description: &x hello\n" + written(), "1:14: description: anchors (&)"),
    ("f17-alias", written(total_shares="*x"), "7:19: jobs.build.total_shares: aliases (*)"),
    ("f17-bomb", BOMB, "anchors (&) are not read"),
    ("f17-merge", written() + "    <<: {at_end: keep}\n", "merge keys are not read"),
    ("f17-deep", "a: " + "[" * 30_000, "is nested more than 8 levels deep"),
    ("f17-deep-group", "a: " + "{a: " * 10_000, "is nested more than 8 levels deep"),
    ("f18-tag", written(total_shares="!!int 5"), "tags (!) are not read"),
    ("f18-python", "!!python/object/apply:os.system [x]", "a plan is a group of keys"),
    ("f18-local", written(side="!buy buy"), "tags (!) are not read"),
    ("f21-empty", "", "1:1: file: the file has no plan in it"),
    ("f21-comment", "# nothing\n", "the file has no plan in it"),
    ("f21-two", written() + "---\n" + written(), "9:1: file: a second document starts here"),
    ("f21-scalar", "hello", "a plan is a group of keys"),
    ("f21-list", "- plan: x", "a plan is a group of keys"),
    ("directive", "%YAML 1.1\n---\n" + written(), "directives (%) are not read"),
    ("key-list", "? [a]\n: 1\n" + written(), "a key must be a plain word"),
    ("tab", "jobs:\n\tx: 1\n", "2:1: file: a value can't start with this character"),
    ("colon", "description: a: b\n" + written(), "1:15: file: ': ' can't stand here"),
    ("quote", 'description: "open\n', "the file ends inside a quoted value"),
    ("half", written() + "    split: {strategy: tw", "a group is not closed"),
]


@pytest.mark.parametrize(
    ("text", "message"), [case[1:] for case in NOT_A_PLAN], ids=[case[0] for case in NOT_A_PLAN]
)
def test_f17_f18_f21_what_is_no_plan_is_refused_at_once(text: str, message: str) -> None:
    started = time.perf_counter()
    found = problems(text)
    assert time.perf_counter() - started < 1
    assert any(message in problem for problem in found), found


def test_f21_bytes_that_are_no_text_and_files_that_are_too_large() -> None:
    assert only(b"plan: \xff\xfe") == ("p.yaml:1:7: file: is not UTF-8 text: save it as UTF-8")
    padded = written() + "#" * (FILE_SIZE_MAX - len(written()))
    assert read(padded) == read(written())
    assert "is larger than 65536 bytes" in only(padded + "#")


@pytest.mark.parametrize(
    "text",
    [
        f"description: {KEY}\n" + written(),
        f"description: 0x{KEY}\n" + written(),
        written() + f"    {KEY}: 1\n",
        written(total_shares=KEY),
        written(side=f"0x{KEY}"),
        written() + f"# {KEY}\n",
        written(market=f"{{condition_id: {KEY}, outcome: Yes}}"),
        f'description: "\\x{ord(KEY[0]):x}{KEY[1:]}"\n' + written(),
        f"description: [{KEY}\n",
    ],
)
def test_s4_what_looks_like_a_private_key_is_refused_and_never_echoed(text: str) -> None:
    found = problems(text)
    assert any("looks like a private key" in problem for problem in found), found
    assert not any(re.search(r"[0-9a-f]{16}", problem) for problem in found)


def test_s4_a_condition_id_is_at_home_in_its_place_and_in_comments() -> None:
    text = written(market=f"{{condition_id: {CONDITION}, outcome: Up}}") + f"# {CONDITION}\n"
    assert read(text).jobs["build"].market.condition_id == CONDITION.lower()


def test_s12_what_is_echoed_is_short_and_printable() -> None:
    for problem in problems(written(side='"a\\tb\\nc\'d"', zzz="1", at_end="x" * 5000)):
        assert problem.isprintable()
        assert len(problem) < 250


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        """\
version: 2
plan: Bad Id
market: {slug: polymarket.com/event/x/will-it-rain, outcome: "" }
risk:
jobs:
  build:
    side: BID
    limit_price: 0,55
    split: {strategy: TWAP, min_order_size: 50, max_order_size: 5}
  exit:
    needs: [biuld]
    side: sell
    total_shares: filled(build)
    limit_price: 0.6
  empty:
"""
    )
    places = [problem.split(": ", 2)[:2] for problem in found]
    assert places == [
        ["p.yaml:1:10", "version"],
        ["p.yaml:2:7", "plan"],
        ["p.yaml:3:16", "market.slug"],
        ["p.yaml:3:62", "market.outcome"],
        ["p.yaml:4:6", "risk"],
        ["p.yaml:6:3", "jobs.build"],
        ["p.yaml:6:3", "jobs.build.total_shares"],
        ["p.yaml:7:11", "jobs.build.side"],
        ["p.yaml:8:18", "jobs.build.limit_price"],
        ["p.yaml:9:45", "jobs.build.split.min_order_size"],
        ["p.yaml:11:13", "jobs.exit.needs[0]"],
        ["p.yaml:13:19", "jobs.exit.total_shares"],
        ["p.yaml:15:9", "jobs.empty"],
    ]
    assert "write only the last part of the address, as will-it-rain" in found[2]
    assert "time_window_minutes is missing" in found[5]
    assert "did you mean build?" in found[10]


def test_ten_thousand_faults_are_bounded_in_number_and_time() -> None:
    text = written() + "".join(f"    k{n}: {n}\n" for n in range(5_000))
    started = time.perf_counter()
    found = problems(text[:FILE_SIZE_MAX].rsplit("\n", 1)[0])
    assert time.perf_counter() - started < 2
    assert 50 <= len(found) <= 51
