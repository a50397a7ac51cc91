"""The embedded exchange as a real process on a real port, for the official client to trade on."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCENARIO = """\
version: 1
settlement: {mined_seconds: [0.2, 0.3], confirmed_seconds: [0.2, 0.3]}
markets:
  - slug: rain
    question: Will it rain?
    tick: 0.01
    fee: {rate: 0.04}
    book: {bids: {0.48: 100, 0.47: 200}, asks: {0.52: 100, 0.53: 200}}
  - slug: snow
    question: Will it snow?
    event: winter
    tick: 0.001
    neg_risk: true
    book: {bids: {0.120: 100}, asks: {0.125: 100}}
"""
"""Two quiet markets: standard with tick 0.01, and neg-risk with tick 0.001; fast settlement."""


class Process:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.pid = 0

    def start(self) -> None:
        command = [sys.executable, "-m", "runner.exchange", "--port", "0", "--seed", "3"]
        command += ["--state", str(self.folder / "exchange.db")]
        command += ["--scenario", str(self.folder / "scenario.yaml")]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = json.loads(self._process.stdout.readline())
        self.url, self.pid = line["url"], line["pid"]

    def stop(self, number: signal.Signals) -> int:
        assert self._process is not None
        os.kill(self.pid, number)
        code = self._process.wait(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return code

    def running(self) -> bool:
        return self._process is not None

    def control(self, method: str, target: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + target, data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as response:
            assert response.headers["X-Simulated"] == "pmrun-embedded-exchange"
            return json.loads(response.read())


@contextmanager
def exchange_process(folder: Path) -> Iterator[Process]:
    process = Process(folder)
    process.start()
    try:
        yield process
    finally:
        if process.running():
            process.stop(signal.SIGKILL)
