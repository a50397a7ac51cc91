"""The registry of calls is whole, and each test it names makes the calls it is named for."""

import ast
from collections import Counter
from pathlib import Path

import polymarket
import pytest
from polymarket import errors, streams
from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.rfq import RfqClient

from tests.conformance.calls import CLOB, UNIFIED, Registry, document

HERE = Path(__file__).parent
PUBLIC = (polymarket.PublicClient, polymarket.AsyncPublicClient)
SECURE = (polymarket.SecureClient, polymarket.AsyncSecureClient)
CHECKS = [
    pytest.param(test, names, id=test)
    for registry in (CLOB, UNIFIED)
    for test, names in registry.checked.items()
]


def public(of: object) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def clob_calls() -> set[str]:
    return public(ClobClient) | {f"rfq.{name}" for name in public(RfqClient)}


def unified_calls() -> set[str]:
    calls = set[str]().union(*(public(client) for client in (*PUBLIC, *SECURE)))
    for name in public(streams):
        found = getattr(streams, name)
        if name.endswith("Spec") and isinstance(found, type):
            calls.add(f"stream.{name}")
    for name in public(errors):
        found = getattr(errors, name)
        family = isinstance(found, type) and issubclass(found, polymarket.PolymarketError)
        if family and found is not polymarket.PolymarketError:
            calls.add(f"error.{name}")
    return calls


@pytest.mark.parametrize(
    ("registry", "calls"),
    [(CLOB, clob_calls()), (UNIFIED, unified_calls())],
    ids=["clob", "unified"],
)
def test_every_public_call_is_named_once(registry: Registry, calls: set[str]) -> None:
    named = Counter(name for name, _, _ in registry.rows())
    assert {name for name, times in named.items() if times > 1} == set()
    assert calls - named.keys() == set(), "calls of the client that the registry lacks"
    assert named.keys() - calls == set(), "calls of the registry that the client lacks"


@pytest.mark.parametrize(("test", "names"), CHECKS)
def test_a_test_makes_the_calls_it_is_named_for(test: str, names: str) -> None:
    function = the_test(test)
    made = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
    made |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    assert {name.rpartition(".")[2] for name in names.split()} - made == set()


def test_what_needs_no_key_is_checked_without_one() -> None:
    """A test on the fixture `trader` has secure clients only."""
    open_calls = public(PUBLIC[0]) | public(PUBLIC[1])
    for name, test, _ in UNIFIED.rows():
        if test is not None and name in open_calls - {"subscribe"}:
            fixtures = {argument.arg for argument in the_test(test).args.args}
            assert "trader" not in fixtures, f"{name}: {test}"


def test_the_document_shows_the_registry() -> None:
    docs = HERE.parents[1] / "docs" / "conformance.md"
    assert docs.read_text(encoding="utf-8") == document(), "run `make docs`"


def the_test(test: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    module, name = test.split("::")
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    (function,) = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    return function
