"""Tools of ours in states that are no ``MessagesState``, and what they decide between two model calls."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Send
from pydantic import BaseModel
from typing_extensions import TypedDict

import pagefault
from pagefault_langgraph import (
    NotPageable,
    PagedState,
    PagingMiddleware,
    paged,
    paging_node,
    prompt_of,
    recall_tool,
    remember_tool,
    window_tools,
)
from tests.langgraph.scripted import ScriptedModel, is_extension, problems, words

BUDGET = pagefault.Budget(window=4_000)
CONFIG: Any = {"configurable": {"thread_id": "odd"}, "recursion_limit": 100}


class Validated(BaseModel):
    """A state that Pydantic checks."""

    messages: Annotated[list[AnyMessage], add_messages] = []


@dataclass
class Plain:
    """A state that is a dataclass."""

    messages: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)


class Other(TypedDict):
    """A state with its messages under a key of its own."""

    chat: Annotated[list[AnyMessage], add_messages]


def asking(name: str, **args: Any) -> Any:
    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "c1"}] if call == 1 else [])

    return script


def of(state: Any, key: str) -> Any:
    return state[key] if isinstance(state, dict) else getattr(state, key)


@pytest.mark.parametrize(
    ("schema", "key", "name"),
    [
        (Validated, "messages", "recall"),
        (Plain, "messages", "pin_item"),
        (Other, "chat", "recall"),
        (Other, "chat", "release"),
    ],
)
def test_tools_find_the_messages_of_any_state(schema: type, key: str, name: str) -> None:
    args: Any = {"key": "goal", "text": "count"} if name == "pin_item" else {"addresses": "1"}
    with pagefault.open(":memory:", embedder=None) as memory:
        model = paged(ScriptedModel(asking(name, **args)), memory, budget=BUDGET)
        tools = [recall_tool(memory, messages_key=key), *window_tools(memory, messages_key=key)]
        builder: Any = StateGraph(schema)
        builder.add_node("model", lambda state: {key: [model.invoke(of(state, key))]})
        builder.add_node("tools", ToolNode(tools, messages_key=key, handle_tool_errors=False))
        builder.add_edge(START, "model")
        builder.add_conditional_edges("model", lambda state: "tools" if of(state, key)[-1].tool_calls else END)
        builder.add_edge("tools", "model")
        done = builder.compile().invoke({key: [HumanMessage("the gate PIN is 4712", id="h")]}, CONFIG)
        said = {
            "recall": "4712",
            "release": "First to leave when room is needed",
            "pin_item": "Kept in sight: 'goal'.",
        }[name]
        assert said in next(m.content for m in done[key] if isinstance(m, ToolMessage))


def test_a_tool_that_finds_no_messages_says_where_to_name_them() -> None:
    with pagefault.open(":memory:", embedder=None) as memory:
        builder = StateGraph(Other)
        builder.add_node("tools", ToolNode([recall_tool(memory)], messages_key="chat", handle_tool_errors=False))
        builder.add_edge(START, "tools")
        call: Any = {"name": "recall", "args": {"addresses": "1"}, "id": "c1"}
        with pytest.raises(NotPageable, match="messages_key"):
            builder.compile().invoke({"chat": [AIMessage("", tool_calls=[call])]}, CONFIG)


def test_what_is_kept_for_a_user_needs_no_thread_wherever_the_messages_are() -> None:
    with pagefault.open(":memory:", embedder=None) as memory:
        builder = StateGraph(Other)
        tools = ToolNode([remember_tool(memory, messages_key="chat")], messages_key="chat", handle_tool_errors=False)
        builder.add_node("tools", tools)
        builder.add_edge(START, "tools")
        call: Any = {"name": "remember", "args": {"key": "diet", "value": "vegan"}, "id": "c1"}
        asked = {"chat": [AIMessage("", id="a", tool_calls=[call])]}
        builder.compile().invoke(asked, {"configurable": {"user_id": "ada"}})
        assert memory.space(user="ada", thread="t").recall("diet").items


def by_node(memory: pagefault.Memory, model: Any, saver: Any) -> Any:
    builder = StateGraph(PagedState)
    builder.add_node("page", paging_node(memory, budget=BUDGET))
    builder.add_node("model", lambda state: {"messages": [model.invoke(prompt_of(state))]})
    builder.add_node("tools", ToolNode(window_tools(memory)))
    builder.add_edge(START, "page").add_edge("page", "model").add_edge("tools", "page")
    builder.add_conditional_edges("model", tools_condition)
    return builder.compile(checkpointer=saver, interrupt_after=["tools"])


def by_middleware(memory: pagefault.Memory, model: Any, saver: Any) -> Any:
    paging = PagingMiddleware(memory, budget=BUDGET, manage=True)
    return create_agent(model, middleware=[paging], checkpointer=saver, interrupt_after=["tools"])


@pytest.mark.parametrize("build", [by_node, by_middleware])
def test_what_a_model_pinned_survives_a_restart_before_its_next_call(build: Any, tmp_path: Path) -> None:
    """Two items and a release in one step, which run side by side."""

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        asked: Any = [("pin_item", {"key": k, "text": f"{k} stays"}) for k in ("goal", "rule")]
        asked.append(("release", {"addresses": "1"}))
        calls = [{"name": name, "args": args, "id": f"c{n}"} for n, (name, args) in enumerate(asked)]
        return AIMessage("", tool_calls=calls if call == 1 else [])

    model, saver = ScriptedModel(script), InMemorySaver()
    with pagefault.open(tmp_path / "one", embedder=None) as memory:
        build(memory, model, saver).invoke({"messages": [HumanMessage("go", id="h")]}, CONFIG)
    with pagefault.open(tmp_path / "one", embedder=None) as memory:
        build(memory, model, saver).invoke(None, CONFIG)
        assert memory.space(thread="odd").pinned_items() == {"goal": "goal stays", "rule": "rule stays"}
    text = "\n".join(str(m.content) for m in model.requests[-1])
    assert "goal: goal stays" in text
    assert "rule: rule stays" in text
    assert not problems(model.requests[-1])


def test_what_many_conversations_of_one_space_pinned_stays_in_each() -> None:
    """Workers of a ``Send`` share a thread and a name; each keeps to its own path."""
    workers = [f"worker-{n}" for n in range(7)]

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        name = next(str(m.content) for m in messages if str(m.content).startswith("worker-"))
        if any(isinstance(m, ToolMessage) for m in messages):
            return AIMessage("done")
        args = {"key": "goal", "text": f"of {name}"}
        return AIMessage("", tool_calls=[{"name": "pin_item", "args": args, "id": f"c-{name}"}])

    model = ScriptedModel(script)
    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory, budget=BUDGET, manage=True)
        builder = StateGraph(MessagesState)
        builder.add_node("worker", create_agent(model, middleware=[paging], name="worker"))
        builder.add_conditional_edges(
            START, lambda _: [Send("worker", {"messages": [HumanMessage(name, id=name)]}) for name in workers]
        )
        builder.compile().invoke({"messages": []}, CONFIG)
    last = ["\n".join(str(m.content) for m in request) for request in model.requests if len(request) > 2]
    for name in workers:
        assert [text for text in last if f"goal: of {name}" in text and text.startswith(name)], name


@pytest.mark.parametrize("name", ["", None])
def test_calls_without_ids_stay_with_their_results(name: str | None) -> None:
    """As some local models make them."""
    history: list[BaseMessage] = []
    for turn in range(12):
        calls: Any = [{"name": "lookup", "args": {"key": "k"}, "id": name}]
        history.append(HumanMessage(words(f"u{turn}", 60), id=f"h{turn}"))
        history.append(AIMessage("", tool_calls=calls, id=f"a{turn}"))
        history.append(ToolMessage(words(f"t{turn}", 40), tool_call_id="", id=f"t{turn}"))
    model = ScriptedModel(lambda call, messages: AIMessage("done"))
    place = pagefault.SpaceId(tenant="default", user="", thread="odd", agent="")
    with pagefault.open(":memory:", embedder=None) as memory:
        calling = paged(model, memory, budget=BUDGET, identity=lambda config: place)
        for stop in range(3, len(history) + 1, 3):
            calling.invoke(history[:stop])
    assert len(model.requests[-1]) < len(history)
    for request in model.requests:
        kinds = [m.type for m in request if m.type != "human"]
        assert kinds == ["ai", "tool"] * (len(kinds) // 2)


def test_prompts_of_workers_side_by_side_only_grow_between_reclaims() -> None:
    model = ScriptedModel(lambda call, messages: AIMessage(words(f"a{call}", 40), id=f"a{call}"))
    place = pagefault.SpaceId(tenant="default", user="", thread="odd", agent="")
    histories: list[list[BaseMessage]] = [[] for _ in range(7)]
    with pagefault.open(":memory:", embedder=None) as memory:
        calling = paged(model, memory, budget=BUDGET, identity=lambda config: place)
        for turn in range(16):
            for number, history in enumerate(histories):
                history.append(HumanMessage(words(f"{number}/{turn}", 40), id=f"h{number}/{turn}"))
                history.append(calling.invoke(history))
    for number in range(len(histories)):
        sent = model.requests[number :: len(histories)]
        breaks = sum(not is_extension(one, other) for one, other in pairwise(sent))
        assert 1 <= breaks <= 4


def test_what_stands_for_dropped_pages_parts_no_call_from_its_result_beside_pinned_items() -> None:
    """Page 2 is a call with its result and stays, so the first page to go is the third."""
    model = ScriptedModel(lambda call, messages: AIMessage(words(f"a{call}", 40), id=f"a{call}"))
    call: Any = {"name": "lookup", "args": {"key": "k"}, "id": "c"}
    first = [HumanMessage("go", id="h"), AIMessage("", tool_calls=[call], id="a"), ToolMessage("so", tool_call_id="c")]
    with pagefault.open(":memory:", embedder=None) as memory:
        builder = StateGraph(PagedState)
        builder.add_node("page", paging_node(memory, budget=BUDGET, drop=True))
        builder.add_node("model", lambda state: {"messages": [model.invoke(prompt_of(state))]})
        builder.add_edge(START, "page").add_edge("page", "model")
        graph = builder.compile(checkpointer=InMemorySaver())
        graph.invoke({"messages": first}, CONFIG)
        memory.space(thread="odd").pin("2")
        memory.space(thread="odd").pin("1")
        memory.space(thread="odd").pin_item("goal", "count")
        for turn in range(16):
            graph.invoke({"messages": [HumanMessage(words(f"u{turn}", 40), id=f"h{turn}")]}, CONFIG)
    assert not any(problems(request) for request in model.requests)
    breaks = sum(not is_extension(one, other) for one, other in pairwise(model.requests))
    assert 1 <= breaks <= 4


def test_content_nested_deeper_than_python_recurses_is_no_end_of_a_call(memory: pagefault.Memory) -> None:
    deep: Any = "needle"
    for _ in range(900):
        deep = [deep]
    model = ScriptedModel(script=lambda call, messages: AIMessage("done"))
    agent: Any = create_agent(model, [], middleware=[PagingMiddleware(memory, budget=BUDGET)])
    odd = [HumanMessage([{"type": "odd", "value": deep}]), HumanMessage("go on")]
    assert agent.invoke({"messages": odd}, CONFIG)["messages"][-1].content == "done"


@pytest.mark.parametrize("where", ["additional_kwargs", "args"])
@pytest.mark.parametrize("depth", [1, 900], ids=["huge", "deep"])
def test_values_that_python_cannot_print_are_no_end_of_a_call(memory: pagefault.Memory, where: str, depth: int) -> None:
    odd: Any = 10**6_000 if depth == 1 else "needle"
    for _ in range(depth):
        odd = {"a": odd}
    called: Any = [{"name": "look", "args": odd, "id": "c"}] if where == "args" else []
    said = AIMessage("so", additional_kwargs=odd if where != "args" else {}, tool_calls=called)
    answers = [ToolMessage("found", tool_call_id="c")] if called else []
    model = ScriptedModel(script=lambda call, messages: AIMessage("done"))
    agent: Any = create_agent(model, [], middleware=[PagingMiddleware(memory, budget=BUDGET)])
    state = [HumanMessage("hi"), said, *answers, HumanMessage("go on")]
    assert agent.invoke({"messages": state}, CONFIG)["messages"][-1].content == "done"
    memory.flush()


class Silent:
    """An object that cannot say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Mute(str):
    """A text that cannot say what it is."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unread(dict[str, Any]):
    """A dictionary that fails when it is read, such as one that asks a connection that is closed."""

    def __iter__(self) -> Any:
        raise RuntimeError("closed")

    def items(self) -> Any:
        raise RuntimeError("closed")


class Liar(Mapping[str, Any]):
    """A mapping whose keys are not there."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Any:
        return iter(["artifact", "text"])

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize(
    "odd", [Silent(), Mute("x"), Unread(a=1), Liar(), {"a": UserDict(b=Silent())}], ids=lambda x: type(x).__name__
)
@pytest.mark.parametrize("where", ["kwargs", "content", "args", "broken", "artifact"])
def test_an_object_that_fails_when_it_is_read_is_no_end_of_a_call(
    memory: pagefault.Memory, odd: Any, where: str
) -> None:
    said: Any = HumanMessage([{"type": "text", "text": "hi"}], id="h")
    called = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c"}], id="a")
    found = ToolMessage("found", tool_call_id="c", id="t")
    if where == "kwargs":
        said.additional_kwargs["odd"] = odd
    elif where == "content":
        said.content.append({"type": "odd", "value": odd})
    elif where == "args":
        called.tool_calls[0]["args"]["odd"] = odd
    elif where == "broken":
        called.tool_calls.clear()
        broken = invalid_tool_call(name="look", args=odd, id="c", error=None)
        called.invalid_tool_calls.append(broken)
    else:
        found.artifact = odd
    model = ScriptedModel(script=lambda call, messages: AIMessage("done"))
    agent: Any = create_agent(model, [], middleware=[PagingMiddleware(memory, budget=BUDGET)])
    state = [said, called, found, *(HumanMessage(words(f"u{n}", 60), id=f"h{n}") for n in range(40))]
    assert agent.invoke({"messages": state}, CONFIG)["messages"][-1].content == "done"
    assert len(model.requests[-1]) < len(state)
    memory.flush()
    assert not memory.trouble


