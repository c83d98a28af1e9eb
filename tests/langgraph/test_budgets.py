"""The budget of a call follows the model of this call, and what its provider reports."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, wrap_model_call
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import ConfigurableField, Runnable
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault.page import Kind
from pagefault.paths.content import materialise
from pagefault.tokens import default_counter
from pagefault_langgraph import PagingMiddleware, paged
from pagefault_langgraph.answering import models_of
from pagefault_langgraph.messages import LANGCHAIN
from tests.langgraph.plain_graph import graph_of
from tests.langgraph.scripted import TOOLS, ScriptedModel, problems, worker_script

CONFIG: Any = {"configurable": {"thread_id": "budgets"}, "recursion_limit": 2_000}
STEPS = 60
WORK = 36


def tokens(messages: list[BaseMessage]) -> int:
    return materialise(messages, LANGCHAIN, default_counter(), Kind.MESSAGE).tokens


class Provider(ScriptedModel):
    """Reports how many tokens a request had, by its own tokenizer's count."""

    ratio: float = 1.0
    is_down: bool = False

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:  # with_fallbacks reads the annotation
        return super().bind_tools(tools, **kwargs)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        if self.is_down:
            raise ConnectionError("the provider is down")
        yield from super()._stream(messages, *args, **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        if self.is_down:
            raise ConnectionError("the provider is down")
        result = super()._generate(messages, *args, **kwargs)
        used = int(tokens(messages) * self.ratio)
        usage = {"input_tokens": used, "output_tokens": 10, "total_tokens": used + 10}
        answer: Any = result.generations[0].message
        result.generations[0].message = AIMessage(
            answer.content, tool_calls=answer.tool_calls, id=answer.id, usage_metadata=usage
        )
        return result


def test_budgets_made_up_for_each_request_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr("pagefault.core.MAX_GAUGES", 3)
    with pagefault.open(":memory:", embedder=None) as memory:
        first, *_ = [memory.core.gauge("m", pagefault.Budget(window=window)) for window in range(8_000, 8_003)]
        assert memory.core.gauge("m", pagefault.Budget(window=8_000)) is first
        memory.core.gauge("m", pagefault.Budget(window=9_000))
        assert [gauge.asked.window for gauge in memory.gauges] == [8_002, 8_000, 9_000]


@pytest.mark.parametrize("ratio", [0.75, 1.5])
def test_a_providers_own_count_moves_the_watermarks(ratio):
    budget = pagefault.Budget(window=8_000, target=6_000, reserve=1_000)
    model = Provider(worker_script(STEPS), ratio=ratio)
    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory, budget=budget)
        agent = create_agent(model, TOOLS, middleware=[paging], checkpointer=InMemorySaver())
        for turn in range(5):
            agent.invoke({"messages": [("user", f"turn {turn}")]}, CONFIG)
            memory.flush()
        (gauge,) = memory.gauges
    assert gauge.asked == budget
    assert gauge.calibration.factor == pytest.approx(ratio, rel=0.1)  # tool schemas are overhead on our side alone
    most = 6_000 / gauge.calibration.factor
    assert gauge.budget.target == pytest.approx(most, abs=2) if ratio > 1 else 7_000 < gauge.budget.target <= most
    late = [tokens(request) * ratio for request in model.requests[150:]]
    assert max(late) <= 6_000
    assert max(late) > 4_500, "the room that the provider gives is used"
    assert not [p for request in model.requests for p in problems(request)]


