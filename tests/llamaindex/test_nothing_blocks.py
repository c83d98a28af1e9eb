"""Event loops under a detector of what blocks them: no call of ours may."""

from __future__ import annotations

import asyncio

import pytest
from blockbuster import blockbuster_ctx
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.workflow import Context

import pagefault
from pagefault_llamaindex import PagefaultMemory, PagefaultRetriever, paged, recall_tool, scheduled
from tests.llamaindex.scripted import LOOKUP, SYSTEM, ScriptedLLM, call, say

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex looks at old fields


@pytest.fixture(autouse=True)
def _detector():
    with blockbuster_ctx(scanned_modules=["pagefault", "pagefault_llamaindex"]):
        yield


def worker(number, request):
    if number % 3:
        return call(number, ("lookup", {"key": f"k{number}"}), ("recall", {"query": "what did k1 say?"}))
    return say(f"answer {number}: " + f"a{number} " * 20)


def test_an_agent_with_tools_and_a_context_that_is_written_down(tmp_path):
    llm = ScriptedLLM(worker)

    async def agent_at_work():
        async with await pagefault.aopen(tmp_path / "memory") as opened:
            memory = PagefaultMemory.from_defaults(opened, session_id="s", token_limit=600)
            wrapped = scheduled(paged(llm, memory), pagefault.Scheduler(slots=1))
            agent = FunctionAgent(llm=wrapped, tools=[LOOKUP, recall_tool(memory)], system_prompt=SYSTEM)
            context = Context(agent)
            for turn in range(8):
                await agent.run(f"question {turn} " + "and more " * 20, ctx=context, memory=memory)
                context = Context.from_dict(agent, context.to_dict())
            assert len(await memory.aget_all()) > max(map(len, llm.requests)), "nothing was reclaimed"
            assert await PagefaultRetriever(memory).aretrieve("answer 3")

    asyncio.run(agent_at_work())


def test_a_chat_engine(tmp_path):
    async def chat():
        async with await pagefault.aopen(tmp_path / "memory") as opened:
            memory = PagefaultMemory.from_defaults(opened, session_id="s", token_limit=400)
            llm = ScriptedLLM(lambda number, _: say(f"answer {number} " * 20))
            engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
            for turn in range(6):
                await engine.achat(f"question {turn} " * 20)
                stream = await engine.astream_chat(f"again {turn} " * 20)
                async for _ in stream.async_response_gen():
                    pass
            await memory.areset()

    asyncio.run(chat())
