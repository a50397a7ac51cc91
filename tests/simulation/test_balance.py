"""A balance that the exchange has cached (faults X25, X26)."""

from tests.simulation.rig import Rig, job, plan, simulated

ENDED = "SELECT 1 FROM plans WHERE ended_at IS NOT NULL"


@simulated
async def test_a_refusal_by_a_stale_balance_has_it_looked_up_anew(rig: Rig) -> None:
    """Bought shares are not in the cached figure, so that their sale is refused at first."""
    rig.fault("stale_balance", rate=1)
    rig.drop(
        "round.yaml",
        plan(
            "round",
            {
                "in": job(total_shares="10", limit_price="0.52"),
                "out": job(
                    side="sell",
                    needs=["in"],
                    total_shares="filled(in)",
                    limit_price="0.45",
                    time_window_minutes=5,
                ),
            },
        ),
    )
    async with rig.runner():
        await rig.until("SELECT 1 FROM orders WHERE state = 'live'")
        rig.hit("10")
        await rig.until(ENDED)
    assert rig.value("SELECT filled_shares FROM jobs WHERE job = 'out'") == 10
    refused = "SELECT reason FROM orders WHERE job = 'out' AND state = 'rejected'"
    assert [row["reason"][:21] for row in rig.rows(refused)] == ["ACCOUNT_BALANCE_SHORT"]
