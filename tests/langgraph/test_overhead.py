"""What surrounds a conversation in a request counts: tool schemas, system prompt, messages of other middleware."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import dynamic_prompt, wrap_model_call
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool

import pagefault
from pagefault.messages.projection import compact
from pagefault.paths.overhead import Overhead
from pagefault.tokens import default_counter
from pagefault_langgraph import PagingMiddleware, paged
from pagefault_langgraph.messages import LANGCHAIN
from pagefault_langgraph.overhead import are_same
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
    overhead = Overhead(LANGCHAIN, default_counter, convert_to_openai_tool)

    class Overtaken(dict[str, str]):
        def __eq__(self, other: object) -> bool:
            overhead.schemas(TOOLS)
            return True

        __hash__ = None

    small = overhead.schemas([Overtaken(name="a")])
    assert overhead.schemas([Overtaken(name="a")]) == small < overhead.schemas(TOOLS)


class Recording:
    """Counts words, and remembers of what."""

    name, reserve = "words", 0.0

    def __init__(self) -> None:
        self.texts: list[str] = []

    def count(self, text: str) -> int:
        self.texts.append(text)
        return len(text.split())


@pytest.mark.parametrize("described", [False, True])
def test_what_is_the_same_by_value_is_counted_once(described):
    """A tool that was described is another one than its copy, for Pydantic."""
    counter = Recording()
    overhead = Overhead(LANGCHAIN, lambda: counter, convert_to_openai_tool, are_same)
    large = StructuredTool.from_function(lambda key: key, name="large", description=words("schema", 180))
    if described:
        convert_to_openai_tool(large)
    marked = [large.model_copy(update={"extras": {"cache_control": {"type": "ephemeral"}}}) for _ in range(3)]
    asked = [(SystemMessage("be good"), [*TOOLS, copy]) for copy in marked]
    first, *again = (overhead.messages([system]) + overhead.schemas(tools) for system, tools in asked)
    assert again == [first, first]
    assert len(counter.texts) == len(set(counter.texts)) > 3
    renamed = large.model_copy(update={"description": words("other", 190)})
    assert overhead.schemas([*TOOLS, renamed]) > overhead.schemas([*TOOLS, large])
    assert not are_same([large], [large, large])
    assert not are_same([large], ["large"])


def test_two_agents_that_share_a_model_do_not_push_each_other_out() -> None:
    counter = Recording()
    overhead = Overhead(LANGCHAIN, lambda: counter, dict)
    for _ in range(3):
        for name in "ab":
            overhead.messages([SystemMessage(f"you are {name}")])
            overhead.schemas([{"name": name}])
    assert len(counter.texts) == len(set(counter.texts)) == 4


def test_what_was_written_into_is_counted_anew() -> None:
    overhead = Overhead(LANGCHAIN, Recording, convert_to_openai_tool)
    system = SystemMessage("be good")
    before = overhead.messages([system])
    system.content = "be good and careful"
    assert overhead.messages([system]) == before + 2


def test_what_was_written_into_a_part_is_counted_anew() -> None:
    overhead = Overhead(LANGCHAIN, Recording, convert_to_openai_tool)
    system = SystemMessage([{"type": "text", "text": "be good"}])
    before = overhead.messages([system])
    system.content.append({"type": "text", "text": "and careful"})  # type: ignore[union-attr]  # it is a list
    assert overhead.messages([system]) == before + 2
    system.content[0]["text"] = "be very good"  # type: ignore[index]  # as above
    assert overhead.messages([system]) == before + 3


@pytest.mark.parametrize("odd", [threading.Lock(), object()], ids=["cannot be copied", "equals itself alone"])
def test_what_has_no_copy_of_its_own_is_counted_once(odd: object) -> None:
    counter = Recording()
    overhead = Overhead(LANGCHAIN, lambda: counter, convert_to_openai_tool)
    system = SystemMessage("be good", additional_kwargs={"odd": odd})
    assert overhead.messages([system]) == overhead.messages([system])
    assert counter.texts == ["be good"]


def test_of_tools_that_are_chosen_anew_for_each_call_each_is_described_once() -> None:
    described: list[str] = []

    def schema(tool: Any) -> Any:
        described.append(tool.name)
        return convert_to_openai_tool(tool)

    overhead, tools = Overhead(LANGCHAIN, Recording, schema), [*TOOLS, LARGE]
    alone = [overhead.schemas([tool]) for tool in tools]
    assert overhead.schemas(tools) == sum(alone)
    assert overhead.schemas(tools[1:]) == sum(alone[1:])
    assert described == [tool.name for tool in tools]


def test_a_prompt_that_is_written_anew_for_each_call_is_counted_once() -> None:
    counter = Recording()
    model = ScriptedModel(worker_script(STEPS))
    with pagefault.open(":memory:", embedder=None, counter=counter) as memory:
        middleware: list[Any] = [dynamic_prompt(lambda _: "Be careful."), PagingMiddleware(memory, budget=BUDGET)]
        agent = create_agent(model, [*TOOLS, LARGE], middleware=middleware)
        agent.invoke({"messages": [("user", "go")]}, CONFIG)
    assert sum("Be careful." in text for text in counter.texts) == 1
    assert sum(LARGE.description in text for text in counter.texts) == 1


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
