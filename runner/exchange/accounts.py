"""Wallets and API keys.

A wallet's `cash` and `tokens` are settled. What it may still promise is less (see `credit`).

API credentials are drawn from the exchange's seed, the address and the nonce, so that deriving
gives the same ones again.
"""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping

from eth_utils.address import is_address

from runner.exchange.records import (
    Account,
    ApiKey,
    Refused,
    Standing,
    WalletType,
)
from runner.exchange.signatures import auth_hash, checksummed, recover, request_hmac

_SHORT = re.compile(r"[0-9]{1,18}")
_MOST = 10**18
_UNAUTHORIZED = "Unauthorized/Invalid api key"


class Accounts:
    """Every wallet and every API key."""

    def __init__(self, seed: int) -> None:
        self._seed = f"pmrun embedded exchange/{seed}".encode()
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, ApiKey] = {}
        self._by_nonce: dict[tuple[str, int], ApiKey] = {}
        self._turned_away = ""

    def turn_away(self, address: str) -> None:
        """Has no part in this wallet: it holds real money, and here is none to be had.

        It is neither funded nor given a key, and an order of it is refused as a banned one's.
        """
        self._turned_away = checksummed(address)

    def _admit(self, address: str) -> None:
        if address == self._turned_away:
            raise Refused(403, f"{address} is a wallet of real money: not on a simulated exchange")

    def load(self, accounts: Iterable[Account], keys: Iterable[ApiKey]) -> None:
        """Takes over what the database holds."""
        for account in accounts:
            self._accounts[account.address] = account
        for key in keys:
            self._keys[key.key] = key
            self._by_nonce[key.address, key.nonce] = key

    def all(self) -> Iterable[Account]:
        """Every wallet."""
        return self._accounts.values()

    def all_keys(self) -> Iterable[ApiKey]:
        """Every API key, also the deleted ones."""
        return self._keys.values()

    def find(self, address: str) -> Account | None:
        """A wallet by its address, in any spelling."""
        return self._accounts.get(checksummed(address))

    def wallet(self, signer: str, signature_type: int) -> Account | None:
        """The wallet that a signer trades with: its own (type 0), or the one it controls."""
        if signature_type == 0:
            return self._accounts.get(signer)
        owned = (a for a in self._accounts.values() if a.signer == signer and a.address != signer)
        return next((a for a in owned if a.wallet_type in {None, signature_type}), None)

    def controls(self, signer: str, maker: str, signature_type: int) -> bool:
        """Whether a signer's signature of that type moves a wallet's funds (reference 2.3)."""
        if signature_type == 0:
            return maker == signer
        wallet = self._accounts.get(maker)
        return (
            wallet is not None
            and wallet.signer == signer != maker
            and wallet.wallet_type in {None, signature_type}
        )

    def standing(self, address: str) -> Standing:
        """How the exchange stands to an address; addresses it doesn't know are open."""
        name = checksummed(address)
        if name == self._turned_away:
            return "banned"
        account = self._accounts.get(name)
        return account.standing if account else "open"

    def fund(
        self,
        address: str,
        cash: int,
        tokens: Mapping[str, int],
        signer: str | None,
        wallet_type: WalletType | None = None,
    ) -> Account:
        """Adds cash and tokens to a wallet, opening it if need be.

        Args:
            address: The wallet.
            cash: Millionths of a dollar.
            tokens: Millionths of a share by token id.
            signer: Who signs for it: the key that controls a proxy, safe or deposit wallet
                (signature types 1 to 3). None for itself, or as it is.
            wallet_type: Which of the three it is; None: any of them, or as it is.

        Raises:
            Refused: 400, if an address is none, an amount is negative, or a wallet of a key's
                own is given a type; 403 for a wallet that is turned away.
        """
        if not is_address(address) or (signer is not None and not is_address(signer)):
            raise Refused(400, "not an address")
        if cash < 0 or any(size < 0 for size in tokens.values()):
            raise Refused(400, "an account can't be funded with less than nothing")
        name = checksummed(address)
        for one in (name, checksummed(signer) if signer else name):
            self._admit(one)
        account = self._accounts.get(name) or Account(name, name)
        held = {token_id: account.tokens.get(token_id, 0) + s for token_id, s in tokens.items()}
        if max([account.cash + cash, *held.values()]) > _MOST:
            raise Refused(400, "more than an account can hold")
        self._accounts[name] = account
        if signer is not None:
            account.signer = checksummed(signer)
        if wallet_type is not None:
            if account.signer == name:
                raise Refused(400, "signature_type: only of a wallet with another signer")
            account.wallet_type = wallet_type
        account.cash += cash
        account.tokens |= held
        return account

    def attested(self, headers: Mapping[str, str]) -> tuple[str, int]:
        """Checks the L1 headers of reference 2.1.

        Returns:
            The address that signed, and the nonce.

        Raises:
            Refused: 401; 403 for a wallet that is turned away.
        """
        address = headers.get("poly_address", "")
        timestamp, nonce = headers.get("poly_timestamp", ""), headers.get("poly_nonce", "0")
        signature = _hex_bytes(headers.get("poly_signature", ""))
        if not (is_address(address) and _SHORT.fullmatch(timestamp) and _SHORT.fullmatch(nonce)):
            raise Refused(401, "Invalid L1 Request headers")
        signer = recover(auth_hash(address, timestamp, int(nonce)), signature)
        if signer != checksummed(address):
            raise Refused(401, "Invalid L1 Request headers")
        self._admit(signer)
        return signer, int(nonce)

    def create_key(self, address: str, nonce: int) -> ApiKey:
        """Makes the credentials of an address and a nonce.

        Raises:
            Refused: 400, if they exist (reference 2.1).
        """
        if (address, nonce) in self._by_nonce:
            raise Refused(400, "Could not create api key")
        name = f"{address}/{nonce}"
        key = ApiKey(
            key=str(uuid.UUID(bytes=self._draw("key", name)[:16], version=4)),
            address=address,
            nonce=nonce,
            secret=base64.urlsafe_b64encode(self._draw("secret", name)).decode(),
            passphrase=self._draw("passphrase", name).hex(),
        )
        self._keys[key.key] = self._by_nonce[address, nonce] = key
        return key

    def derive_key(self, address: str, nonce: int) -> ApiKey:
        """The credentials made earlier for an address and a nonce.

        Raises:
            Refused: 400, if there are none (or no more).
        """
        key = self._by_nonce.get((address, nonce))
        if key is None or not key.active:
            raise Refused(400, "Could not derive api key!")
        return key

    def authenticated(
        self, headers: Mapping[str, str], method: str, path: str, body: bytes
    ) -> ApiKey:
        """Checks the L2 headers of reference 2.2 over the exact bytes of the request.

        Raises:
            Refused: 401.
        """
        key = self._keys.get(headers.get("poly_api_key", ""))
        if key is None or not key.active:
            raise Refused(401, _UNAUTHORIZED)
        timestamp = headers.get("poly_timestamp", "")
        if not _SHORT.fullmatch(timestamp):
            raise Refused(401, _UNAUTHORIZED)
        expected = request_hmac(key.secret, timestamp, method, path, body)
        if not (
            _same(expected, headers.get("poly_signature", ""))
            and _same(key.passphrase, headers.get("poly_passphrase", ""))
            and key.address.lower() == headers.get("poly_address", "").lower()
        ):
            raise Refused(401, _UNAUTHORIZED)
        return key

    def subscriber(self, key: str, secret: str, passphrase: str) -> ApiKey | None:
        """The key of a user socket's first frame (reference 6.2), or None if it is wrong."""
        known = self._keys.get(key)
        if known is None or not known.active:
            return None
        good = _same(known.secret, secret) and _same(known.passphrase, passphrase)
        return known if good else None

    def address_of(self, key: str) -> str | None:
        """The address whose API key this is."""
        known = self._keys.get(key)
        return known.address if known else None

    def _draw(self, what: str, name: str) -> bytes:
        return hmac.digest(self._seed, f"{what}/{name}".encode(), hashlib.sha256)


def _same(known: str, given: str) -> bool:
    """Compares in a time that tells nothing."""
    return hmac.compare_digest(known.encode(), given.encode("utf-8", "replace"))


def _hex_bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return b""
