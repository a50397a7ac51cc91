"""The watched folder, sentence by sentence of contract 3, on the running system."""

import asyncio
import shutil
from datetime import timedelta

from tests.simulation.rig import Rig, job, plan, simulated
from tests.virtual_time import now

LIVE = "SELECT 1 FROM orders WHERE state = 'live'"
STATE = "SELECT state FROM plans WHERE plan = ?"
OPEN = "SELECT price, leaves FROM open_orders ORDER BY submitted_at"
ENDED = "SELECT 1 FROM plans WHERE ended_at IS NOT NULL"


def one(**keys: object) -> str:
    """A plan `one` with the job `buy`."""
    return plan("one", {"buy": job(**keys)})


async def started(rig: Rig, text: str, name: str = "one.yaml") -> None:
    """The plan's first order rests in the book."""
    rig.drop(name, text)
    await rig.until(LIVE)


@simulated
async def test_an_edit_to_a_bigger_total_buys_the_rest_and_forgets_nothing_filled(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        first = rig.value("SELECT order_id FROM orders")
        rig.hit("12")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12")
        rig.drop("one.yaml", one(total_shares=50))
        await rig.until("SELECT 1 FROM open_orders GROUP BY plan HAVING SUM(leaves) = 38")
        await asyncio.sleep(1)
        assert rig.value("SELECT state FROM orders WHERE order_id = ?", first) == "partially_filled"
        rig.hit("38")
        await rig.until(ENDED)
        assert rig.row("SELECT state, total_shares, filled_shares FROM jobs") == {
            "state": "completed",
            "total_shares": 50.0,
            "filled_shares": 50.0,
        }
        assert rig.row("SELECT revision, state FROM plans") == {"revision": 2, "state": "completed"}


@simulated
async def test_an_edit_to_a_smaller_total_buys_no_more_than_that(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.hit("12")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12")
        rig.drop("one.yaml", one(total_shares=20))
        await rig.until("SELECT 1 FROM open_orders WHERE leaves = 8 AND state = 'live'")
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 8.0}]
        rig.hit("60")
        await rig.until(ENDED)
        assert rig.row("SELECT state, filled_shares FROM jobs") == {
            "state": "completed",
            "filled_shares": 20.0,
        }


