"""A directory with something in it, made once, and copies of it to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.support import copy, fill


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("filled") / "memory")


@pytest.fixture
def place(filled: Path, tmp_path: Path) -> Path:
    return copy(filled, tmp_path / "memory")
