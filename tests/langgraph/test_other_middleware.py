"""Beside other middleware in every order: within the budget, valid, and nothing transient is stored."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    SummarizationMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault_langgraph import PagingMiddleware
from tests.kernel.support import store_alone
from tests.langgraph.scripted import TOOLS, ScriptedModel, problems, words, worker_script
from tests.langgraph.test_long_run import tokens

BUDGET = pagefault.Budget(window=3_000, target=2_000, reserve=300)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}
FLEETING = "fleeting words of this call only"


class Change(AgentMiddleware[Any, Any]):
    """Other middleware: changes a request on its way, sync or async."""

    def __init__(self, name: str, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self._name = name
        self._change = change

    @property
    def name(self) -> str:
        return self._name

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(self._change(request))


def appends(request: Any) -> Any:
    return request.override(messages=[*request.messages, HumanMessage(FLEETING)])


def prepends(request: Any) -> Any:
    return request.override(messages=[HumanMessage(FLEETING), *request.messages])


def redacts(request: Any) -> Any:
    hidden = list(request.messages)
    for index, message in enumerate(hidden):
        if isinstance(message, ToolMessage):
            text = str(message.content).replace("record", "REDACTED")
            hidden[index] = message.model_copy(update={"content": text})
    return request.override(messages=hidden)


def trims(request: Any) -> Any:
    """Keeps the newest, whole groups only."""
    kept = list(request.messages[-12:])
    while kept and isinstance(kept[0], ToolMessage):
        kept.pop(0)
    return request.override(messages=kept)


def replaces_system(request: Any) -> Any:
    return request.override(system_message=SystemMessage(FLEETING + " as a prompt"))


def edits_tools(request: Any) -> Any:
    return request.override(tools=request.tools[:1])


CHANGES = {c.__name__: c for c in (appends, prepends, redacts, trims, replaces_system, edits_tools)}


def run(memory: pagefault.Memory, others: list[Any], place: int) -> tuple[ScriptedModel, Any]:
    model = ScriptedModel(worker_script(12))
    middleware = [*others[:place], PagingMiddleware(memory, budget=BUDGET), *others[place:]]
    agent = create_agent(model, TOOLS, middleware=middleware, system_prompt="Be careful.", checkpointer=InMemorySaver())
    for turn in range(3):
        agent.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    return model, agent.get_state(CONFIG).values["messages"]


def check_stored(memory: pagefault.Memory, history: list[BaseMessage]) -> None:
    """The store has what the graph's state has, and nothing else."""
    memory.flush()
    space = memory.space(thread="t")
    length = space.paging.lineages[0].length
    with store_alone():
        pages = space.fault(f"1-{length}", budget=200).pages
    stored = [m.text for p in pages for m in p.page.messages]
    assert stored == [str(m.content) for m in history[: len(stored)]]
    assert len(stored) > 30
    assert not any(FLEETING in text or "REDACTED" in text for text in stored)


@pytest.mark.parametrize("place", [0, 1], ids=["ours first", "ours last"])
@pytest.mark.parametrize("name", CHANGES)
def test_one_other(memory: pagefault.Memory, name: str, place: int) -> None:
    model, history = run(memory, [Change(name, CHANGES[name])], place)
    check_stored(memory, history)
    added = 40 if place == 0 else 0  # what is added behind us cannot be counted by us
    for request in model.requests:
        assert not problems([m for m in request if m.content != FLEETING]), (name, place)
        assert tokens(request) <= BUDGET.window - BUDGET.reserve + added
    shown = [str(m.content) for request in model.requests for m in request]
    if name == "redacts":
        assert not any(text.startswith("record ") for text in shown)
    elif name not in {"trims", "edits_tools"}:
        assert sum(FLEETING in text for text in shown) == len(model.requests)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("one", "other"), [("appends", "redacts"), ("replaces_system", "prepends"), ("trims", "appends")]
)
def test_two_others_in_every_order(memory: pagefault.Memory, one: str, other: str, place: int) -> None:
    for index, pair in enumerate(itertools.permutations([one, other])):
        with pagefault.open(":memory:", embedder=None) as fresh:
            model, history = run(fresh, [Change(name, CHANGES[name]) for name in pair], place)
            check_stored(fresh, history)
            for request in model.requests:
                assert not problems([m for m in request if m.content != FLEETING]), (index, pair, place)
                assert tokens(request) <= BUDGET.window - BUDGET.reserve + 80


@pytest.mark.parametrize("place", [0, 1])
def test_beside_langchains_own_context_editing(memory: pagefault.Memory, place: int) -> None:
    editing = ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=600, keep=2, placeholder="REDACTED")])
    model, history = run(memory, [editing], place)
    check_stored(memory, history)
    assert any("REDACTED" in str(m.content) for request in model.requests for m in request)
    for request in model.requests:
        assert not problems(request)
        assert tokens(request) <= BUDGET.window - BUDGET.reserve


