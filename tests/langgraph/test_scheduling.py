"""The scheduler's hooks in real agents, graphs and models: one turn for each model call, charged by its answer."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

import pagefault
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import FlakyStore
from pagefault_langgraph import PagingMiddleware, SchedulerRateLimiter, SchedulingMiddleware, paged, scheduled, space_of
from tests.kernel.support import PATIENCE, records, until, wrapped
from tests.langgraph.scripted import TOOLS, ScriptedModel, is_extension, words, worker_script

USAGE: Any = {
    "input_tokens": 100,
    "output_tokens": 10,
    "total_tokens": 110,
    "input_token_details": {"cache_read": 60},
}
BUDGET = pagefault.Budget(window=4_000, target=3_600, reserve=400)


def answer(call: int, messages: list[BaseMessage]) -> AIMessage:
    return AIMessage(f"answer {call}", id=f"a{call}-{id(messages)}", usage_metadata=USAGE)


class Backend:
    """Counts how many calls run at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = self.most = self.calls = 0

    def __enter__(self) -> None:
        with self.lock:
            self.running += 1
            self.calls += 1
            self.most = max(self.most, self.running)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.running -= 1


class BusyModel(ScriptedModel):
    """Takes a while, and counts the calls that run beside it."""

    backend: Any = None

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        with self.backend:
            time.sleep(0.005)
            return super()._generate(messages, *args, **kwargs)

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        with self.backend:
            await asyncio.sleep(0.005)
            return ScriptedModel._generate(self, messages, *args, **kwargs)


def test_agents_in_threads_and_on_a_loop_share_two_slots():
    scheduler, backend = pagefault.Scheduler(slots=2), Backend()

    def build(name: str) -> Any:
        made: Any = BusyModel  # its constructor is the scripted model's
        model = made(worker_script(5), backend=backend)
        return create_agent(model, TOOLS, middleware=[SchedulingMiddleware(scheduler)], name=name)

    async def together() -> None:
        await asyncio.gather(*(build(f"async {n}").ainvoke({"messages": [("user", "go")]}) for n in range(4)))

    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(build(f"sync {n}").invoke, {"messages": [("user", "go")]}) for n in range(4)]
        jobs.append(pool.submit(asyncio.run, together()))
        for job in jobs:
            job.result(60)
    assert backend.calls == 8 * 5
    assert backend.most <= 2
    assert {scheduler.usage(f"{kind} {n}").turns for kind in ("sync", "async") for n in range(4)} == {5}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_turn_is_charged_what_the_answer_reports(is_async):
    scheduler = pagefault.Scheduler(slots=1)
    agent = create_agent(ScriptedModel(answer), middleware=[SchedulingMiddleware(scheduler, tenant="acme")], name="one")
    payload: Any = {"messages": [("user", "hi")]}
    if is_async:
        asyncio.run(agent.ainvoke(payload))
    else:
        agent.invoke(payload)
    used = scheduler.usage("one", tenant="acme").usage
    assert (used.input_tokens, used.output_tokens, used.cached_tokens) == (100, 10, 60)


class Asked:
    """A scheduler's turns as they were asked for."""

    def __init__(self, scheduler: pagefault.Scheduler) -> None:
        self.turns: list[dict[str, Any]] = []
        self._turn = scheduler.turn
        setattr(scheduler, "turn", self)  # noqa: B010  # mypy takes no method for another

    def __call__(self, **kwargs: Any) -> Any:
        self.turns.append(kwargs)
        return self._turn(**kwargs)


