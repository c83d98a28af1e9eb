"""A state with several lists of messages, each with a paging node: each has decisions, pins and a prompt of its own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, NotRequired

import pytest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode

import pagefault
from pagefault_langgraph import (
    NotPageable,
    PagedState,
    add_paged_messages,
    needs_paging,
    paging_node,
    prompt_of,
    recall_tool,
    window_tools,
)
from pagefault_langgraph.state import OneStep
from tests.langgraph.scripted import is_extension, words
from tests.langgraph.test_dropping import BUDGET
from tests.langgraph.test_long_run import tokens

CONFIG: Any = {"configurable": {"thread_id": "two"}, "recursion_limit": 1_000}
KEYS = {"messages": "llm_input_messages", "notes": "notes_input"}
TURNS = 60
Requests = dict[str, list[list[BaseMessage]]]


class Both(PagedState):
    """The usual list and another one."""

    notes: Annotated[list[AnyMessage], add_paged_messages]
    notes_input: NotRequired[Annotated[list[AnyMessage], OneStep]]


def graph_of(memory: pagefault.Memory, requests: Requests, saver: Any, *, beside: bool, **options: Any) -> Any:
    """Two conversations of a turn each, one after the other or side by side."""
    builder: Any = StateGraph(Both)
    prompts = options.pop("prompts", KEYS)
    for key in KEYS:

        def call(state: Both, key: str = key) -> dict[str, Any]:
            prompt = prompt_of(state, messages_key=key, prompt_key=prompts[key])
            requests[key].append(prompt)
            number = len(requests[key])
            return {key: [AIMessage(f"{key} says {number}: {words(f'{key}{number}', 9)}", id=f"{key}-a{number}")]}

        node = paging_node(memory, budget=BUDGET, messages_key=key, prompt_key=prompts[key], **options)
        builder.add_node(f"page {key}", node)
        builder.add_node(f"model {key}", call)
        builder.add_edge(f"page {key}", f"model {key}")
    builder.add_edge(START, "page messages")
    builder.add_edge(START if beside else "model messages", "page notes")
    return builder.compile(checkpointer=saver)


def ask(graph: Any, turn: int) -> None:
    asked = {
        key: [HumanMessage(f"{key} asks {turn}: {words(f'q{key}{turn}', 14)}", id=f"{key}-{turn}")] for key in KEYS
    }
    graph.invoke(asked, CONFIG)


@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "restarted"])
@pytest.mark.parametrize("beside", [False, True], ids=["in turn", "beside"])
@pytest.mark.parametrize("drop", [False, True], ids=["view", "drop"])
def test_prompts_only_grow_between_reclaims(tmp_path: Path, *, drop: bool, beside: bool, restarted: bool) -> None:
    requests: Requests = {key: [] for key in KEYS}
    saver = InMemorySaver()
    memory = pagefault.open(tmp_path / "m", embedder=None)
    graph = graph_of(memory, requests, saver, beside=beside, drop=drop)
    for turn in range(TURNS):
        if restarted and turn % 7 == 6:
            memory.close()
            memory = pagefault.open(tmp_path / "m", embedder=None)
            graph = graph_of(memory, requests, saver, beside=beside, drop=drop)
        ask(graph, turn)
    memory.close()
    for key, sent in requests.items():
        other = next(each for each in KEYS if each != key)
        assert all(tokens(request) <= BUDGET.window - BUDGET.reserve for request in sent)
        assert not any(f"{other} asks" in str(m.content) or f"{other} says" in str(m.content) for m in sent[-1])
        breaks = sum(not is_extension(one, two) for one, two in itertools.pairwise(sent))
        assert 3 < breaks < TURNS // 3, f"{breaks} reclaims in {len(sent)} calls"


def test_what_one_pins_is_no_goal_of_the_other(memory: pagefault.Memory) -> None:
    requests: Requests = {key: [] for key in KEYS}
    saver = InMemorySaver()
    graph = graph_of(memory, requests, saver, beside=False)
    for turn in range(3):
        ask(graph, turn)
    builder: Any = StateGraph(Both)
    tools = [recall_tool(memory, messages_key="notes"), *window_tools(memory, messages_key="notes")]
    builder.add_node("model notes", ToolNode(tools, messages_key="notes"))
    builder.add_edge(START, "model notes")
    pin = {"name": "pin_item", "args": {"key": "goal", "text": "count the notes"}, "id": "p"}
    builder.compile(checkpointer=saver).invoke({"notes": [AIMessage("", tool_calls=[pin], id="pin")]}, CONFIG)
    with pagefault.open(":memory:", embedder=None) as another:  # which knows of the pin what the state says
        graph = graph_of(another, requests, saver, beside=False)
        for turn in range(3, 30):
            ask(graph, turn)
    shown = {
        key: ["goal: count the notes" in "\n".join(str(m.content) for m in r) for r in requests[key][3:]]
        for key in KEYS
    }
    assert all(shown["notes"])
    assert not any(shown["messages"])


def test_whether_paging_is_needed_is_seen_for_each(memory: pagefault.Memory) -> None:
    requests: Requests = {key: [] for key in KEYS}
    graph = graph_of(memory, requests, InMemorySaver(), beside=False)
    for turn in range(3):
        ask(graph, turn)
    long = [HumanMessage(f"more {n}: {words(str(n), 20)}", id=f"more-{n}") for n in range(60)]
    graph.update_state(CONFIG, {"notes": long}, as_node="model notes")
    ask(graph, 3)
    state = graph.get_state(CONFIG).values
    assert needs_paging(memory, budget=BUDGET, messages_key="notes").invoke(state, CONFIG)
    assert not needs_paging(memory, budget=BUDGET).invoke(state, CONFIG)
    assert prompt_of(state) == state["messages"]


@pytest.mark.parametrize("drop", [False, True], ids=["view", "drop"])
def test_a_model_is_never_sent_the_prompt_of_another(memory: pagefault.Memory, *, drop: bool) -> None:
    requests: Requests = {key: [] for key in KEYS}
    prompts = dict.fromkeys(KEYS, "llm_input_messages")
    graph = graph_of(memory, requests, InMemorySaver(), beside=True, drop=drop, prompts=prompts)
    with pytest.raises(NotPageable, match=r"different prompts under 'llm_input_messages'; give each .* prompt_key="):
        ask(graph, 0)
    assert requests == {key: [] for key in KEYS}


def test_one_prompt_may_be_left_twice(memory: pagefault.Memory) -> None:
    builder: Any = StateGraph(PagedState)
    for name in ("one", "two"):
        builder.add_node(name, paging_node(memory, budget=BUDGET))
        builder.add_edge(START, name)
        builder.add_edge(name, "model")
    builder.add_node("model", lambda state: {"messages": [AIMessage(f"{len(prompt_of(state))}", id="a")]})
    done = builder.compile().invoke({"messages": [HumanMessage("hi", id="h")]}, CONFIG)
    assert done["messages"][-1].content == "1"
