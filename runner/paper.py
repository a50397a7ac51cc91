"""What lies beside the database of an exchange: which one it is, and the paper account's key.

The embedded exchange is started as a process of its own, or joined where one runs already. It is
reached like any other, over its URL; its control face is asked here, outside the loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets  # noqa: TID251 - for the throwaway key of a paper account
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from runner.core.errors import SafetyRefusal, VenueUnreachable
from runner.venue.ports import WireError
from runner.venue.signing import Signer
from runner.venue.wire import Hosts, HttpWire

if TYPE_CHECKING:
    from pathlib import Path

PAPER_CASH = "10000"
POLYGON = 137  # the chain (reference 3.1)
_START_TRIES = 200  # of 50 ms: how long the embedded exchange may take to come up


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange that answers: where, and as whom we trade there."""

    url: str
    key: SecretStr
    pid: int | None = None


def join(exchange: str, state: Path, key: SecretStr) -> Exchange:
    """The exchange of `--exchange`, embedded or a URL, recorded beside the database.

    Raises:
        VenueUnreachable: the embedded one does not come up.
    """
    if exchange == "embedded":
        return join_embedded(state)
    record = {"url": exchange, "pid": None, "account": address_of(key)}
    _write_private(_record_path(state), json.dumps(record))
    return Exchange(exchange, key)


def join_embedded(state: Path, *, scenario: str | None = None) -> Exchange:
    """The embedded exchange recorded beside the database if it answers, else a new one.

    It is a process of its own: a killed runner leaves it alive, and its state and the throwaway
    key of the paper account lie beside the database, so that paper positions survive a reboot.

    Raises:
        VenueUnreachable: it does not come up.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    key = paper_key(state)
    known = recorded(state)
    if known is not None and _answers(known["url"]):
        return Exchange(known["url"], key, known.get("pid"))
    started = _start_embedded(state.parent, scenario)
    place = Exchange(str(started["url"]), key, int(started["pid"]))
    address = address_of(key)
    if not ledger(place.url, address)["accounts"]:
        funds = {"address": address, "cash": PAPER_CASH, "tokens": {}}
        control(place.url, "/_exchange/accounts", funds)
    _write_private(_record_path(state), json.dumps({**started, "account": address}))
    return place


def ledger(url: str, address: str) -> dict[str, Any]:
    """The embedded exchange's truth about one account (contract 6).

    Raises:
        VenueUnreachable: it does not answer.
    """
    found: dict[str, Any] = control(url, f"/_exchange/ledger?owner={address}")
    return found


def _record_path(state: Path) -> Path:
    return state.parent / "exchange.json"


def recorded(state: Path) -> dict[str, Any] | None:
    """The exchange recorded beside the database, or None.

    Raises:
        VenueUnreachable: the record is there and says nothing.
    """
    path = _record_path(state)
    try:
        found = json.loads(path.read_text("utf-8"))
        return {name: found[name] for name in ("url", "pid", "account")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise VenueUnreachable(
            f"{path}: does not name an exchange: remove it, and `pmrun up` writes it anew"
        ) from None


def _start_embedded(folder: Path, scenario: str | None) -> dict[str, Any]:
    command = [sys.executable, "-m", "runner.exchange", "--port", "0"]
    command += ["--state", str(folder / "exchange.db")]
    if scenario is not None:
        command += ["--scenario", scenario]
    log = folder / "logs" / "exchange.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    if process.stdout is None:
        raise VenueUnreachable("the embedded exchange has no output to read")
    line = process.stdout.readline()
    try:
        started: dict[str, Any] = json.loads(line)
    except ValueError:
        raise VenueUnreachable(f"the embedded exchange did not start; see {log}") from None
    for _ in range(_START_TRIES):
        if _answers(str(started["url"])):
            return started
        time.sleep(0.05)
    raise VenueUnreachable(f"the embedded exchange does not answer; see {log}")


def _answers(url: str) -> bool:
    try:
        return bool(control(url, "/_exchange/markets"))
    except VenueUnreachable:
        return False


def control(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One call to the embedded exchange's control face, outside the loop.

    Raises:
        VenueUnreachable: it does not answer, or not with 200.
    """

    async def call() -> bytes:
        wire = HttpWire(Hosts.under(url))
        try:
            name, _, query = path.partition("?")
            answer = await wire.request(
                "GET" if body is None else "POST",
                name,
                query=dict(pair.split("=") for pair in query.split("&")) if query else None,
                body=b"" if body is None else json.dumps(body).encode(),
                timeout_s=5,
            )
        finally:
            await wire.close()
        if answer.status != 200:
            raise VenueUnreachable(f"{url}{name}: {answer.status}")
        return answer.body

    try:
        return json.loads(asyncio.run(call()))
    except WireError as error:
        raise VenueUnreachable(f"{url}: {error}") from None


def paper_key_path(state: Path) -> Path:
    """Where the paper account's key lies."""
    return state.parent / "paper.key"


def paper_key(state: Path) -> SecretStr:
    """The paper account's throwaway key: made once, kept beside the database, 0600.

    Raises:
        SafetyRefusal: the file holds no key.
    """
    path = paper_key_path(state)
    if not path.exists():
        _write_private(path, "0x" + secrets.token_hex(32))
    text = path.read_text("utf-8", errors="replace").strip()
    if not re.fullmatch(r"0x[0-9a-f]{64}", text):
        raise SafetyRefusal(
            f"{path}: holds no key: put the right file back, or start a new --state"
        )
    return SecretStr(text)


def address_of(key: SecretStr) -> str:
    """The account that a key signs for by itself."""
    return Signer(key, POLYGON).address


def _write_private(path: Path, text: str) -> None:
    """Write whole or not at all, readable by us alone."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
