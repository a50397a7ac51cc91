"""The rules between the keys of a plan (contract 3).

1. The rules look at whatever could be read, so a bad price does not hide a missing window.
2. A fault's place is a path of keys in the tree. `on_key` says that the key itself is at fault.
3. A rule that needs a value which can't be read says nothing: that value has a fault of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from runner.core.model import TimeInForce
from runner.core.plan import JOBS_MAX, AtEnd, FilledOf, JobSpec, PlanRisk, Strategy, Style
from runner.core.plan_text import echo, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from runner.core.plan import Plan

Path = tuple[str | int, ...]
Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a plan: where in its tree, and what to write instead."""

    path: Path
    message: str
    on_key: bool = False


def at(tree: object, path: Path) -> object:
    """The part of `tree` at `path`, or None."""
    for step in path:
        if not isinstance(tree, dict) or step not in tree:
            return None
        tree = tree[step]
    return tree


# Rules between keys. Each sees only what could be read: None is unknown, or not given.


@cache
def _reader(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    return TypeAdapter(model.model_fields[name].rebuild_annotation())


def _readable(model: type[BaseModel], tree: object) -> Any:
    """An unchecked `model` of what can be read of `tree`; what can't is None."""
    given: Mapping[str, Any] = tree if isinstance(tree, dict) else {}
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name not in given:
            values[name] = None if field.is_required() else field.get_default()
            continue
        group = _group(field.annotation)
        if group is not None:
            values[name] = _readable(group, given[name])
            continue
        try:
            values[name] = _reader(model, name).validate_python(given[name])
        except ValidationError:
            values[name] = None
    return model.model_construct(**values)


def _group(annotation: object) -> type[BaseModel] | None:
    """The model of a field that is a group of keys, given or None; else None."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    kind = kinds[0] if len(kinds) == 1 else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


@dataclass(frozen=True, slots=True)
class _Job:
    """A job as far as it could be read, and its `tree` as it stands in the file.

    `spec` has the fields of a `JobSpec`; what could not be read is None, which its types deny.
    """

    path: Path
    spec: Any
    tree: Tree

    def gives(self, *path: str) -> bool:
        """Whether the file gives that key of this job."""
        return at(self.tree, path) is not None

    def fault(self, *path: str, message: str, on_key: bool = False) -> Fault:
        """A fault at that place of this job."""
        return Fault((*self.path, *path), message, on_key)


def broken_rules(tree: Tree, plan: Plan | None) -> Iterator[Fault]:
    """Every rule between keys that the tree of a plan breaks.

    `plan` is what the schema made of it; without it, what can be read of the tree is looked at.
    """
    if "market" in tree:
        yield from _market(("market",), tree["market"])
    jobs = tree.get("jobs")
    if not isinstance(jobs, dict):
        return
    risk = plan.risk if plan else _readable(PlanRisk, tree.get("risk"))
    found = {
        name: _Job(("jobs", name), plan.jobs[name] if plan else _readable(JobSpec, job), job)
        for name, job in list(jobs.items())[:JOBS_MAX]
        if isinstance(job, dict)
    }
    for job in found.values():
        for rule in (_windows, _slices, _strategy_keys, _style_keys, _lives, _sizes, _gate):
            yield from rule(job)
        if "market" in job.tree:
            yield from _market((*job.path, "market"), job.tree["market"])
        yield from _plan_limit(job, risk)
    yield from _needs(found, jobs.keys())


def _market(path: Path, market: object) -> Iterator[Fault]:
    if not isinstance(market, dict):
        return
    ways = [key for key in ("token_id", "condition_id", "slug") if key in market]
    if not ways:
        yield Fault(path, "names no token: give token_id, or slug (or condition_id) with outcome")
    elif len(ways) > 1:
        yield Fault(path, f"names the market twice: keep one of {' and '.join(ways)}")
    elif ways == ["token_id"] and "outcome" in market:
        yield Fault((*path, "outcome"), "goes with slug or condition_id: a token_id says it all")
    elif ways != ["token_id"] and "outcome" not in market:
        yield Fault(path, f"{ways[0]} needs outcome beside it, such as `outcome: Yes`")


_WINDOWED = (Strategy.TWAP, Strategy.VWAP, Strategy.RANDOM)


def _windows(job: _Job) -> Iterator[Fault]:
    spec, strategy = job.spec, job.spec.split.strategy
    if not job.gives("time_window_minutes"):
        if strategy in _WINDOWED:
            yield job.fault(
                message=f"time_window_minutes is missing: {strategy} spreads the total over it"
            )
        if spec.at_end is AtEnd.TAKE:
            yield job.fault("at_end", message="take needs time_window_minutes: there is no end")


def _slices(job: _Job) -> Iterator[Fault]:
    split = job.spec.split
    if job.gives("split", "slices") and job.gives("split", "interval_seconds"):
        message = "give slices or interval_seconds, not both: the window and one give the other"
        yield job.fault("split", "interval_seconds", message=message, on_key=True)
    window, interval = job.spec.time_window_minutes, split.interval_seconds
    if window is not None and interval is not None and interval > window * 60:
        message = f"{interval} seconds is longer than the window of {window} minutes"
        yield job.fault("split", "interval_seconds", message=message)
    weights = len(split.profile) if isinstance(split.profile, tuple) else split.slices
    if split.slices is not None and weights != split.slices:
        message = f"has {weights} weights for {split.slices} slices: one for each"
        yield job.fault("split", "profile", message=message)


_SPLIT_KEYS: dict[str, tuple[Strategy, ...]] = {
    "slices": (Strategy.TWAP, Strategy.VWAP),
    "interval_seconds": (Strategy.TWAP, Strategy.VWAP),
    "profile": (Strategy.VWAP,),
    "participation": (Strategy.POV,),
    "display_size": (Strategy.ICEBERG,),
    "display_variance": (Strategy.ICEBERG,),
    "refill_delay_seconds": (Strategy.ICEBERG,),
    "size_variance": (Strategy.RANDOM,),
    "time_variance": (Strategy.RANDOM,),
    "catch_up": _WINDOWED,
}
_REQUIRED = {
    Strategy.POV: ("participation", "the share of the market's volume, such as 0.1"),
    Strategy.ICEBERG: ("display_size", "the shares to show at a time"),
}


def _strategy_keys(job: _Job) -> Iterator[Fault]:
    strategy = job.spec.split.strategy
    if strategy is None:  # given and not readable: what belongs to it isn't known
        return
    for key, owners in _SPLIT_KEYS.items():
        if job.gives("split", key) and strategy not in owners:
            message = f"belongs to {' and '.join(owners)}; the strategy here is {strategy}"
            yield job.fault("split", key, message=message, on_key=True)
    if strategy is Strategy.POV and job.gives("split", "max_participation"):
        message = "is a cap for the other strategies: pov has participation"
        yield job.fault("split", "max_participation", message=message, on_key=True)
    if strategy in _REQUIRED and not job.gives("split", _REQUIRED[strategy][0]):
        key, meaning = _REQUIRED[strategy]
        yield job.fault("split", message=f"{key} is missing: {strategy} needs it, {meaning}")


_PEGGED = (Style.JOIN, Style.TOP_BIDDER)
_QUOTE_KEYS: dict[str, tuple[Style, ...]] = {
    "improve_ticks": (Style.TOP_BIDDER,),
    "min_competing_size": (Style.TOP_BIDDER,),
    "step_down_after_seconds": (Style.TOP_BIDDER,),
    "dwell_seconds": _PEGGED,
    "beyond_limit": _PEGGED,
}


def _style_keys(job: _Job) -> Iterator[Fault]:
    style = job.spec.quote.style
    if style is None:
        return
    for key, owners in _QUOTE_KEYS.items():
        if job.gives("quote", key) and style not in owners:
            message = f"belongs to {' and '.join(owners)}; the style here is {style}"
            yield job.fault("quote", key, message=message, on_key=True)


def _lives(job: _Job) -> Iterator[Fault]:
    quote = job.spec.quote
    at_once = quote.time_in_force in {TimeInForce.FOK, TimeInForce.FAK}
    if at_once and quote.style in _PEGGED:
        message = f"{quote.style} rests in the book, {quote.time_in_force} never does: write gtc"
        yield job.fault("quote", "time_in_force", message=message)
    if quote.time_in_force is not None and not at_once and quote.style is Style.TAKE:
        message = f"take never rests, {quote.time_in_force} would: write fak or fok"
        yield job.fault("quote", "time_in_force", message=message)
    if quote.post_only and (at_once or quote.style is Style.TAKE):
        why = quote.time_in_force if at_once else Style.TAKE
        yield job.fault("quote", "post_only", message=f"can't be: {why} takes what is there")


def _sizes(job: _Job) -> Iterator[Fault]:
    """Bounds above the total are no fault: a total may be edited down, to stop a job."""
    split, quote = job.spec.split, job.spec.quote
    low = split.min_order_size
    if low is None:
        return
    if split.max_order_size is not None and low > split.max_order_size:
        message = f"{low} is more than max_order_size {split.max_order_size}"
        yield job.fault("split", "min_order_size", message=message)
    shown = [("quote", "shares_per_order", quote.shares_per_order)]
    shown += [("split", "display_size", split.display_size)]
    for group, key, size in shown:
        if size is not None and low > size:
            message = f"{size} is less than min_order_size {low}: no order could ever be sent"
            yield job.fault(group, key, message=message)


def _plan_limit(job: _Job, risk: PlanRisk) -> Iterator[Fault]:
    low, limit = job.spec.split.min_order_size, risk.max_order_size
    if low is not None and limit is not None and low > limit:
        message = f"{low} is more than this plan's own risk.max_order_size {limit}"
        yield job.fault("split", "min_order_size", message=message)


def _gate(job: _Job) -> Iterator[Fault]:
    gate = job.tree.get("when")
    if isinstance(gate, dict) and len({"price_at_most", "price_at_least"} & gate.keys()) != 1:
        yield job.fault("when", message="takes exactly one of price_at_most and price_at_least")


def _needs(jobs: dict[str, _Job], known: Collection[str]) -> Iterator[Fault]:
    needs: dict[str, list[str]] = {}
    for name, job in jobs.items():
        given = job.tree.get("needs", [])
        ids = given if isinstance(given, list | dict) else []
        needs[name] = [need for need in ids if isinstance(need, str)]
        for n, need in enumerate(needs[name]):
            place = (*job.path, "needs", n if isinstance(given, list) else need)
            if need == name:
                yield Fault(place, "is this job itself: a job can't wait for itself")
            elif need not in known:
                meant = nearest(need, known)
                hint = f": did you mean {meant}?" if meant else ""
                yield Fault(place, f"{echo(need)} is no job of this plan{hint}")
        total = job.spec.total_shares
        if isinstance(total, FilledOf) and total.job not in needs[name]:
            message = f"{total.job} must be among this job's needs: write `needs: [{total.job}]`"
            yield job.fault("total_shares", message=message)
    yield from _circle(needs)


def _circle(needs: dict[str, list[str]]) -> Iterator[Fault]:
    """Takes away jobs that wait for nothing left until none can be: what stays is a circle."""
    left = {name: {n for n in found if n in needs and n != name} for name, found in needs.items()}
    while free := [name for name, waits in left.items() if not waits & left.keys()]:
        for name in free:
            del left[name]
    if left:
        name = next(iter(left))
        names = ", ".join(left)
        yield Fault(("jobs", name, "needs"), f"goes round in a circle ({names}): none could start")
