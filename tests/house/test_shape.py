"""Small modules, small functions, names that say something."""

from __future__ import annotations

import ast

import pytest

from tests.house.tree import modules, name

MODULE_LINES = 500
FUNCTION_LINES = 60
EMPTY_NAMES = ("utils", "util", "helpers", "helper", "manager", "misc", "common")


@pytest.mark.parametrize("path", modules(), ids=name)
def test_a_module_fits_in_the_head(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{name(path)} has {lines} lines, the limit is {MODULE_LINES}: split it by idea"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_a_function_fits_on_a_screen(path):
    lengths = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {function: lines for function, lines in lengths.items() if lines > FUNCTION_LINES}
    assert not long, f"{name(path)}: {long}, the limit is {FUNCTION_LINES} lines"


@pytest.mark.parametrize("path", modules(), ids=name)
def test_a_module_is_named_for_its_idea(path):
    words = path.stem.lower().strip("_").split("_")
    assert not set(words) & set(EMPTY_NAMES), f"{name(path)}: name it for what it is about"
