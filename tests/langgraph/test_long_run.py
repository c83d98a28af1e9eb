"""The main promise: hundreds of steps in a small window, nothing lost, every request valid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault.messages import canonical
from pagefault.page import Kind
from pagefault.paths.content import materialise
from pagefault.tokens import default_counter
from pagefault_langgraph import PagingMiddleware
from pagefault_langgraph.messages import LANGCHAIN
from tests.langgraph.scripted import TOOLS, ScriptedModel, is_extension, last_user, problems, worker_script

BUDGET = pagefault.Budget(window=4_000, target=3_600, reserve=400)
SYSTEM = "You are a careful archivist. Rule one: never delete a record."
TURNS, STEPS = 10, 30


def run_sync(agent: Any, payload: dict[str, Any], config: Any) -> None:
    agent.invoke(payload, config)


def run_async(agent: Any, payload: dict[str, Any], config: Any) -> None:
    asyncio.run(agent.ainvoke(payload, config))  # a new event loop for every turn


def run_stream(agent: Any, payload: dict[str, Any], config: Any) -> None:
    for chunk, _ in agent.stream(payload, config, stream_mode="messages"):
        assert not str(chunk.id).startswith("pagefault-"), "a block leaked into the user's stream"


def run_astream(agent: Any, payload: dict[str, Any], config: Any) -> None:
    async def drink() -> None:
        async for chunk, _ in agent.astream(payload, config, stream_mode="messages"):
            assert not str(chunk.id).startswith("pagefault-")

    asyncio.run(drink())


RUNNERS: list[Callable[[Any, dict[str, Any], Any], None]] = [run_sync, run_async, run_stream, run_astream]


def tokens(messages: list[BaseMessage]) -> int:
    return materialise(messages, LANGCHAIN, default_counter(), Kind.MESSAGE).tokens


@pytest.mark.parametrize("run", RUNNERS)
def test_three_hundred_steps_in_four_thousand_tokens(run: Any, tmp_path: Path) -> None:
    model = ScriptedModel(worker_script(STEPS))
    with pagefault.open(tmp_path / "memory") as memory:
        agent = create_agent(
            model, TOOLS, middleware=[PagingMiddleware(memory, budget=BUDGET)], system_prompt=SYSTEM,
            checkpointer=InMemorySaver(),
        )  # fmt: skip
        config = {"configurable": {"thread_id": "long"}, "recursion_limit": 1_000}
        for turn in range(TURNS):
            run(agent, {"messages": [("user", f"please do the work of turn {turn}")]}, config)
        history = agent.get_state(config).values["messages"]
        assert len(model.requests) == TURNS * STEPS
        check_requests(model.requests)
        memory.flush()
    check_faults(tmp_path / "memory", history)


def check_requests(requests: list[list[BaseMessage]]) -> None:
    breaks = 0
    for number, request in enumerate(requests):
        assert not problems(request), (number, problems(request))
        assert tokens(request) <= BUDGET.window - BUDGET.reserve, number
        assert isinstance(request[0], SystemMessage)
        assert request[0].content == SYSTEM
        asked = last_user(request)
        assert asked is not None
        assert asked.content == f"please do the work of turn {number // STEPS}"
        if number and not is_extension(requests[number - 1], request):
            breaks += 1
            blocks = [m for m in request if str(m.id).startswith("pagefault-")]
            before = [m for m in requests[number - 1] if str(m.id).startswith("pagefault-")]
            assert blocks != before, f"request {number} neither extends the last nor follows a reclaim"
    assert 5 < breaks < len(requests) // 8, f"{breaks} reclaims in {len(requests)} steps"


def check_faults(directory: Path, history: list[BaseMessage]) -> None:
    """A new process' view of the directory: every page comes back as the framework still has it."""
    with pagefault.open(directory) as memory:
        space = memory.space(thread="long")
        restored: list[Any] = []
        number = 0
        while len(restored) < len(history) - 1:
            number += 1
            (found,) = space.fault(number).pages
            body = canonical.load(found.page.body)
            natives = history[len(restored) : len(restored) + len(body)]
            assert found.page.body == canonical.dump([LANGCHAIN.encode(n) for n in natives])[0]
            decoded = [LANGCHAIN.decode(item) for item in body]
            assert decoded == natives
            restored += decoded
        assert number > TURNS * STEPS * 0.9
