"""Bad input to an agent: a typed error that says what and the way out, and nothing lost."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault_langgraph import LangChainCodec, NotPageable, PagingMiddleware, identity, recall_tool, space_of
from pagefault_langgraph.messages import LANGCHAIN
from tests.langgraph.scripted import TOOLS, ScriptedModel, words, worker_script

BUDGET = pagefault.Budget(window=2_000, target=1_500, reserve=200)


def build(memory: pagefault.Memory, script: Any = None, tools: Any = None, **kwargs: Any) -> Any:
    model = ScriptedModel(script or worker_script(5))
    paging = PagingMiddleware(memory, **{"budget": BUDGET, **kwargs})
    return create_agent(model, tools or TOOLS, middleware=[paging], checkpointer=InMemorySaver())


def config(thread: Any = "t", **configurable: Any) -> Any:
    return {"configurable": {"thread_id": thread, **configurable}, "recursion_limit": 200}


def test_a_message_larger_than_the_window(memory: pagefault.Memory) -> None:
    agent = build(memory)
    with pytest.raises(pagefault.PageTooLarge, match=r"page 1 has .* window=2000 .* larger window"):
        agent.invoke({"messages": [HumanMessage(words("big", 1_500), id="big")]}, config())
    kept = agent.get_state(config()).values["messages"]
    assert [m.id for m in kept] == ["big"], "the framework's state keeps the message"
    agent.update_state(config(), {"messages": [HumanMessage("something smaller", id="big")]})
    assert agent.invoke(None, config())["messages"][-1].content.startswith("turn done")


def test_a_tool_result_larger_than_the_window_is_shown_in_part(memory: pagefault.Memory) -> None:
    @tool
    def flood() -> str:
        """Return far too much."""
        return words("flood", 2_000)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        shown = str(messages[-1].content)
        if call == 1:
            return AIMessage("", tool_calls=[{"name": "flood", "args": {}, "id": "f"}], id="ai")
        if call == 2:
            address = shown.split('recall(addresses="')[1].split('"', maxsplit=1)[0]
            return AIMessage("", tool_calls=[{"name": "recall", "args": {"addresses": address}, "id": "r"}], id="ask")
        return AIMessage(shown, id="done")

    result = build(memory, script, [flood]).invoke({"messages": [("user", "go")]}, config())
    state = result["messages"]
    assert state[2].content == words("flood", 2_000), "the framework's state keeps the whole result"
    quoted = state[-1].content.split("\n<")[1].split("\n")[1]
    assert len(quoted) > 300
    assert quoted in words("flood", 2_000)


def test_a_system_prompt_larger_than_the_budget(memory: pagefault.Memory) -> None:
    model = ScriptedModel(worker_script(2))
    agent = create_agent(
        model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)], system_prompt=words("rule", 1_500)
    )
    with pytest.raises(pagefault.PinnedOverBudget, match="system prompt and tools alone"):
        agent.invoke({"messages": [("user", "go")]}, config())


@pytest.mark.parametrize(("given", "error"), [({"budget": 4_000}, pagefault.BudgetError), ({}, TypeError)])
def test_wrong_things_given_to_the_middleware(memory: pagefault.Memory, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"pagefault\.(Budget|open)"):
        PagingMiddleware(memory if given else "./dir", **given)


@pytest.mark.parametrize(("name", "way"), [("recall", "recall=False"), ("pin_item", "manage=False")])
def test_a_tool_of_the_agents_own_by_the_name_of_ours(memory: pagefault.Memory, name: str, way: str) -> None:
    """LangChain gives the model one of the two, the agent's."""

    @tool(name)
    def other(product: str) -> str:
        """Call a product back."""
        return product

    with pytest.raises(NotPageable, match=f"tool '{name}' of its own.*{way}"):
        build(memory, tools=[other], manage=True).invoke({"messages": [("user", "go")]}, config())
    build(memory, tools=[other], recall=False).invoke({"messages": [("user", "go")]}, config())
    mine = recall_tool(memory, scope="user")
    build(memory, tools=[mine]).invoke({"messages": [("user", "go")]}, config("t", user_id="ada"))


def test_the_default_identity_can_be_named(memory: pagefault.Memory) -> None:
    build(memory, identity=space_of).invoke({"messages": [("user", "needle")]}, config())
    assert memory.space(thread="t").fault(1).pages[0].page.text == "needle"


def test_pins_larger_than_the_budget(memory: pagefault.Memory) -> None:
    agent = build(memory)
    for turn in range(4):
        agent.invoke({"messages": [HumanMessage(words(f"turn{turn}", 60), id=f"h{turn}")]}, config())
    space = memory.space(thread="t")
    space.pin("1-12")
    with pytest.raises(pagefault.PinnedOverBudget, match="release pins"):
        agent.invoke({"messages": [("user", "go on")]}, config())
    space.release("1-12")
    assert agent.invoke(None, config())["messages"][-1].content.startswith("turn done")


def test_a_pinned_page_is_in_every_prompt(memory: pagefault.Memory) -> None:
    model = ScriptedModel(worker_script(40))
    agent = create_agent(
        model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)], checkpointer=InMemorySaver()
    )
    agent.invoke({"messages": [HumanMessage("rule: always be kind", id="rule")]}, config())
    memory.space(thread="t").pin(1)
    before = len(model.requests)
    for turn in range(4):
        agent.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, config())
    assert len(model.requests) - before == 160
    assert all(any(m.content == "rule: always be kind" for m in request) for request in model.requests[before:])


