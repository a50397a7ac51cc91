"""Settings: exact values, safe defaults, and every mistake refused with its place."""

import contextlib
import os
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from runner.core.errors import PlanError, SafetyRefusal
from runner.core.model import Limits
from runner.settings import Settings, load

PROJECT = Path(__file__).parents[2]
KEY = "0x" + "3f" * 32


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PMRUN_")]:
        monkeypatch.delenv(name)


def _write(text: str, name: str = "runner.yaml", mode: int = 0o600) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def _refusal(text: str) -> list[str]:
    with pytest.raises(PlanError) as caught:
        load(_write(text))
    return str(caught.value).splitlines()


def _keys() -> dict[str, object]:
    """Every key of the file with its default, by dotted name."""
    found = {}
    for group, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            for name, value in field.default:
                found[f"{group}.{name}"] = value
    return found


def test_defaults_are_those_of_the_contract_and_nothing_is_armed() -> None:
    settings = load()
    assert settings.limits() == Limits(
        max_position_size=Decimal(5000),
        max_total_exposure=Decimal(10000),
        max_daily_loss=Decimal(500),
        max_order_size=Decimal(100),
        max_order_value=Decimal(100),
        max_orders_per_second=5,
        max_open_orders=50,
        price_collar=None,
    )
    assert settings.reconcile.removal_grace_seconds == 300
    assert settings.reconcile.order_life_seconds == 3600
    assert settings.exchange.chain_id == 137
    assert not settings.live.armed
    assert settings.private_key is None
    assert settings.log_file(Path("state/runner.db")) == Path("state/logs/runner.log")


def test_the_example_documents_every_key_and_gives_its_default() -> None:
    text = (PROJECT / "runner.example.yaml").read_text(encoding="utf-8")
    assert load(_write(text)) == Settings()
    shown: dict[str, bool] = {}
    group, comment = "", False
    for line in text.splitlines():
        if heading := re.fullmatch(r"(\w+):", line):
            group = heading[1]
        elif key := re.fullmatch(r"  (?:# )?([a-z_]+):( .+)?", line):
            shown[f"{group}.{key[1]}"] = comment
        comment = line.lstrip().startswith("# ")
    assert set(shown) == set(_keys())
    assert all(shown.values()), [key for key, commented in shown.items() if not commented]


def test_commented_examples_of_the_example_file_are_valid() -> None:
    text = (PROJECT / "runner.example.yaml").read_text(encoding="utf-8")
    opened = re.sub(r"^  # ([a-z_]+: \S+)$", r"  \1", text, flags=re.MULTILINE)
    assert opened != text
    settings = load(_write(opened))
    assert settings.live.wallet == "0x" + "0" * 40
    assert settings.logging.file == Path("state/logs/runner.log")