def test_a_switch_of_models_in_the_middle_of_a_run_takes_its_window_along():
    small = ScriptedModel(worker_script(STEPS), profile={"max_input_tokens": 4_000})
    large = ScriptedModel(worker_script(STEPS), profile={"max_input_tokens": 40_000})
    calls = 0

    @wrap_model_call
    def switch(request: Any, handler: Any) -> Any:
        nonlocal calls
        calls += 1
        return handler(request.override(model=small if calls // 20 % 2 else large))

    with pagefault.open(":memory:", embedder=None) as memory:
        agent = create_agent(large, TOOLS, middleware=[switch, PagingMiddleware(memory)])
        agent.invoke({"messages": [("user", "go")]}, CONFIG)
        windows = sorted(gauge.asked.window for gauge in memory.gauges)
    assert windows == [4_000, 40_000]
    assert len(small.requests) >= 20
    assert max(tokens(r) for r in small.requests) <= 4_000 * 3 // 5
    assert max(tokens(r) for r in large.requests) > 3_000, "the large model is not held to the small one's window"
    assert not [p for request in [*small.requests, *large.requests] for p in problems(request)]


def models():
    """Two models with a large and a small window, whose messages and calls have ids of their own."""
    script = worker_script(WORK)
    large = Provider(script, profile={"max_input_tokens": 40_000})
    return large, Provider(
        lambda call, messages: script(call + 10 * WORK, messages), profile={"max_input_tokens": 4_000}
    )


def check_small(small: ScriptedModel) -> None:
    assert len(small.requests) >= WORK
    assert max(tokens(r) for r in small.requests) <= 4_000 * 3 // 5
    assert max(tokens(r) for r in small.requests) > 1_000, "its window is used"
    assert not [p for request in small.requests for p in problems(request)]


def test_a_fallback_with_a_smaller_window_gets_a_smaller_prompt():
    main, spare = models()
    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory)
        agent = create_agent(
            main, TOOLS, middleware=[ModelFallbackMiddleware(spare), paging], checkpointer=InMemorySaver()
        )
        agent.invoke({"messages": [("user", "go")]}, CONFIG)
        assert tokens(main.requests[-1]) > 2_400
        main.is_down = True
        agent.invoke({"messages": [("user", "go on")]}, CONFIG)
    check_small(spare)


def invoke(agent: Any, text: str, config: Any) -> None:
    agent.invoke({"messages": [("user", text)]}, config)


def ainvoke(agent: Any, text: str, config: Any) -> None:
    asyncio.run(agent.ainvoke({"messages": [("user", text)]}, config))


@pytest.mark.parametrize(("run", "named"), [(invoke, {}), (ainvoke, {"model": "large"})], ids=["no default", "default"])
def test_a_model_that_the_runs_config_chooses_brings_its_own_window(monkeypatch, run, named):
    large, small = models()
    made = {"large": large, "small": small}  # in place of the clients of providers
    monkeypatch.setattr("langchain.chat_models.base._init_chat_model_helper", lambda model, **_: made[model])
    chosen: Any = init_chat_model(configurable_fields=("model",), **named)
    with pagefault.open(":memory:", embedder=None) as memory:
        agent = create_agent(chosen, TOOLS, middleware=[PagingMiddleware(memory)], checkpointer=InMemorySaver())
        for model in ("large", "small"):
            config = {**CONFIG, "configurable": {"thread_id": "t", "model": model}}
            run(agent, f"go on, {model}", config)
        windows = sorted(gauge.asked.window for gauge in memory.gauges)
    assert windows == [4_000, 40_000]
    assert tokens(large.requests[WORK - 1]) > 2_400
    check_small(small)


def test_a_model_with_fallbacks_in_an_agent_is_held_to_the_smallest_window():
    large, small = models()
    chain: Any = large.with_fallbacks([small])
    with pagefault.open(":memory:", embedder=None) as memory:
        agent = create_agent(chain, TOOLS, middleware=[PagingMiddleware(memory)], checkpointer=InMemorySaver())
        invoke(agent, "go", CONFIG)
        large.is_down = True
        invoke(agent, "go on", CONFIG)
    check_small(small)
    check_small(large)


def test_the_models_behind_a_runnable():
    large, small = models()
    field = ConfigurableField(id="size")
    either: Any = large.configurable_alternatives(field, default_key="large", small=small)
    assert models_of(large, {}) == [large]
    assert models_of(large.bind(stop=["x"]).with_retry(), {}) == [large]
    assert models_of(large.with_fallbacks([small.with_retry()]), {}) == [large, small]
    assert models_of(either, {"configurable": {"size": "small"}}) == [small]
    assert models_of(either.with_config(configurable={"size": "small"}), {}) == [small]
    assert models_of(either, {}) == [large]
    assert models_of("no runnable", {}) == ["no runnable"]


def stream(agent: Any, text: str, config: Any) -> None:
    list(agent.stream({"messages": [("user", text)]}, config, stream_mode="messages"))


@pytest.mark.parametrize("run", [ainvoke, stream])
def test_each_of_a_paged_models_fallbacks_is_sent_what_fits_its_own_window(run):
    large, small = models()
    with pagefault.open(":memory:", embedder=None) as memory:
        one, other = paged(large, memory), paged(small, memory)
        agent = graph_of(one.bind_tools(TOOLS).with_fallbacks([other.bind_tools(TOOLS)]))
        run(agent, "go", CONFIG)
        assert max(tokens(r) for r in large.requests) > 2_400
        large.is_down = one.is_down = True
        run(agent, "go on", CONFIG)
        asked = [m.content for m in small.requests[-1]]
        history = agent.get_state(CONFIG).values["messages"]
        assert "go on" in asked
        assert len(history) > 2 * WORK
        memory.flush()
        first = memory.space(thread="budgets").fault("1").pages[0].page.text
    check_small(small)
    assert first == "go"
    assert isinstance(history[0], HumanMessage)
