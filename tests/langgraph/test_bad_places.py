"""A store or an embedder that an agent cannot use: typed errors with a way out, and nothing is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from qdrant_edge import UpdateOperation

import pagefault
from pagefault.chain import point_id
from pagefault.errors import EmbedderError, StoreDenied, StoreError, StoreLocked, StoreMismatch, StoreUnreachable
from pagefault.messages import canonical
from pagefault.ports import Header
from pagefault.stores import EdgeStore
from pagefault.testing import ThreadRunner
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import BrokenEmbedder
from pagefault_langgraph import PagingMiddleware
from pagefault_langgraph.messages import LANGCHAIN
from tests.kernel.support import store_alone
from tests.langgraph.scripted import TOOLS, Script, ScriptedModel, problems, words, worker_script
from tests.stores.rest_port import RestPort
from tests.stores.rest_server import said

BUDGET = pagefault.Budget(window=2_000, target=1_500, reserve=200)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 500}
STEPS = 20


class Chat:
    """An agent and what became of its conversation."""

    def __init__(self, memory: pagefault.Memory, script: Script | None = None) -> None:
        self.memory = memory
        self.model = ScriptedModel(script or worker_script(STEPS))
        paging = PagingMiddleware(memory, budget=BUDGET)
        self.agent: Any = create_agent(self.model, TOOLS, middleware=[paging], checkpointer=InMemorySaver())

    def ask(self, text: str) -> str:
        done = self.agent.invoke({"messages": [HumanMessage(text, id=text)]}, CONFIG)
        return str(done["messages"][-1].content)

    async def aask(self, text: str) -> str:
        done = await self.agent.ainvoke({"messages": [HumanMessage(text, id=text)]}, CONFIG)
        return str(done["messages"][-1].content)

    @property
    def history(self) -> list[BaseMessage]:
        messages: list[BaseMessage] = self.agent.get_state(CONFIG).values["messages"]
        return messages

    def check(self) -> None:
        """Every request was valid, and the store has, byte for byte, what the state has."""
        assert not [p for request in self.model.requests for p in problems(request)]
        self.memory.flush()
        space = self.memory.space(thread="t")
        with store_alone():
            pages = space.fault(f"1-{space.paging.lineages[0].length}", budget=200).pages
        restored = [LANGCHAIN.decode(item) for page in pages for item in canonical.load(page.page.body)]
        assert restored == self.history[: len(restored)]
        assert len(restored) >= len(self.history) - 1


def recalling(args: dict[str, str], worked: int = STEPS) -> Script:
    """Works, then calls recall at each question that begins with "recall", and answers with what it gave."""
    worker = worker_script(worked)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        last = messages[-1]
        if isinstance(last, HumanMessage) and str(last.content).startswith("recall"):
            return AIMessage("", tool_calls=[{"name": "recall", "args": args, "id": f"r{call}"}], id=f"ask{call}")
        if isinstance(last, ToolMessage) and last.name == "recall":
            return AIMessage(str(last.content), id=f"answer{call}")
        return worker(call, messages)

    return script


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with RestPort() as port:
        yield port
        assert port.rest.broken == []


async def refuses(request: Any, execute: Any) -> Any:
    """A server that was given another key."""
    return said(401, "Invalid API key or JWT")


# -- the store -----------------------------------------------------------------------------------


def test_a_server_that_is_not_there_at_the_start_and_comes_later(port: RestPort) -> None:
    port.stop()
    with pagefault.open(port.url, embedder=None) as memory:
        chat = Chat(memory)
        with pytest.raises(StoreUnreachable, match=rf"127\.0\.0\.1:{port.port} .*Check that a Qdrant server answers"):
            chat.ask("first")
        assert chat.model.requests == []
        assert [m.id for m in chat.history] == ["first"], "the framework's state keeps what was asked"
        port.start()
        assert asyncio.run(chat.aask("second")).startswith("turn done")
        chat.check()


def test_a_key_that_the_server_refuses_at_the_start(port: RestPort) -> None:
    port.rest.fault = refuses
    with pagefault.open(port.url, embedder=None) as memory:
        chat = Chat(memory)
        for ask in (chat.ask, lambda text: asyncio.run(chat.aask(text))):
            with pytest.raises(StoreDenied, match=r"refused \(status 401.*QDRANT_API_KEY"):
                ask("first")
        assert [m.id for m in chat.history] == ["first"]


def test_a_key_that_the_server_refuses_from_now_on(port: RestPort, caplog: pytest.LogCaptureFixture) -> None:
    with pagefault.open(port.url, embedder=None) as memory:
        chat = Chat(memory, recalling({"query": "record k2"}))
        chat.ask("first")
        memory.flush()
        port.rest.fault = refuses
        for turn in range(3):
            assert chat.ask(f"work {turn}").startswith("turn done")
        assert "QDRANT_API_KEY" in chat.ask("recall now"), "the model is told why"
        with pytest.raises(StoreDenied, match="QDRANT_API_KEY"):
            memory.flush()
        assert caplog.text.count("write-back waits") == 1, "said once"
        port.rest.fault = None
        assert words("k2", 18) in chat.ask("recall again")
        chat.check()


def test_a_server_that_is_too_old(port: RestPort) -> None:
    port.rest.version = "1.16.3"
    with pagefault.open(port.url, embedder=None) as memory:
        chat = Chat(memory)
        with pytest.raises(StoreError, match=r"runs Qdrant 1\.16\.3.*needs 1\.17.*upgrade"):
            chat.ask("first")
        assert [m.id for m in chat.history] == ["first"]
        port.rest.version = "1.19.0"  # it was upgraded
        chat.ask("second")
        chat.check()


def test_a_directory_that_another_has_open_until_it_lets_go(tmp_path: Path) -> None:
    with ThreadRunner() as run:
        other = EdgeStore(tmp_path, run=run)  # as another process would
        asyncio.run(other.open(Header()))
        with pagefault.open(tmp_path, embedder=None) as memory:
            chat = Chat(memory)
            with pytest.raises(StoreLocked, match=r"open in another process.*qdrant://"):
                chat.ask("first")
            assert [m.id for m in chat.history] == ["first"]
            asyncio.run(other.close())
            assert chat.ask("second").startswith("turn done")
            chat.check()


def test_a_directory_of_another_embedder(tmp_path: Path) -> None:
    with pagefault.open(tmp_path, embedder=HashingEmbedder(dimension=64)) as memory:
        Chat(memory).ask("first")
    with pagefault.open(tmp_path, embedder=HashingEmbedder(dimension=32)) as memory:
        chat = Chat(memory)
        with pytest.raises(StoreMismatch, match=r"64 dimensions.*32 dimensions.*pagefault reindex"):
            chat.ask("second")
        assert [m.id for m in chat.history] == ["second"]


def test_a_damaged_page_is_told_to_the_model_and_the_rest_is_read(tmp_path: Path) -> None:
    with pagefault.open(tmp_path, embedder=None) as memory:
        chat = Chat(memory, recalling({"addresses": "3"}))
        chat.ask("first")
        memory.flush()
        space = memory.space(thread="t")
        point = point_id(space.id.key, space.paging.lineages[0].slots[2].chain)

        async def spoil() -> None:
            store: Any = memory.core.store
            change = UpdateOperation.set_payload([point], {"body": "[]"})
            await store._call(lambda shard: shard.update(change), urgent=True)

        memory.core.kernel.call(spoil())
        assert words("k2", 18) in chat.ask("recall what is here"), "the agent's own state has it whole"
        with store_alone():
            answer = chat.ask("recall it")
        assert "recall failed: page 3" in answer
        assert "does not match its sha256" in answer
        assert space.fault("4").pages[0].page.text.startswith("step 3")
        assert chat.ask("work").startswith("turn done")


# -- the embedder --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["raises", "dimension", "hangs"])
@pytest.mark.parametrize("is_async", [False, True])
def test_an_embedder_that_fails_in_the_middle_of_a_run(
    monkeypatch: pytest.MonkeyPatch, fault: Any, *, is_async: bool
) -> None:
    embedder = BrokenEmbedder(HashingEmbedder())
    with pagefault.open(":memory:", embedder=embedder) as memory:
        chat = Chat(memory, recalling({"query": "record k4"}))
        ask = (lambda text: asyncio.run(chat.aask(text))) if is_async else chat.ask
        ask("first")
        memory.flush()
        monkeypatch.setattr(
            "pagefault.embedders.calls.UNIT_SECONDS", 0.3
        )  # what answers may take as long as the machine does
        monkeypatch.setattr("pagefault.embedders.calls.QUERY_SECONDS", 0.3)
        embedder.fault = fault
        assert ask("work").startswith("turn done")
        assert words("k4", 18) in ask("recall it"), "full text finds it meanwhile"
        with pytest.raises(EmbedderError, match="fake-hashing"):
            memory.flush()
        monkeypatch.undo()
        embedder.fault = ""
        embedder.release.set()
        until_flushed(memory)
        chat.check()


def until_flushed(memory: pagefault.Memory) -> None:
    """An embedder that hung is asked again once its call has come back."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return memory.flush()
        except EmbedderError:
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
