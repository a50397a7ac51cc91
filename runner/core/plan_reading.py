"""From a file's tree of text to a plan, or to every fault in it, worded for its writer.

`read` applies the schema and the rules between keys. `unavailable` names what this release does
not trade yet.

1. Every fault is reported in one go (see `plan_rules`).
2. At most `FAULTS_MAX` faults are given, and the work to word them is bounded with them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from runner.core import plan_words
from runner.core.model import TimeInForce
from runner.core.plan import (
    JOBS_MAX,
    AtEnd,
    Gate,
    JobSpec,
    MarketRef,
    Plan,
    PlanRisk,
    QuoteSpec,
    Split,
    Strategy,
    Style,
)
from runner.core.plan_rules import Fault, Path, Tree, at, broken_rules
from runner.core.plan_text import echo, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FAULTS_MAX = 50


def read(tree: Tree) -> Plan | tuple[Fault, ...]:
    """Reads the tree of a plan file, whose every scalar is the text that stands in the file.

    Returns:
        The plan, or all that is wrong with it (at most `FAULTS_MAX`), in no particular order.
    """
    faults: list[Fault] = []
    plan = None
    try:
        plan = Plan.model_validate(tree)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        faults = [_fault(detail, tree) for detail in _own(details, tree)[:FAULTS_MAX]]
    for fault in broken_rules(tree, plan):
        if len(faults) >= FAULTS_MAX:
            break
        faults.append(fault)
    return plan if plan is not None and not faults else tuple(faults)


def _own(details: list[ErrorDetails], tree: Tree) -> list[ErrorDetails]:
    """Leaves out what an inherited market repeats for each job: the plan's own says it once."""

    def repeated(loc: Path) -> bool:
        if len(loc) < 3 or loc[0] != "jobs" or loc[2] != "market" or "market" not in tree:
            return False
        job = at(tree, loc[:2])
        return isinstance(job, dict) and "market" not in job

    return [detail for detail in details if not repeated(detail["loc"])]


# What a fault of pydantic's own means to the reader.

_GROUPS: dict[str, tuple[type[BaseModel], str]] = {
    "the plan itself": (Plan, "a plan: version, plan, market and jobs"),
    "a job": (JobSpec, "a job's keys: side, total_shares, limit_price"),
    "market": (MarketRef, "token_id, or slug (or condition_id) with outcome"),
    "when": (Gate, "price_at_most or price_at_least"),
    "split": (Split, "keys such as strategy and max_order_size"),
    "quote": (QuoteSpec, "keys such as style"),
    "risk": (PlanRisk, "keys such as max_order_size"),
}
_MISSING = {
    "version": "is missing: write `version: 1`",
    "plan": "is missing: give the plan an id of its own, as `plan: accumulate-yes`",
    "jobs": "is missing: give at least one job",
    "side": "is missing: write `side: buy` or `side: sell`",
    "total_shares": "is missing: write the number of shares to trade, as `total_shares: 1000`",
    "limit_price": "is missing: write the worst price allowed, as `limit_price: 0.55`",
    "market": "is missing: name the token here or for the whole plan, by token_id, or by slug "
    "(or condition_id) with outcome",
}


def _fault(detail: ErrorDetails, tree: Tree) -> Fault:
    path: Path = detail["loc"]
    if path and path[-1] == "[key]":
        return Fault(path[:-1], detail["msg"], on_key=True)
    name = str(path[-1]) if path else ""
    kind = detail["type"]
    if kind == "missing":
        return Fault(path, _MISSING[name])
    if kind == "extra_forbidden":
        return Fault(path, _unknown_key(path), on_key=True)
    if kind in {"model_type", "dict_type"}:
        return Fault(path, _not_a_group(path, at(tree, path)))
    if kind == "too_short":
        return Fault(path, "is empty: give at least one job")
    if kind == "too_long":
        return Fault(path, f"has more than {JOBS_MAX} jobs: split it into several plans")
    return Fault(path, detail["msg"])


def _group(path: Path) -> str:
    """The name in `_GROUPS` of the group of keys at `path`."""
    if not path:
        return "the plan itself"
    return "a job" if len(path) == 2 and path[0] == "jobs" else str(path[-1])


def _not_a_group(path: Path, found: object) -> str:
    group = _group(path)
    keys = {"jobs": "jobs by their ids", "needs": "jobs"}.get(group) or _GROUPS[group][1]
    if found is None or found == "":
        return f"is empty: below it, indented, come {keys}"
    if isinstance(found, list):
        return f"must not be a list: below it, without dashes, come {keys}"
    return f"must be a group of keys: below it, indented, come {keys}"


@cache
def _homes() -> dict[str, str]:
    """Where each key of the schema belongs, for one that stands in the wrong place."""
    homes: dict[str, list[str]] = {}
    for group, (model, _) in _GROUPS.items():
        for field in model.model_fields:
            homes.setdefault(field, []).append(group)
    return {field: " or ".join(groups) for field, groups in homes.items()}


def _unknown_key(path: Path) -> str:
    key, group = str(path[-1]), _group(path[:-1])
    known = frozenset(_GROUPS[group][0].model_fields)
    lowered = key.lower().replace("-", "_")
    if lowered in known:
        return f"{echo(key)} is not a key: write {lowered}, keys are spelt exactly so"
    if lowered in plan_words.KEYS and group != "when":
        return f"{echo(key)} is not a key here: {plan_words.KEYS[lowered]}"
    if lowered in _homes():
        return f"{echo(key)} does not belong here: it goes under {_homes()[lowered]}"
    if (meant := nearest(key, known)) is not None:
        return f"{echo(key)} is not a key: did you mean {meant}?"
    if (meant := nearest(key, _homes())) is not None:
        return f"{echo(key)} is not a key: did you mean {meant}? It goes under {_homes()[meant]}"
    if (meant := nearest(key, plan_words.KEYS)) is not None:
        return f"{echo(key)} is not a key here: {plan_words.KEYS[meant]}"
    return f"{echo(key)} is not a key here: the keys are {', '.join(sorted(known))}"


# What the schema accepts and this release does not trade.

_NOT_YET = "is not available yet: this release trades"
_TRADED_STRATEGIES = {Strategy.SINGLE, Strategy.TWAP}
_TRADED_STYLES = {Style.LIMIT, Style.JOIN, Style.TOP_BIDDER}


def unavailable(plan: Plan) -> list[tuple[str, str]]:
    """What `plan` asks for that this release does not trade yet: (field, sentence) pairs."""
    found = []
    for name, job in plan.jobs.items():
        at = f"jobs.{name}"
        split, quote = job.split, job.quote
        if split.strategy not in _TRADED_STRATEGIES:
            text = f"{split.strategy} {_NOT_YET} single and twap"
            found.append((f"{at}.split.strategy", text))
        if split.max_participation is not None:
            text = f"max_participation {_NOT_YET} without a cap on participation"
            found.append((f"{at}.split.max_participation", text))
        if quote.style not in _TRADED_STYLES:
            text = f"{quote.style} {_NOT_YET} limit, join and top_bidder"
            found.append((f"{at}.quote.style", text))
        if quote.time_in_force in {TimeInForce.FOK, TimeInForce.FAK}:
            text = f"{quote.time_in_force} {_NOT_YET} gtc and gtd"
            found.append((f"{at}.quote.time_in_force", text))
        if job.at_end is AtEnd.TAKE:
            found.append((f"{at}.at_end", f"take {_NOT_YET} cancel and keep"))
    return found
