"""Modules and functions keep their limits; and each check refuses what it is there to refuse."""

from __future__ import annotations

import pytest

from tests.architecture import limits
from tests.architecture.source import Module, listed, read_tree

PRODUCT = ("penstock", "services")
SCRIPTS = ("protos", "examples", "bench", "deploy")


def one(text: str) -> list[Module]:
    return [Module(name="services.router.thing", text=text)]


def test_no_module_is_longer_than_the_limit():
    assert listed(limits.long_modules(read_tree(*PRODUCT, *SCRIPTS, "tests"))) == ""


def test_no_function_is_longer_than_the_limit():
    assert listed(limits.long_functions(read_tree(*PRODUCT, *SCRIPTS, "tests"))) == ""


def test_no_function_takes_more_parameters_than_the_limit():
    assert listed(limits.wide_functions(read_tree(*PRODUCT, *SCRIPTS))) == ""


def test_every_exception_for_keywords_is_still_needed():
    wide = {name: node for module in read_tree(*PRODUCT, *SCRIPTS) for name, node in module.functions}

    assert [
        name for name in limits.MANY_KEYWORDS if name not in wide or sum(limits.count_parameters(wide[name])) <= limits.PARAMETERS
    ] == []


@pytest.mark.parametrize(("lines", "is_refused"), [(limits.MODULE_LINES, False), (limits.MODULE_LINES + 1, True)])
def test_a_module_over_the_limit_is_refused(lines: int, is_refused: bool):
    assert bool(list(limits.long_modules(one("x = 1\n" * lines)))) is is_refused


def test_generated_modules_may_be_long():
    assert list(limits.long_modules([Module(name="penstock.v1.link_pb2", text="x = 1\n" * 1000)])) == []


@pytest.mark.parametrize(("lines", "is_refused"), [(limits.FUNCTION_LINES, False), (limits.FUNCTION_LINES + 1, True)])
@pytest.mark.parametrize(
    "head", ["def f():\n{}", "class A:\n    async def f(self):\n{}", "def outer(): return 1\nclass B:\n  def f(self):\n{}"]
)
def test_a_function_over_the_limit_is_refused(lines: int, head: str, is_refused: bool):
    text = head.format("        x = 1\n" * (lines - 1))

    assert bool(list(limits.long_functions(one(text)))) is is_refused


@pytest.mark.parametrize(
    ("signature", "is_refused"),
    [
        ("def f(a, b, c, d, e): ...", False),
        ("def f(a, b, c, d, e, f): ...", True),
        ("def f(a, b, /, c, d, e, f): ...", True),
        ("def f(a, b, c, d, e, *rest): ...", True),
        ("def f(a, *, b, c, d, e, f): ...", True),
        ("def f(a, *, b, c, d, e, **f): ...", True),
        ("class A:\n    def f(self, a, b, c, d, e): ...", False),
        ("class A:\n    def f(self, a, b, c, d, e, f): ...", True),
        ("class A:\n    @classmethod\n    async def f(cls, a, b, c, d, e, f): ...", True),
        ("@app.command()\ndef f(a, b, c, d, e, f): ...", False),
        ("@cache()\ndef f(a, b, c, d, e, f): ...", True),
    ],
)
def test_a_function_with_too_many_parameters_is_refused(signature: str, is_refused: bool):
    assert bool(list(limits.wide_functions(one(signature)))) is is_refused


def test_a_justified_function_may_take_more_keywords_but_not_more_positions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(limits.MANY_KEYWORDS, "services.router.thing.f", "a reason")

    assert list(limits.wide_functions(one("def f(a, *, b, c, d, e, f): ..."))) == []
    assert list(limits.wide_functions(one("def f(a, b, c, d, e, f): ..."))) != []
