"""The planner: a LangGraph agent that gives out reading, and recalls word for word what its workers read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, tool

import pagefault
from examples.demo.library import split
from examples.demo.passages import best_sentence, passages
from examples.mixed.workers import Worker
from pagefault_langgraph import PagingMiddleware, SchedulingMiddleware

SYSTEM: Final = """You plan. Give each worker its topics to read, then look into a worker's memory to answer the \
question. Answer with the sentence, word for word, and the page it stands on."""
BUDGET: Final = pagefault.Budget(window=8_000)
READING: Final[Mapping[str, Sequence[str]]] = {
    "statements": ("nonlocal", "with", "while", "try", "global", "for"),
    "expressions": ("binary", "booleans", "power", "comparisons", "integers", "identifiers"),
}
QUESTION: Final = "What type does floor division of integers result in?"
ASKED_OF: Final = "expressions"


def build(
    model: BaseChatModel,
    memory: pagefault.Memory,
    scheduler: pagefault.Scheduler,
    workers: Mapping[str, Worker],
    texts: Mapping[str, str],
) -> Any:
    """The planner's agent; its tools reach the workers, never their identities."""
    return create_agent(
        model,
        _tools(workers, texts),
        system_prompt=SYSTEM,
        middleware=[PagingMiddleware(memory, budget=BUDGET, recall=False), SchedulingMiddleware(scheduler, priority=1)],
        name="planner",
    )


def _tools(workers: Mapping[str, Worker], texts: Mapping[str, str]) -> list[BaseTool]:
    @tool
    def assign(worker: str, topic: str) -> str:
        """Have a worker read a topic of the reference."""
        parts = split(texts[topic])
        answers = [workers[worker].read(part) for part in parts]
        return f"{worker} has read {topic} in {len(parts)} parts; its last words: {answers[-1]}"

    @tool
    def look_up(worker: str, query: str) -> str:
        """Look for something in what a worker has read."""
        return workers[worker].memory.space.recall(query, limit=4).text

    return [assign, look_up]


def plan(messages: list[BaseMessage]) -> AIMessage:
    """A stand-in for the planner's model: it hands out the reading, looks it up, and quotes."""
    done = [m for m in messages if isinstance(m, ToolMessage)]
    tasks = [(worker, topic) for worker, topics in READING.items() for topic in topics]
    if not done:
        calls = [ToolCall(name="assign", args={"worker": w, "topic": t}, id=f"{w}-{t}") for w, t in tasks]
        return AIMessage("", tool_calls=calls)
    if done[-1].name == "assign":
        call = ToolCall(name="look_up", args={"worker": ASKED_OF, "query": QUESTION}, id="look")
        return AIMessage("", tool_calls=[call])
    best = best_sentence(QUESTION, passages(done[-1].text))
    return AIMessage(f"{best.text} (page {best.page} of {ASKED_OF})" if best else "Nobody has read that.")
