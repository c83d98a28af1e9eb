"""What else an agent can be asked for: each run ends as with the memory that LlamaIndex has itself, which keeps all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ImageBlock, TextBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from pydantic import BaseModel

import pagefault
from pagefault_llamaindex import PagefaultMemory, paged
from tests.llamaindex.scripted import LOOKUP, SYSTEM, Script, ScriptedLLM, call, problems, say, tokens

TURNS = 14
LIMIT = 500


class Report(BaseModel):
    """An answer in a shape of its own."""

    text: str


def direct(key: str) -> str:
    """Answer at once."""
    return f"direct {key}"


def broken(key: str) -> str:
    """Break."""
    raise RuntimeError(f"{key} broke")


async def human(ctx: Context, key: str) -> str:
    """Ask somebody."""
    asked = InputRequiredEvent(prefix=f"{key}?")  # type: ignore[call-arg]  # any field

    said = await ctx.wait_for_event(HumanResponseEvent, waiter_id=key, waiter_event=asked, requirements={})
    return f"somebody said {said.response}"


class Key(BaseModel):
    """What a tool is told."""

    key: str


TOOLS: list[Any] = [
    LOOKUP,
    broken,
    FunctionTool.from_defaults(direct, return_direct=True),
    FunctionTool.from_defaults(async_fn=human, fn_schema=Key),
]


class Shaping(ScriptedLLM):
    """Fills in a shape where it is asked for one."""

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        if any("Report" in str(tool) for tool in kwargs.get("tools") or ()):
            return ChatResponse(message=call(0, ("Report", {"text": "in shape"})))
        return super().chat(messages, **kwargs)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self.chat(messages, **kwargs)


def every_third(tool: str) -> Script:
    def answer(number: int, _: Sequence[ChatMessage]) -> ChatMessage:
        if number % 3:
            return say(f"answer {number} {'and so on ' * 20}")
        return call(number, (tool, {"key": f"k{number}"}))

    return answer


def picture(turn: int) -> ChatMessage:
    shown = [TextBlock(text=f"question {turn} {'indeed ' * 10}"), ImageBlock(url="http://127.0.0.1/cat.png")]
    return ChatMessage(role="user", blocks=shown)


class Case(NamedTuple):
    """What is asked of an agent, and how its model answers."""

    script: Script = every_third("lookup")
    agent: Mapping[str, Any] = MappingProxyType({})
    run: Mapping[str, Any] = MappingProxyType({})
    asked: Callable[[int], Any] = "question {0} {0}".format
    cancels: bool = False


CASES = {
    "a tool whose result is the answer": Case(every_third("direct")),
    "a tool that raises": Case(every_third("broken")),
    "a tool that nobody has": Case(every_third("nobody")),
    "a tool that asks somebody": Case(every_third("human")),
    "more steps than allowed": Case(lambda n, _: call(n, ("lookup", {"key": "k"})), run={"max_iterations": 4}),
    "a shape": Case(agent={"output_cls": Report}),
    "a shape made by code": Case(agent={"structured_output_fn": lambda messages: {"text": str(messages[-1].role)}}),
    "one call at a time": Case(agent={"allow_parallel_tool_calls": False}),
    "pictures": Case(asked=picture),
    "runs that are cancelled": Case(cancels=True),
}
OF_WORKFLOWS = {"output_cls", "structured_output_fn"}


async def asked(case: Case, llm: Any, memory: Any, *, in_workflow: bool) -> tuple[list[str], Any]:
    """What came of each turn, and the memory after the last: of the stock one the context has a copy."""
    of_all = {name: value for name, value in case.agent.items() if in_workflow and name in OF_WORKFLOWS}
    own = {name: value for name, value in case.agent.items() if name not in of_all}
    agent: Any = FunctionAgent(name="a", description="d", llm=llm, tools=TOOLS, system_prompt=SYSTEM, **own)
    agent = AgentWorkflow(agents=[agent], **of_all) if in_workflow else agent
    context, came = Context(agent), []
    for turn in range(TURNS):
        handler = agent.run(user_msg=case.asked(turn), memory=memory, ctx=context, **case.run)
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                handler.ctx.send_event(HumanResponseEvent(response=f"yes {turn}"))  # type: ignore[call-arg]  # as above
            if case.cancels and turn % 2 and isinstance(event, ToolCallResult):
                await handler.cancel_run()
        try:
            result = await handler
        except Exception as error:  # noqa: BLE001  # whatever the framework raises, both times
            came.append(repr(error))
            context = Context(agent)
        else:
            came.append(f"{result} {result.structured_response}")
    return came, await context.store.get("memory", default=memory)


@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::DeprecationWarning", "ignore:Skipping serialization"
)  # LlamaIndex's own: of its memory, which cannot be written down with a picture, for one
@pytest.mark.parametrize("in_workflow", [False, True], ids=["agent", "workflow"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_it_ends_as_with_a_memory_that_keeps_all(case, in_workflow):
    stock, theirs = Shaping(case.script), ChatMemoryBuffer.from_defaults(token_limit=10**7)
    expected, theirs = asyncio.run(asked(case, stock, theirs, in_workflow=in_workflow))
    with pagefault.open(":memory:", embedder=None) as backend:
        memory, llm = PagefaultMemory.from_defaults(backend, session_id="s", token_limit=LIMIT), Shaping(case.script)
        came, _ = asyncio.run(asked(case, paged(llm, memory), memory, in_workflow=in_workflow))
        ours = memory.get_all()
    assert came == expected
    assert [(m.role, m.blocks) for m in ours] == [(m.role, m.blocks) for m in theirs.get_all()]
    assert len(llm.requests) == len(stock.requests) >= TURNS
    assert any(len(ours) < len(theirs) for ours, theirs in zip(llm.requests, stock.requests, strict=True))
    for request in llm.requests:
        assert problems(request) == []
        assert tokens(request) <= LIMIT or case.asked is picture
