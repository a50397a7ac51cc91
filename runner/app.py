"""The composition root: the one place that holds the clock and chance, and builds real objects."""

from __future__ import annotations

import asyncio
import contextlib
import secrets  # noqa: TID251 - this is the app that hands it out
import signal
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr
from rich.live import Live

from runner import paper
from runner.core.errors import (
    PlanError,
    PmrunError,
    SafetyRefusal,
    VenueRefused,
    VenueUnreachable,
)
from runner.core.money import plain
from runner.core.plan import MarketRef
from runner.plan_folder import PlanFolder, Watcher
from runner.reconciler import Config, Reconciler, VenueSweep
from runner.report import logs, screen
from runner.store import Latch, RunnerLock, Store, open_readonly
from runner.store.lock import holder
from runner.venue.client import Venue
from runner.venue.requests import VenueSettings
from runner.venue.signing import Signer
from runner.venue.streams import Streams
from runner.venue.wire import Hosts, HttpWire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from runner.core.model import Book, MarketInfo
    from runner.core.plan_changes import Scan
    from runner.settings import Settings
    from runner.venue.streams import Hearers

_LOOK_S = 1.0  # how often the runner looks whether its database is still there
_SALT_BITS = 53  # reference 1.2: a JSON number that every reader keeps exact


def now() -> datetime:
    """The wall clock, aware and UTC: what everything that trades is handed as `now`."""
    return datetime.now(UTC)  # noqa: TID251 - the one real clock


