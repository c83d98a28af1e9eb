"""A tool is called while the store, which alone has its conversation, is away: the model is told, the run goes on."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode

import pagefault
from pagefault.testing.faults import FlakyStore
from pagefault_langgraph import NotPageable, PagedState, paging_node, recall_tool, remember_tool, window_tools
from tests.kernel.support import wrapped
from tests.langgraph.scripted import ScriptedModel, worker_script
from tests.langgraph.test_dropping import BUDGET, CONFIG
from tests.langgraph.test_paging_node import graph_of, is_block

CALLS: list[dict[str, Any]] = [
    {"name": "recall", "args": {"addresses": "2"}},
    {"name": "recall", "args": {"query": "record k1"}},
    {"name": "release", "args": {"addresses": "2"}},
    {"name": "pin_item", "args": {"key": "goal", "text": "count"}},
    {"name": "pin_item", "args": {"key": "goal", "text": ""}},
    {"name": "remember", "args": {"key": "diet", "value": "vegan"}},
]


def tools_of(memory: pagefault.Memory) -> list[BaseTool]:
    return [recall_tool(memory), remember_tool(memory), *window_tools(memory)]


def tools_alone(memory: pagefault.Memory, saver: InMemorySaver) -> Any:
    """The step of the tools, of a thread that was interrupted before it."""
    builder: Any = StateGraph(PagedState)
    builder.add_node("model", paging_node(memory, budget=BUDGET, drop=True))
    builder.add_node("tools", ToolNode(tools_of(memory)))
    builder.add_edge(START, "model").add_edge("model", "tools")
    return builder.compile(checkpointer=saver)


def talk(memory: pagefault.Memory, saver: InMemorySaver, call: dict[str, Any]) -> None:
    """A thread with dropped pages, whose model has just asked for a tool."""
    graph = graph_of(memory, ScriptedModel(worker_script(10)), drop=True, budget=BUDGET, saver=saver)
    for turn in range(5):
        graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    asking = AIMessage("", tool_calls=[{**call, "id": "q"}], id="ask")
    graph.update_state(CONFIG, {"messages": [asking]}, as_node="model")
    assert any(is_block(m) for m in graph.get_state(CONFIG).values["messages"])


def answer(graph: Any, *, is_async: bool) -> BaseMessage:
    """What the model reads."""
    done = asyncio.run(graph.ainvoke(None, CONFIG)) if is_async else graph.invoke(None, CONFIG)
    last: BaseMessage = done["messages"][-1]
    assert last.type == "tool"
    return last


def check(answer: BaseMessage, call: dict[str, Any]) -> None:
    assert str(answer.content).startswith(f"{call['name']} failed: the fake outage has hit ")
    assert str(answer.content).endswith("Nothing is wrong with your call: go on without it, and say so; do not guess.")


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: "-".join([call["name"], *call["args"]]))
def test_after_a_restart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Any, *, is_async: bool) -> None:
    saver = InMemorySaver()
    with pagefault.open(tmp_path / "m", embedder=None) as memory:
        talk(memory, saver, call)
    with wrapped(monkeypatch, FlakyStore, tmp_path / "m") as (memory, store):
        store.fail()
        check(answer(tools_alone(memory, saver), is_async=is_async), call)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_once_others_took_its_place(monkeypatch: pytest.MonkeyPatch, *, is_async: bool) -> None:
    saver, call = InMemorySaver(), CALLS[0]
    monkeypatch.setattr("pagefault.core.MAX_LIVE_SPACES", 1)
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        talk(memory, saver, call)
        memory.flush()
        memory.space(thread="another")
        gc.collect()
        store.fail()
        check(answer(tools_alone(memory, saver), is_async=is_async), call)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("call", CALLS[:4], ids=lambda call: "-".join([call["name"], *call["args"]]))
def test_pages_that_the_store_has_lost(tmp_path: Path, call: Any, *, is_async: bool) -> None:
    saver = InMemorySaver()
    with pagefault.open(tmp_path / "m", embedder=None) as memory:
        talk(memory, saver, call)
    with pagefault.open(tmp_path / "another", embedder=None) as memory:
        text = str(answer(tools_alone(memory, saver), is_async=is_async).content)
    assert text.startswith(f"{call['name']} failed: ")
    assert text.endswith("do not guess.")


@pytest.mark.parametrize("call", CALLS[:5], ids=lambda call: "-".join([call["name"], *call["args"]]))
def test_a_tool_in_the_wrong_place_still_ends_the_run(memory: pagefault.Memory, call: Any) -> None:
    tool = next(tool for tool in tools_of(memory) if tool.name == call["name"])
    with pytest.raises(NotPageable, match=r"run it in a ToolNode"):
        tool.invoke({**call, "id": "q", "type": "tool_call"})
