"""A paging node in a graph of one's own: a view, or with ``drop=True`` a smaller state."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage, RemoveMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode, tools_condition

import pagefault
from pagefault.messages import canonical
from pagefault_langgraph import NotPageable, NotPaged, PagedState, needs_paging, paging_node, prompt_of, recall_tool
from pagefault_langgraph.messages import LANGCHAIN
from tests.langgraph.scripted import TOOLS, ScriptedModel, is_extension, problems, worker_script
from tests.langgraph.test_long_run import BUDGET, RUNNERS, STEPS, TURNS, tokens
from tests.langgraph.too_large import SMALL, check_too_large

SYSTEM = SystemMessage("You are a careful archivist.", id="system")
CONFIG: Any = {"configurable": {"thread_id": "long"}, "recursion_limit": 1_000}


def graph_of(memory: pagefault.Memory, model: ScriptedModel, *, drop: bool = False, **options: Any) -> Any:
    """Page, call the model, run its tools, and again."""

    def call(state: PagedState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [model.invoke([SYSTEM, *prompt_of(state)], config)]}

    async def acall(state: PagedState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [await model.ainvoke([SYSTEM, *prompt_of(state)], config)]}

    budget = options.pop("budget", BUDGET)
    builder = StateGraph(options.pop("state", PagedState))
    builder.add_node("page", paging_node(memory, budget=budget, drop=drop))
    builder.add_node("model", RunnableLambda(call, afunc=acall), input_schema=options.pop("reads", PagedState))
    builder.add_node("tools", ToolNode([*TOOLS, recall_tool(memory)]))
    builder.add_edge("page", "model")
    builder.add_conditional_edges("model", tools_condition)
    if options.pop("asks", False):
        needs = needs_paging(memory, budget=budget)
        builder.add_conditional_edges("tools", needs, {True: "page", False: "model"})
        builder.add_conditional_edges(START, needs, {True: "page", False: "model"})
    else:
        builder.add_edge(START, "page")
        builder.add_edge("tools", "page")
    return builder.compile(checkpointer=options.pop("saver", None) or InMemorySaver(), **options)


def is_block(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage) and str(message.content).startswith("[pagefault:")


def check_run(requests: list[list[BaseMessage]]) -> None:
    assert len(requests) == TURNS * STEPS
    breaks = 0
    for number, request in enumerate(requests):
        assert not problems(request), (number, problems(request))
        assert tokens(request) <= BUDGET.window - BUDGET.reserve, number
        assert f"please do the work of turn {number // STEPS}" in [m.content for m in request]
        if number and not is_extension(requests[number - 1], request):
            breaks += 1
            blocks = [[m.content for m in r if is_block(m)] for r in (requests[number - 1], request)]
            assert blocks[0] != blocks[1], f"request {number} neither extends the last nor follows a reclaim"
    assert 5 < breaks < len(requests) // 8, f"{breaks} reclaims in {len(requests)} steps"


def check_pages(directory: Path, requests: list[list[BaseMessage]]) -> None:
    """In a new process, every page is byte for byte what the graph once held."""
    every = {m.id: m for request in requests for m in request if not is_block(m)}
    with pagefault.open(directory) as memory:
        pages = memory.space(thread="long").fault(f"1-{TURNS * STEPS}", budget=500).pages
        restored = [LANGCHAIN.decode(item) for page in pages for item in canonical.load(page.page.body)]
        for page in pages:
            natives = [every[m.message_id] for m in page.page.messages]
            assert page.page.body == canonical.dump([LANGCHAIN.encode(n) for n in natives])[0]
    assert restored == [every[str(m.id)] for m in restored]
    assert len(restored) > TURNS * STEPS


@pytest.mark.parametrize("drop", [False, True], ids=["view", "drop"])
@pytest.mark.parametrize("run", RUNNERS[:3])
def test_three_hundred_steps_of_a_plain_graph(run: Any, tmp_path: Path, *, drop: bool) -> None:
    model = ScriptedModel(worker_script(STEPS))
    with pagefault.open(tmp_path / "memory") as memory:
        graph = graph_of(memory, model, drop=drop)
        for turn in range(TURNS):
            run(graph, {"messages": [("user", f"please do the work of turn {turn}")]}, CONFIG)
        state = graph.get_state(CONFIG).values
        check_run(model.requests)
        memory.flush()
    assert "llm_input_messages" not in state, "the prompt lives for one step"
    length = len(state["messages"])
    assert (length < 60) if drop else (length > TURNS * STEPS * 2)
    check_pages(tmp_path / "memory", model.requests)


@pytest.mark.parametrize("drop", [False, True], ids=["view", "drop"])
def test_paging_only_when_needed_sends_what_paging_always_sends(memory: pagefault.Memory, *, drop: bool) -> None:
    sent, supersteps = [], []
    for asks in (False, True):
        model = ScriptedModel(worker_script(25))
        with pagefault.open(":memory:", embedder=None) as fresh:
            graph = graph_of(fresh, model, drop=drop, asks=asks)
            for turn in range(4):
                graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
            supersteps.append(graph.get_state(CONFIG).metadata["step"])
        sent.append([[m.content for m in request] for request in model.requests])
    assert sent[0] == sent[1]
    assert supersteps[1] < supersteps[0] - (50 if drop else 10), "the node ran only where it was needed"


@pytest.mark.parametrize("drop", [False, True], ids=["view", "drop"])
def test_paging_when_needed_after_everything_was_removed(memory: pagefault.Memory, *, drop: bool) -> None:
    model = ScriptedModel(worker_script(25))
    graph = graph_of(memory, model, drop=drop, asks=True)
    for turn in range(3):
        graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    assert graph.get_state(CONFIG).values["pagefault_view"]["blocks"]
    rest = [RemoveMessage(REMOVE_ALL_MESSAGES), HumanMessage("all that was said", id="summary")]
    graph.update_state(CONFIG, {"messages": rest}, as_node="model")
    graph.invoke({"messages": [HumanMessage("and now?", id="next")]}, CONFIG)
    assert [m.id for m in model.requests[-25]] == ["system", "summary", "next"]


def test_channels_come_with_the_node(memory: pagefault.Memory) -> None:
    """A graph with a state of its own gets the two keys by adding the node; the model's node names what it reads."""

    class Reads(MessagesState):
        pagefault_view: dict[str, Any]
        llm_input_messages: list[Any]

    model = ScriptedModel(worker_script(25))
    graph = graph_of(memory, model, state=MessagesState, reads=Reads)
    for turn in range(3):
        graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    assert any(is_block(m) for m in model.requests[-1])
    assert graph.get_state(CONFIG).values["pagefault_view"]["blocks"]