def test_a_paged_prompt_tells_what_it_will_cost_and_how_it_begins():
    scheduler = pagefault.Scheduler(slots=1)
    asked = Asked(scheduler)
    with pagefault.open(":memory:", embedder=None) as memory:
        middleware: Any = [PagingMiddleware(memory, budget=BUDGET), SchedulingMiddleware(scheduler, agent="w")]
        model = ScriptedModel(worker_script(60))
        create_agent(model, TOOLS, middleware=middleware).invoke(
            {"messages": [("user", "go")]}, {"recursion_limit": 500}
        )
    tokens = [call["input_tokens"] for call in asked.turns]
    prefixes = [call["prefix"] for call in asked.turns]
    assert all(0 < count <= 3_600 for count in tokens)
    changed = [n for n in range(1, 60) if prefixes[n] != prefixes[n - 1]]
    broken = [n for n in range(1, 60) if not is_extension(model.requests[n - 1], model.requests[n])]
    assert changed == broken != [], "a prefix ends with a reclaim, and only then"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_queued_turn_needs_nothing_more_of_its_memory_and_its_pages_are_written_meanwhile(monkeypatch, is_async):
    scheduler = pagefault.Scheduler(slots=1)
    history = [HumanMessage(f"{n}: {words(str(n), 60)}", id=str(n)) for n in range(60)]
    with wrapped(monkeypatch, FlakyStore, embedder=HashingEmbedder()) as (memory, store):
        middleware: Any = [PagingMiddleware(memory, budget=BUDGET, recall=False), SchedulingMiddleware(scheduler)]
        model = ScriptedModel(answer)
        agent = create_agent(model, middleware=middleware, name="queued")
        payload, config = {"messages": history}, {"configurable": {"thread_id": "t"}}
        invoke: Any = (lambda *given: asyncio.run(agent.ainvoke(*given))) if is_async else agent.invoke
        with ThreadPoolExecutor(1) as pool:
            with scheduler.turn(agent="other"):
                job = pool.submit(contextvars.Context().run, invoke, payload, config)
                until(lambda: any(t.phase == "waiting" for t in scheduler.state().turns), "its turn to wait")
                until(lambda: not memory.core.writeback.has_work, "its pages to be stored, indexed and durable")
                assert len(records(memory, memory.space(thread="t", agent="queued"))) == len(history)
                assert model.requests == []
                store.fail()
                calls = store.calls.copy()
            job.result(PATIENCE)
        assert len(model.requests[0]) < len(history), "pages had to leave"
        assert store.calls["get"] == calls["get"]
        assert store.calls["search"] == calls["search"]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("is_paged_first", [False, True])
def test_a_paged_model_pages_before_it_asks_in_either_order(is_paged_first, is_async):
    scheduler = pagefault.Scheduler(slots=1)
    asked = Asked(scheduler)
    space = pagefault.SpaceId(tenant="t", user="", thread="x", agent="")
    running: list[int] = []

    def identity(config: Any) -> pagefault.SpaceId:
        running.append(scheduler.state().running)
        return space

    with pagefault.open(":memory:", embedder=None) as memory:
        base = ScriptedModel(answer)
        if is_paged_first:
            model = scheduled(paged(base, memory, budget=BUDGET, identity=identity), scheduler, agent="one")
        else:
            model = paged(scheduled(base, scheduler, agent="one"), memory, budget=BUDGET, identity=identity)
        history: list[Any] = [HumanMessage("hi", id="1")]
        for size in (20, 200, 0):  # each outweighs what is only bounded of those before: that may be counted meanwhile
            said = asyncio.run(model.ainvoke(history)) if is_async else model.invoke(history)
            history = [*history, said, HumanMessage("go on " * size, id=str(len(history)))]
    assert running == [0, 0, 0], "no slot is held while it pages"
    tokens = [turn["input_tokens"] for turn in asked.turns]
    assert 0 < tokens[0] < tokens[1] < tokens[2]
    assert len({turn["prefix"] for turn in asked.turns}) == 1
    assert space.key in asked.turns[0]["prefix"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_middleware_that_holds_a_slot_for_paging_is_named(caplog, is_async):
    scheduler = pagefault.Scheduler(slots=1)
    with pagefault.open(":memory:", embedder=None) as memory:
        middleware: Any = [SchedulingMiddleware(scheduler), PagingMiddleware(memory, budget=BUDGET)]
        agent = create_agent(ScriptedModel(answer), middleware=middleware)
        payload: Any = {"messages": [("user", "hi")]}
        for _ in range(2):
            if is_async:
                asyncio.run(agent.ainvoke(payload))
            else:
                agent.invoke(payload)
    warnings = [record.getMessage() for record in caplog.records if "SchedulingMiddleware" in record.getMessage()]
    assert len(warnings) == 1
    assert "Give PagingMiddleware to create_agent first" in warnings[0]


def test_a_node_that_calls_an_agent_shares_one_slot_with_it():
    scheduler = pagefault.Scheduler(slots=1)
    child = create_agent(ScriptedModel(answer), middleware=[SchedulingMiddleware(scheduler)], name="child")

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [child.invoke({"messages": [("user", "sub")]})["messages"][-1]]}

    builder = StateGraph(MessagesState)
    builder.add_node("parent", scheduled(node, scheduler, agent="parent", timeout=20))
    builder.add_edge(START, "parent")
    graph = builder.compile()
    payload: Any = {"messages": [("user", "go")]}
    assert graph.invoke(payload)["messages"][-1].content == "answer 1"
    assert asyncio.run(graph.ainvoke(payload))["messages"][-1].content == "answer 2"
    assert scheduler.state().running == 0
    assert scheduler.usage("parent").turns == 4, "the child's calls are its parent's"


