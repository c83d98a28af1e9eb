"""What the demo measures, from the outside: the requests that reach the model, counted independently."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ToolCallRequest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from examples.demo.passages import passages
from pagefault import Budget, TokenCounter

PER_MESSAGE: Final = 8
"""Tokens that a provider adds to each message for its role and separators; an upper bound."""


class Part(StrEnum):
    """What a stretch of the window holds."""

    SYSTEM = "system prompt and tools"
    CONTENTS = "contents of what left"
    PAGE = "pages"
    RECALLED = "recalled pages"
    FREE = "free"
    RESERVE = "kept for the answer"


@dataclass(slots=True)
class Meter:
    """Totals of a run, and the last request."""

    budget: Budget
    counter: TokenCounter
    calls: int = 0
    sent: int = 0
    unbounded: int = 0
    reused: int = 0
    largest: int = 0
    reclaims: int = 0
    overflow_call: int = 0
    steady: int = 0
    extending: int = 0
    refaults: int = 0
    abstentions: int = 0
    recalls_ms: list[float] = field(default_factory=list)
    window: list[tuple[Part, int]] = field(default_factory=list)
    pages: list[tuple[int, int]] = field(default_factory=list)
    absent: set[int] = field(default_factory=set)
    ever_absent: set[int] = field(default_factory=set)
    faulted: set[int] = field(default_factory=set)
    _tokens: dict[str, int] = field(default_factory=dict)
    _last: list[BaseMessage] = field(default_factory=list)
    _counted: int = 0
    _history: int = 0
    _overhead: int = 0

    @property
    def prefix_reuse(self) -> float:
        """Share of the tokens sent that only repeat the beginning of the prompt before: what a cache can hold."""
        return self.reused / self.sent if self.sent else 0.0

    def request(self, request: ModelRequest[Any]) -> None:
        """Take in one request, as the model is sent it."""
        history = request.state["messages"]
        if not self._overhead:
            self._overhead = self._of_system(request)
        self._history += sum(self.tokens(m) for m in history[self._counted :])
        self._counted = len(history)
        self._group(history)
        is_reclaimed = self._residence(history, request.messages)
        self._totals(request.messages, is_reclaimed=is_reclaimed)

    def recall(self, result: ToolMessage, seconds: float) -> None:
        """Take in one result of the recall tool."""
        self.recalls_ms.append(seconds * 1_000)
        shown = {int(passage.page) for passage in passages(str(result.content))}
        self.faulted |= shown & self.absent
        self.refaults += len(shown & self.absent)
        self.abstentions += not shown

    def tokens(self, message: BaseMessage) -> int:
        """Tokens of a message, the counter's reserve included."""
        key = message.id or str(id(message))
        if key not in self._tokens:
            calls = [[c["name"], c["args"]] for c in message.tool_calls] if isinstance(message, AIMessage) else []
            count = self.counter.count(f"{message.content}{json.dumps(calls) if calls else ''}") + PER_MESSAGE
            self._tokens[key] = int(count * (1 + self.counter.reserve))
        return self._tokens[key]

    def _of_system(self, request: ModelRequest[Any]) -> int:
        schemas = [tool if isinstance(tool, dict) else convert_to_openai_tool(tool) for tool in request.tools]
        count = self.counter.count(json.dumps(schemas)) + PER_MESSAGE * len(schemas)
        system = self.tokens(request.system_message) if request.system_message else 0
        return system + int(count * (1 + self.counter.reserve))

    def _group(self, history: Sequence[AnyMessage]) -> None:
        """Pages as the glossary has them: a message, or a message with tool calls and all their results."""
        start = self.pages[-1][1] if self.pages else 0
        for index in range(start, len(history)):
            if isinstance(history[index], ToolMessage):
                self.pages[-1] = (self.pages[-1][0], index + 1)
            else:
                self.pages.append((index, index + 1))

    def _residence(self, history: Sequence[AnyMessage], sent: Sequence[AnyMessage]) -> bool:
        """Whether pages have left since the last request."""
        there = {message.id for message in sent}
        absent = {n for n, (start, _) in enumerate(self.pages, 1) if history[start].id not in there}
        is_reclaimed = bool(absent - self.absent)
        self.reclaims += is_reclaimed
        self.absent = absent
        self.ever_absent |= absent
        return is_reclaimed

    def _totals(self, sent: Sequence[AnyMessage], *, is_reclaimed: bool) -> None:
        self.calls += 1
        self.window = [(Part.SYSTEM, self._overhead), *((kind_of(m), self.tokens(m)) for m in sent)]
        total = sum(tokens for _, tokens in self.window)
        same = 0
        while same < min(len(sent), len(self._last)) and sent[same] == self._last[same]:
            same += 1
        if self.calls > 1:
            self.steady += not is_reclaimed
            self.extending += not is_reclaimed and same == len(self._last)
            self.reused += self._overhead + sum(self.tokens(m) for m in sent[:same])
        self._last = list(sent)
        self.sent += total
        self.largest = max(self.largest, total)
        never_evict = self._overhead + self._history
        self.unbounded += never_evict
        if not self.overflow_call and never_evict > self.budget.window:
            self.overflow_call = self.calls


def kind_of(message: BaseMessage) -> Part:
    """What a message is in the window map."""
    if isinstance(message, HumanMessage) and str(message.id).startswith("pagefault-"):
        return Part.CONTENTS
    recalled = isinstance(message, ToolMessage) and message.name == "recall"
    return Part.RECALLED if recalled else Part.PAGE


class Observer(AgentMiddleware[Any, Any, Any]):
    """Shows each request to the meter. Stands after ``PagingMiddleware``, so it sees what the model is sent."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Count, then call."""
        self._meter.request(request)
        return handler(request)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Call; time what ``recall`` took."""
        began = time.perf_counter()
        result = handler(request)
        if request.tool_call["name"] == "recall" and isinstance(result, ToolMessage):
            self._meter.recall(result, time.perf_counter() - began)
        return result
