"""A paged model in a graph of one's own."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

import pagefault
from pagefault.messages import canonical
from pagefault_langgraph import NotPageable, PagingMiddleware, paged, recall_tool
from pagefault_langgraph.messages import LANGCHAIN
from tests.kernel.support import store_alone
from tests.langgraph.plain_graph import graph_of
from tests.langgraph.scripted import TOOLS, ScriptedModel, is_extension, problems, worker_script
from tests.langgraph.test_long_run import BUDGET, STEPS, TURNS, tokens
from tests.langgraph.too_large import SMALL, check_too_large

CONFIG: Any = {"configurable": {"thread_id": "long"}, "recursion_limit": 1_000}
SYSTEM = SystemMessage("You are a careful archivist.", id="sys")


@pytest.mark.parametrize("how", ["sync", "async", "stream"])
def test_three_hundred_steps_of_a_plain_graph(memory: pagefault.Memory, how: str) -> None:
    base = ScriptedModel(worker_script(STEPS))
    graph = graph_of(paged(base, memory, budget=BUDGET), SYSTEM)
    for turn in range(TURNS):
        asked = {"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}
        if how == "sync":
            graph.invoke(asked, CONFIG)
        elif how == "async":
            asyncio.run(graph.ainvoke(asked, CONFIG))
        else:
            list(graph.stream(asked, CONFIG, stream_mode="messages"))
    requests = base.requests
    assert len(requests) == TURNS * STEPS
    breaks = [(a, b) for a, b in itertools.pairwise(requests) if not is_extension(a, b)]
    assert 5 < len(breaks) < len(requests) // 8
    for pair in breaks:
        before, after = ([m.content for m in request if is_block(m)] for request in pair)
        assert before != after, "a request neither extends the last nor follows a reclaim"
    for number, request in enumerate(requests):
        assert not problems(request), (number, problems(request))
        assert request[0] == SYSTEM
        assert f"turn {number // STEPS}" in [m.content for m in request]
        assert tokens(request) <= BUDGET.window - BUDGET.reserve
    memory.flush()
    check_pages(memory.space(thread="long"), graph.get_state(CONFIG).values["messages"])


def is_block(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage) and str(message.content).startswith("[pagefault:")


def check_pages(space: pagefault.Space, history: list[BaseMessage]) -> None:
    """Every page comes back byte for byte as the framework still has it."""
    restored: list[BaseMessage] = []
    with store_alone():
        pages = space.fault(f"1-{TURNS * STEPS}", budget=500).pages
    for page in pages:
        natives = [LANGCHAIN.decode(item) for item in canonical.load(page.page.body)]
        originals = history[len(restored) : len(restored) + len(natives)]
        assert natives == originals
        assert page.page.body == canonical.dump([LANGCHAIN.encode(native) for native in originals])[0]
        restored += natives
    assert len(restored) > TURNS * STEPS


def test_addresses_mean_the_same_to_the_tool_where_the_state_begins_with_a_system_message(
    memory: pagefault.Memory,
) -> None:
    worker = worker_script(10_000)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call == 30:
            return AIMessage("", tool_calls=[{"name": "recall", "args": {"addresses": "2"}, "id": "r"}], id="ask")
        return AIMessage(str(messages[-1].content), id="done") if call > 30 else worker(call, messages)

    base = ScriptedModel(script)
    model = paged(base, memory, budget=BUDGET)
    builder = StateGraph(MessagesState)

    def call(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"], config)]}

    builder.add_node("model", call)
    builder.add_node("tools", ToolNode([*TOOLS, recall_tool(memory)]))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    asked: Any = {"messages": [SYSTEM, HumanMessage("go", id="h")]}
    done: Any = builder.compile().invoke(asked, CONFIG)
    assert "record k1:" in done["messages"][-1].content, "page 1 is the request, page 2 its first step"


def test_it_stays_its_own_class_and_is_paged_once(memory: pagefault.Memory) -> None:
    base = ScriptedModel(worker_script(60))
    model = paged(base, memory, budget=BUDGET)
    assert isinstance(model, ScriptedModel)
    assert type(base) is ScriptedModel, "the model that was given is untouched"
    agent = create_agent(model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)])
    agent.invoke({"messages": [("user", "go")]}, CONFIG)
    blocks = [[m for m in request if str(m.id).startswith("pagefault-")] for request in base.requests]
    assert any(blocks)
    assert all(len({b.id for b in found}) == len(found) for found in blocks)
    assert all(not problems(request) for request in base.requests)


@pytest.mark.parametrize("given", ["model", None, 5])
def test_what_is_no_model(memory: pagefault.Memory, given: Any) -> None:
    with pytest.raises(NotPageable, match="takes a chat model"):
        paged(given, memory)


WRAPPED: dict[str, Any] = {
    "with_retry": lambda model: model.with_retry(),
    "with_fallbacks": lambda model: model.with_fallbacks([model]),
    "bind": lambda model: model.bind(stop=["x"]),
    "a sequence": lambda model: model | RunnableLambda(lambda message: message),
    "init_chat_model": lambda model: init_chat_model(configurable_fields=("model",)),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_wrapped_runnables_are_refused(memory: pagefault.Memory, how: str) -> None:
    with pytest.raises(NotPageable, match=r"wrap the model itself first.*paged\(init_chat_model\(name\), memory\)"):
        paged(WRAPPED[how](ScriptedModel(worker_script(2))), memory)


def test_a_paged_model_is_refused(memory: pagefault.Memory) -> None:
    with pytest.raises(NotPageable, match="paged already"):
        paged(paged(ScriptedModel(worker_script(2)), memory), memory)


def test_a_message_larger_than_the_window_and_pins_larger_than_the_budget(memory: pagefault.Memory) -> None:
    base = ScriptedModel(worker_script(5))
    graph = graph_of(paged(base, memory, budget=SMALL), SYSTEM)
    check_too_large(graph, base, memory, CONFIG)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "bound", "batch"])
def test_outside_of_a_graph_the_config_of_the_call_says_whose_conversation_it_is(
    memory: pagefault.Memory, way: str
) -> None:
    model = paged(ScriptedModel(worker_script(1)), memory, budget=BUDGET)
    history: list[BaseMessage] = [HumanMessage("needle", id="h")]
    config: RunnableConfig = {"configurable": {"thread_id": f"t-{way}", "user_id": "ada"}}

    async def chunks() -> None:
        async for _ in model.astream(history, config):
            pass

    match way:
        case "invoke":
            model.invoke(history, config)
        case "ainvoke":
            asyncio.run(model.ainvoke(history, config))
        case "stream":
            list(model.stream(history, config))
        case "astream":
            asyncio.run(chunks())
        case "bound":
            model.bind(stop=["end"]).with_config(config).invoke(history)
        case _:
            model.batch([history], config)
    assert memory.space(thread=f"t-{way}", user="ada").fault(1).pages[0].page.text == "needle"
    with pytest.raises(pagefault.InvalidId, match="no thread_id"):
        model.invoke([HumanMessage("nobody's")])


def test_outside_of_a_graph_the_identity_says_whose_conversation_it_is(memory: pagefault.Memory) -> None:
    mine = pagefault.SpaceId(tenant="acme", user="", thread="mine", agent="")
    model = paged(ScriptedModel(worker_script(1)), memory, budget=BUDGET, identity=lambda config: mine)
    messages: list[BaseMessage] = [HumanMessage("needle", id="h")]
    model.invoke(messages)
    assert memory.at(mine).fault(1).pages[0].page.text == "needle"
