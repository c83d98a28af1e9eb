"""The model's own page fault, inside a real agent."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault.messages.projection import RECALL_MARK
from pagefault.tokens import default_counter
from pagefault_langgraph import PagingMiddleware, recall_tool
from tests.langgraph.scripted import TOOLS, ScriptedModel, problems, words, worker_script

BUDGET = pagefault.Budget(window=3_000, target=2_000, reserve=300)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


@pytest.fixture
def memory() -> Any:
    with pagefault.open(":memory:") as opened:
        yield opened


def recalling(asked: dict[str, str], after: int = 30) -> Any:
    """Works for a while, then calls recall, then answers with what came back."""
    worker = worker_script(10_000)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call == after:
            return AIMessage("", tool_calls=[{"name": "recall", "args": asked, "id": "r1"}], id="ask")
        if call > after:
            return AIMessage(str(messages[-1].content), id="answer")
        return worker(call, messages)

    return script


def run(memory: pagefault.Memory, asked: dict[str, str], *, is_async: bool = False) -> list[BaseMessage]:
    model = ScriptedModel(recalling(asked))
    agent = create_agent(
        model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)], checkpointer=InMemorySaver()
    )
    payload = {"messages": [("user", "work, then recall")]}
    result = asyncio.run(agent.ainvoke(payload, CONFIG)) if is_async else agent.invoke(payload, CONFIG)
    assert all(not problems(request) for request in model.requests)
    messages: list[BaseMessage] = result["messages"]
    return messages


@pytest.mark.parametrize("is_async", [False, True])
def test_by_address_the_exact_original(memory: pagefault.Memory, *, is_async: bool) -> None:
    messages = run(memory, {"addresses": "3"}, is_async=is_async)
    original = next(m for m in messages if isinstance(m, ToolMessage) and m.tool_call_id == "c2a")
    assert original.content in messages[-1].content
    assert "page 3" in messages[-1].content
    assert "trust: tool" in messages[-1].content


def test_by_query_the_page_that_left(memory: pagefault.Memory) -> None:
    messages = run(memory, {"query": "record k4"})
    assert words("k4", 18) in messages[-1].content
    marked = next(m for m in messages if isinstance(m, ToolMessage) and m.tool_call_id == "r1")
    assert "5" in marked.artifact[RECALL_MARK]
    assert marked.artifact["outcome"] == "answer"


def test_an_unanswerable_query_abstains(memory: pagefault.Memory) -> None:
    messages = run(memory, {"query": "capital city of France and its mayor"})
    assert "othing reliable" in messages[-1].content
    marked = next(m for m in messages if isinstance(m, ToolMessage) and m.tool_call_id == "r1")
    assert marked.artifact == {RECALL_MARK: [], "outcome": "abstain"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"addresses": None, "query": None}, "give addresses, such as '12', or a query"),
        ({"addresses": True}, "'true' is not a page address"),
        ({"addresses": "page twelve"}, "is not a page address; write '12', '12-14' or '12.3@4000', or use a query"),
        ({"addresses": "12-3"}, "runs backwards"),
        ({"addresses": "4000"}, "no page 4000"),
        ({"addresses": "1-99999999"}, "asks for 99,999,999 pages; recall at most 256 at a time"),
        ({"addresses": "2@99999999"}, "recall failed"),
        ({"addresses": "", "query": "  "}, "give addresses, such as '12', or a query"),
        ({}, "give addresses, such as '12', or a query"),
        ({"after": "2026-03"}, "give addresses, such as '12', or a query"),
        ({"query": "record k4", "after": "last March"}, "after='last March' is no date; give one such as '2026-03'"),
        ({"query": "record k4", "before": 1.5}, "before='1.5' is no date"),
        ({"query": "record k4", "after": "2026", "before": "2026"}, "no time from 2026 on and before 2026"),
    ],
)
def test_a_mistake_of_the_model_is_told_to_the_model(memory: pagefault.Memory, asked: Any, told: str) -> None:
    assert told in run(memory, asked)[-1].content


@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_may_send_null_numbers_or_lists(memory: pagefault.Memory, *, is_async: bool) -> None:
    every: list[Any] = [
        {"addresses": one, "query": None} for one in (3, 3.0, "page 3", "#3", "[3]", [3], ["3"], "3 to 4")
    ]
    every += [{"addresses": None, "query": "record k2"}, {"addresses": [], "query": ["record", "k2"]}]
    worker = worker_script(10_000)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call == 12:
            calls = [{"name": "recall", "args": asked, "id": f"r{n}"} for n, asked in enumerate(every)]
            return AIMessage("", tool_calls=calls, id="ask")
        return AIMessage("done", id="done") if call > 12 else worker(call, messages)

    roomy = PagingMiddleware(memory, budget=pagefault.Budget(window=60_000))
    agent = create_agent(ScriptedModel(script), TOOLS, middleware=[roomy])
    payload: Any = {"messages": [("user", "go")]}
    result = asyncio.run(agent.ainvoke(payload, CONFIG)) if is_async else agent.invoke(payload, CONFIG)
    told = [str(m.content) for m in result["messages"] if isinstance(m, ToolMessage) and m.name == "recall"]
    assert len(told) == len(every)
    for asked, answer in zip(every[:8], told, strict=False):
        assert words("k2", 18) in answer, asked
    for asked, answer in zip(every[8:], told[8:], strict=True):
        assert re.search(r"already in your context at .*\b3\b", answer), asked


@pytest.mark.parametrize("is_async", [False, True])
def test_a_model_asks_for_what_was_said_in_some_time(memory: pagefault.Memory, *, is_async: bool) -> None:
    found = run(memory, {"query": "record k4", "after": "2020-01", "before": "9999"}, is_async=is_async)
    assert words("k4", 18) in found[-1].content
    until = re.search(r"page 5 \| (\S+) \| ", str(found[-1].content))
    assert until, "the time is shown, or else a model could not know what to ask for"
    assert datetime.fromisoformat(until[1]).year >= 2026


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("bounds", [{"before": "2020-01"}, {"after": "9999-12-31T23:59Z", "before": None}])
def test_what_is_of_another_time_is_not_shown(memory: pagefault.Memory, bounds: Any, *, is_async: bool) -> None:
    told = str(run(memory, {"query": "record k4", **bounds}, is_async=is_async)[-1].content)
    assert words("k4", 18) not in told
    assert told.startswith("Nothing reliable was found")
    assert told.endswith("ask again without after and before to look at all.")


def test_the_model_can_name_no_tenant_and_no_ids(memory: pagefault.Memory) -> None:
    schema = convert_to_openai_tool(recall_tool(memory))
    properties = schema["function"]["parameters"]["properties"]
    assert {name: field["type"] for name, field in properties.items()} == dict.fromkeys(
        ("addresses", "query", "after", "before"), "string"
    )


def test_a_result_takes_at_most_a_quarter_of_the_target(memory: pagefault.Memory) -> None:
    messages = run(memory, {"addresses": "1-29"})
    assert default_counter().count(messages[-1].content) <= BUDGET.target // 4
    assert "continues at" in messages[-1].content or "also" in messages[-1].content or "more" in messages[-1].content


def test_recalls_asked_for_at_once_share_the_room(memory: pagefault.Memory) -> None:
    worker = worker_script(10_000)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call == 30:
            asked = [{"name": "recall", "args": {"addresses": "2-20"}, "id": f"r{n}"} for n in range(6)]
            return AIMessage("", tool_calls=asked, id="ask")
        return AIMessage("done", id="done") if call > 30 else worker(call, messages)

    model = ScriptedModel(script)
    agent = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)])
    messages = agent.invoke({"messages": [("user", "go")]}, CONFIG)["messages"]
    assert messages[-1].content == "done"
    results = [m.content for m in messages if isinstance(m, ToolMessage) and m.name == "recall"]
    assert len(results) == 6
    assert sum(map(default_counter().count, results)) <= BUDGET.target // 2


def test_the_room_follows_the_budget_of_the_model_in_use(memory: pagefault.Memory) -> None:
    model = ScriptedModel(recalling({"addresses": "2-40"}, after=50), profile={"max_input_tokens": 4_000})
    agent = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory)])
    messages = agent.invoke({"messages": [("user", "go")]}, CONFIG)["messages"]
    assert default_counter().count(messages[-1].content) <= pagefault.Budget(window=4_000).target // 4


def test_a_request_is_no_evidence_for_itself(memory: pagefault.Memory) -> None:
    script = recalling({"query": "IBAN Acme Corporation"}, after=20)
    model = ScriptedModel(script)
    agent = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)])
    messages = agent.invoke({"messages": [("user", "I need the IBAN of Acme Corporation.")]}, CONFIG)["messages"]
    assert messages[-1].content.startswith("Nothing reliable was found in the earlier conversation.")


def test_what_a_model_asked_recall_beside_another_tool_is_no_evidence_for_it(memory: pagefault.Memory) -> None:
    worker = worker_script(10_000)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call > 20:
            return AIMessage("That is not known.")
        if call not in {1, 20}:
            return worker(call, messages)
        asked = {"name": "recall", "args": {"query": "gate PIN of the Lyon warehouse"}, "id": f"r{call}"}
        return AIMessage("", tool_calls=[*worker(call, messages).tool_calls, asked])

    model = ScriptedModel(script)
    agent = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)])
    messages = agent.invoke({"messages": [("user", "go")]}, CONFIG)["messages"]
    told = [str(m.content) for m in messages if isinstance(m, ToolMessage) and m.name == "recall"]
    assert len(told) == 2
    assert all(text.startswith("Nothing reliable") for text in told)


def test_copies_leave_first_and_are_never_found(memory: pagefault.Memory) -> None:
    worker = worker_script(10_000)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call >= 60:
            return AIMessage("done", id="done")
        if 20 <= call <= 24:
            asked = [{"name": "recall", "args": {"addresses": "2"}, "id": f"r{call}"}]
            return AIMessage("", tool_calls=asked, id=f"ask{call}")
        return worker(call, messages)

    model = ScriptedModel(script)
    agent = create_agent(
        model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)], checkpointer=InMemorySaver()
    )
    agent.invoke({"messages": [HumanMessage("go", id="h")]}, CONFIG)
    copied = words("k1", 18)
    last = " ".join(str(m.content) for m in model.requests[-1])
    assert copied not in last
    found = memory.space(thread="t").recall(f"record k1 {copied[:35]}", limit=50)
    assert [p.address for p in found.pages if copied in p.page.text] == ["2"]
    kept = memory.space(thread="t").fault("21").pages[0]
    assert kept.page.kind is pagefault.Kind.RECALLED
    assert copied in kept.page.text, "a recalled page comes back like any other"


def test_what_a_user_copies_from_a_recall_is_found_as_said_by_the_user(memory: pagefault.Memory) -> None:
    model = ScriptedModel(lambda call, _: AIMessage("Noted.", id=f"a{call}"))
    agent = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory)], checkpointer=InMemorySaver())
    agent.invoke({"messages": [HumanMessage("The warehouse gate opens with 4712.", id="h1")]}, CONFIG)
    recalled = memory.space(thread="t").fault("1").text
    assert "The warehouse gate opens with 4712.\n" in recalled
    pasted = f"Observation: {recalled}\nThe cellar door wants a blue key."
    agent.invoke({"messages": [HumanMessage(pasted, id="h2")]}, CONFIG)
    found = memory.space(thread="t").recall("What does the cellar door want?")
    assert [page.address for page in found.pages][:1] == ["3"]
