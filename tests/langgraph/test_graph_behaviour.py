"""Interrupts, time travel, forks, subgraphs, Command: with us a graph behaves as without us."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

import pagefault
from pagefault_langgraph import PagingMiddleware
from pagefault_langgraph.state import VIEW_KEY
from tests.langgraph.scripted import TOOLS, ScriptedModel, problems, words, worker_script

BUDGET = pagefault.Budget(window=3_000, target=1_500, reserve=300)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


def plain(messages: list[BaseMessage]) -> list[tuple[str, Any, Any]]:
    """Messages without the ids that a graph mints."""
    return [(m.type, m.content, getattr(m, "tool_calls", None)) for m in messages]


def both_ways(
    memory: pagefault.Memory, build: Callable[[list[Any], ScriptedModel], Any], script: Any
) -> tuple[Any, Any]:
    """The same graph without and with paging, each with its own model."""
    bare, paged = ScriptedModel(script), ScriptedModel(script)
    return build([], bare), build([PagingMiddleware(memory, budget=BUDGET)], paged)


def agent(middleware: list[Any], model: ScriptedModel, tools: list[Any] | None = None) -> Any:
    return create_agent(model, tools or TOOLS, middleware=middleware, checkpointer=InMemorySaver())


def test_state_is_the_same_with_and_without_us(memory: pagefault.Memory) -> None:
    bare, paged = both_ways(memory, agent, worker_script(20))
    for turn in range(3):
        asked = {"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}
        without, with_us = bare.invoke(asked, CONFIG), paged.invoke(asked, CONFIG)
        assert plain(without["messages"]) == plain(with_us["messages"])
        assert set(with_us) == set(without), "our private key leaked into the output"
    assert paged.get_state(CONFIG).values[VIEW_KEY]["blocks"], "nothing was evicted, so nothing was tested"


def test_resuming_an_old_checkpoint_on_another_path_sees_only_its_own_past(memory: pagefault.Memory) -> None:
    model = ScriptedModel(worker_script(25))
    graph = agent([PagingMiddleware(memory, budget=BUDGET)], model)
    graph.invoke({"messages": [("user", "first needle alpha")]}, CONFIG)
    graph.invoke({"messages": [("user", "second needle beta")]}, CONFIG)
    old = next(
        s for s in graph.get_state_history(CONFIG)
        if s.values.get("messages") and "first needle" in str(s.values["messages"][0].content)
        and s.next == () and len(s.values["messages"]) < len(graph.get_state(CONFIG).values["messages"])
    )  # fmt: skip
    graph.invoke({"messages": [("user", "another path gamma")]}, old.config)
    now = graph.get_state(CONFIG).values
    texts = [str(m.content) for m in now["messages"]]
    assert "second needle beta" not in texts
    space = memory.space(thread="t")
    assert not [p for p in space.recall("second needle beta", limit=50).pages if "beta" in p.page.text]
    assert "gamma" in space.recall("another path gamma").pages[0].page.text
    seen = space.fault("1-10").pages
    assert seen[0].page.messages[0].text == "first needle alpha"
    assert all(not problems(request) for request in model.requests)


def test_human_in_the_loop_with_a_rejected_call(memory: pagefault.Memory) -> None:
    def build(middleware: list[Any], model: ScriptedModel) -> Any:
        return agent([HumanInTheLoopMiddleware(interrupt_on={"measure": True}), *middleware], model)

    results = []
    for graph in both_ways(memory, build, worker_script(12)):
        result = graph.invoke({"messages": [HumanMessage("go", id="h")]}, CONFIG)
        decisions = iter(["approve", "reject", "approve"])
        while "__interrupt__" in result:
            kind = next(decisions)
            result = graph.invoke(Command(resume={"decisions": [{"type": kind}]}), CONFIG)
        results.append(plain(result["messages"]))
    assert results[0] == results[1]


def test_interrupt_inside_a_tool_and_a_command_from_a_tool(memory: pagefault.Memory) -> None:
    @tool
    def confirm(what: str) -> str:
        """Ask the user."""
        return f"user said {interrupt(what)}"

    @tool
    def note(what: str, runtime: ToolRuntime) -> Command[Any]:
        """Write a note into the state."""
        return Command(update={"messages": [ToolMessage(f"noted {what}", tool_call_id=runtime.tool_call_id)]})

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call > 30:
            return AIMessage("done", id=f"ai-{call}")
        if call % 10 == 5:
            asked = [{"name": "confirm", "args": {"what": f"q{call}"}, "id": f"c{call}"}]
            asked.append({"name": "note", "args": {"what": words(f"n{call}", 20)}, "id": f"n{call}"})
        else:
            asked = [{"name": "note", "args": {"what": words(f"n{call}", 30)}, "id": f"n{call}"}]
        return AIMessage("", tool_calls=asked, id=f"ai-{call}")

    results = []
    for graph in both_ways(memory, lambda mw, model: agent(mw, model, [confirm, note]), script):
        result = graph.invoke({"messages": [HumanMessage("go", id="h")]}, CONFIG)
        while "__interrupt__" in result:
            result = graph.invoke(Command(resume="yes"), CONFIG)
        results.append(plain(result["messages"]))
    assert results[0] == results[1]
    assert any("user said yes" in str(content) for _, content, _ in results[1])


def test_edited_and_removed_messages_leave_the_path(memory: pagefault.Memory) -> None:
    model = ScriptedModel(worker_script(15))
    graph = agent([PagingMiddleware(memory, budget=BUDGET)], model)
    graph.invoke({"messages": [HumanMessage("secret original", id="h0")]}, CONFIG)
    graph.update_state(CONFIG, {"messages": [HumanMessage("harmless edit", id="h0"), RemoveMessage("ai-3")]})
    removed = [
        m for m in graph.get_state(CONFIG).values["messages"] if isinstance(m, ToolMessage) and "k3" in m.content
    ]
    graph.update_state(CONFIG, {"messages": [RemoveMessage(m.id) for m in removed]})
    graph.invoke({"messages": [("user", "go on")]}, CONFIG)
    space = memory.space(thread="t")
    assert space.fault(1).pages[0].page.text == "harmless edit"
    assert not [p for p in space.recall("secret original", limit=100).pages if "secret" in p.page.text]
    assert not [p for p in space.recall("record k3", limit=100).pages if "record k3:" in p.page.text]
    assert all(not problems(request) for request in model.requests)


class Counted(MessagesState):
    """A parent state with a channel that parallel branches write."""

    visited: Annotated[list[str], operator.add]


def test_an_agent_as_subgraph_beside_a_parallel_branch(memory: pagefault.Memory) -> None:
    def build(middleware: list[Any], model: ScriptedModel) -> Any:
        builder = StateGraph(Counted)
        builder.add_node("worker", create_agent(model, TOOLS, middleware=middleware, name="worker"))
        builder.add_node("beside", lambda state: {"visited": ["beside"]})
        builder.add_edge(START, "worker")
        builder.add_edge(START, "beside")
        return builder.compile(checkpointer=InMemorySaver())

    results = []
    for graph in both_ways(memory, build, worker_script(15)):
        for turn in range(3):
            result = graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")], "visited": []}, CONFIG)
        results.append((plain(result["messages"]), result["visited"]))
    assert results[0] == results[1]


def test_sub_agents_called_from_tools_do_not_share_a_space(memory: pagefault.Memory) -> None:
    inner_model = ScriptedModel(worker_script(10))
    inner = create_agent(inner_model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)])

    @tool
    def delegate(task: str) -> str:
        """Give a task to a helper agent."""
        return str(
            inner.invoke({"messages": [("user", f"subtask {task}")]}, {"recursion_limit": 500})["messages"][-1].content
        )

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call % 4 == 0:
            return AIMessage("done", id=f"boss-{call}")
        return AIMessage(
            "", tool_calls=[{"name": "delegate", "args": {"task": f"s{call}"}, "id": f"d{call}"}], id=f"boss-{call}"
        )

    model = ScriptedModel(script)
    boss = agent([PagingMiddleware(memory, budget=BUDGET)], model, [delegate])
    boss.invoke({"messages": [("user", "organise")]}, CONFIG)
    root = memory.space(thread="t")
    assert not [p for p in root.recall("subtask s1", limit=50).pages if "subtask" in p.page.messages[0].text]
    assert all(not problems(request) for request in inner_model.requests + model.requests)


def test_without_a_checkpointer_and_without_a_thread(memory: pagefault.Memory) -> None:
    model = ScriptedModel(worker_script(30))
    graph = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)])
    result = graph.invoke({"messages": [("user", "go")]}, {"recursion_limit": 500})
    assert len(model.requests) == 30
    assert str(result["messages"][-1].content).startswith("turn done")
    assert all(not problems(request) for request in model.requests)


@pytest.mark.parametrize("manage", [False, True])
def test_an_agent_that_is_asked_nothing_goes_on(memory: pagefault.Memory, *, manage: bool) -> None:
    paging = PagingMiddleware(memory, budget=BUDGET, manage=manage)
    model = ScriptedModel(worker_script(1))
    graph = create_agent(model, TOOLS, system_prompt="Report what is new.", middleware=[paging])
    nothing: Any = {"messages": []}
    for asked in (nothing, nothing, {"messages": [("user", "and what else?")]}, nothing):
        graph.invoke(asked, CONFIG)
    sent = [[str(m.content) for m in request] for request in model.requests]
    assert sent == [["Report what is new.", *asked] for asked in ([], [], ["and what else?"], [])]


def test_removing_the_middleware_leaves_the_thread_as_it_was(memory: pagefault.Memory) -> None:
    saver = InMemorySaver()
    with_us = create_agent(
        ScriptedModel(worker_script(20)),
        TOOLS,
        middleware=[PagingMiddleware(memory, budget=BUDGET)],
        checkpointer=saver,
    )
    history = with_us.invoke({"messages": [("user", "go")]}, CONFIG)["messages"]
    model = ScriptedModel(worker_script(1))
    without = create_agent(model, TOOLS, checkpointer=saver)
    without.invoke({"messages": [("user", "and now")]}, CONFIG)
    assert plain(model.requests[-1][:-1]) == plain(history)