def run(*, plans: Path, state: Path, exchange: str, until_done: bool, settings: Settings) -> int:
    """Reconcile until stopped; the exit code of `pmrun up`.

    Raises:
        SafetyRefusal: another runner works on the database, or it can't be used.
        VenueUnreachable: the exchange does not answer.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    lock = RunnerLock.acquire(state)
    try:
        store = Store.open(state)
        try:
            key = _trading_key(exchange, state, settings)
            _claim(store, state, paper.address_of(key))
            place = paper.join(exchange, state, key)
            logs.configure(
                level=settings.logging.level,
                style=settings.logging.format,
                file=settings.log_file(state),
                secrets=[key],
                terminal=not sys.stdout.isatty(),
            )
            asyncio.run(_run(plans, state, store, place, settings, until_done=until_done))
        except sqlite3.Error as error:
            # nothing is sent that was not committed: ending here loses nothing
            raise PmrunError(f"{state}: {error}: the runner stops") from error
        finally:
            store.close()
    finally:
        lock.release()
    return 0


def _claim(store: Store, state: Path, account: str) -> None:
    """A database is of one account for good.

    To another account its orders look as if they had ended, and would be placed a second time.

    Raises:
        SafetyRefusal: it is another account's.
    """
    with store.transaction(now()) as tx:
        owner = tx.runner("account")
        if owner is None:
            tx.set_runner("account", account)
        elif owner != account:
            raise SafetyRefusal(
                f"{state} is the database of account {owner}, and this key is that of {account}: "
                "use that key, or another --state"
            )


async def _run(
    plans: Path,
    state: Path,
    store: Store,
    place: paper.Exchange,
    settings: Settings,
    *,
    until_done: bool,
) -> None:
    log = structlog.get_logger()
    folder = PlanFolder(plans, settle_s=settings.reconcile.settle_seconds)
    async with _venue(place, settings) as (wire, venue):

        def streams(hearers: Hearers) -> Streams:
            return Streams(wire, venue, now, rng=SystemRandom(), hearers=hearers)

        def scan(at: datetime) -> Scan:
            watcher.refresh()  # the folder may have come, gone or been replaced
            return folder.scan(at)

        reconciler = Reconciler(
            store=store,
            venue=venue,
            streams=streams,
            scan=scan,
            latch=Latch(state),
            state_path=state,
            config=_config(settings),
            now=now,
            salt=lambda: secrets.randbits(_SALT_BITS),
            seed=lambda: secrets.token_hex(16),
            log=log,
        )
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, reconciler.stop)

        def hint() -> None:
            loop.call_soon_threadsafe(reconciler.hint_files)

        watcher = Watcher(plans, hint)
        watcher.start()
        log.info("runner started", plans=str(plans), state=str(state), exchange=place.url)
        beside = [gone := loop.create_task(_gone(state, reconciler))]
        if sys.stdout.isatty():
            beside.append(loop.create_task(_draw(state)))
        try:
            await reconciler.run(until_done=until_done)
        finally:
            watcher.stop()
            removed = gone.done()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        log.info("runner stopped")
    if removed:
        raise PmrunError(
            f"{state}: was removed or replaced while the runner worked on it: its orders are "
            "cancelled; put the file back before the next start"
        )


async def _gone(state: Path, reconciler: Reconciler) -> None:
    """Stop the runner once its database is not the file at `state` any more.

    What it recorded from then on would be lost, and the lock would not keep a second runner out.
    """
    ours = _identity(state)
    while True:
        await asyncio.sleep(_LOOK_S)
        if _identity(state) != ours:
            reconciler.stop()
            return


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


async def _draw(state: Path) -> None:
    """Live progress in the terminal, once a second, until cancelled."""
    with contextlib.closing(open_readonly(state)) as connection, Live(auto_refresh=False) as live:
        try:
            while True:
                live.update(screen.progress(connection, now()), refresh=True)
                await asyncio.sleep(1)
        finally:
            live.update(screen.progress(connection, now()), refresh=True)


def _config(settings: Settings) -> Config:
    reconcile = settings.reconcile
    return Config(
        limits=settings.limits(),
        rescan_s=reconcile.rescan_seconds,
        settle_s=reconcile.settle_seconds,
        full_reconcile_s=reconcile.full_reconcile_seconds,
        removal_grace_s=reconcile.removal_grace_seconds,
        order_life_s=reconcile.order_life_seconds,
        actions_per_pass=reconcile.max_actions_per_pass,
    )


@contextlib.asynccontextmanager
async def _venue(
    place: paper.Exchange, settings: Settings | None
) -> AsyncIterator[tuple[HttpWire, Venue]]:
    """The account at an exchange. Without settings it is only good for public reads."""
    wire = HttpWire(Hosts.under(place.url))
    signer = Signer(place.key, paper.POLYGON)
    limits = VenueSettings()
    if settings is not None:
        about = settings.exchange
        signer = Signer(place.key, about.chain_id, about.signature_type, about.funder)
        timeout_s = settings.reconcile.request_timeout_seconds
        limits = VenueSettings(write_timeout_s=timeout_s, read_timeout_s=timeout_s)

    def odd(word: str) -> None:
        structlog.get_logger().warning("unknown word", word=word)

    try:
        yield wire, Venue(wire, signer, now, rng=SystemRandom(), settings=limits, odd=odd)
    except VenueUnreachable as error:
        raise VenueUnreachable(f"no use of the exchange at {place.url}: {error}") from error
    finally:
        await wire.close()


# which exchange


def _trading_key(exchange: str, state: Path, settings: Settings) -> SecretStr:
    """The key that signs: the paper account's own, or for a URL that of the settings."""
    if exchange == "embedded":
        return paper.paper_key(state)
    if settings.private_key is None:
        raise PlanError("PMRUN_PRIVATE_KEY: set it in .env; a URL trades with the settings' key")
    return settings.private_key


def _known_exchange(state: Path, settings: Settings) -> paper.Exchange:
    """The exchange of the commands that work without a runner, as the account that trades there.

    Raises:
        VenueUnreachable: none is recorded.
        SafetyRefusal: the account's key is not at hand. Any other key would find nothing live.
    """
    known = paper.recorded(state)
    if known is None:
        raise VenueUnreachable(f"no exchange is recorded beside {state}: `pmrun up` records it")
    key = settings.private_key
    if paper.paper_key_path(state).exists() and (
        key is None or paper.address_of(key) != known["account"]
    ):
        key = paper.paper_key(state)
    if key is None or paper.address_of(key) != known["account"]:
        raise SafetyRefusal(
            f"only the key of account {known['account']} can cancel its orders: "
            "set it as PMRUN_PRIVATE_KEY, and run the command again"
        )
    return paper.Exchange(known["url"], key, known["pid"])


