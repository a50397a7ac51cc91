import base64
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
from pydantic import SecretStr

from runner.report import logs

KEY = "0xA1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9f"
PHRASE = "correct horse/battery+staple=="


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "logs" / "runner.log"
    logs.configure(
        level="debug", style="console", file=file, secrets=[SecretStr(KEY), SecretStr(PHRASE)]
    )
    yield file
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    structlog.reset_defaults()


def _codings() -> Iterator[str]:
    raw = bytes.fromhex(KEY[2:])
    yield from (KEY, KEY[2:], KEY[2:].upper(), KEY.lower(), raw.hex(), str(int(KEY, 16)))
    yield from (PHRASE, PHRASE.encode().hex(), quote(PHRASE, safe=""))
    for data in (raw, KEY.encode(), PHRASE.encode()):
        yield base64.b64encode(data).decode()
        yield base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("canary", list(_codings()))
def test_no_known_secret_is_written_in_any_coding(
    log_file: Path, capsys: pytest.CaptureFixture[str], canary: str
) -> None:
    log = structlog.get_logger()
    log.info("signed", body=f"a{canary}b", nested={"deep": [canary, canary.encode()]}, ok=1)
    log.warning("event %s", canary)
    logging.getLogger("aiohttp").error("library said %s", canary)
    try:
        raise ValueError(canary)
    except ValueError:
        log.exception("boom")
        logging.getLogger("other").exception("boom")
    written = log_file.read_text() + "".join(capsys.readouterr())
    assert canary.lower() not in written.lower()
    assert written.count(logs.HIDDEN) >= 5
    assert "ValueError" in written


def test_key_like_names_and_unknown_keys_are_hidden(log_file: Path) -> None:
    other = "0x" + "ab" * 32
    structlog.get_logger().info(
        "x", private_key="short", api_key="k", nested={"passphrase": "p"}, text=f"the key: {other}"
    )
    structlog.get_logger().info("placed", order_id=other)
    first, second = (json.loads(line) for line in log_file.read_text().splitlines())
    assert first["private_key"] == first["api_key"] == first["nested"]["passphrase"] == logs.HIDDEN
    assert other not in first["text"]
    assert second["order_id"] == other


@pytest.mark.parametrize("style", ["console", "json"])
def test_control_characters_never_reach_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], style: str
) -> None:
    file = tmp_path / "runner.log"
    logs.configure(level="info", style=style, file=file)
    structlog.get_logger().info("title\x1b[2J", slug="a\n2026 forged line\u202e", **{"k\x07": "1"})
    logging.getLogger("lib").warning("line\r\nforged")
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert not {"\x1b[2J", "\u202e", "\x07", "\r"} & set(err)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["slug"] == "a\\n2026 forged line\\u202e"
    assert lines[1]["event"] == "line\\r\\nforged"


def test_the_file_is_ours_alone_json_and_levelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs" / "runner.log"
    logs.configure(level="warning", style="json", file=file, terminal=False)
    structlog.get_logger().info("not this")
    structlog.get_logger().warning("this", plan="a")
    assert capsys.readouterr().err == ""
    [line] = file.read_text().splitlines()
    value = json.loads(line)
    assert value["event"] == "this"
    assert value["plan"] == "a"
    assert value["level"] == "warning"
    assert value["timestamp"].endswith("Z")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_rotation_keeps_the_mode_and_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "SIZE_MAX_BYTES", 2000)
    file = tmp_path / "runner.log"
    logs.configure(level="info", style="json", file=file, terminal=False)
    for n in range(200):
        structlog.get_logger().info("line", n=n)
    files = sorted(tmp_path.iterdir())
    assert len(files) == logs.FILES_MAX
    assert all(f.stat().st_size <= 2000 for f in files)
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in files)