def test_a_long_thread_that_never_saw_us(memory: pagefault.Memory) -> None:
    """Thousands of messages in a checkpoint: the first step works, and nothing is lost."""
    saver = InMemorySaver()
    before = create_agent(ScriptedModel(worker_script(10)), TOOLS, checkpointer=saver)
    history: list[BaseMessage] = []
    script = worker_script(10)
    for number in range(1, 1_301):
        answer = script(number, [])
        history.append(answer)
        history += [
            ToolMessage(
                f"record {c['id']} " + "word " * 10, tool_call_id=str(c["id"]), id=f"t{c['id']}", name=c["name"]
            )
            for c in answer.tool_calls
        ]
        if not answer.tool_calls:
            history.append(HumanMessage(f"turn after {number}", id=f"h{number}"))
    before.update_state(CONFIG, {"messages": history})
    model = ScriptedModel(worker_script(3))
    paging = PagingMiddleware(memory, budget=BUDGET)
    agent = create_agent(model, TOOLS, middleware=[paging], checkpointer=saver)
    agent.invoke({"messages": [HumanMessage("go on", id="h")]}, CONFIG)
    assert len(history) > 2_500
    for request in model.requests:
        assert not problems(request)
        assert tokens(request) <= BUDGET.window - BUDGET.reserve
    now = agent.get_state(CONFIG).values["messages"]
    assert [m.id for m in now[: len(history)]] == [m.id for m in history]
    memory.flush()
    space = memory.space(thread="t")
    with store_alone():
        pages = space.fault("1-1300", budget=200).pages
    stored = [m.text for p in pages for m in p.page.messages]
    assert stored == [str(m.content) for m in now[: len(stored)]]


def test_what_is_added_to_the_last_question_counts(memory: pagefault.Memory) -> None:
    """As retrieval does that writes what it found into the user's message on its way, under the same id."""

    def finds(request: Any) -> Any:
        *before, last = request.messages
        found = f"FOUND {words('found', 150)}\n{last.content}"
        return request.override(messages=[*before, last.model_copy(update={"content": found})])

    model = ScriptedModel(lambda call, messages: AIMessage(words(f"a{call}", 40)))
    middleware: list[Any] = [Change("finds", finds), PagingMiddleware(memory, budget=BUDGET)]
    agent = create_agent(model, middleware=middleware, checkpointer=InMemorySaver())
    for turn in range(12):
        agent.invoke({"messages": [("user", words(f"u{turn}", 40))]}, CONFIG)
    assert max(map(tokens, model.requests)) <= BUDGET.target
    assert "FOUND" not in str(agent.get_state(CONFIG).values["messages"])


def test_a_message_that_is_said_twice_counts_twice(memory: pagefault.Memory) -> None:
    """As some do who repeat the question at the end, for models that have forgotten it by then."""

    def again(request: Any) -> Any:
        return request.override(messages=[*request.messages, request.messages[-1]])

    model = ScriptedModel(lambda call, messages: AIMessage(words(f"a{call}", 40)))
    middleware: list[Any] = [Change("again", again), PagingMiddleware(memory, budget=BUDGET)]
    agent = create_agent(model, middleware=middleware, checkpointer=InMemorySaver())
    for turn in range(12):
        agent.invoke({"messages": [("user", words(f"u{turn}", 120))]}, CONFIG)
        assert model.requests[-1][-1] is model.requests[-1][-2]
    assert max(map(tokens, model.requests)) <= BUDGET.target


@pytest.mark.parametrize("is_summed_up", [False, True])
def test_what_a_summary_takes_out_of_the_state_is_out_of_the_conversation(
    memory: pagefault.Memory, *, is_summed_up: bool
) -> None:
    """As the docs say of SummarizationMiddleware: the state owns the messages."""
    short = ScriptedModel(lambda call, messages: AIMessage("summed up"))
    others = [SummarizationMiddleware(short, trigger=("tokens", 800), keep=("messages", 2))] if is_summed_up else []
    model = ScriptedModel(lambda call, messages: AIMessage(words(f"a{call}", 40)))
    middleware: list[Any] = [*others, PagingMiddleware(memory, budget=BUDGET)]
    agent = create_agent(model, middleware=middleware, checkpointer=InMemorySaver())
    for turn in range(8):
        agent.invoke({"messages": [("user", f"needle{turn} {words(f'u{turn}', 40)}")]}, CONFIG)
    found = memory.space(thread=CONFIG["configurable"]["thread_id"]).recall("needle1")
    assert len(found.pages) == (0 if is_summed_up else 1)
