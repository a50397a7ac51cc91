"""No binary float on the way of a price, a size or money: read from the source itself.

Floats are looked for as literals, as the word `float`, as `total_seconds()` and as true division
(which makes one of two integers). One is fine where the name it is bound to says that it is a time
or a rate of time, unit last (design 4); where a string shows that `/` joins a path; or where `FINE`
names the place and says why.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2] / "runner"
PACKAGES = ("core", "store", "reconciler", "venue", "exchange")
TIMES = ("_s", "_ms", "_at", "_time", "seconds", "timeout", "wait", "per_second")

FINE = {
    ("core/model.py", "Book.mid"): "Decimals, by one or by two: exact",
    ("core/plan_text.py", "_not_a_number"): "Decimals, in the wording of a refusal",
    ("core/plan_text.py", "duration.read"): "Decimals, in the wording of a refusal",
    ("core/plan_text.py", "fraction"): "Decimals, in the wording of a refusal",
    ("core/plan_text.py", "nearest"): "how alike two words are",
    ("core/plan_text.py", "price"): "Decimals, in the wording of a refusal",
    ("exchange/faults.py", "Fault"): "how likely a fault is",
    ("exchange/scenario.py", "_Builder._played"): "joins a path",
    ("reconciler/loop.py", "Reconciler._act"): "moments on the loop's clock",
    ("reconciler/loop.py", "Reconciler._wind_down"): "seconds of waiting",
    ("reconciler/metrics.py", "Metrics"): "latencies",
    ("venue/streams.py", "Streams._due_at"): "a moment on the loop's clock",
    ("venue/streams.py", "_now"): "a moment on the loop's clock",
    ("venue/throttle.py", "TokenBucket.__init__"): "tokens of a rate limit",
    ("venue/throttle.py", "TokenBucket.take"): "seconds of waiting",
    ("venue/translate.py", "_matched_at"): "Decimals: nanoseconds as seconds",
}


def floats(source: str) -> Iterator[tuple[str, int, str]]:
    """(scope, line, what) of every float that its name does not explain."""
    yield from _walk(ast.parse(source), scope="", bound="")


def _walk(node: ast.AST, scope: str, bound: str) -> Iterator[tuple[str, int, str]]:
    for child, name in _children(node, bound):
        inner = scope
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{child.name}".lstrip(".")
        what = _what(child)
        if what and not name.lower().endswith(TIMES):
            yield scope, getattr(child, "lineno", 0), what
        yield from _walk(child, inner, name)


def _children(node: ast.AST, bound: str) -> Iterator[tuple[ast.AST, str]]:
    """The children of a node, each with the name its value is bound to, if it has one."""
    match node:
        case ast.arguments():
            plain = node.posonlyargs + node.args
            defaults = zip(reversed(plain), reversed(node.defaults), strict=False)
            both = [*defaults, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
            yield from ((default, arg.arg) for arg, default in both if default is not None)
            rest = [node.vararg, node.kwarg]
            for arg in [*plain, *node.kwonlyargs, *(arg for arg in rest if arg is not None)]:
                yield arg, arg.arg
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
            yield from ((child, _name(target)) for child in ast.iter_child_nodes(node))
        case ast.keyword(arg=str(name)):
            yield node.value, name
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            for child in ast.iter_child_nodes(node):
                yield child, node.name if child is node.returns else ""
        case ast.ClassDef():
            yield from ((child, "") for child in ast.iter_child_nodes(node))
        case _:
            yield from ((child, bound) for child in ast.iter_child_nodes(node))


def _name(target: ast.expr) -> str:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _name(value)
        case _:
            return ""


def _what(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=float() | complex()):
            return f"the literal {node.value!r}"
        case ast.Name(id="float"):
            return "the word float"
        case ast.Attribute(attr="total_seconds"):
            return "total_seconds()"
        case ast.BinOp(op=ast.Div(), left=left, right=right):
            return "" if _text(left) or _text(right) else f"a division: {ast.unparse(node)}"
        case ast.AugAssign(op=ast.Div()):
            return f"a division: {ast.unparse(node)}"
        case _:
            return ""


def _text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _text(node.left) or _text(node.right)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


FILES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_float_that_is_not_a_time(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = [
        f"{name}:{line}: {what} (in {scope or 'the module'})"
        for scope, line, what in floats(path.read_text(encoding="utf-8"))
        if (name, scope) not in FINE
    ]
    assert found == []


def test_every_exception_is_still_needed() -> None:
    used = {
        (path.relative_to(ROOT).as_posix(), scope)
        for path in FILES
        for scope, _, _ in floats(path.read_text(encoding="utf-8"))
    }
    assert sorted(set(FINE) - used) == []


@pytest.mark.parametrize(
    "source",
    [
        "price = 0.5",
        "def f(price: float) -> int: ...",
        "def f(price: int = 1, size: int = 1.5) -> int: ...",
        "def f(price: int) -> float: ...",
        "class A:\n    size: float = 3",
        "price = float(text)",
        "price = dollars / shares",
        "price /= 2",
        "f(price=1.0)",
        "f(1.0)",
        "x = span.total_seconds()",
        "x = 1j",
        "wait_s = f(price=1.0)",
    ],
)
def test_it_finds(source: str) -> None:
    assert list(floats(source))


@pytest.mark.parametrize(
    "source",
    [
        "wait_s = 0.5",
        "TIMEOUT_S = (1.0, 2.0)",
        "class A:\n    retry_s: float = 0.25",
        "def f(delay_ms: float = 1.5, *, timeout_s: float) -> None: ...",
        "def age_s(at: int) -> float: ...",
        "f(timeout=WAIT_MS / 1000)",
        "path = folder / 'plans' / name",
        "path = folder / f'{name}.yaml'",
        "price = dollars // shares",
        "self.seen_s[name] = 0.5",
    ],
)
def test_it_lets_pass(source: str) -> None:
    assert list(floats(source)) == []