def test_messages_that_cannot_be_compared_are_no_end_of_a_call(memory: pagefault.Memory) -> None:
    """What a checkpoint gives anew at each turn, such as a tool's artifact with an array."""

    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value is ambiguous")

        __hash__ = None  # type: ignore[assignment]  # never a key

    def state(turns: int) -> list[BaseMessage]:
        history: list[BaseMessage] = []
        for turn in range(turns):
            calls: Any = [{"name": "look", "args": {"of": Array()}, "id": f"c{turn}"}]
            history.append(HumanMessage(words(f"u{turn}", 60), id=f"h{turn}"))
            history.append(AIMessage("", tool_calls=calls, id=f"a{turn}"))
            history.append(ToolMessage("so", tool_call_id=f"c{turn}", id=f"t{turn}", artifact=Array()))
        return history

    model = ScriptedModel(script=lambda call, messages: AIMessage("done"))
    place = pagefault.SpaceId(tenant="default", user="", thread="odd", agent="")
    calling = paged(model, memory, budget=BUDGET, identity=lambda config: place)
    for turns in range(1, 25):
        calling.invoke(state(turns))
    sent = [[m.id for m in request] for request in model.requests]
    assert 1 <= sum(other[: len(one)] != one for one, other in pairwise(sent)) <= 8
    memory.flush()
    assert len(memory.space(thread="odd").fault("1-24").pages) == 24
