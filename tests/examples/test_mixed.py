"""An agent of one framework recalls, word for word, what an engine of the other one saw."""

from __future__ import annotations

import re

import pytest

from examples.mixed.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex looks at old fields


def test_the_planner_quotes_what_a_worker_read(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "floor division of integers results in an integer" in " ".join(shown.split())
    assert re.search(r"\(page \d+ of expressions\)", " ".join(shown.split()))
    left = re.search(r"(\d+) messages had left", shown)
    assert left is not None
    assert int(left[1]) > 10
    assert "quoted from the reference" in shown
