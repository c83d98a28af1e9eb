"""LLMs that take turns: every way of chatting is one turn, charged by what its response reports."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span_handlers import SimpleSpanHandler

import pagefault
from pagefault_llamaindex import NotSchedulable, PagefaultMemory, paged, scheduled
from tests.llamaindex.scripted import ScriptedLLM, call, lookup, say


def answer(number: int, messages: Any) -> ChatMessage:
    return say(f"answer {number}")


class Reporting(ScriptedLLM):
    """Reports usage in the raw response, as integrations of the large providers do."""

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        response = super().chat(messages, **kwargs)
        response.raw = {"usage": SimpleNamespace(prompt_tokens=100, completion_tokens=7)}
        return response


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex looks at old fields
HI = [ChatMessage(role="user", content="hi")]


def chat(llm: Any) -> Any:
    llm.chat(HI)


def stream(llm: Any) -> Any:
    assert list(llm.stream_chat(HI))


def achat(llm: Any) -> Any:
    asyncio.run(llm.achat(HI))


def astream(llm: Any) -> Any:
    async def drink() -> None:
        assert [chunk async for chunk in await llm.astream_chat(HI)]

    asyncio.run(drink())


def complete(llm: Any) -> Any:
    llm.complete(prompt="hi")


def stream_complete(llm: Any) -> Any:
    assert list(llm.stream_complete("hi"))


def acomplete(llm: Any) -> Any:
    asyncio.run(llm.acomplete("hi"))


def astream_complete(llm: Any) -> Any:
    async def drink() -> None:
        assert [chunk async for chunk in await llm.astream_complete("hi")]

    asyncio.run(drink())


def predict(llm: Any) -> Any:
    assert llm.predict(PromptTemplate("{it}"), it="hi")


def apredict(llm: Any) -> Any:
    assert asyncio.run(llm.apredict(PromptTemplate("{it}"), it="hi"))


def scripted() -> ScriptedLLM:
    return ScriptedLLM(answer)


@pytest.mark.parametrize(
    ("way", "make"),
    [
        *((way, MockLLM) for way in (complete, stream_complete, acomplete, astream_complete, predict, apredict)),
        *((way, scripted) for way in (complete, acomplete, predict, apredict)),  # a chat model: it predicts by a chat
    ],
)
def test_each_completion_is_one_turn(way, make):
    scheduler = pagefault.Scheduler(slots=1)
    with pagefault.open(":memory:", embedder=None) as memory:
        for llm in (scheduled(make(), scheduler, timeout=20), scheduled(paged(make(), memory), scheduler, timeout=20)):
            way(llm)
    assert scheduler.usage("agent").turns == 2
    assert scheduler.state().turns == ()


@pytest.mark.parametrize("way", [chat, stream, achat, astream, complete])
def test_a_wrapped_llm_opens_the_spans_of_the_llm_and_no_others(way):
    spans, root = SimpleSpanHandler(), get_dispatcher()
    with pagefault.open(":memory:", embedder=None) as memory:
        llms = (MockLLM(), paged(MockLLM(), memory), scheduled(MockLLM(), pagefault.Scheduler(slots=1), timeout=20))
        opened = []
        root.add_span_handler(spans)
        try:
            for llm in llms:
                way(llm)
                opened.append([span.id_.split("-")[0] for span in spans.completed_spans])
                spans.completed_spans.clear()
        finally:
            root.span_handlers.remove(spans)
    assert opened[0] == opened[1] == opened[2] != []


@pytest.mark.parametrize("way", [chat, stream, achat, astream])
def test_each_chat_is_one_turn(way):
    scheduler = pagefault.Scheduler(slots=1)
    base = ScriptedLLM(answer)
    llm = scheduled(base, scheduler, agent="one", timeout=20)
    assert isinstance(llm, ScriptedLLM)
    assert type(base) is ScriptedLLM
    way(llm)
    way(llm)
    assert scheduler.usage("one").turns == 2
    assert scheduler.state().turns == ()


class Decorated:
    """As wrapt before 2.5 decorates a method, and LlamaIndex does by it: called on its class it loses an argument."""

    def __init__(self, method):
        self.method = method

    def __get__(self, instance, owner):
        return on_the_class if instance is None else self.method.__get__(instance, owner)


def on_the_class(*_, **__):
    raise TypeError("missing a required argument: 'messages'")


@pytest.mark.parametrize("way", [chat, stream, achat, astream])
def test_methods_are_called_on_the_llm_and_not_on_its_class(way):
    names = ("chat", "stream_chat", "achat", "astream_chat")
    older = type("Older", (ScriptedLLM,), {"__module__": __name__})
    for name in names:
        setattr(older, name, Decorated(inspect.getattr_static(ScriptedLLM, name)))
    scheduler = pagefault.Scheduler(slots=1)
    with pagefault.open(":memory:", embedder=None) as memory:
        way(scheduled(paged(older(answer), memory), scheduler, agent="one", timeout=20))
    assert scheduler.usage("one").turns == 1


def test_a_turn_is_charged_what_the_response_reports():
    scheduler = pagefault.Scheduler(slots=1)
    scheduled(Reporting(answer), scheduler, agent="one").chat(HI)
    used = scheduler.usage("one").usage
    assert (used.input_tokens, used.output_tokens) == (100, 7)


class Growing(ScriptedLLM):
    """Streams chunks that report more and more, and a last one that reports nothing."""

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        raws: list[Any] = [{"usage": {"input_tokens": 100, "output_tokens": number}} for number in range(1, 9)]
        return (ChatResponse(message=say("x"), delta="x", raw=raw) for raw in [None, *raws, None])

    async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
        async def stream() -> Any:
            for chunk in self.stream_chat(messages):
                yield chunk

        return stream()


def test_a_stream_is_charged_its_last_report_and_its_chunks_are_not_kept():
    scheduler = pagefault.Scheduler(slots=1)
    llm = scheduled(Growing(answer), scheduler, agent="one")
    stream(llm)
    astream(llm)
    used = scheduler.usage("one").usage
    assert (used.input_tokens, used.output_tokens) == (200, 16)
    chunks = llm.stream_chat(HI)
    first = weakref.ref(next(chunks))
    for _ in range(2):
        next(chunks)
    gc.collect()
    assert first() is None, "an answer of many chunks, each with all of it so far, takes no room"


def test_the_reader_of_a_stream_may_call_again_on_one_slot():
    scheduler = pagefault.Scheduler(slots=1)
    llm = scheduled(ScriptedLLM(answer), scheduler, agent="one", timeout=20)
    for _ in llm.stream_chat(HI):
        llm.chat(HI)
    assert scheduler.state().turns == ()


@pytest.mark.parametrize("is_paged_first", [False, True])
def test_an_agent_on_a_paged_and_scheduled_llm(is_paged_first):
    scheduler = pagefault.Scheduler(slots=1)

    def script(number: int, messages: Any) -> ChatMessage:
        return call(number, ("lookup", {"key": f"k{number}"})) if number % 6 else say("done")

    with pagefault.open(":memory:", embedder=None) as memory:
        base = ScriptedLLM(script)
        if is_paged_first:
            llm = scheduled(paged(base, memory), scheduler, agent="worker", timeout=20)
        else:
            llm = paged(scheduled(base, scheduler, agent="worker", timeout=20), memory)
        chat_memory = PagefaultMemory.from_defaults(memory, session_id="s", token_limit=2_000)
        agent = FunctionAgent(tools=[lookup], llm=llm)

        async def go() -> str:
            return str(await agent.run("go", memory=chat_memory))

        assert asyncio.run(go()) == "done"
    assert scheduler.usage("worker").turns == len(base.requests) == 6


@pytest.mark.parametrize("way", ["memory alone", "paged first", "scheduled first"])
def test_what_a_memory_gave_out_tells_what_a_turn_costs_and_how_it_begins(way):
    scheduler = pagefault.Scheduler(slots=1)
    asked: list[Any] = []
    turn = scheduler.turn

    def spy(**kwargs: Any) -> Any:
        asked.append((kwargs["prefix"], kwargs["input_tokens"]))
        return turn(**kwargs)

    setattr(scheduler, "turn", spy)  # noqa: B010  # mypy takes no method for another
    with pagefault.open(":memory:", embedder=None) as memory:
        chat_memory = PagefaultMemory.from_defaults(memory, session_id="s", token_limit=2_000)
        base = ScriptedLLM(answer)
        if way == "paged first":
            llm: Any = scheduled(paged(base, memory), scheduler)
        elif way == "scheduled first":
            llm = paged(scheduled(base, scheduler), memory)
        else:
            llm = scheduled(base, scheduler)
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=chat_memory)
        for size in (1, 20, 200):  # each outweighs what is only bounded of those before: that may be counted meanwhile
            engine.chat("go on " * size)
        assert len({prefix for prefix, _ in asked}) == 1
        assert chat_memory.space.id.key in asked[0][0]
    tokens = [count for _, count in asked]
    assert 0 < tokens[0] < tokens[1] < tokens[2]


@pytest.mark.parametrize("way", [chat, stream, achat, astream])
def test_a_paged_llm_pages_before_it_asks(way):
    scheduler = pagefault.Scheduler(slots=1)
    space = pagefault.SpaceId(tenant="t", user="", thread="x", agent="")
    running: list[int] = []

    def identity(messages: Any) -> pagefault.SpaceId:
        running.append(scheduler.state().running)
        return space

    with pagefault.open(":memory:", embedder=None) as memory:
        llm = scheduled(paged(ScriptedLLM(answer), memory, identity=identity), scheduler, agent="one", timeout=20)
        way(llm)
    assert running == [0], "no slot is held while it pages, and it pages once"
    assert scheduler.usage("one").turns == 1


def test_what_is_no_llm_is_refused():
    with pytest.raises(pagefault.errors.BadTurn, match="scheduler"):
        scheduled(MockLLM(), None)
    with pytest.raises(NotSchedulable, match="takes a LlamaIndex LLM"):
        scheduled("gpt", pagefault.Scheduler())


def test_a_report_that_cannot_be_one_costs_no_answer():
    class Odd(ScriptedLLM):
        def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
            response = super().chat(messages, **kwargs)
            response.raw = {"usage": SimpleNamespace(prompt_tokens=10**13, completion_tokens=7)}
            return response

    scheduler = pagefault.Scheduler()
    llm = scheduled(Odd(script=answer), scheduler, agent="a")
    assert llm.chat(HI).message.content
    assert scheduler.usage("a").usage.input_tokens == 1_000
