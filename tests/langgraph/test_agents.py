"""Whose conversation it is where agents call agents; two that would be one are told apart or refused."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt

import pagefault
from pagefault_langgraph import PagingMiddleware, paged
from tests.langgraph.scripted import TOOLS, ScriptedModel, problems, worker_script

BUDGET = pagefault.Budget(window=3_000, target=1_500, reserve=300)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 300}


def helper(memory: pagefault.Memory, tools: list[Any], **options: Any) -> Any:
    paging = PagingMiddleware(memory, budget=BUDGET, recall=False)
    return create_agent(ScriptedModel(worker_script(4)), tools, middleware=[paging], **options)


def delegates(memory: pagefault.Memory, *, named: bool = False) -> list[Any]:
    """Two tools, each with a sub-agent of its own that has other tools than the other's."""
    reader = helper(memory, TOOLS[:1], name="reader" if named else None)
    writer = helper(memory, TOOLS, name="writer" if named else None)

    @tool
    def read(task: str) -> str:
        """Have it read."""
        return str(reader.invoke({"messages": [("user", f"read {task}")]})["messages"][-1].content)

    @tool
    def write(task: str) -> str:
        """Have it written."""
        return str(writer.invoke({"messages": [("user", f"write {task}")]})["messages"][-1].content)

    return [read, write]


def both_at_once(call: int, messages: list[BaseMessage]) -> AIMessage:
    if call % 3 == 0:
        return AIMessage("done", id=f"boss-{call}")
    asked = [
        {"name": name, "args": {"task": f"{name}{call}"}, "id": f"{name}{call}{n}"}
        for n, name in enumerate(("read", "write", "read"))
    ]
    return AIMessage("", tool_calls=asked, id=f"boss-{call}")


def spaces(memory: pagefault.Memory) -> set[str]:
    return {space.agent for space in memory.core._recent}


@pytest.mark.parametrize("how", ["sync", "async"])
def test_the_tool_that_called_it_tells_an_unnamed_agent_from_the_next(memory: pagefault.Memory, how: str) -> None:
    boss = create_agent(
        ScriptedModel(both_at_once), delegates(memory), middleware=[PagingMiddleware(memory, budget=BUDGET)],
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    asked: Any = {"messages": [HumanMessage("organise", id="h")]}
    _ = boss.invoke(asked, CONFIG) if how == "sync" else asyncio.run(boss.ainvoke(asked, CONFIG))
    assert spaces(memory) == {"", "/tools:read", "/tools:write"}
    assert memory.space(thread="t", agent="/tools:read").fault(1).pages[0].page.text.startswith("read read")


def graph_of_tools(tools: list[Any]) -> Any:
    """A graph whose parent pages nothing, so no tool's name is known."""
    model = ScriptedModel(both_at_once)
    builder = StateGraph(MessagesState)

    def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder.add_node("model", call)
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "model")

    def route(state: Any) -> Any:
        calls = state["messages"][-1].tool_calls
        return [Send("tools", {"messages": [AIMessage("", tool_calls=[call])]}) for call in calls] or "__end__"

    builder.add_conditional_edges("model", route, ["tools", "__end__"])
    builder.add_edge("tools", "model")
    return builder.compile(checkpointer=InMemorySaver())


def test_two_agents_that_would_be_one_are_refused(memory: pagefault.Memory) -> None:
    with pytest.raises(pagefault.AmbiguousAgent, match=r"tools \['lookup'.*with \['lookup'.*name='\.\.\.'"):
        graph_of_tools(delegates(memory)).invoke({"messages": [("user", "organise")]}, CONFIG)


def test_names_tell_them_apart(memory: pagefault.Memory) -> None:
    graph_of_tools(delegates(memory, named=True)).invoke({"messages": [("user", "organise")]}, CONFIG)
    assert spaces(memory) == {"reader/tools", "writer/tools"}


