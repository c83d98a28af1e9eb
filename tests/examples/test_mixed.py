"""An agent of one framework recalls, word for word, what an engine of the other one saw."""

from __future__ import annotations

import re

import pytest

from examples.mixed.__main__ import main
from examples.mixed.planner import plan
from examples.mixed.workers import read
from examples.team.backend import Backend, StandIn

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
    served = re.search(r"(\d+) calls of both frameworks served, 0 refused", shown)
    assert served is not None
    assert int(served[1]) > 30, "the workers call the backend, too"


def test_a_real_model_would_plan_and_read(monkeypatch, capsys):
    asked = []
    backend = Backend(slots=2)

    def both(messages):
        asked.append(messages)
        return plan(messages) if messages[0].type == "system" else read(messages)

    monkeypatch.setattr("examples.mixed.__main__.model_for", lambda _: StandIn(backend=backend, respond=both))
    assert main(["--model", "some:model"]) == 0
    assert len([messages for messages in asked if messages[0].type == "human"]) > 30
    assert "refused" not in capsys.readouterr().out, "a real backend says that itself"
