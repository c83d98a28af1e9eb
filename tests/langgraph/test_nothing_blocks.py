"""Event loops under the detector by which ``langgraph dev`` ends a run: no call of ours may block one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError, blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

import pagefault
from pagefault_langgraph import (
    PagedState,
    PagefaultStore,
    PagingMiddleware,
    SchedulingMiddleware,
    open_store,
    paging_node,
    prompt_of,
    scheduled,
)
from tests.langgraph.scripted import TOOLS, ScriptedModel, words, worker_script

SMALL = pagefault.Budget(window=4_000, target=2_000)
CONFIG: Any = {"configurable": {"thread_id": "t", "user_id": "ada"}, "recursion_limit": 500}


@pytest.fixture(autouse=True)
def _detector() -> Iterator[None]:
    with blockbuster_ctx(scanned_modules=["pagefault", "pagefault_langgraph"]):
        yield


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_the_detector_sees_what_blocks(tmp_path: Path) -> None:
    async def on_the_loop() -> None:
        pagefault.open(tmp_path / "memory")

    with pytest.raises(BlockingError):
        run(on_the_loop())


def test_a_directory_is_opened_used_and_closed(tmp_path: Path) -> None:
    async def verbs() -> None:
        async with await pagefault.aopen(tmp_path / "memory") as memory:
            space = memory.space(thread="t", user="ada")
            await space.aappend([{"role": "user", "content": "My cat is called Turing."}])
            await space.aremember("diet", "vegan")
            assert (await space.arecall("What is my cat called?")).pages
            assert (await space.arecall("diet")).items
            assert (await space.afault("1")).pages
            await space.aview()
            await space.aforget(key="diet")
            await memory.aflush()

    for _ in range(2):  # a new directory, and one that is there already
        run(verbs())


@pytest.mark.parametrize("mode", ["values", "messages"])
def test_an_agent_pages_recalls_and_takes_turns(mode: Any, tmp_path: Path) -> None:
    model = ScriptedModel(worker_script(15))

    async def agent_at_work() -> None:
        async with await pagefault.aopen(tmp_path / "memory") as memory:
            middleware: Any = [PagingMiddleware(memory, budget=SMALL, manage=True)]
            middleware += [SchedulingMiddleware(pagefault.Scheduler(slots=1))]
            agent = create_agent(model, TOOLS, middleware=middleware, checkpointer=InMemorySaver())
            for turn in range(3):
                asked: Any = {"messages": [HumanMessage(f"Task {turn}: {words(str(turn), 40)}")]}
                async for _ in agent.astream(asked, CONFIG, stream_mode=mode):
                    pass
            state = await agent.aget_state(CONFIG)
            assert len(state.values["messages"]) > max(map(len, model.requests)), "nothing was reclaimed"

    run(agent_at_work())


@pytest.mark.parametrize("drop", [False, True])
def test_a_graph_with_a_paging_node(drop: Any, tmp_path: Path) -> None:
    plain = ScriptedModel(lambda call, _: AIMessage(words(f"answer {call}", 60)))
    model = scheduled(plain, pagefault.Scheduler(slots=1))

    async def ask(state: PagedState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(prompt_of(state))]}

    async def graph_at_work() -> None:
        async with await pagefault.aopen(tmp_path / "memory") as memory:
            builder = StateGraph(PagedState)
            builder.add_node("page", paging_node(memory, budget=SMALL, drop=drop))
            builder.add_node("ask", ask)
            builder.add_edge(START, "page")
            builder.add_edge("page", "ask")
            graph = builder.compile(checkpointer=InMemorySaver())
            for turn in range(12):
                await graph.ainvoke({"messages": [HumanMessage(words(f"question {turn}", 60))]}, CONFIG)

    run(graph_at_work())


def test_the_store_of_a_deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGEFAULT_MEMORY", str(tmp_path / "memory"))

    async def items() -> None:
        async with open_store() as store:
            assert isinstance(store, PagefaultStore)
            await store.aput(("ada",), "diet", {"text": "vegan"})
            assert await store.asearch(("ada",), query="vegan")
            assert await store.alist_namespaces()

    run(items())
