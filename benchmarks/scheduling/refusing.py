"""A stand-in for a provider that refuses with 429, and clients of it for both frameworks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

from langchain.agents.middleware.types import AgentMiddleware, ModelRequest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms.function_calling import FunctionCallingLLM

SLOTS: Final = 4
RPM: Final = 60
TPM: Final = 90_000
Usage = tuple[int, int]


class Refused(Exception):
    """Status 429, as a provider's client raises it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"429 Too Many Requests, retry after {seconds:.2f} s")
        self.seconds = seconds
        self.response = SimpleNamespace(status_code=429, headers={"retry-after": f"{seconds:.4f}"})


class RefusingBackend:
    """Slots, requests and tokens within any minute of ``minute`` seconds; what is refused counts as no request."""

    def __init__(self, *, minute: float, chance: random.Random) -> None:
        self.refusals = 0
        self.calls = 0
        self.seconds: dict[str, float] = {}
        self._minute = minute
        self._chance = chance
        self._running = 0
        self._requests: list[float] = []
        self._tokens: list[tuple[float, int, str]] = []

    def total(self, agent: str, until: float = float("inf")) -> int:
        """Tokens that an agent was served."""
        return sum(tokens for at, tokens, whose in self._tokens if whose == agent and at <= until)

    async def call(self, agent: str, mean: int) -> Usage:
        """Serve a prompt of about ``mean`` tokens: what it used.

        Raises:
            Refused: It is too much now.
        """
        sent = int(mean * self._chance.uniform(0.7, 1.3))
        came = max(1, int(0.1 * mean * self._chance.uniform(0.7, 1.3)))
        now = time.monotonic()
        wait = self._wait(sent, now)
        if wait > 0:
            self.refusals += 1
            raise Refused(wait)
        self._running += 1
        self.calls += 1
        self._requests.append(now)
        self._tokens.append((now, sent, agent))
        self.seconds[agent] = seconds = 0.05 + came / 2_000
        try:
            await asyncio.sleep(seconds)
        finally:
            self._running -= 1
        self._tokens.append((time.monotonic(), came, agent))
        return sent, came

    def _wait(self, tokens: int, now: float) -> float:
        since, wait = now - self._minute, 0.0
        requests = [at for at in self._requests if at > since]
        if len(requests) >= RPM:
            wait = requests[-RPM] - since
        recent = [(at, used) for at, used, _ in self._tokens if at > since]
        excess = sum(used for _, used in recent) + tokens - TPM
        for at, used in recent:
            if excess <= 0:
                break
            wait, excess = max(wait, at - since), excess - used
        return max(wait, 0.05) if wait > 0 or self._running >= SLOTS else 0.0


class ChatStandIn(BaseChatModel):
    """A LangChain chat model on the backend; reports its usage as a provider does."""

    backend: Any
    agent: str
    tokens: int

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError("ask it with ainvoke")

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        del messages, args, kwargs
        sent, came = await self.backend.call(self.agent, self.tokens)
        usage = {"input_tokens": sent, "output_tokens": came, "total_tokens": sent + came}
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Done.", usage_metadata=usage))])


class LLMStandIn(FunctionCallingLLM):
    """A LlamaIndex LLM on the backend, as its agents want it; reports its usage as a provider does."""

    backend: Any
    agent: str
    tokens: int

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        del messages, kwargs
        sent, came = await self.backend.call(self.agent, self.tokens)
        usage = {"prompt_tokens": sent, "completion_tokens": came}
        return ChatResponse(message=ChatMessage("Done.", role="assistant"), raw={"usage": usage})

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, *_: Any, **kwargs: Any
    ) -> dict[str, Any]:
        del tools, kwargs
        return {"messages": [*(chat_history or ()), *([] if user_msg is None else [user_msg])]}

    def get_tool_calls_from_response(self, response: ChatResponse, *_: Any, **kwargs: Any) -> list[Any]:
        del response, kwargs
        return []

    def _only_achat(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("ask it with achat")

    chat = stream_chat = astream_chat = complete = acomplete = stream_complete = astream_complete = _only_achat


class RetryAfter(AgentMiddleware[Any, Any, Any]):
    """Asks again when a refusal says."""

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> Any:
        while True:
            try:
                return await handler(request)
            except Refused as refused:
                await asyncio.sleep(refused.seconds)