def test_rules_given_as_system_messages_survive(memory: pagefault.Memory) -> None:
    model = ScriptedModel(worker_script(60))
    agent = create_agent(
        model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)], checkpointer=InMemorySaver()
    )
    asked = [SystemMessage("rule one", id="s1"), HumanMessage("go", id="h"), SystemMessage("rule two", id="s2")]
    agent.invoke({"messages": asked}, config())
    for request in model.requests:
        contents = [m.content for m in request]
        assert contents[0] == "rule one"
        assert "rule two" in contents


@pytest.mark.parametrize("thread", ["", "a\x00b", b"bytes", 1.5, ["t"], "x" * 600])
def test_ids_that_are_none(memory: pagefault.Memory, thread: Any) -> None:
    space = PagingMiddleware(memory, budget=BUDGET)
    model = ScriptedModel(worker_script(3))
    agent = create_agent(model, TOOLS, middleware=[space])  # no checkpointer: it would refuse some itself
    with pytest.raises(pagefault.InvalidId, match="thread"):
        agent.invoke({"messages": [("user", "go")]}, config(thread))
    assert model.requests == []


def test_an_int_thread_is_the_same_as_its_text(memory: pagefault.Memory) -> None:
    build(memory).invoke({"messages": [("user", "needle")]}, config(7))
    assert memory.space(thread="7").fault(1).pages[0].page.text == "needle"


def test_users_do_not_share_a_space(memory: pagefault.Memory) -> None:
    for user in ("ada", "bob"):
        build(memory).invoke({"messages": [("user", f"I am {user}")]}, config(user_id=user))
    assert memory.space(thread="t", user="ada").fault(1).pages[0].page.text == "I am ada"
    assert not memory.space(thread="t", user="ada").recall("I am bob", limit=50).text.count("bob")


def test_identity_of_the_applications_own(memory: pagefault.Memory) -> None:
    def identity(config: Any) -> pagefault.SpaceId:
        return pagefault.SpaceId(tenant="acme", user="", thread=config["configurable"]["thread_id"], agent="x")

    build(memory, identity=identity).invoke({"messages": [("user", "needle")]}, config())
    assert memory.space(tenant="acme", thread="t", agent="x").fault(1).pages[0].page.text == "needle"
    with pytest.raises(pagefault.PageNotFound):
        memory.space(thread="t").fault(1)


def test_a_closed_memory(tmp_path: Path) -> None:
    memory = pagefault.open(tmp_path / "m", embedder=None)
    agent = build(memory)
    memory.close()
    with pytest.raises(pagefault.MemoryClosed, match="open it again"):
        agent.invoke({"messages": [("user", "go")]}, config())


def test_a_data_directory_that_is_a_file_fails_at_the_first_call(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("in the way")
    memory = pagefault.open(tmp_path / "m", embedder=None)
    with pytest.raises(pagefault.StoreUnwritable, match="m"):
        build(memory).invoke({"messages": [("user", "go")]}, config())
    memory.close()


@pytest.mark.parametrize("data", [None, 5, {}, {"type": "evil"}, {"type": "Evil", "content": "x"}])
def test_a_body_never_names_a_class_of_its_own(data: Any) -> None:
    with pytest.raises(pagefault.UnsupportedMessage):
        LangChainCodec().decode(data)


def test_objects_that_are_no_messages() -> None:
    with pytest.raises(pagefault.UnsupportedMessage, match="not a LangChain message"):
        LANGCHAIN.measure(["text"])


def test_the_window_comes_from_the_model(memory: pagefault.Memory, caplog: pytest.LogCaptureFixture) -> None:
    model = ScriptedModel(worker_script(60), profile={"max_input_tokens": 2_000})
    agent = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory)])
    agent.invoke({"messages": [("user", "go")]}, config())
    assert any(str(m.id).startswith("pagefault-") for m in model.requests[-1])
    with caplog.at_level(logging.WARNING, "pagefault"):
        silent = ScriptedModel(worker_script(6))
        create_agent(silent, TOOLS, middleware=[PagingMiddleware(memory)]).invoke(
            {"messages": [("user", "go")]}, config("other")
        )
    assert sum("how large its window is" in r.message for r in caplog.records) == 1


def test_a_tampered_view_record_is_refused_and_the_window_rebuilt(
    memory: pagefault.Memory, caplog: pytest.LogCaptureFixture
) -> None:
    history = [HumanMessage("q", id="h"), AIMessage("a", id="a"), ToolMessage("x", tool_call_id="none", id="t")]
    space = memory.space(thread="evil")
    for record in ({"v": 1, "gen": 9}, {"gen": 10, "v": 2}, {"gen": "high"}, {"v": 1, "gen": 11, "blocks": [1]}):
        prompt = space.step(list(history), LANGCHAIN, BUDGET, now=1.0, record=record)
        assert prompt.natives is None
    assert any("ignored" in r.message for r in caplog.records)


def test_a_conversation_without_a_thread_is_said_once(
    memory: pagefault.Memory, caplog: pytest.LogCaptureFixture
) -> None:
    identity._say_ephemeral.cache_clear()
    agent = create_agent(ScriptedModel(worker_script(1)), middleware=[PagingMiddleware(memory, budget=BUDGET)])
    agent.invoke({"messages": [("user", "hi")]}, config())
    assert "thread_id" not in caplog.text
    for _ in range(2):
        agent.invoke({"messages": [("user", "hi")]})
    assert caplog.text.count("has no thread_id, so its conversation is named after its first message") == 1
