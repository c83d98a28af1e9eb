"""The same events, the same decisions; and an outage of the store in a running agent."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault.errors import StoreError
from pagefault.testing.faults import FlakyStore
from pagefault_langgraph import PagingMiddleware
from pagefault_langgraph.messages import LANGCHAIN
from tests.kernel.support import store_alone, wrapped
from tests.langgraph.scripted import TOOLS, ScriptedModel, problems, worker_script

BUDGET = pagefault.Budget(window=3_000, target=2_000, reserve=300)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


class Recorder(PagingMiddleware):
    """Ours, noting what came in and what went out of every step."""

    def __init__(self, memory: pagefault.Memory) -> None:
        super().__init__(memory, budget=BUDGET, recall=False)
        self.events: list[tuple[list[BaseMessage], Any, int]] = []
        self.sent: list[list[BaseMessage]] = []

    def _step(self, request: Any) -> Any:
        prompt, token = super()._step(request)
        overhead = self._overhead.schemas(list(request.tools))  # there is no system prompt
        self.events.append((list(request.state["messages"]), request.state.get("pagefault_view"), overhead))
        self.sent.append(prompt.natives if prompt.natives is not None else list(request.state["messages"]))
        return prompt, token


def play(memory: pagefault.Memory, turns: int = 4) -> Recorder:
    recorder = Recorder(memory)
    model = ScriptedModel(worker_script(25))
    agent = create_agent(model, TOOLS, middleware=[recorder], checkpointer=InMemorySaver())
    for turn in range(turns):
        agent.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    assert all(not problems(request) for request in model.requests)
    return recorder


@pytest.mark.parametrize("flushes", [False, True], ids=["written behind", "flushed at every step"])
def test_a_recorded_run_replays_bit_for_bit(*, flushes: bool) -> None:
    with pagefault.open(":memory:", embedder=None) as memory:
        recorder = play(memory)
    with pagefault.open(":memory:") as memory:  # another embedder, other threads, other timing
        space = memory.space(thread="t")
        for (history, record, overhead), sent in zip(recorder.events, recorder.sent, strict=True):
            prompt = space.step(history, LANGCHAIN, BUDGET, now=0.0, overhead=overhead, record=record)
            again = prompt.natives if prompt.natives is not None else history
            assert [(m.id, m.content) for m in again] == [(m.id, m.content) for m in sent]
            if flushes:
                memory.flush()


def test_an_outage_of_the_store_costs_no_step_and_no_page(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        memory.ready()
        store.fail("put", "index", "get", "scan", "search", "idf", "sync")
        with caplog.at_level(logging.WARNING, "pagefault"):
            recorder = play(memory)
            with pytest.raises(StoreError):
                memory.space(thread="t").recall("record k3")
        assert len(recorder.sent) == 100
        assert any("write-back waits" in r.getMessage() for r in caplog.records), "it must be said"
        store.heal()
        memory.flush()
        history = recorder.events[-1][0]
        space = memory.space(thread="t")
        with store_alone():
            seen = [m.text for p in space.fault(f"1-{len(history) // 3}").pages for m in p.page.messages]
        assert seen == [str(m.content) for m in history[: len(seen)]]
