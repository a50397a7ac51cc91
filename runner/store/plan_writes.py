"""How plans, jobs and slices change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.core.errors import StaleState
from runner.core.lifecycles import JOB, PLAN
from runner.core.model import JobKey, JobState, PlanState, Side
from runner.core.money import to_micros
from runner.store.log import Log
from runner.store.rows import dump_memory, json_detail, maybe_stamp, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from decimal import Decimal

    from runner.core.model import Memory, Slice

_FINAL_PLANS = frozenset({"completed", "withdrawn", "expired", "failed"})
PAUSE_REASONS = ("file", "operator", "removal", "runner")


class PlanWrites(Log):
    """Plans, their revisions, and their jobs with what each must remember."""

    def put_plan(self, plan: str, file: str, content_hash: str, text: str, spec: str) -> None:
        """A new plan, or a rejected id put right: state `accepted`, revision 1."""
        row = self.plan(plan)
        if row is None:
            self._db.execute(
                "INSERT INTO plan (plan, state, revision, file, accepted_at)"
                " VALUES (?, ?, 0, ?, ?)",
                (plan, PLAN.initial.value, file, self.now_us),
            )
            self.event("plan", plan, "accepted", to_state=PLAN.initial.value, detail=file)
        else:
            self.move_plan(plan, "mended")
            self._db.execute(
                "UPDATE plan SET file = ?, accepted_at = ? WHERE plan = ?",
                (file, self.now_us, plan),
            )
        self.put_revision(plan, content_hash, text, spec)

    def put_revision(self, plan: str, content_hash: str, text: str, spec: str) -> int:
        """One more immutable version of a plan; it is in force from now on."""
        [n] = self._db.execute(
            "SELECT COALESCE(MAX(n), 0) + 1 FROM revision WHERE plan = ?", (plan,)
        ).fetchone()
        self._db.execute(
            "INSERT INTO revision (plan, n, content_hash, text, spec, accepted_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (plan, n, content_hash, text, spec, self.now_us),
        )
        self._db.execute("UPDATE plan SET revision = ? WHERE plan = ?", (n, plan))
        self.event("plan", plan, "revision", detail=json_detail(n=n, content_hash=content_hash))
        return int(n)

    def put_rejected(self, plan: str, file: str, reason: str) -> None:
        """A new id whose file is rejected: shown, but it burns nothing."""
        row = self.plan(plan)
        if row is None:
            self._db.execute(
                "INSERT INTO plan (plan, state, reason, revision, file) VALUES (?, ?, ?, 0, ?)",
                (plan, PlanState.REJECTED.value, reason, file),
            )
        elif row.state is PlanState.REJECTED:
            self._db.execute(
                "UPDATE plan SET reason = ?, file = ? WHERE plan = ?", (reason, file, plan)
            )
        self.event(
            "plan",
            plan,
            "rejected",
            to_state="rejected" if row is None else None,
            detail=json_detail(file=file, reason=reason),
        )

    def move_plan(self, plan: str, event: str, reason: str = "") -> PlanState:
        """Advance a plan's machine."""
        row = self.plan(plan)
        if row is None:
            raise StaleState(f"no plan {plan}")
        target = PLAN.advance(row.state, event)
        ended = self.now_us if target.value in _FINAL_PLANS else None
        self._swap(
            "UPDATE plan SET state = ?, reason = ?, ended_at = ? WHERE plan = ? AND state = ?",
            (target.value, reason, ended, plan, row.state.value),
            f"plan {plan}",
        )
        self.event(
            "plan", plan, event, from_state=row.state.value, to_state=target.value, detail=reason
        )
        return target

    def set_pause(self, plan: str, who: str, *, on: bool) -> bool:
        """Set or clear one of a plan's pause reasons; True if that changed it."""
        if who not in PAUSE_REASONS:
            raise StaleState(f"no pause reason {who}")
        changed = self._db.execute(
            f"UPDATE plan SET paused_by_{who} = ? WHERE plan = ? AND paused_by_{who} <> ?",
            (int(on), plan, int(on)),
        ).rowcount
        return bool(changed)

    def set_file(self, plan: str, file: str, missing_since: datetime | None) -> None:
        """Where a plan's file is now, and since when it is missing."""
        self._db.execute(
            "UPDATE plan SET file = ?, missing_since = ? WHERE plan = ?",
            (file, maybe_stamp(missing_since), plan),
        )

    # jobs

    def put_job(
        self,
        key: JobKey,
        *,
        ordinal: int,
        side: Side,
        total: Decimal | None,
        limit_price: Decimal,
        spec: str,
        seed: str,
        starts_at: datetime,
        ends_at: datetime | None,
    ) -> None:
        """A new job, waiting."""
        self._db.execute(
            "INSERT INTO job (plan, job, ordinal, state, side, total, limit_price, spec, seed,"
            " starts_at, ends_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *key,
                ordinal,
                JOB.initial.value,
                side.value,
                None if total is None else to_micros(total),
                to_micros(limit_price),
                spec,
                seed,
                stamp(starts_at),
                maybe_stamp(ends_at),
            ),
        )
        self.event("job", str(key), "accepted", to_state=JOB.initial.value)

    def revise_job(
        self,
        key: JobKey,
        *,
        ordinal: int,
        total: Decimal | None,
        limit_price: Decimal,
        spec: str,
        starts_at: datetime,
        ends_at: datetime | None,
    ) -> None:
        """A job's spec as the new revision has it. What is filled stays filled."""
        self._db.execute(
            "UPDATE job SET ordinal = ?, total = ?, limit_price = ?, spec = ?, starts_at = ?,"
            " ends_at = ? WHERE plan = ? AND job = ?",
            (
                ordinal,
                None if total is None else to_micros(total),
                to_micros(limit_price),
                spec,
                stamp(starts_at),
                maybe_stamp(ends_at),
                *key,
            ),
        )
        self.event("job", str(key), "revised")

    def move_job(self, key: JobKey, event: str, reason: str = "") -> JobState:
        """Advance a job's machine."""
        row = self.job(key)
        if row is None:
            raise StaleState(f"no job {key}")
        target = JOB.advance(row.state, event)
        ended = self.now_us if target in JOB.final else None
        started = self.now_us if event == "started" else None
        self._swap(
            "UPDATE job SET state = ?, reason = ?, ended_at = ?,"
            " started_at = COALESCE(started_at, ?),"
            " next_action_at = CASE WHEN ? THEN NULL ELSE next_action_at END"
            " WHERE plan = ? AND job = ? AND state = ?",
            (
                target.value,
                reason,
                ended,
                started,
                int(target in JOB.final),
                *key,
                row.state.value,
            ),
            f"job {key}",
        )
        self.event(
            "job",
            str(key),
            event,
            from_state=row.state.value,
            to_state=target.value,
            detail=reason,
        )
        return target

    def intend(self, key: JobKey, end: JobState, reason: str) -> None:
        """Send a job draining towards `end`, which is stored."""
        self.move_job(key, "draining", reason)
        self._db.execute(
            "UPDATE job SET intended_end = ? WHERE plan = ? AND job = ?", (end.value, *key)
        )

    def change_intent(self, key: JobKey, end: JobState | None, reason: str) -> None:
        """Another end for a draining job, or none when it is working again."""
        self._db.execute(
            "UPDATE job SET intended_end = ?, reason = ? WHERE plan = ? AND job = ?",
            (None if end is None else end.value, reason, *key),
        )

    def start_segment(
        self, key: JobKey, segment: int, at: datetime, filled: Decimal, slices: Iterable[Slice]
    ) -> None:
        """Anchor the job's curve anew."""
        self._db.execute(
            "UPDATE job SET segment = ?, segment_at = ?, segment_filled = ?"
            " WHERE plan = ? AND job = ?",
            (segment, stamp(at), to_micros(filled), *key),
        )
        self.save_slices(key, slices)
        self.event("job", str(key), "segment", detail=json_detail(n=segment, filled=filled))

    def save_slices(self, key: JobKey, slices: Iterable[Slice]) -> None:
        """Slices as they stand now."""
        self._db.executemany(
            "INSERT INTO slice (plan, job, segment, n, due_at, planned, opened_at, filled)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " opened_at = excluded.opened_at, filled = excluded.filled",
            [
                (
                    *key,
                    each.segment,
                    each.n,
                    stamp(each.due_at),
                    to_micros(each.planned),
                    maybe_stamp(each.opened_at),
                    None if each.filled is None else to_micros(each.filled),
                )
                for each in slices
            ],
        )

    def set_job_token(self, key: JobKey, token_id: str) -> None:
        """The token that the job's market reference names."""
        self._db.execute("UPDATE job SET token_id = ? WHERE plan = ? AND job = ?", (token_id, *key))

    def set_job_total(self, key: JobKey, total: Decimal) -> None:
        """The number that `filled(JOB)` came to."""
        self._db.execute(
            "UPDATE job SET total = ? WHERE plan = ? AND job = ?", (to_micros(total), *key)
        )

    def set_arrival(self, key: JobKey, price: Decimal) -> None:
        """The price at the time the job began, once."""
        self._db.execute(
            "UPDATE job SET arrival_price = ? WHERE plan = ? AND job = ? AND arrival_price IS NULL",
            (to_micros(price), *key),
        )

    def set_job_window(self, key: JobKey, starts_at: datetime, ends_at: datetime | None) -> None:
        """When the job begins and ends, once that is known."""
        self._db.execute(
            "UPDATE job SET starts_at = ?, ends_at = ? WHERE plan = ? AND job = ?",
            (stamp(starts_at), maybe_stamp(ends_at), *key),
        )

    def set_job_pause(self, key: JobKey, *, on: bool) -> None:
        """The operator's own pause of one job."""
        self._db.execute(
            "UPDATE job SET paused_by_operator = ? WHERE plan = ? AND job = ?", (int(on), *key)
        )

    def save_memory(self, key: JobKey, memory: Memory) -> None:
        """What the job must remember."""
        self._db.execute(
            "UPDATE job SET memory = ? WHERE plan = ? AND job = ?", (dump_memory(memory), *key)
        )

    def set_next_action(self, key: JobKey, at: datetime | None, reason: str) -> None:
        """When the job looks again even if nothing happens, and why it does what it does."""
        self._db.execute(
            "UPDATE job SET next_action_at = ?, reason = ?"
            " WHERE plan = ? AND job = ? AND (next_action_at IS NOT ? OR reason IS NOT ?)",
            (maybe_stamp(at), reason, *key, maybe_stamp(at), reason),
        )

    def set_backoff(
        self, key: JobKey, refusals: int, incurable: int, retry_at: datetime | None
    ) -> None:
        """How often in a row the exchange refused the job, and when it may try again.

        `incurable` counts those in a row that waiting cannot cure.
        """
        self._db.execute(
            "UPDATE job SET refusals = ?, incurable = ?, retry_at = ? WHERE plan = ? AND job = ?",
            (refusals, incurable, maybe_stamp(retry_at), *key),
        )
