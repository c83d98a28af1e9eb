"""The backend that all agents share. A stand-in: it limits calls, requests and tokens and refuses the rest: 429."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from pagefault.tokens import default_counter

SECONDS: Final = 0.01
REQUESTS: Final = 300
TOKENS: Final = 1_000_000
Respond = Callable[[list[BaseMessage]], AIMessage]


class Refused(Exception):
    """Status 429, as a provider's client raises it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"429 Too Many Requests, retry after {seconds:.2f} s")
        self.status_code = 429
        self.response = SimpleNamespace(status_code=429, headers={"retry-after": f"{seconds:.3f}"})


@dataclass
class Backend:
    """Serves ``slots`` calls at a time, and so many requests and tokens within any minute.

    Attributes:
        slots: Calls at a time.
        requests_per_minute: Requests within any minute; what is refused counts as none.
        tokens_per_minute: Tokens within any minute, of prompts and answers.
        minute: Seconds.
        refusals: Calls refused so far.
        calls: Calls served so far.
    """

    slots: int = 2
    requests_per_minute: int = REQUESTS
    tokens_per_minute: int = TOKENS
    minute: float = 60.0
    refusals: int = 0
    calls: int = 0
    _running: int = 0
    _used: deque[tuple[float, int, int]] = field(default_factory=deque)
    _lock: Any = field(default_factory=threading.Lock)

    def begin(self, tokens: int = 0) -> None:
        """Take a call with a prompt of so many tokens.

        Raises:
            Refused: It is too much now.
        """
        with self._lock:
            wait = self._wait(tokens)
            if wait > 0:
                self.refusals += 1
                raise Refused(wait)
            self._running += 1
            self.calls += 1
            self._used.append((time.monotonic(), 1, tokens))

    def end(self, tokens: int = 0) -> None:
        """A call came back with an answer of so many tokens."""
        with self._lock:
            self._running -= 1
            self._used.append((time.monotonic(), 0, tokens))

    def _wait(self, tokens: int) -> float:
        now = time.monotonic()
        while self._used and self._used[0][0] + self.minute <= now:
            self._used.popleft()
        requests = sum(each for _, each, _ in self._used) + 1 - self.requests_per_minute
        excess = sum(each for _, _, each in self._used) + tokens - self.tokens_per_minute
        wait = 0.05 if self._running >= self.slots else 0.0
        for at, request, used in self._used:
            if requests <= 0 and excess <= 0:
                break
            wait, requests, excess = max(wait, at + self.minute - now), requests - request, excess - used
        return wait


class StandIn(BaseChatModel):
    """A deterministic stand-in for a chat model on the shared backend; reports its usage as a provider does."""

    backend: Any
    respond: Any
    model_name: str = "stand-in"

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """It knows the tools by name."""
        del tools, kwargs
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        del stop, run_manager, kwargs
        count = default_counter().count
        sent, came = sum(count(m.text) for m in messages), 0
        self.backend.begin(sent)
        try:
            time.sleep(SECONDS)
            answer: AIMessage = self.respond(messages)
            came = count(answer.text) + 20
        finally:
            self.backend.end(came)
        answer.usage_metadata = {"input_tokens": sent, "output_tokens": came, "total_tokens": sent + came}
        return ChatResult(generations=[ChatGeneration(message=answer)])
