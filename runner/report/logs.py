"""The log: structured lines for people (console) or machines (JSON), and a rotated file of JSON.

Entry point: `configure`. Anywhere else, `structlog.get_logger()` and keyword facts.

1. No known secret is written, in whatever coding: as text, hex of either case, base64 or percent.
2. A value under a key-like name (`private_key`, `secret`, `passphrase`, ...) is never written, nor
   is anything of 64 hex digits that follows such a name inside a text.
3. No control character or escape sequence from outside reaches a line (faults S12).
4. The file and its folder are for us alone: 0600 in 0700 (faults S19).
"""

from __future__ import annotations

import base64
import logging
import os
import re
import sys
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog

from runner.report.cells import clean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydantic import SecretStr
    from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"
SIZE_MAX_BYTES = 10 * 1024 * 1024
FILES_MAX = 5

_OWN_KEYS = frozenset({"_record", "_from_structlog"})  # structlog's, gone before rendering
_SECRET_LENGTH_MIN = 6  # shorter ones would hide ordinary words
_SECRET_NAME = re.compile(
    r"private_?key|secret|passphrase|password|passwd|api_?key|seed_?phrase|mnemonic"
    r"|authorization|poly_signature|hmac",
    re.IGNORECASE,
)
_NAMED_HEX = re.compile(
    r"(?P<name>(?:key|secret|pass(?:phrase|word)?|seed)\W{0,8})(?:0x)?[0-9a-f]{64}\b",
    re.IGNORECASE,
)


def configure(
    *,
    level: str,
    style: str,
    file: Path,
    secrets: Iterable[SecretStr] = (),
    terminal: bool = True,
) -> None:
    """Send every log line to stderr in `style` (console, json) and to `file` as JSON.

    `terminal` False leaves stderr alone, for when a live picture is drawn there. Lines of the
    standard library's logging (of the libraries used) take the same way. Calling it again replaces
    what was configured before.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        Redactor(secrets),
    ]
    handlers: list[logging.Handler] = [_file_handler(file, shared)]
    if terminal:
        handlers.append(_stream_handler(style, shared))
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _file_handler(file: Path, shared: list[Processor]) -> logging.Handler:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = _PrivateFileHandler(
        file, maxBytes=SIZE_MAX_BYTES, backupCount=FILES_MAX - 1, encoding="utf-8"
    )
    handler.setFormatter(_formatter(structlog.processors.JSONRenderer(default=str), shared))
    return handler


def _stream_handler(style: str, shared: list[Processor]) -> logging.Handler:
    renderer: Processor = (
        structlog.processors.JSONRenderer(default=str)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(renderer, shared))
    return handler


def _formatter(renderer: Processor, shared: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        foreign_pre_chain=shared,
    )


class _PrivateFileHandler(RotatingFileHandler):
    """A rotated file that is created for its owner alone."""

    def _open(self) -> Any:
        os.close(os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return super()._open()


class Redactor:
    """A processor of structlog that hides secrets and escapes control characters."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        """Know these secrets, in every coding in which they might turn up."""
        forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len)
        pattern = "|".join(map(re.escape, reversed(forms)))  # the longest first
        self._known = re.compile(pattern, re.IGNORECASE) if forms else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Every value of one line, made safe to write."""
        return {self._text(key): self._value(str(key), value) for key, value in event.items()}

    def _value(self, name: str, value: Any) -> Any:
        if name in _OWN_KEYS:
            return value
        if name == "exception":  # a traceback keeps its lines
            return "\n".join(map(self._text, str(value).split("\n")))
        if _SECRET_NAME.search(name):
            return HIDDEN
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, dict):
            return {self._text(k): self._value(str(k), v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value("", item) for item in value]
        if isinstance(value, bytes):
            return self._text(value.decode("utf-8", "backslashreplace"))
        return self._text(str(value))

    def _text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return clean(_NAMED_HEX.sub(rf"\g<name>{HIDDEN}", text))


def _forms(secret: SecretStr) -> set[str]:
    """One secret as it may look: itself, its bytes in hex, base64 and percent coding."""
    text = secret.get_secret_value()
    if len(text) < _SECRET_LENGTH_MIN:
        return set()
    bare = text.removeprefix("0x")
    codings = [text.encode()]
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", bare):
        codings.append(bytes.fromhex(bare))
    forms = {text, bare, quote(text, safe="")}
    for data in codings:
        forms |= {data.hex(), str(int.from_bytes(data))}
        for coded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
            forms |= {coded.decode(), coded.decode().rstrip("=")}
    return {form for form in forms if len(form) >= _SECRET_LENGTH_MIN}
