"""What surrounds a conversation in a request counts: tool schemas, system prompt, messages of other middleware."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import wrap_model_call
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

import pagefault
from pagefault.messages.projection import compact
from pagefault.tokens import default_counter
from pagefault_langgraph import PagingMiddleware, paged
from pagefault_langgraph.overhead import Overhead
from tests.langgraph.scripted import TOOLS, ScriptedModel, words, worker_script
from tests.langgraph.test_long_run import tokens

BUDGET = pagefault.Budget(window=2_000, target=1_800, reserve=200)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 500}
STEPS = 30
LARGE = StructuredTool.from_function(lambda key: key, name="large", description=words("schema", 180))


def check(requests: list[list[BaseMessage]], around: int) -> None:
    """With what surrounds them, all requests fit, and the room is used."""
    assert len(requests) == STEPS
    largest = max(tokens(request) for request in requests) + around
    assert BUDGET.target * 0.75 < largest <= BUDGET.target
    assert around > 700, "without it they would fit as well"


def schemas(tools: list[Any]) -> int:
    return sum(default_counter().count(compact(convert_to_openai_tool(tool))) for tool in tools)


def test_tool_schemas_and_system_prompt(memory: pagefault.Memory) -> None:
    model = ScriptedModel(worker_script(STEPS))
    paging = PagingMiddleware(memory, budget=BUDGET, recall=False)
    agent = create_agent(model, [*TOOLS, LARGE], middleware=[paging], system_prompt="Be careful.")
    agent.invoke({"messages": [("user", "go")]}, CONFIG)
    check(model.requests, schemas([*TOOLS, LARGE]))


def test_who_asks_while_another_does_is_told_of_its_own_tools() -> None:
    """As threads that share a middleware do."""
    overhead = Overhead(default_counter)

    class Overtaken(dict[str, str]):
        def __eq__(self, other: object) -> bool:
            overhead.of(None, TOOLS)
            return True

        __hash__ = None

    small = overhead.of(None, [Overtaken(name="a")])
    assert overhead.of(None, [Overtaken(name="a")]) == small < overhead.of(None, TOOLS)


SHAPE: Any = {
    "title": "Shape",
    "type": "object",
    "properties": {"a": {"type": "string", "description": words("s", 180)}},
}


@pytest.mark.parametrize("shape", [ToolStrategy(SHAPE), ProviderStrategy(SHAPE), AutoStrategy(SHAPE), SHAPE])
def test_the_shape_of_a_structured_answer(memory: pagefault.Memory, shape: Any) -> None:
    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        return AIMessage('{"a": "done"}') if call == STEPS else worker_script(STEPS)(call, messages)

    model = ScriptedModel(script)
    paging = PagingMiddleware(memory, budget=BUDGET, recall=False)
    agent: Any = create_agent(model, TOOLS, middleware=[paging], response_format=shape)
    agent.invoke({"messages": [("user", "go")]}, CONFIG)
    check(model.requests, schemas(TOOLS) + default_counter().count(compact(SHAPE)))


def test_messages_of_other_middleware(memory: pagefault.Memory) -> None:
    hint = HumanMessage(words("hint", 160))

    @wrap_model_call
    def hints(request: Any, handler: Any) -> Any:
        return handler(request.override(messages=[*request.messages, hint]))

    model = ScriptedModel(worker_script(STEPS))
    middleware: list[Any] = [hints, PagingMiddleware(memory, budget=BUDGET, recall=False)]
    agent = create_agent(model, TOOLS, middleware=middleware)
    agent.invoke({"messages": [("user", "go")]}, CONFIG)
    assert all(request[-1].content == hint.content for request in model.requests)
    check([request[:-1] for request in model.requests], tokens([hint]) + schemas(TOOLS))


@pytest.mark.parametrize("is_shape", [False, True])
def test_what_a_paged_model_is_bound_to(memory: pagefault.Memory, *, is_shape: bool) -> None:
    base = ScriptedModel(worker_script(STEPS))
    place = pagefault.SpaceId(tenant="default", user="", thread="t", agent="")
    model = paged(base, memory, budget=BUDGET, identity=lambda config: place)
    tools = [convert_to_openai_tool(tool) for tool in (*TOOLS, LARGE)]
    bound = model.bind(tools=tools[:2], response_format=tools[2]) if is_shape else model.bind(tools=tools)
    history: list[Any] = [HumanMessage("go", id="h")]
    for number in range(STEPS):
        answer = bound.invoke([SystemMessage("Be careful.", id="s"), *history])
        history += [answer]
        history += [TOOLS[c["name"] == "measure"].invoke(c) for c in answer.tool_calls]
        history += [] if answer.tool_calls else [HumanMessage("go on", id=f"h{number}")]
    check(base.requests, schemas([*TOOLS, LARGE]))
