"""The gate: whether a request is looked at at all.

Engine restarts and the modes of trading (reference 8.3 and 3.9), clocks that differ, and rate
limits (`limits`). Set through the control face; a restart of the process forgets it.
"""

from typing import Literal

from runner.exchange.limits import EdgeLimits, SignerLimits
from runner.exchange.records import Refused

TradingMode = Literal["normal", "cancel_only", "disabled"]


class Gate:
    """What lets requests in.

    Attributes:
        mode: Whether trading is normal, only cancels are taken, or neither orders nor cancels.
        clock_skew_s: How far the time in a private request's headers may be from the exchange's;
            None: it is not looked at. (What the real exchange allows isn't known.)
        signers: Limits of each signer's orders and cancels.
        edge: Limits of the one address there is.
        down_until: Until when (Unix milliseconds) the engine restarts.
        post_only_until: Until when only post-only orders are taken after that.
    """

    def __init__(self) -> None:
        self.mode: TradingMode = "normal"
        self.clock_skew_s: int | None = None
        self.signers = SignerLimits()
        self.edge = EdgeLimits()
        self.down_until = 0
        self.post_only_until = 0

    def restart(self, now_ms: int, down_s: int, post_only_s: int) -> None:
        """Restarts the engine: away for a while, then post-only for a while (reference 8.3)."""
        self.down_until = now_ms + 1000 * down_s
        self.post_only_until = self.down_until + 1000 * post_only_s

    def check_clock(self, timestamp: str, now_ms: int) -> None:
        """Refuses a request signed too early or too late.

        Raises:
            Refused: 401.
        """
        if self.clock_skew_s is None:
            return
        if abs(int(timestamp) - now_ms // 1000) > self.clock_skew_s:
            raise Refused(401, "Unauthorized/Invalid api key")

    def check_trading(self, now_ms: int, *, cancels: bool, post_only: bool) -> None:
        """Whether orders or cancels are taken now.

        Args:
            now_ms: Unix milliseconds.
            cancels: Whether the request cancels; else it posts.
            post_only: Whether everything it posts is post-only.

        Raises:
            Refused: 425 or 503 (reference 3.9).
        """
        if now_ms < self.down_until:
            raise Refused(425, "Service is not ready")
        if self.mode == "disabled":
            text = "Trading is currently disabled. Check polymarket.com for updates"
            raise Refused(503, text)
        if cancels:
            return
        if self.mode == "cancel_only":
            raise Refused(
                503,
                "Trading is currently cancel-only. New orders are not accepted, "
                "but cancels are allowed.",
            )
        if now_ms < self.post_only_until and not post_only:
            left = -(-(self.post_only_until - now_ms) // 1000)
            text = "post-only mode: only post-only orders and cancels are allowed"
            more = {"code": "post_only_mode", "retry_after_seconds": left}
            raise Refused(503, text, more, retry_after_s=left)