def test_env_example_names_only_settings_and_sets_none() -> None:
    text = (PROJECT / ".env.example").read_text(encoding="utf-8")
    _write(text, ".env")
    assert load() == Settings()
    names = set(re.findall(r"^#(PMRUN_\w+)=", text, re.MULTILINE))
    secrets = set(Settings.model_fields) - {key.split(".")[0] for key in _keys()}
    assert {f"PMRUN_{name.upper()}" for name in secrets} <= names


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (
            "risk:\n  max_order_sise: 3\n",
            "2:3: risk.max_order_sise",
            "there is no such setting: did you mean max_order_size?",
        ),
        ("rsk:\n  max_order_size: 3\n", "1:1: rsk", "there is no such setting: did you mean risk?"),
        (
            "risk:\n  max_daily_loss: 1e3\n",
            "2:3: risk.max_daily_loss",
            "'1e3' is not a plain decimal: write 1000",
        ),
        (
            "risk:\n  max_daily_loss: 010\n",
            "2:3: risk.max_daily_loss",
            "'010' is not a plain decimal: write 10",
        ),
        (
            "risk:\n  max_order_size:\n",
            "2:3: risk.max_order_size",
            "is empty: give a plain decimal number of shares, or leave the key out",
        ),
        ("live:\n  armed: yes\n", "2:3: live.armed", "'yes': write true"),
        (
            "logging:\n  level: warn\n",
            "2:3: logging.level",
            "'warn': write warning (debug, info, warning or error)",
        ),
        ("risk: 5\n", "1:1: risk", "is a group: write its keys below it, indented"),
        ("risk: [1]\n", "1:7: risk", "takes one plain value"),
        ("risk:\n  max_order_size: {a: 1}\n", "2:19: risk.max_order_size", "takes one plain value"),
        ("live:\nlive:\n", "2:1: live", "stands here twice"),
        (
            "risk:\n  max_open_orders: 1\n  max_open_orders: 2\n",
            "3:3: risk.max_open_orders",
            "stands here twice",
        ),
        ("live: &a {}\nrisk: *a\n", "2:7: risk", "takes one plain value"),
        (
            "risk:\n  max_open_orders: !!int 3\n",
            "2:20: risk.max_open_orders",
            "takes one plain value",
        ),
        ("live:\n---\nrisk:\n", "2:1: (file)", "one file holds one document"),
        ("- 1\n", "1:1: (file)", "must be keys, one a line: `risk:`"),
        (
            "reconcile:\n  rescan_seconds: 2s\n",
            "2:3: reconcile.rescan_seconds",
            "'2s' has a unit: this key counts seconds, write 2",
        ),
        (
            "reconcile:\n  order_life_seconds: 30\n",
            "2:3: reconcile.order_life_seconds",
            "must be 0 (a true GTC) or at least 150: the exchange wants three minutes in all",
        ),
        (
            "exchange:\n  signature_type: 1\n",
            "2:3: exchange.signature_type",
            "1 trades for another wallet: give its address as exchange.funder",
        ),
        (
            "exchange:\n  host: http://x\n",
            "2:3: exchange.host",
            "must be https:// and a host name, without a path: https://clob.polymarket.com",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_place_and_the_right_form(
    text: str, place: str, message: str
) -> None:
    assert _refusal(text) == [f"runner.yaml:{place}: {message}"]


def test_every_mistake_is_reported_at_once() -> None:
    lines = _refusal("risk:\n  max_order_size: x\n  a: 1\nfoo: 1\nlive:\n  wallet: 0x1\n")
    assert sorted(line.split(": ")[1] for line in lines) == [
        "foo", "live.wallet", "risk.a", "risk.max_order_size",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["max_daily_loss", "max_open_orders", "max_order_size"])
def test_a_limit_raised_more_than_threefold_wants_confirmation(name: str) -> None:
    default = Decimal(str(_keys()[f"risk.{name}"]))
    kept = load(_write(f"risk:\n  {name}: {3 * default}\n"))
    assert getattr(kept.limits(), name) == 3 * default
    [line] = _refusal(f"risk:\n  {name}: {3 * default + 1}\n")
    assert line.endswith("add risk.confirm_raise: true if that is meant")
    raised = load(_write(f"risk:\n  {name}: {3 * default + 1}\n  confirm_raise: true\n"))
    assert getattr(raised.limits(), name) == 3 * default + 1


def test_environment_beats_dotenv_beats_file(monkeypatch: pytest.MonkeyPatch) -> None:
    _write("risk:\n  max_daily_loss: 1\n  max_order_size: 1\n  max_open_orders: 1\n")
    _write("PMRUN_RISK__MAX_DAILY_LOSS=2\nPMRUN_RISK__MAX_ORDER_SIZE=2\nOTHER=x\n", ".env")
    monkeypatch.setenv("PMRUN_RISK__MAX_DAILY_LOSS", "0.3")
    risk = load().risk
    assert (risk.max_daily_loss, risk.max_order_size, risk.max_open_orders) == (
        Decimal("0.3"), Decimal(2), 1,
    )  # fmt: skip


@pytest.mark.parametrize("where", ["environment", "dotenv"])
@pytest.mark.parametrize("name", ["PMRUN_RISK__MAX_DALY_LOSS", "PMRUN_RSK", "PMRUN_RISK_X"])
def test_a_misspelt_variable_is_an_error(
    monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    if where == "environment":
        monkeypatch.setenv(name, "1")
    else:
        _write(f"{name}=1\n", ".env")
    with pytest.raises(PlanError, match=f"^{name}: there is no such setting"):
        load()


def test_a_secret_comes_from_dotenv_and_stays_opaque() -> None:
    _write(f"PMRUN_PRIVATE_KEY={KEY}\n", ".env")
    settings = load()
    assert settings.private_key is not None
    assert settings.private_key.get_secret_value() == KEY
    assert KEY not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize("bad", [KEY + "a", "zz", KEY[:-2]])
def test_a_bad_secret_is_never_repeated(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMRUN_PRIVATE_KEY", bad)
    with pytest.raises(PlanError, match=r"^PMRUN_PRIVATE_KEY: ") as caught:
        load()
    assert bad not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_in_the_file_is_refused_and_not_repeated() -> None:
    lines = _refusal(f"private_key: {KEY}\n")
    assert lines == ["runner.yaml:1:1: private_key: secrets have no place in this file: use .env"]


def test_keystores_are_said_not_to_be_available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMRUN_KEYSTORE", "key.json")
    with pytest.raises(PlanError, match="not available yet"):
        load()


@pytest.mark.parametrize(
    ("name", "mode"), [(".env", 0o640), (".env", 0o604), ("runner.yaml", 0o664)]
)
def test_files_that_others_can_use_are_refused(name: str, mode: int) -> None:
    _write("", name, mode)
    with pytest.raises(SafetyRefusal, match="chmod"):
        load()


def test_the_file_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _write("risk:\n  max_open_orders: 7\n", "other.yaml")
    monkeypatch.setenv("PMRUN_CONFIG", "other.yaml")
    assert load().risk.max_open_orders == 7
    with pytest.raises(PlanError, match="no such settings file"):
        load(Path("missing.yaml"))


@given(st.decimals("0.01", "300", places=2, allow_nan=False, allow_infinity=False))
def test_amounts_are_exactly_what_the_text_says(value: Decimal) -> None:
    path = _write(f"risk:\n  max_order_size: {value}\n", "exact.yaml")
    assert load(path).risk.max_order_size == value


@given(st.text(max_size=60))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    path = Path("any.yaml")
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    path.chmod(0o600)
    with contextlib.suppress(PlanError):
        load(path)
