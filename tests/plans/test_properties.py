"""Plans of every shape survive the way through YAML exactly; no bytes make the reader raise."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from runner.core.plan import Plan, Strategy, Style
from runner.plan_folder import Problem, read_plan

ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
sizes = st.builds(
    "{}.{:02}".format, st.integers(1, 10**6), st.integers(0, 99)
) | st.integers(1, 10**8).map(str)  # fmt: skip
prices = st.integers(1, 9999).map(lambda n: f"0.{n:04}") | st.integers(1, 99).map("0.{:02}".format)
fractions = st.integers(0, 10**6).map(lambda n: f"0.{n:06}" if n < 10**6 else "1")
seconds = st.integers(1, 86_399_999).map(lambda n: f"{n // 1000}.{n % 1000:03}")
words = st.sampled_from((str.upper, str.lower, str.title))


def said(*choices: str) -> st.SearchStrategy[str]:
    return st.builds(lambda word, case: case(word), st.sampled_from(choices), words)


SPLITS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "twap": {"catch_up": said("spread", "next_slice", "none")},
    "vwap": {"profile": st.lists(sizes, min_size=1, max_size=9) | st.just("Measured")},
    "pov": {},
    "iceberg": {"display_variance": fractions},
    "random": {"size_variance": fractions, "time_variance": fractions},
    "single": {"max_participation": fractions.filter(lambda text: Decimal(text) > 0)},
}


@st.composite
def job_trees(draw: st.DrawFn, needs: list[str]) -> dict[str, Any]:
    strategy = draw(st.sampled_from(sorted(SPLITS)))
    split: dict[str, Any] = {"strategy": strategy, "max_order_size": draw(sizes)}
    split |= draw(st.fixed_dictionaries({}, optional=SPLITS[strategy]))
    if strategy == "pov":
        split["participation"] = "0.25"
    if strategy == "iceberg":
        split["display_size"] = draw(sizes)
    style = draw(st.sampled_from(["limit", "join", "top_bidder"]))
    quote: dict[str, Any] = {"style": style, "poll_interval": draw(seconds)}
    if style == "top_bidder":
        quote["improve_ticks"] = str(draw(st.integers(1, 9)))
    job: dict[str, Any] = {
        "side": draw(said("buy", "sell")),
        "total_shares": draw(sizes),
        "limit_price": draw(prices),
        "time_window_minutes": draw(st.integers(1, 10**6).map(lambda n: f"{n / 10:.1f}")),
        "at_end": draw(said("cancel", "take", "keep")),
        "split": split,
        "quote": quote,
    }
    if draw(st.booleans()):
        at = draw(st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)))
        job["start"] = at.isoformat() + "Z"
    if draw(st.booleans()):
        job["when"] = {draw(st.sampled_from(["price_at_most", "price_at_least"])): draw(prices)}
    waits: bool = draw(st.booleans())
    if needs and waits:
        need = draw(st.sampled_from(needs))
        job["needs"] = draw(st.sampled_from([[need], {need: "Ended"}]))
        if draw(st.booleans()):
            job["total_shares"] = f"filled({need})"
    return job


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    jobs = {name: draw(job_trees(names[:n])) for n, name in enumerate(names)}
    return {
        "version": "1",
        "plan": draw(ids),
        "description": draw(st.text(st.characters(min_codepoint=32, max_codepoint=126))),
        "market": {"slug": "a-market", "outcome": draw(st.sampled_from(["Yes", "no", "Ünder"]))},
        "jobs": jobs,
        "risk": {"max_exposure": draw(sizes)},
    }


def as_yaml(tree: Any, depth: int = 0) -> str:
    """Block style, numbers and words bare where YAML lets them be."""
    pad = "  " * depth
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines.append(f"{pad}{key}:\n{as_yaml(value, depth + 1)}")
        elif isinstance(value, list):
            lines.append(f"{pad}{key}: [{', '.join(value)}]\n")
        else:
            bare = key not in {"description", "outcome"}
            lines.append(f"{pad}{key}: {value if bare else json.dumps(value)}\n")
    return "".join(lines)


def leaves(tree: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], str]:
    found = {}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, str):
            found[*path, key] = value
        else:
            found |= leaves(value, (*path, key))
    return found


def at(plan: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        plan = getattr(plan, str(step)) if isinstance(plan, BaseModel) else plan[step]
    return plan


@given(trees())
@settings(max_examples=100, deadline=None)
def test_every_number_and_word_of_a_valid_plan_is_what_its_text_says(tree: dict[str, Any]) -> None:
    plan = read_plan(as_yaml(tree).encode())
    assert isinstance(plan, Plan), plan
    for path, text in leaves(tree).items():
        if path[-2] == "needs" if len(path) > 1 else False:
            continue
        value = at(plan, path)
        if isinstance(value, Decimal):
            assert str(value) == text
        elif isinstance(value, datetime):
            assert value == datetime.fromisoformat(text).astimezone(UTC)
        elif isinstance(value, Strategy | Style):
            assert str(value) == text.lower()
    assert list(plan.jobs) == list(tree["jobs"])


@given(trees())
@settings(max_examples=50, deadline=None)
def test_a_plan_s_json_form_reads_back_as_the_same_plan(tree: dict[str, Any]) -> None:
    plan = Plan.model_validate(tree)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert Plan.model_validate(plan.model_dump(mode="json")) == plan
    assert Plan.model_validate(plan.model_dump()) == plan


PIECES = st.sampled_from(
    [": ", "- ", "{", "}", "[", "]", "&a ", "*a", "!!x ", "'", '"', "\n", "\n  ", "\t", "#", "%",
     "|\n", ">", "? ", "<<: ", "---\n", "...\n", ",", "jobs", "side", "0", "\u0661", "\x00",
     "\u202e", "\ufeff", "~", "99999999999999999999", "1e9", "ab12" * 16, "filled(a)"]
)  # fmt: skip


@given(trees(), st.data())
@settings(max_examples=150, deadline=1000)
def test_a_mutated_plan_is_read_or_refused_but_never_raises(
    tree: dict[str, Any], data: st.DataObject
) -> None:
    text = as_yaml(tree)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(PIECES) + text[end:]
    check(text.encode())


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=1000)
def test_any_bytes_are_read_or_refused_but_never_raise(data: bytes) -> None:
    check(data)


def check(data: bytes) -> None:
    found = read_plan(data)
    if not isinstance(found, Plan):
        assert found
        lines = data.count(b"\n") + 1
        for problem in found:
            assert isinstance(problem, Problem)
            assert 1 <= problem.line <= lines + 1
            assert problem.column >= 1
            assert problem.render("p").isprintable()
            assert "ab12ab12" not in problem.render("p")