def test_an_agent_that_calls_an_agent_from_a_tool():
    scheduler = pagefault.Scheduler(slots=1)
    child = create_agent(ScriptedModel(answer), middleware=[SchedulingMiddleware(scheduler)], name="child")

    @tool
    def delegate(task: str) -> str:
        """Hand a task over."""
        return str(child.invoke({"messages": [("user", task)]})["messages"][-1].content)

    def boss(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call > 1:
            return AIMessage(str(messages[-1].content), id="end")
        calls = [{"name": "delegate", "args": {"task": t}, "id": t} for t in ("a", "b")]
        return AIMessage("", tool_calls=calls, id="ask")

    agent = create_agent(
        ScriptedModel(boss), [delegate], middleware=[SchedulingMiddleware(scheduler, timeout=20)], name="boss"
    )
    assert agent.invoke({"messages": [("user", "go")]})["messages"][-1].content.startswith("answer")
    assert scheduler.state().turns == ()


class Refusal(Exception):
    """What a provider's client raises for status 429."""

    status_code = 429

    def __init__(self) -> None:
        self.response = SimpleNamespace(headers={"retry-after": "0.2"})


def test_a_refusal_pauses_everybody_for_as_long_as_it_asks():
    scheduler = pagefault.Scheduler(slots=4)
    began: list[float] = []

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        began.append(time.monotonic())
        if call == 1:
            raise Refusal
        return answer(call, messages)

    model = scheduled(ScriptedModel(script), scheduler, agent="one")
    with pytest.raises(Refusal):
        model.invoke("hi")
    assert model.invoke("hi").content == "answer 2"
    assert began[1] - began[0] >= 0.19
    assert scheduler.usage("one").failed == 1


class StreamingModel(ScriptedModel):
    """Streams words, the last one with usage."""

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        for word in ("one ", "two "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        yield ChatGenerationChunk(message=AIMessageChunk(content="three", usage_metadata=USAGE))


def test_a_streamed_answer_is_one_turn_and_its_reader_may_call_again():
    scheduler = pagefault.Scheduler(slots=1)
    model = scheduled(StreamingModel(answer), scheduler, agent="one", timeout=20)
    other = scheduled(ScriptedModel(answer), scheduler, agent="two", timeout=20)
    words = []
    for chunk in model.stream("hi"):
        words.append(chunk.content)
        other.invoke("in between")
    assert "".join(map(str, words)).startswith("one two three")

    async def drink() -> int:
        return len([chunk async for chunk in model.astream("hi")])

    assert asyncio.run(drink()) >= 3
    used = scheduler.usage("one")
    assert used.usage.output_tokens >= 20
    assert scheduler.state().turns == ()


@pytest.mark.parametrize("is_paged_first", [False, True])
def test_paged_and_scheduled_models_combine_in_either_order(is_paged_first):
    scheduler = pagefault.Scheduler(slots=1)
    base = ScriptedModel(answer)
    with pagefault.open(":memory:", embedder=None) as memory:
        space = pagefault.SpaceId(tenant="t", user="", thread="x", agent="")
        kwargs: Any = {"budget": BUDGET, "identity": lambda config: space}
        if is_paged_first:
            model = scheduled(paged(base, memory, **kwargs), scheduler, agent="one", timeout=20)
        else:
            model = paged(scheduled(base, scheduler, agent="one", timeout=20), memory, **kwargs)
        assert isinstance(model, ScriptedModel)
        assert model.invoke("hi").content == "answer 1"
    assert scheduler.usage("one").turns == 1


def test_a_rate_limiter_for_any_chat_model():
    scheduler = pagefault.Scheduler(requests_per_minute=2)
    limiter = SchedulerRateLimiter(scheduler, agent="one")
    model = ScriptedModel(answer, rate_limiter=limiter)
    model.invoke("hi")
    asyncio.run(model.ainvoke("hi"))
    assert not limiter.acquire(blocking=False)
    assert not asyncio.run(limiter.aacquire(blocking=False))
    assert scheduler.usage("one").turns == 2


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("how", ["middleware", "model", "limiter"])
def test_users_of_one_agent_have_shares_of_their_own(how, is_async):
    def user(config):
        return space_of(config).user

    def firm(config):
        return config["configurable"]["firm"]

    def share(config):
        return 4 if user(config) == "ada" else 1

    def rank(config):
        return int(user(config) == "bob")

    scheduler, model, middleware = pagefault.Scheduler(slots=1), ScriptedModel(answer), []
    asked, who_asks = Asked(scheduler), {"agent": user, "tenant": firm, "weight": share, "priority": rank}
    if how == "middleware":
        middleware = [SchedulingMiddleware(scheduler, **who_asks)]
    elif how == "model":
        model = scheduled(model, scheduler, **who_asks)
    else:
        model.rate_limiter = SchedulerRateLimiter(scheduler, **who_asks)
    agent = create_agent(model, middleware=middleware, name="support")
    for who in ("ada", "bob", "ada", ""):
        config: Any = {"configurable": {"thread_id": "t", "user_id": who, "firm": "acme"}}
        payload: Any = {"messages": [("user", "hi")]}
        asyncio.run(agent.ainvoke(payload, config)) if is_async else agent.invoke(payload, config)
    turns = {name: scheduler.usage(name, tenant="acme").turns for name in ("ada", "bob", "support")}
    assert turns == {"ada": 2, "bob": 1, "support": 1}, "who is nobody shares the agent's"
    assert [(turn["weight"], turn["priority"]) for turn in asked.turns] == [(4, 0), (1, 1), (4, 0), (1, 0)]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "bound", "batch"])
