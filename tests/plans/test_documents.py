"""The examples load, the reference tells the truth, and the editors' schema agrees."""

from __future__ import annotations

import itertools
import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from runner.core.plan import (
    Gate,
    JobSpec,
    MarketRef,
    Plan,
    PlanRisk,
    QuoteSpec,
    Split,
    json_schema,
)
from runner.core.plan_reading import unavailable
from runner.plan_folder import read_plan
from runner.plan_folder.yaml_tree import parse

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "plans" / "examples").glob("*.yaml"))
REFERENCE = (ROOT / "docs" / "plan-reference.md").read_text()

GROUPS: dict[str, type[BaseModel]] = {
    "The plan": Plan,
    "market": MarketRef,
    "A job": JobSpec,
    "when": Gate,
    "split": Split,
    "quote": QuoteSpec,
    "risk": PlanRisk,
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads_and_is_traded_by_this_release(path: Path) -> None:
    plan = read_plan(path.read_bytes())
    assert isinstance(plan, Plan), [problem.render(path.name) for problem in plan]
    assert unavailable(plan) == []
    assert plan.plan == path.stem
    assert path.read_text().startswith("# ")  # says first what it is good for


def test_the_examples_show_what_this_release_can_do() -> None:
    plans = [read_plan(path.read_bytes()) for path in EXAMPLES]
    jobs = [job for plan in plans if isinstance(plan, Plan) for job in plan.jobs.values()]
    assert {str(job.split.strategy) for job in jobs} == {"single", "twap"}
    assert {str(job.quote.style) for job in jobs} == {"limit", "join", "top_bidder"}
    assert {str(job.side) for job in jobs} == {"buy", "sell"}
    assert any(job.needs for job in jobs)


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the table under a heading, by the key in their first cell."""
    section = REFERENCE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row for row in cells}


@pytest.mark.parametrize("heading", GROUPS)
def test_the_reference_documents_every_key_and_no_other(heading: str) -> None:
    assert list(rows(heading)) == list(GROUPS[heading].model_fields)


KEYS = [(heading, key) for heading, model in GROUPS.items() for key in model.model_fields]


@pytest.mark.parametrize(("heading", "key"), KEYS)
def test_the_reference_gives_defaults_and_examples_that_are_true(heading: str, key: str) -> None:
    field = GROUPS[heading].model_fields[key]
    _, _, default, _, example = rows(heading)[key]
    if key == "market" and heading == "A job":
        assert default == "the plan's"  # by inheritance
    elif field.is_required():
        assert default == "required"
    elif key == "start":
        assert default == "when accepted"
    elif key in {"split", "quote"}:
        assert default in {"single", "limit"}
    else:
        value = field.get_default()
        shown = {"None": "none", "": "empty", "False": "false"}
        empty = value == {} or (isinstance(value, BaseModel) and not value.model_fields_set)
        assert default == ("none" if empty else shown.get(str(value), str(value)))
    if key != "jobs":
        text = re.fullmatch(r"`(.*)`", example)
        assert text is not None
        tree = parse(text[1]).tree
        assert list(tree) == [key]
        TypeAdapter(field.rebuild_annotation()).validate_python(tree[key])


def test_every_word_of_the_schema_is_in_the_reference() -> None:
    words = re.findall(r"[a-z_]+", REFERENCE)
    for heading, model in GROUPS.items():
        for key, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, StrEnum):
                cell = rows(heading)[key][1]
                assert cell == ", ".join(field.annotation), (heading, key)
    assert "filled" in words


def test_the_reference_s_plans_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
    assert blocks
    for block in blocks:
        assert isinstance(read_plan(block.encode()), Plan)


def test_the_message_shown_in_the_reference_is_the_real_one() -> None:
    block = re.findall(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)[0]
    problems = read_plan(block.replace("0.55", "0,55").encode())
    assert isinstance(problems, list)
    shown = problems[0].render("plans/up.yaml")
    assert shown.split(":", 3)[3] in REFERENCE


# Every configuration key of the original request.
ORIGINAL = {
    "exchange": ("host", "chain_id", "signature_type", "key"),
    "top bidder": ("token_id", "side", "limit_price", "shares_per_order", "poll_interval"),
    "splitting": ("strategy", "splitting_strategy", "total_shares", "time_window_minutes"),
    "bounds": ("min_order_size", "max_order_size", "enable_top_bidder"),
    "risk": ("max_position_size", "max_total_exposure", "max_daily_loss", "max_order_size"),
    "logging": ("level", "format", "file"),
}


def test_every_key_of_the_original_request_has_a_place_that_exists() -> None:
    section = REFERENCE.split("\n## From the first request's configuration\n")[1]
    table = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    for key in itertools.chain.from_iterable(ORIGINAL.values()):
        assert any(re.search(rf"`{key}\b", left) for left, _ in table), key
    for _, right in table:
        for path in re.findall(r"plan: `([A-Za-z_.]+)`", right):
            model: Any = Plan
            steps = [step for step in path.split(".") if step != "JOB"]
            for step in steps:
                assert step in model.model_fields, path
                model = JobSpec if step == "jobs" else GROUPS.get(step, model)


def test_the_editors_schema_has_every_key_and_no_other() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Plan.model_fields)
    for model in GROUPS.values():
        if model is not Plan:
            part = schema["$defs"][model.__name__]
            assert set(part["properties"]) == set(model.model_fields)
            assert part["additionalProperties"] is False
    assert set(schema["$defs"]["JobSpec"]["required"]) == {"side", "total_shares", "limit_price"}
    assert set(schema["required"]) == {"version", "plan", "jobs"}


def test_the_editors_schema_accepts_words_in_any_case_and_numbers_as_text() -> None:
    schema = json_schema()
    side = schema["$defs"]["JobSpec"]["properties"]["side"]
    assert side["anyOf"][0] == {"enum": ["buy", "sell"]}
    pattern = side["anyOf"][1]["pattern"]
    assert all(re.search(pattern, word) for word in ("BUY", "Sell", "buy"))
    assert not re.search(pattern, "buyer")
    price = schema["$defs"]["JobSpec"]["properties"]["limit_price"]
    assert price["anyOf"][0] == {"type": "number"}
    assert re.search(price["anyOf"][1]["pattern"], "0.55")
    assert not re.search(price["anyOf"][1]["pattern"], "0,55")


def test_a_time_in_the_reference_has_an_offset() -> None:
    times = re.findall(r"\b20\d\d-\d\d-\d\dT[0-9:]+(?:Z|[+-]\d\d:\d\d)", REFERENCE)
    assert times
    for found in times:
        assert datetime.fromisoformat(found).utcoffset() is not None
