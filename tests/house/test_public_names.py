"""What users may import. A name added or removed here is a line in the CHANGELOG."""

from __future__ import annotations

import importlib

import pytest

# Sorted; edit together with `__all__` of the package.
PUBLIC: dict[str, tuple[str, ...]] = {
    "pagefault": (),
    "pagefault_langgraph": (),
    "pagefault_llamaindex": (),
}


@pytest.mark.parametrize("package", PUBLIC)
def test_exported_names_are_pinned(package):
    exported = getattr(importlib.import_module(package), "__all__", ())
    assert sorted(exported) == sorted(PUBLIC[package])


@pytest.mark.parametrize("package", PUBLIC)
def test_every_exported_name_exists_and_is_documented(package):
    module = importlib.import_module(package)
    for each in PUBLIC[package]:
        value = getattr(module, each)
        assert not callable(value) or value.__doc__, f"{package}.{each} has no docstring"
