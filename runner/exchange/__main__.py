"""`python -m runner.exchange`: the embedded exchange as a process of its own."""

import argparse
import sys
from pathlib import Path

from runner.exchange.server import run


def main() -> int:
    """Parses the command line and serves. Exit codes as `pmrun exchange` has them."""
    parser = argparse.ArgumentParser(prog="runner.exchange", description=__doc__)
    parser.add_argument("--port", type=int, default=8137, help="0 for any free one")
    parser.add_argument("--state", type=Path, help="database file; in memory without")
    parser.add_argument("--seed", type=int, help="instead of the scenario's own")
    parser.add_argument("--scenario", help="a file, or the name of a packaged one")
    given = parser.parse_args()
    return run(given.port, given.state, given.seed, given.scenario)


if __name__ == "__main__":
    sys.exit(main())
