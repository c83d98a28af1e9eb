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
        9: {"name": "pin_item", "args": {"key": "aside", "text": "x"}, "id": "p9"},
        10: {"name": "pin_item", "args": {"key": "aside", "text": []}, "id": "p10"},
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
    assert told["r6"] == "First to leave when room is needed: pages 3-4."
    assert told["p5"] == "Kept in sight: 'goal'."
    assert "there is no page 900" in told["r7"]
    assert "No longer kept in sight: 'aside'." in text_of(requests[10])
    assert "no pinned item 'none' here" in {m.tool_call_id: m.content for m in requests[9] if m.type == "tool"}["p8"]


ASKED: Any = [
    (
        "release",
        {"addresses": "2-3, 5"},
        "First to leave when room is needed: pages 2-3, 5. Pinned by the application, so kept: page 3.",
    ),
    (
        "release",
        {"addresses": "3"},
        "First to leave when room is needed: page 3. Pinned by the application, so kept: page 3.",
    ),
    ("release", {"addresses": "twelve"}, "release failed: 'twelve' is not a page address; write '12'"),
    ("release", {"addresses": "2.1@5"}, "release failed: 2.1@5 names a part; pin and release take whole pages"),
    ("release", {"addresses": "10"}, "release failed: there is no page 10 here; this conversation has pages 1-9"),
    ("pin_item", {"key": "plan", "text": "word " * 600}, "pin_item failed: with 'plan' the pinned items would have"),
    ("pin_item", {"key": "", "text": "x"}, "pin_item failed: key is empty"),
    ("pin_item", {"key": "a\nb", "text": "x"}, "pin_item failed: key 'a\\nb' holds control"),
    ("pin_item", {"key": "none", "text": " "}, "pin_item failed: no pinned item 'none' here, nor any other"),
    ("pin_item", {"key": "none", "text": None}, "pin_item failed: no pinned item 'none' here, nor any other"),
    ("pin_item", {"key": None, "text": "x"}, "pin_item failed: key is empty"),
    (
        "release",
        {"addresses": ["2", 3]},
        "First to leave when room is needed: pages 2, 3. Pinned by the application, so kept: page 3.",
    ),
    ("release", {"addresses": 5}, "First to leave when room is needed: page 5."),
    ("release", {"addresses": None}, "release failed: no page address in ''"),
]


def test_a_model_reads_what_became_of_its_wishes_and_what_was_wrong_with_them(caplog):
    """Page 10 is the call itself; page 3 was pinned by the application, which a model cannot undo."""

    def asking(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call == 8:
            memory.space(thread="w").pin("3")
        if call < 9:
            return AIMessage("", tool_calls=[{"name": "lookup", "args": {"key": f"k{call}"}, "id": f"c{call}"}])
        calls = [{"name": name, "args": args, "id": f"w{n}"} for n, (name, args, _) in enumerate(ASKED)]
        return AIMessage("", tool_calls=calls if call == 9 else [])

    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory, budget=BUDGET, manage=True)
        agent = create_agent(ScriptedModel(asking), TOOLS, middleware=[paging], checkpointer=InMemorySaver())
        done = agent.invoke({"messages": [("user", "go")]}, CONFIG)
        told = {m.tool_call_id: m.content for m in done["messages"] if m.type == "tool"}
        for number, (_, _, said) in enumerate(ASKED):
            assert told[f"w{number}"].startswith(said), told[f"w{number}"]
            assert "Nothing is wrong with your call" not in told[f"w{number}"]
        assert "pin_item failed" not in caplog.text, "the model can mend it, and nobody else has to know"
        view = memory.space(thread="w").paging.lineages[0].view
        assert (view.pinned, [page.seq for page in view.released], view.items) == ({3}, [2, 5], ())


def test_without_it_a_model_gets_neither_tools_nor_notices():
    model = ScriptedModel(worker_script(60))
    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory, budget=BUDGET)
        assert [tool.name for tool in paging.tools] == ["recall"]
        create_agent(model, TOOLS, middleware=[paging]).invoke({"messages": [("user", "go")]}, CONFIG)
    assert not any("is used" in text_of(request) for request in model.requests)
