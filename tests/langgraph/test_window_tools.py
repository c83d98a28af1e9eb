"""The model's hand on its own window: releases pages, pins items, and is told before pages leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault_langgraph import PagingMiddleware
from tests.langgraph.scripted import TOOLS, ScriptedModel, is_extension, problems, worker_script

BUDGET = pagefault.Budget(window=4_000, target=3_600, reserve=400)
CONFIG: Any = {"configurable": {"thread_id": "w"}, "recursion_limit": 1_000}
STEPS = 90


def script(call: int, messages: list[BaseMessage]) -> AIMessage:
    asked: dict[int, Any] = {
        5: {"name": "pin_item", "args": {"key": "goal", "text": "count the records"}, "id": "p5"},
        40: {"name": "pin_item", "args": {"key": "goal", "text": "count them twice"}, "id": "p40"},
        6: {"name": "release", "args": {"addresses": "3-4"}, "id": "r6"},
        7: {"name": "release", "args": {"addresses": "900"}, "id": "r7"},
        8: {"name": "pin_item", "args": {"key": "none", "text": ""}, "id": "p8"},
    }
    if call in asked:
        return AIMessage("", tool_calls=[asked[call]], id=f"own-{call}")
    return worker_script(STEPS)(call, messages)


def text_of(request: list[BaseMessage]) -> str:
    return "\n".join(str(m.content) for m in request)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_agent_manages_its_own_window(is_async):
    model = ScriptedModel(script)
    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory, budget=BUDGET, manage=True)
        agent = create_agent(model, TOOLS, middleware=[paging], checkpointer=InMemorySaver(), system_prompt="Work.")
        payload: Any = {"messages": [("user", "go")]}
        if is_async:
            asyncio.run(agent.ainvoke(payload, CONFIG))
        else:
            agent.invoke(payload, CONFIG)
        space = memory.space(thread="w")
        assert space.pinned_items() == {"goal": "count them twice"}
    requests = model.requests
    breaks = [n for n in range(1, len(requests)) if not is_extension(requests[n - 1], requests[n])]
    assert 3 <= len(breaks) <= STEPS // 8
    for number, request in enumerate(requests):
        assert not problems(request), (number, problems(request))
        if number > 5:
            assert ("goal: count the records" if number < 40 else "goal: count them twice") in text_of(request)
        assert text_of(request).count("of the room for this conversation is used") <= 1
    last = requests[breaks[0] - 1]
    assert "of the room for this conversation is used" in text_of(last), "told before the first pages left"
    assert requests[breaks[0]][1].content == "[pagefault: pinned items, always in this window]\ngoal: count the records"
    assert "call_id='c3" not in str(requests[breaks[0]]), "released pages are among the first to leave"
    told = {m.tool_call_id: m.content for m in requests[8] if m.type == "tool"}
    assert told["r6"] == "pages 3-4 leave first when room is needed"
    assert "there is no page 900" in told["r7"]
    assert "no pinned item 'none' here" in {m.tool_call_id: m.content for m in requests[9] if m.type == "tool"}["p8"]


def test_without_it_a_model_gets_neither_tools_nor_notices():
    model = ScriptedModel(worker_script(60))
    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory, budget=BUDGET)
        assert [tool.name for tool in paging.tools] == ["recall"]
        create_agent(model, TOOLS, middleware=[paging]).invoke({"messages": [("user", "go")]}, CONFIG)
    assert not any("is used" in text_of(request) for request in model.requests)
