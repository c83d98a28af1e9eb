"""Examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib

import pytest

from tests.house.tree import dotted, modules


@pytest.mark.parametrize("module", [dotted(path) for path in modules()])
def test_docstring_examples(module):
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