# the commands that work without a runner


def halt(state: Path, reason: str, settings: Callable[[], Settings]) -> int:
    """Latch first, then cancel until the exchange shows nothing of ours live.

    With a runner alive it does the same beside it: a cancel may be sent twice. The settings are
    read after the latch is set: broken ones must not keep it open.

    Raises:
        SafetyRefusal: the latch is set, but the account's key is not at hand.
        VenueUnreachable: the latch is set, but what is live could not be cancelled.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    latch = Latch(state)
    latch.set(reason, now())
    print(f"halted: no new order will be sent ({latch.path})", file=sys.stderr)
    return _sweep(state, settings(), f"halt: {reason}", write=holder(state) is None)


def cancel_all(state: Path, reason: str, settings: Settings) -> int:
    """Pause every plan and cancel everything of ours, without a runner.

    Raises:
        SafetyRefusal: a runner has come up meanwhile: ask it.
    """
    if _nothing_here(state):
        return 0
    lock = RunnerLock.acquire(state)
    try:
        store = Store.open(state)
        try:
            with store.transaction(now()) as tx:
                for plan in tx.plans():
                    if plan.ended_at is None and tx.set_pause(plan.plan, "operator", on=True):
                        tx.event("plan", plan.plan, "operator_paused", detail="cancel --all")
        finally:
            store.close()
        return _sweep(state, settings, f"cancel --all {reason}".strip(), write=True)
    finally:
        lock.release()


def _nothing_here(state: Path) -> bool:
    if state.is_file():
        return False
    print(f"{state}: no state database: nothing of ours to cancel", file=sys.stderr)
    return True


def _sweep(state: Path, settings: Settings, why: str, *, write: bool) -> int:
    if _nothing_here(state):
        return 0
    place = _known_exchange(state, settings)

    async def sweep() -> int:
        async with _venue(place, settings) as (_, venue):
            return await VenueSweep(state, venue, now, write=write).run(why)

    left = asyncio.run(sweep())
    if left:
        raise VenueUnreachable(f"{left} orders may still be live: run the command again")
    print("the exchange shows no order of ours live", file=sys.stderr)
    return 0


def unhalt(state: Path, reason: str) -> int:
    """Clear the latch, and say why in the event log."""
    latch = Latch(state)
    if not latch.is_set():
        print("was not halted", file=sys.stderr)
        return 0
    store = Store.open(state)
    try:
        with store.transaction(now()) as tx:
            tx.event("runner", "runner", "unhalted", detail=reason)
    finally:
        store.close()
    latch.clear()
    print("trading may resume", file=sys.stderr)
    return 0


def market(
    state: Path, ref: str, exchange: str | None
) -> tuple[tuple[MarketInfo, Book, str | None], ...]:
    """Both outcomes of a market, by slug or token: rules, book, price of the last trade.

    Raises:
        VenueUnreachable: no exchange is known, or it does not answer.
        PlanError: it has no such market.
    """
    if exchange is None:
        known = paper.recorded(state)
        exchange = known["url"] if known is not None else paper.join_embedded(state).url
    passerby = paper.Exchange(exchange, SecretStr("0x" + secrets.token_hex(32)))

    async def look() -> tuple[tuple[MarketInfo, Book, str | None], ...]:
        async with _venue(passerby, None) as (_, venue):
            named = MarketRef(token_id=ref) if ref.isdigit() else MarketRef(slug=ref)
            seen = []
            for info in await venue.outcomes(named):
                last = await venue.last_trade(info.token_id)
                book = await venue.book(info.token_id)
                seen.append((info, book, None if last is None else plain(last)))
            return tuple(seen)

    try:
        return asyncio.run(look())
    except VenueRefused as error:
        raise PlanError(f"{error}; it has {', '.join(_slugs(exchange))}") from None


def _slugs(url: str) -> list[str]:
    """The markets of an embedded exchange, by the names a plan may use."""
    return sorted(str(market["slug"]) for market in paper.control(url, "/_exchange/markets"))
