"""Agents of deepagents, with its files, sub-agents and summaries, and our paging beside them.

deepagents wants versions of some packages that do not go with ours, so it is no part of the development
environment: ``make test-deepagents`` makes one of its own and runs this file.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault_langgraph import PagingMiddleware
from tests.langgraph.scripted import TOOLS, ScriptedModel, is_extension, problems, words
from tests.langgraph.test_long_run import tokens

NOT_RUN = "deepagents is not installed, its agents were NOT tested: run `make test-deepagents`"
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
BUDGET = pagefault.Budget(window=16_000, target=14_000, reserve=1_000)
SMALL = pagefault.Budget(window=12_000, target=9_000, reserve=1_000)
CONFIG: Any = {"configurable": {"thread_id": "deep"}, "recursion_limit": 2_000}
TURNS, STEPS = 6, 40


def deep_agent(model: ScriptedModel, **options: Any) -> Any:
    deepagents = pytest.importorskip("deepagents", reason=NOT_RUN)
    return deepagents.create_deep_agent(model, TOOLS, checkpointer=InMemorySaver(), **options)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Of warnings, what its packages say among themselves is not ours to judge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def call(name: str, number: int, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"c{number}"}], id=f"ai-{number}")


def boss(number: int, _: list[BaseMessage]) -> AIMessage:
    """Writes and reads files, gives tasks away, two at once too, and looks things up."""
    step = number % STEPS
    if step == 0:
        return AIMessage(f"turn done at {number}: {words(f'b{number}', 6)}", id=f"ai-{number}")
    if step == 5:
        return call("write_file", number, file_path=f"/notes{number}.txt", content=words(f"f{number}", 40))
    if step == 8:
        return call("read_file", number, file_path=f"/notes{number - 3}.txt")
    if step in {12, 30}:
        task = {"description": f"read about {number}", "subagent_type": "reader"}
        calls = [{"name": "task", "args": task, "id": f"c{number}a"}]
        if step == 30:
            calls.append({"name": "task", "args": task | {"subagent_type": "writer"}, "id": f"c{number}b"})
        return AIMessage("", tool_calls=calls, id=f"ai-{number}")
    return call("lookup", number, key=f"k{number}")


def worker(steps: int) -> Any:
    def script(number: int, _: list[BaseMessage]) -> AIMessage:
        if number % steps == 0:
            return AIMessage(f"report {number}", id=f"w-{number}")
        return call("lookup", number, key=f"w{number}")

    return script


def check(requests: list[list[BaseMessage]], budget: pagefault.Budget) -> int:
    """Valid and within the budget; how many requests do not begin with the one before."""
    for request in requests:
        assert not problems(request)
        assert tokens(request) <= budget.window - budget.reserve
    return sum(not is_extension(one, next_) for one, next_ in itertools.pairwise(requests))


def test_a_deep_agent_and_its_sub_agents_page(memory: pagefault.Memory) -> None:
    model = ScriptedModel(boss)
    workers = {name: ScriptedModel(worker(30)) for name in ("reader", "writer")}
    subagents = [
        {
            "name": name,
            "description": f"a {name}",
            "system_prompt": f"You are a {name}.",
            "model": workers[name],
            "tools": TOOLS,
            "middleware": [PagingMiddleware(memory, budget=SMALL)],
        }
        for name in workers
    ]
    agent = deep_agent(model, middleware=[PagingMiddleware(memory, budget=BUDGET)], subagents=subagents, name="boss")
    for turn in range(TURNS):
        agent.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    assert len(model.requests) == TURNS * STEPS
    breaks = check(model.requests, BUDGET)
    print(f"boss: {breaks} reclaims in {len(model.requests)} requests")
    assert 1 < breaks < len(model.requests) // 8
    for name, each in workers.items():
        print(f"{name}: {len(each.requests)} requests")
        check(each.requests, SMALL)
        assert len(each.requests) == 30 * TURNS * (2 if name == "reader" else 1)
    spaces = {space.agent for space in memory.core._recent}
    assert {agent.split("/")[0] for agent in spaces} == {"boss", "reader", "writer"}
    state = agent.get_state(CONFIG).values
    assert len(state["files"]) == TURNS
    assert len([m for m in state["messages"] if isinstance(m, HumanMessage)]) == TURNS
    memory.flush()
    (main,) = [space for space in memory.core._recent if space.agent == "boss"]
    path = memory.space(thread="deep", agent=main.agent)
    texts = [page.page.text for page in path.fault("1-20").pages]
    assert texts[0] == "turn 0"


def test_beside_its_own_summaries(memory: pagefault.Memory) -> None:
    """Its summaries begin at a share of the model's window; ours are beside them, and every request stays valid."""

    def script(number: int, messages: list[BaseMessage]) -> AIMessage:
        asked = str(messages[-1].content)
        if "context extraction" in asked.lower() or "summar" in asked.lower()[:2_000]:
            return AIMessage(f"a summary at {number}", id=f"s-{number}")
        return boss(number, messages) if number % STEPS not in {12, 30} else call("lookup", number, key="x")

    model = ScriptedModel(script, profile={"max_input_tokens": 16_000})
    agent = deep_agent(model, middleware=[PagingMiddleware(memory, budget=BUDGET)])
    for turn in range(TURNS):
        agent.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
    requests = [r for r in model.requests if len(r) > 1]
    state = agent.get_state(CONFIG).values
    assert state["_summarization_event"], "it made no summary, so nothing was tested"
    check(requests, BUDGET)
    assert len(state["messages"]) > TURNS * STEPS


def test_without_us_it_does_the_same(memory: pagefault.Memory) -> None:
    """What the agent leaves in its state is the same with paging and without."""
    states = []
    for middleware in ([], [PagingMiddleware(memory, budget=BUDGET)]):
        agent = deep_agent(
            ScriptedModel(lambda n, m: boss(n, m) if n % STEPS not in {12, 30} else call("ls", n, path="/")),
            middleware=middleware,
        )
        for turn in range(2):
            agent.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, CONFIG)
        values = agent.get_state(CONFIG).values
        states.append(([(m.type, m.content) for m in values["messages"]], sorted(values["files"])))
    assert states[0] == states[1]
