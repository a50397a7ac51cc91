"""`python -m runner` is `pmrun`."""

from runner.cli import main

main()
