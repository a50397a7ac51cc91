"""The runner's settings: runner.yaml, the environment and .env, as one typed, frozen value.

Entry point: `load`. A value in the environment (`PMRUN_RISK__MAX_DAILY_LOSS`) beats the same in
`.env`, which beats the one in the file, which beats the default. Every default is safe: nothing is
armed, every limit is small. `runner.example.yaml` and `.env.example` document each key.

1. Every value is read from its text; amounts are exact decimals, never binary floats.
2. A key that does not exist is refused, wherever it stands, with its place.
3. Secrets come from the environment or `.env` only, are opaque, and no message repeats them.
4. A file that others could read secrets from, or write limits into, is refused (faults S5, O7).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from pydantic import ValidationError

from runner.core.errors import PlanError, SafetyRefusal
from runner.settings.document import Document
from runner.settings.schema import PREFIX, LogFormat, LogLevel, Settings, no_such

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LogFormat", "LogLevel", "Settings", "load"]

FILE = Path("runner.yaml")
ENV_FILE = Path(".env")
_NOT_SETTINGS = frozenset({"config", "stop_at"})  # PMRUN_ variables with a meaning of their own


def load(config: Path | None = None, *, env_file: Path = ENV_FILE) -> Settings:
    """The settings of this directory: `config`, or PMRUN_CONFIG, or runner.yaml if there is one.

    Raises:
        PlanError: something in them is wrong; one line a problem, each with its place.
        SafetyRefusal: a file of settings belongs to somebody else, or others may read or write it.
    """
    named = config or os.environ.get(f"{PREFIX}CONFIG")
    path = Path(named or FILE)
    document = Document(path)
    if named is not None or path.exists():
        _check_permissions(path, 0o022, "chmod go-w")
        document = Document.read(path)
    variables = dict(os.environ)
    if env_file.exists():
        _check_permissions(env_file, 0o077, "chmod 600")
        variables |= _variables_of(env_file)
    problems = document.unknown() + _unknown_variables(variables)
    try:
        settings = Settings(_env_file=env_file, **document.values)
    except ValidationError as error:
        problems += [
            document.describe(problem, variables)
            for problem in error.errors(include_input=False, include_url=False)
        ]
    else:
        if not problems:
            return settings
    raise PlanError("\n".join(problems))


def _variables_of(env_file: Path) -> dict[str, str]:
    try:
        return {name: value or "" for name, value in dotenv_values(env_file).items()}
    except UnicodeDecodeError:
        raise PlanError(f"{env_file}: is not UTF-8 text") from None


def _check_permissions(path: Path, forbidden: int, cure: str) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise PlanError(f"{path}: there is no such settings file") from None
    if not stat.S_ISREG(status.st_mode):
        raise PlanError(f"{path}: is not a file: settings are read from a regular one")
    if status.st_uid not in {os.geteuid(), 0}:
        raise SafetyRefusal(f"{path}: belongs to another user; settings must be your own")
    if status.st_mode & forbidden:
        raise SafetyRefusal(f"{path}: others may use it; run `{cure} {path}` first")


def _unknown_variables(variables: Mapping[str, str]) -> list[str]:
    """One line for each misspelt PMRUN_ variable: it was meant to change something."""
    known = set(Settings.model_fields) | _NOT_SETTINGS
    firsts = {
        name: name.upper().removeprefix(PREFIX).lower().split("__")[0]
        for name in variables
        if name.upper().startswith(PREFIX)
    }
    return [
        f"{name}: {no_such((), first)}"
        for name, first in sorted(firsts.items())
        if first not in known
    ]
