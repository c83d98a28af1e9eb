"""Agents that page inside langgraph-supervisor and langgraph-swarm, which know nothing of us."""

from __future__ import annotations

import warnings
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

import pagefault
from pagefault_langgraph import PagingMiddleware
from tests.langgraph.scripted import TOOLS, Script, ScriptedModel, problems, worker_script
from tests.langgraph.test_long_run import tokens

BUDGET = pagefault.Budget(window=3_000, target=1_800, reserve=300)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


def check(memory: pagefault.Memory, models: list[ScriptedModel], agents: set[str]) -> None:
    for model in models:
        for request in model.requests:
            assert not problems(request)
            assert tokens(request) <= BUDGET.window - BUDGET.reserve
    used = {space.agent for space in memory.core._recent}
    assert used == agents
    evicted = [a for a in agents for p in memory.space(thread="t", agent=a).paging.lineages if p.absent]
    assert evicted, "nothing was evicted, so nothing was tested"


def handing_over(script: Script, to: str) -> Script:
    def hands_over(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call % 14 == 0:
            name = f"transfer_to_{to}"
            return AIMessage("", tool_calls=[{"name": name, "args": {}, "id": f"{to}{call}"}], id=f"to-{to}-{call}")
        return script(call, messages)

    return hands_over


def test_supervisor(memory: pagefault.Memory) -> None:
    models = [ScriptedModel(worker_script(15)) for _ in range(2)]
    agents: list[Any] = [
        create_agent(m, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)], name=n)
        for m, n in zip(models, ("reader", "writer"), strict=True)
    ]

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call % 3 == 0:
            return AIMessage("all done", id=f"boss-{call}")
        name = f"transfer_to_{('writer', 'reader')[call % 3 % 2]}"
        return AIMessage("", tool_calls=[{"name": name, "args": {}, "id": f"b{call}"}], id=f"boss-{call}")

    boss = ScriptedModel(script)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it builds on what LangGraph calls deprecated
        graph = create_supervisor(agents, model=boss, output_mode="full_history").compile(checkpointer=InMemorySaver())
        for turn in range(3):
            graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    assert len(boss.requests) == 9
    check(memory, models, {"reader/reader", "writer/writer"})


def test_swarm(memory: pagefault.Memory) -> None:
    agents: list[Any] = []
    models = []
    for name, other in (("reader", "writer"), ("writer", "reader")):
        script = worker_script(20)
        model = ScriptedModel(handing_over(script, other))
        models.append(model)
        tools = [*TOOLS, create_handoff_tool(agent_name=other)]
        agents.append(create_agent(model, tools, middleware=[PagingMiddleware(memory, budget=BUDGET)], name=name))
    graph = create_swarm(agents, default_active_agent="reader").compile(checkpointer=InMemorySaver())
    for turn in range(4):
        graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    assert all(len(m.requests) > 14 for m in models)
    check(memory, models, {"reader/reader", "writer/writer"})