def test_dropping_needs_a_reducer_that_sees_parallel_writes(memory: pagefault.Memory) -> None:
    builder = StateGraph(MessagesState)
    with pytest.raises(NotPageable, match=r"StateGraph\(PagedState\)"):
        builder.add_node("page", paging_node(memory, drop=True))


def test_the_prompt_is_asked_for_in_the_wrong_place(memory: pagefault.Memory) -> None:
    with pytest.raises(NotPaged, match=r"StateGraph\(PagedState\)"):
        prompt_of({"messages": [HumanMessage("hi")]})
    state = {"messages": [HumanMessage("hi")], "pagefault_view": {}}
    assert prompt_of(state) == state["messages"]
    with pytest.raises(NotPaged, match="add an edge from the paging node"):
        prompt_of({"messages": [HumanMessage("hi")], "pagefault_view": {"gen": 1, "blocks": [{}]}})


@pytest.mark.parametrize("drop", [False, True], ids=["view", "drop"])
def test_a_message_larger_than_the_window_and_pins_larger_than_the_budget(
    memory: pagefault.Memory, *, drop: bool
) -> None:
    model = ScriptedModel(worker_script(5))
    graph = graph_of(memory, model, drop=drop, budget=SMALL)
    check_too_large(graph, model, memory, CONFIG)


def test_a_state_without_messages_and_one_under_another_key(memory: pagefault.Memory) -> None:
    node = paging_node(memory, budget=BUDGET)
    assert node.invoke({"messages": []}, CONFIG) == {"llm_input_messages": []}
    with pytest.raises(NotPageable, match="messages_key"):
        node.invoke({"history": [HumanMessage("hi")]}, CONFIG)
    other = paging_node(memory, budget=BUDGET, messages_key="history", prompt_key="prompt")
    message = HumanMessage("hi", id="h")
    assert other.invoke({"history": [message]}, CONFIG) == {"prompt": [message]}


def test_interrupted_between_page_and_model(memory: pagefault.Memory) -> None:
    model, saver = ScriptedModel(worker_script(40)), InMemorySaver()
    graph = graph_of(memory, model, saver=saver, interrupt_before=["model"])
    graph.invoke({"messages": [HumanMessage("go", id="h")]}, CONFIG)
    for _ in range(39):
        assert graph.get_state(CONFIG).next == ("model",)
        graph = graph_of(memory, model, saver=saver, interrupt_before=["model"])  # as a restarted process would
        graph.invoke(None, CONFIG)
    check = model.requests
    assert any(is_block(m) for m in check[-1])
    assert all(not problems(r) and tokens(r) <= BUDGET.window for r in check)
    breaks = sum(not is_extension(a, b) for a, b in itertools.pairwise(check))
    assert breaks < 6
