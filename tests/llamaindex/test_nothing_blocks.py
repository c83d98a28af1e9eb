"""Event loops under a detector of what blocks them: no call of ours may."""

from __future__ import annotations

import asyncio

import pytest
from blockbuster import BlockingError, blockbuster_ctx
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.workflow import Context

import pagefault
from pagefault_llamaindex import PagefaultMemory, PagefaultRetriever, paged, recall_tool, remember_tool, scheduled
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


def test_a_memory_that_is_opened_by_its_path(tmp_path):
    async def chat():
        history = [ChatMessage(role="user", content="My cat is called Turing.")]
        memory = await PagefaultMemory.afrom_defaults(tmp_path / "memory", session_id="s", chat_history=history)
        await memory.aput(say("A fine name."))
        await memory.aclose()
        again = await PagefaultMemory.afrom_defaults(tmp_path / "memory", session_id="s")
        assert [m.content for m in await again.aget("What is it called?")] == [history[0].content, "A fine name."]
        await again.aclose()

    asyncio.run(chat())


def session_written_down(tmp_path):
    """What a workflow's ``Context`` holds of a memory that nobody has open any more."""
    memory = PagefaultMemory.from_defaults(tmp_path / "memory", session_id="s")
    memory.put(ChatMessage(role="user", content="My cat is called Turing."))
    context = Context(FunctionAgent(llm=ScriptedLLM(worker)))
    asyncio.run(context.store.set("memory", memory))
    written = context.to_dict()
    memory.close()
    return written


def restored(written):
    return asyncio.run(Context.from_dict(FunctionAgent(llm=ScriptedLLM(worker)), written).store.get("memory"))


USES = {
    "aget": lambda memory: memory.aget("What is it called?"),
    "aget_all": lambda memory: memory.aget_all(),
    "aput": lambda memory: memory.aput(say("A fine name.")),
    "aput_messages": lambda memory: memory.aput_messages([say("A fine name.")]),
    "aset": lambda memory: memory.aset([say("A fine name.")]),
    "areset": lambda memory: memory.areset(),
    "retriever": lambda memory: PagefaultRetriever(memory).aretrieve("the cat"),
    "recall": lambda memory: recall_tool(memory).acall(query="the cat"),
    "remember": lambda memory: remember_tool(memory).acall(key="cat", value="Turing"),
    "paged": lambda memory: paged(ScriptedLLM(lambda *_: say("yes")), memory).achat([say("A fine name.")]),
}


def test_a_session_that_was_written_down_is_opened_beside_the_loop(tmp_path):
    written = session_written_down(tmp_path)
    blocked = {}
    for name, use in USES.items():
        memory = restored(written)
        try:
            asyncio.run(use(memory))
        except BlockingError as error:
            blocked[name] = error
        memory.memory.close()
    assert not blocked


def test_a_restored_context_is_opened_beside_the_loop(tmp_path):
    written = session_written_down(tmp_path)

    async def go_on():
        llm = ScriptedLLM(lambda *_: say("Turing."))
        agent = FunctionAgent(llm=llm, tools=[LOOKUP])
        await agent.run("What is my cat called?", ctx=Context.from_dict(agent, written))
        assert [m.content for m in llm.requests[0]][-2:] == ["My cat is called Turing.", "What is my cat called?"]

    asyncio.run(go_on())
    restored(written).memory.close()
