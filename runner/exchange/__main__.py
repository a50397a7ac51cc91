"""`python -m runner.exchange`: the embedded exchange as a process of its own."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from runner.exchange.scenario import ScenarioError
from runner.exchange.server import run


def _clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  (this is where this process's clock is injected)


def main() -> int:
    """Parses the command line and serves. Exit codes as `pmrun exchange` has them."""
    parser = argparse.ArgumentParser(prog="runner.exchange", description=__doc__)
    parser.add_argument("--port", type=int, default=8137, help="0 for any free one")
    parser.add_argument("--state", type=Path, help="database file; in memory without")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", help="a file, or the name of a packaged one")
    given = parser.parse_args()
    try:
        return run(given.port, given.state, given.seed, given.scenario, _clock)
    except ScenarioError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
