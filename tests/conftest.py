"""For every test."""

import os


def pytest_xdist_auto_num_workers() -> int:
    """Twice the cores: much of the longest tests is waiting for processes of their own."""
    return 2 * (os.cpu_count() or 1)