def test_one_agent_many_times_at_once_is_no_doubt(memory: pagefault.Memory) -> None:
    """Built anew at each call, as some do; the model calls it three times in one step."""

    @tool
    def read(task: str) -> str:
        """Have it read."""
        built = helper(memory, TOOLS)
        return str(built.invoke({"messages": [("user", f"read {task}")]})["messages"][-1].content)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        asked = [{"name": "read", "args": {"task": f"{call}{n}"}, "id": f"r{call}{n}"} for n in range(3)]
        return AIMessage("", tool_calls=asked if call % 3 else [], id=f"boss-{call}")

    model = ScriptedModel(script)
    boss = create_agent(model, [read], middleware=[PagingMiddleware(memory)], checkpointer=InMemorySaver())
    boss.invoke({"messages": [("user", "organise")]}, CONFIG)
    assert not [p for r in model.requests for p in problems(r)]


class Counted(MessagesState):
    tries: Annotated[list[str], operator.add]


def test_retries_resumed_runs_and_time_travel_are_no_doubt(memory: pagefault.Memory) -> None:
    """Each attempt runs an agent that was built anew, with other tools, in the same place."""
    tries: list[int] = []

    def work(state: Counted) -> Any:
        tries.append(len(tries))
        built = helper(memory, TOOLS[: 1 + len(tries) % 2])
        built.invoke({"messages": [("user", f"try {len(tries)}")]})
        if len(tries) == 1:
            raise OSError("a network that fails once")
        return {"tries": [interrupt("go on?")]}

    builder = StateGraph(Counted)
    builder.add_node("work", work, retry_policy=None)
    builder.add_edge(START, "work")
    graph = builder.compile(checkpointer=InMemorySaver())
    with pytest.raises(OSError, match="network"):
        graph.invoke({"messages": [("user", "go")], "tries": []}, CONFIG)
    graph.invoke(None, CONFIG)
    graph.invoke(Command(resume="yes"), CONFIG)
    before = next(s for s in graph.get_state_history(CONFIG) if s.next == ("work",))
    graph.invoke(None, before.config)
    graph.invoke(Command(resume="again"), CONFIG)
    assert len(tries) == 5
    assert spaces(memory) == {"/work"}


def test_one_after_the_other_is_no_doubt(memory: pagefault.Memory) -> None:
    read, write = delegates(memory)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        name = "read" if call % 2 else "write"
        asked = [{"name": name, "args": {"task": "x"}, "id": f"c{call}"}]
        return AIMessage("", tool_calls=asked if call < 5 else [], id=f"boss-{call}")

    model = ScriptedModel(script)
    for saver in (InMemorySaver(), None):
        boss = create_agent(model, [read, write], checkpointer=saver)
        boss.invoke({"messages": [("user", "organise")]}, CONFIG)
        model.requests.clear()
    assert "/tools" in spaces(memory)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_task_is_part_of_what_calls_it(memory: pagefault.Memory, depth: int) -> None:
    """Whether a model is called in an entrypoint, in its task or in a task of that."""
    model = paged(ScriptedModel(lambda call, messages: AIMessage(f"answer {call}")), memory, budget=BUDGET)

    def ask(level: int, history: list[BaseMessage]) -> AIMessage:
        return task(ask)(level - 1, history).result() if level else model.invoke(history)

    @entrypoint(checkpointer=InMemorySaver())
    def chat(said: list[BaseMessage], *, previous: Any = None) -> Any:
        history = [*(previous or []), *said]
        answer = ask(depth, history)
        return entrypoint.final(value=answer, save=[*history, answer])

    for turn in range(3):
        chat.invoke([HumanMessage(f"question {turn}", id=f"h{turn}")], CONFIG)
    assert spaces(memory) == {""}
    assert len(memory.space(thread="t").fault("1-5").pages) == 5


def test_an_agent_called_in_a_task_is_one_of_its_own(memory: pagefault.Memory) -> None:
    reader = helper(memory, TOOLS)

    @task
    def read() -> str:
        return str(reader.invoke({"messages": [("user", "read")]})["messages"][-1].content)

    @entrypoint(checkpointer=InMemorySaver())
    def chat(_: str) -> str:
        return read().result()

    chat.invoke("go", CONFIG)
    assert spaces(memory) == {"/chat/read"}
