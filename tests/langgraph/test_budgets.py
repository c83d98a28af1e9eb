"""The budget of a call follows the model of this call, and what its provider reports."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, wrap_model_call
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault.content import materialise
from pagefault.page import Kind
from pagefault.tokens import default_counter
from pagefault_langgraph import PagingMiddleware
from pagefault_langgraph.messages import LANGCHAIN
from tests.langgraph.scripted import TOOLS, ScriptedModel, problems, worker_script

CONFIG: Any = {"configurable": {"thread_id": "budgets"}, "recursion_limit": 2_000}
STEPS = 60


def tokens(messages: list[BaseMessage]) -> int:
    return materialise(messages, LANGCHAIN, default_counter(), Kind.MESSAGE).tokens


class Provider(ScriptedModel):
    """Reports how many tokens a request had, by its own tokenizer's count."""

    ratio: float = 1.0
    is_down: bool = False

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
    assert gauge.budget.target == pytest.approx(6_000 / gauge.calibration.factor, abs=2)
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


def test_a_fallback_with_a_smaller_window_gets_a_smaller_prompt():
    main = Provider(worker_script(STEPS), profile={"max_input_tokens": 40_000})
    spare = ScriptedModel(worker_script(STEPS), profile={"max_input_tokens": 4_000})
    with pagefault.open(":memory:", embedder=None) as memory:
        paging = PagingMiddleware(memory)
        agent = create_agent(
            main, TOOLS, middleware=[ModelFallbackMiddleware(spare), paging], checkpointer=InMemorySaver()
        )
        agent.invoke({"messages": [("user", "go")]}, CONFIG)
        assert tokens(main.requests[-1]) > 2_400
        main.is_down = True
        agent.invoke({"messages": [("user", "go on")]}, CONFIG)
    assert spare.requests
    assert max(tokens(r) for r in spare.requests) <= 4_000 * 3 // 5
    assert not [p for request in spare.requests for p in problems(request)]
