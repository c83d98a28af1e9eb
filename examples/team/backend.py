"""The backend that all agents share. A stand-in: it serves some calls at a time and refuses the rest with 429."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from pagefault.tokens import default_counter

SECONDS: Final = 0.01
Respond = Callable[[list[BaseMessage]], AIMessage]


class Refused(Exception):
    """Status 429, as a provider's client raises it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"429 Too Many Requests, retry after {seconds:.2f} s")
        self.status_code = 429
        self.response = SimpleNamespace(status_code=429, headers={"retry-after": str(seconds)})


@dataclass
class Backend:
    """Serves ``slots`` calls at a time."""

    slots: int = 2
    refusals: int = 0
    calls: int = 0
    _running: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Take a call, or refuse it."""
        with self._lock:
            if self._running >= self.slots:
                self.refusals += 1
                raise Refused(0.05)
            self._running += 1
            self.calls += 1

    def end(self) -> None:
        """A call came back."""
        with self._lock:
            self._running -= 1


class StandIn(BaseChatModel):
    """A deterministic stand-in for a chat model on the shared backend; reports its usage as a provider does."""

    backend: Any
    respond: Any

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
        self.backend.begin()
        try:
            time.sleep(SECONDS)
            answer: AIMessage = self.respond(messages)
        finally:
            self.backend.end()
        count = default_counter().count
        sent, came = sum(count(m.text) for m in messages), count(answer.text) + 20
        answer.usage_metadata = {"input_tokens": sent, "output_tokens": came, "total_tokens": sent + came}
        return ChatResult(generations=[ChatGeneration(message=answer)])