@simulated
async def test_an_edit_below_what_is_filled_means_stop_here(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.hit("12")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12")
        rig.drop("one.yaml", one(total_shares=10))
        await rig.until(ENDED)
        assert rig.row("SELECT state, filled_shares FROM jobs") == {
            "state": "completed",
            "filled_shares": 12.0,
        }
        assert rig.value("SELECT reason FROM jobs").startswith("TOTAL_REACHED: 12 of 10")
    assert [order["status"] for order in rig.ledger()["orders"]] == ["CANCELED"]


@simulated
async def test_an_edit_of_the_limit_price_moves_the_order_and_never_shows_both(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.drop("one.yaml", one(limit_price="0.52"))
        for _ in range(500):
            assert sum(row["leaves"] for row in rig.rows(OPEN)) <= 30
            await asyncio.sleep(0.01)
        assert rig.rows(OPEN) == [{"price": 0.52, "leaves": 30.0}]
        rig.hit("30")
        await rig.until(ENDED)
        assert rig.value("SELECT average_price FROM jobs") == 0.52


@simulated
async def test_an_edit_that_moves_the_start_takes_the_order_out_of_the_book(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        later = now().replace(microsecond=0) + timedelta(minutes=10)
        rig.drop("one.yaml", one(start=later.strftime("%Y-%m-%dT%H:%M:%SZ")))
        await rig.until("SELECT 1 FROM jobs WHERE state = 'waiting'")
        await asyncio.sleep(5)
        assert rig.rows(OPEN) == []
        await rig.until("SELECT 1 FROM open_orders", within_s=700)
        assert now() >= later


@simulated
async def test_an_edit_adds_a_job_and_takes_one_out(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.drop("one.yaml", plan("one", {"more": job(limit_price="0.52", total_shares=10)}))
        await rig.until("SELECT 1 FROM jobs WHERE job = 'buy' AND state = 'withdrawn'")
        assert rig.value("SELECT reason FROM jobs WHERE job = 'buy'").startswith("WITHDRAWN")
        await rig.until("SELECT 1 FROM orders WHERE job = 'more' AND state = 'live'")
        rig.hit("60")
        await rig.until(ENDED)
        # the plan ends as the worst of its jobs
        assert rig.value(STATE, "one") == "withdrawn"
        assert rig.value("SELECT state FROM jobs WHERE job = 'more'") == "completed"


@simulated
async def test_an_edit_that_does_not_validate_leaves_the_revision_and_is_reported(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        orders = rig.rows("SELECT order_id FROM orders")
        for wrong in (one(limit_price="1.7"), one(side="sell"), "plan: [half"):
            rig.drop("one.yaml", wrong)
            await asyncio.sleep(8)
            assert rig.row("SELECT revision, state FROM plans") == {
                "revision": 1,
                "state": "running",
            }
        assert len(rig.rows("SELECT 1 FROM timeline WHERE event = 'edit_rejected'")) == 3
        assert len(rig.rows("SELECT 1 FROM alerts WHERE code = 'PLAN_REJECTED'")) == 3
        assert rig.rows("SELECT order_id FROM orders") == orders
        rig.hit("30")
        await rig.until("SELECT 1 FROM plans WHERE state = 'completed'")


@simulated
async def test_a_removed_file_cancels_and_pauses_and_after_the_grace_withdraws(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        gone_at = now()
        (rig.plans / "one.yaml").unlink()
        await rig.until("SELECT 1 FROM plans WHERE state = 'paused' AND reason = 'removal'")
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        await asyncio.sleep((gone_at + timedelta(seconds=299) - now()).total_seconds())
        assert rig.value(STATE, "one") == "paused"
        await rig.until(ENDED)
        assert rig.value(STATE, "one") == "withdrawn"
        assert rig.value("SELECT reason FROM jobs") == "WITHDRAWN: its file was removed"


@simulated
async def test_one_scan_without_the_file_removes_nothing(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        assert rig.reconciler is not None
        (rig.plans / "one.yaml").rename(rig.folder / "aside")
        rig.reconciler.hint_files()
        await asyncio.sleep(0.1)
        (rig.folder / "aside").rename(rig.plans / "one.yaml")
        rig.reconciler.hint_files()
        await asyncio.sleep(10)
        assert rig.rows(LIVE)
        assert not rig.rows("SELECT 1 FROM timeline WHERE event = 'file_missing'")


@simulated
async def test_the_same_id_back_before_the_grace_is_over_resumes(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.hit("12")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12")
        (rig.plans / "one.yaml").unlink()
        await rig.until("SELECT 1 FROM plans WHERE state = 'paused'")
        await asyncio.sleep(250)
        rig.drop("other-name.yaml", one())
        await rig.until(LIVE)
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 18.0}]
        assert rig.row("SELECT state, revision FROM plans") == {"state": "running", "revision": 1}
        await asyncio.sleep(400)
        assert rig.value(STATE, "one") == "running"


@simulated
async def test_git_stash_and_back_harms_no_running_plan(rig: Rig) -> None:
    aside = rig.folder / "stash"
    async with rig.runner():
        await started(rig, one())
        await started(rig, plan("two", {"a": job(limit_price="0.50")}), "two.yaml")
        await rig.until("SELECT 1 FROM open_orders WHERE plan = 'two'")
        for _ in range(2):
            shutil.copytree(rig.plans, aside)
            for path in rig.plans.iterdir():
                path.unlink()
            await asyncio.sleep(20)
            assert {row["state"] for row in rig.rows("SELECT state FROM plans")} == {"paused"}
            for path in sorted(aside.iterdir()):
                rig.drop(path.name, path.read_text())
            shutil.rmtree(aside)
            await rig.until("SELECT 1 FROM orders WHERE plan = 'one' AND state = 'live'")
            await rig.until("SELECT 1 FROM orders WHERE plan = 'two' AND state = 'live'")
        rig.hit("30", "0.51")
        await rig.until("SELECT 1 FROM plans WHERE plan = 'one' AND state = 'completed'")
        assert rig.row("SELECT state, revision FROM plans WHERE plan = 'two'") == {
            "state": "running",
            "revision": 1,
        }


@simulated
async def test_back_with_other_content_resumes_as_the_new_revision(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        (rig.plans / "one.yaml").unlink()
        await rig.until("SELECT 1 FROM plans WHERE state = 'paused'")
        rig.drop("one.yaml", one(total_shares=40))
        await rig.until("SELECT 1 FROM open_orders GROUP BY plan HAVING SUM(leaves) = 40")
        assert rig.row("SELECT state, revision FROM plans") == {"state": "running", "revision": 2}


@simulated
async def test_a_missing_folder_never_means_all_removed(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        orders = rig.rows("SELECT order_id FROM orders")
        shutil.rmtree(rig.plans)
        await asyncio.sleep(400)
        assert rig.rows("SELECT order_id FROM open_orders WHERE state = 'live'") == orders
        assert rig.value("SELECT code FROM alerts") == "FOLDER_UNREADABLE"
        rig.hit("12")
        await rig.until("SELECT 1 FROM jobs WHERE filled_shares = 12")
        rig.plans.mkdir()
        rig.drop("one.yaml", one())
        await asyncio.sleep(10)
        assert rig.value(STATE, "one") == "running"


@simulated
async def test_half_a_file_is_neither_accepted_nor_rejected(rig: Rig) -> None:
    whole = one(total_shares=20)
    half = whole[: whole.index("    total_shares")]
    async with rig.runner():
        await asyncio.sleep(1)
        assert rig.reconciler is not None
        for cut in (len(half) // 2, len(half)):
            for _ in range(5):
                # valid YAML at times, invalid at others, and never still for long enough
                rig.write(rig.plans / "one.yaml", whole[:cut])
                cut += 1
                rig.reconciler.hint_files()
                await asyncio.sleep(0.15)
        rig.write(rig.plans / "one.yaml", whole)
        await rig.until(LIVE)
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 20.0}]
        assert rig.rows("SELECT 1 FROM alerts") == []
        assert rig.value("SELECT revision FROM plans") == 1


@simulated
async def test_two_files_with_one_id_while_it_runs_reject_the_newcomer(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.drop("another.yaml", one(total_shares=90))
        await rig.until("SELECT 1 FROM timeline WHERE event = 'edit_rejected'")
        assert "already running from one.yaml" in rig.value("SELECT message FROM alerts")
        await asyncio.sleep(30)
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 30.0}]
        assert rig.rows("SELECT revision, file FROM plans") == [{"revision": 1, "file": "one.yaml"}]
        assert len(rig.rows("SELECT 1 FROM alerts")) == 1


@simulated
async def test_two_files_with_one_id_of_which_none_runs_are_both_rejected(rig: Rig) -> None:
    rig.drop("a.yaml", one())
    rig.drop("b.yaml", one(total_shares=40))
    async with rig.runner():
        await rig.until("SELECT 1 FROM plans WHERE state = 'rejected'")
        await asyncio.sleep(10)
        assert rig.rows("SELECT 1 FROM orders") == []
        messages = [row["message"] for row in rig.rows("SELECT message FROM alerts")]
        assert sorted(message.split(":")[0] for message in messages) == ["a.yaml", "b.yaml"]
        # one of them taken out: the id is not burnt
        (rig.plans / "a.yaml").unlink()
        await rig.until(LIVE)
        assert rig.rows(OPEN) == [{"price": 0.51, "leaves": 40.0}]
        assert rig.row("SELECT state, file, reason FROM plans") == {
            "state": "running",
            "file": "b.yaml",
            "reason": "",
        }


@simulated
async def test_a_renamed_file_changes_nothing_but_the_name(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        orders = rig.rows("SELECT order_id FROM orders")
        (rig.plans / "one.yaml").rename(rig.plans / "uno.yml")
        await rig.until("SELECT 1 FROM plans WHERE file = 'uno.yml'")
        await asyncio.sleep(400)
        assert rig.rows("SELECT order_id FROM open_orders WHERE state = 'live'") == orders
        assert rig.row("SELECT state, revision FROM plans") == {"state": "running", "revision": 1}


@simulated
async def test_a_plan_that_has_ended_never_runs_again(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.hit("30")
        await rig.until(ENDED)
        await asyncio.sleep(30)
        assert rig.rows("SELECT 1 FROM alerts") == []  # its own file may stay
        (rig.plans / "one.yaml").unlink()
        await asyncio.sleep(10)
        rig.drop("one.yaml", one())
        await rig.until("SELECT 1 FROM alerts WHERE message LIKE '%never runs again%'")
        rig.drop("one.yaml", one(total_shares=60))
        await asyncio.sleep(30)
        assert rig.value("SELECT COUNT(*) FROM orders") == 1
        assert rig.row("SELECT state, revision FROM plans") == {"state": "completed", "revision": 1}
    async with rig.runner():
        await asyncio.sleep(30)
    assert rig.value("SELECT COUNT(*) FROM orders") == 1


@simulated
async def test_a_rejected_file_put_right_runs_under_its_id(rig: Rig) -> None:
    async with rig.runner():
        rig.drop("one.yaml", one(limit_price="0.515", total_share=3))
        await rig.until("SELECT 1 FROM alerts WHERE code = 'PLAN_REJECTED'")
        rig.drop("one.yaml", one(split={"strategy": "pov", "participation": "0.1"}))
        await rig.until("SELECT 1 FROM plans WHERE state = 'rejected'")
        await started(rig, one())
        assert rig.row("SELECT state, revision, reason FROM plans") == {
            "state": "running",
            "revision": 1,
            "reason": "",
        }


@simulated
async def test_what_is_not_available_yet_is_refused_in_plain_words(rig: Rig) -> None:
    async with rig.runner():
        rig.drop("one.yaml", one(split={"strategy": "pov", "participation": "0.1"}))
        await rig.until("SELECT 1 FROM plans WHERE state = 'rejected'")
        assert "pov is not available yet" in rig.value("SELECT reason FROM plans")
        await asyncio.sleep(10)
        assert rig.rows("SELECT 1 FROM jobs") == []
        assert rig.ledger()["orders"] == []


@simulated
async def test_paused_in_the_file_holds_the_plan_until_the_file_says_otherwise(rig: Rig) -> None:
    async with rig.runner():
        rig.drop("one.yaml", plan("one", {"buy": job()}, paused=True))
        await rig.until("SELECT 1 FROM plans WHERE state = 'paused' AND reason = 'file'")
        await asyncio.sleep(20)
        assert rig.rows("SELECT 1 FROM orders") == []
        rig.drop("one.yaml", one())
        await rig.until(LIVE)
        rig.drop("one.yaml", plan("one", {"buy": job()}, paused=True))
        await rig.until("SELECT 1 FROM orders WHERE state = 'cancelled'")
        assert rig.value("SELECT state FROM jobs") == "paused"


@simulated
async def test_reasons_to_pause_are_separate_and_each_clears_only_its_own(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        assert (await rig.ask("pause", "one")).done
        rig.drop("one.yaml", plan("one", {"buy": job()}, paused=True))
        await rig.until("SELECT 1 FROM plan WHERE paused_by_file = 1")
        (rig.plans / "one.yaml").unlink()
        await rig.until("SELECT 1 FROM plan WHERE paused_by_removal = 1")
        answer = await rig.ask("resume", "one")
        assert answer.text == "one resumed; still paused by file, removal"
        assert rig.value(STATE, "one") == "paused"
        rig.drop("one.yaml", plan("one", {"buy": job()}, paused=True))
        await rig.until("SELECT 1 FROM plan WHERE paused_by_removal = 0")
        await asyncio.sleep(10)
        assert rig.value(STATE, "one") == "paused"
        rig.drop("one.yaml", one())
        await rig.until(LIVE)
        assert rig.value(STATE, "one") == "running"


@simulated
async def test_the_window_runs_on_while_paused(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one(time_window_minutes=5))
        ends_at = now() + timedelta(minutes=5)
        await rig.ask("pause", "one")
        await asyncio.sleep((ends_at - now()).total_seconds() - 5)
        assert rig.value(STATE, "one") == "paused"
        await rig.until(ENDED)
        assert rig.value(STATE, "one") == "expired"
        assert rig.value("SELECT reason FROM jobs").startswith("WINDOW_OVER")


@simulated
async def test_the_grace_of_a_removed_file_counts_on_over_a_restart(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
    (rig.plans / "one.yaml").unlink()
    await asyncio.sleep(600)  # no runner, no scan: it is not missed yet
    async with rig.runner():
        await rig.until("SELECT 1 FROM plans WHERE state = 'paused'")
        missed_at = now()
        await asyncio.sleep(100)
    await asyncio.sleep(100)
    async with rig.runner():
        await rig.until(ENDED, within_s=120)
        assert now() - missed_at <= timedelta(seconds=305)
        assert rig.value(STATE, "one") == "withdrawn"


@simulated
async def test_a_folder_missing_at_the_start_withdraws_nothing(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
    shutil.rmtree(rig.plans)
    async with rig.runner():
        await rig.until(LIVE)
        await asyncio.sleep(400)
        assert rig.value(STATE, "one") == "running"
        assert rig.rows(LIVE)


@simulated
async def test_a_job_never_changes_its_market(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        rig.drop("one.yaml", one(market={"slug": "rain-tomorrow", "outcome": "No"}))
        await rig.until("SELECT 1 FROM timeline WHERE event = 'edit_rejected'")
        assert "a job never changes its market" in rig.value("SELECT message FROM alerts")
        assert rig.rows(LIVE)
        # back to what it was: no new revision, and no more complaints
        rig.drop("one.yaml", one())
        await asyncio.sleep(20)
        assert rig.value("SELECT revision FROM plans") == 1
        assert rig.value("SELECT COUNT(*) FROM orders") == 1


@simulated
async def test_a_paused_or_unfinished_plan_may_be_edited_and_resumes_as_edited(rig: Rig) -> None:
    async with rig.runner():
        await started(rig, one())
        await rig.ask("pause", "one")
        rig.drop("one.yaml", one(total_shares=40, limit_price="0.50"))
        await rig.until("SELECT 1 FROM plans WHERE revision = 2")
        await asyncio.sleep(10)
        assert rig.rows(OPEN) == []
        await rig.ask("resume", "one")
        await rig.until("SELECT 1 FROM orders WHERE price = 0.5 AND size = 40 AND state = 'live'")