def test_outside_of_a_graph_the_config_of_the_call_says_who_asks(way):
    scheduler = pagefault.Scheduler(slots=1)
    model = scheduled(ScriptedModel(answer), scheduler, agent=lambda config: space_of(config).user)
    config: Any = {"configurable": {"thread_id": "t", "user_id": "ada"}}

    async def chunks():
        return [chunk async for chunk in model.astream("hi", config)]

    match way:
        case "invoke":
            model.invoke("hi", config)
        case "ainvoke":
            asyncio.run(model.ainvoke("hi", config))
        case "stream":
            list(model.stream("hi", config))
        case "astream":
            asyncio.run(chunks())
        case "bound":
            model.bind(stop=["end"]).with_config(config).invoke("hi")
        case _:
            model.batch(["hi"], config)
    assert scheduler.usage("ada").turns == 1


@pytest.mark.parametrize(
    "make", [SchedulingMiddleware, SchedulerRateLimiter, lambda none: scheduled(ScriptedModel(answer), none)]
)
def test_what_is_no_scheduler_is_refused_where_it_is_given(make):
    with pytest.raises(pagefault.errors.BadTurn, match="scheduler"):
        make(None)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -5, "output_tokens": 1},
        {"input_tokens": 5, "output_tokens": -1},
        {"input_tokens": 10**13, "output_tokens": 1},
        {"input_tokens": None, "output_tokens": 1},
        {"input_tokens": 5.0, "output_tokens": 1},
        {"total_tokens": 1},
    ],
)
def test_a_report_that_cannot_be_one_costs_no_answer(usage):
    def odd(call: int, messages: list[BaseMessage]) -> AIMessage:
        message = answer(call, messages)
        message.usage_metadata = usage
        return message

    scheduler = pagefault.Scheduler()
    model = scheduled(ScriptedModel(script=odd), scheduler, agent="a")
    assert model.invoke("hi").content == "answer 1"
    used = scheduler.usage("a")
    assert (used.turns, used.failed, used.usage.input_tokens) == (1, 0, 1_000)


def test_a_cached_part_below_zero_is_none():
    def odd(call: int, messages: list[BaseMessage]) -> AIMessage:
        message = answer(call, messages)
        used: Any = {**USAGE, "input_token_details": {"cache_read": -3}}
        message.usage_metadata = used
        return message

    scheduler = pagefault.Scheduler()
    scheduled(ScriptedModel(script=odd), scheduler, agent="a").invoke("hi")
    assert scheduler.usage("a").usage == pagefault.scheduling.Usage(input_tokens=100, output_tokens=10)
