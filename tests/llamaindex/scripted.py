"""A deterministic LLM that records what it is sent, and the checks that every request must pass."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool
from pydantic import PrivateAttr

import pagefault
from pagefault.page import Kind
from pagefault.paths.content import materialise
from pagefault.tokens import default_counter
from pagefault_llamaindex import PagefaultMemory
from pagefault_llamaindex.messages import LLAMAINDEX

Script = Callable[[int, Sequence[ChatMessage]], ChatMessage]
SYSTEM = "You are a careful archivist."
LIMIT = 400


class ScriptedLLM(FunctionCallingLLM):
    """Answers by a script ``(call number, request) -> message``, and keeps a copy of every request."""

    _script: Script = PrivateAttr()
    _requests: list[list[ChatMessage]] = PrivateAttr(default_factory=list)
    _prompts: list[str] = PrivateAttr(default_factory=list)

    def __init__(self, script: Script, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._script = script

    @property
    def requests(self) -> list[list[ChatMessage]]:
        """Every list of messages it was sent."""
        return self._requests

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_function_calling_model=True, is_chat_model=True, context_window=8_000)

    def _answer(self, messages: Sequence[ChatMessage]) -> ChatMessage:
        self._requests.append([message.model_copy(deep=True) for message in messages])
        return self._script(len(self._requests), messages)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return ChatResponse(message=self._answer(messages))

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        await asyncio.sleep(0)
        return ChatResponse(message=self._answer(messages))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        answer = self._answer(messages)
        return (response for response in _chunks(answer))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        answer = self._answer(messages)

        async def stream() -> Any:
            for response in _chunks(answer):
                await asyncio.sleep(0)
                yield response

        return stream()

    def complete(self, prompt: str, *args: Any, **kwargs: Any) -> CompletionResponse:
        self._prompts.append(prompt)
        return CompletionResponse(text=prompt.rsplit("Input:", 1)[-1].split("\n", maxsplit=1)[0].strip() or "question")

    async def acomplete(self, prompt: str, *args: Any, **kwargs: Any) -> CompletionResponse:
        return self.complete(prompt)

    def stream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def astream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, *_: Any, **__: Any
    ) -> Any:
        messages = [*(chat_history or []), *([user_msg] if user_msg else [])]
        return {"messages": messages, "tools": [t.metadata.to_openai_tool() for t in tools or []]}

    def get_tool_calls_from_response(self, response: ChatResponse, *_: Any, **__: Any) -> list[ToolSelection]:
        return [
            ToolSelection(tool_id=b.tool_call_id, tool_name=b.tool_name, tool_kwargs=b.tool_kwargs)
            for b in response.message.blocks
            if isinstance(b, ToolCallBlock)
        ]


def _chunks(answer: ChatMessage) -> list[ChatResponse]:
    if any(isinstance(block, ToolCallBlock) for block in answer.blocks):
        return [ChatResponse(message=answer, delta="")]
    words = (answer.content or "").split(" ")
    heads = [" ".join(words[: n + 1]) for n in range(len(words))]
    deltas = [words[0], *(f" {word}" for word in words[1:])]
    return [
        ChatResponse(message=ChatMessage(role="assistant", content=head), delta=delta)
        for head, delta in zip(heads, deltas, strict=True)
    ]


def say(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text)


def call(number: int, *tools: tuple[str, dict[str, Any]]) -> ChatMessage:
    blocks = [
        ToolCallBlock(tool_call_id=f"c{number}.{i}", tool_name=name, tool_kwargs=kwargs)
        for i, (name, kwargs) in enumerate(tools)
    ]
    return ChatMessage(role="assistant", blocks=[TextBlock(text=f"step {number}"), *blocks])


def lookup(key: str) -> str:
    """Look a key up in the archive."""
    return f"record of {key}: " + f"{key} " * 6


LOOKUP = FunctionTool.from_defaults(lookup)


def session(backend: pagefault.Memory, name: str = "ada", limit: int = LIMIT) -> PagefaultMemory:
    return PagefaultMemory.from_defaults(backend, session_id=name, token_limit=limit)


def tokens(messages: Sequence[ChatMessage]) -> int:
    return materialise(list(messages), LLAMAINDEX, default_counter(), Kind.MESSAGE).tokens


def is_block(message: ChatMessage) -> bool:
    return str(message.content).startswith("[pagefault")


def problems(request: Sequence[ChatMessage]) -> list[str]:
    """What a provider would refuse in a request."""
    found: list[str] = []
    waiting: set[str] = set()
    for index, message in enumerate(request):
        if message.role == MessageRole.TOOL:
            asked = str(message.additional_kwargs.get("tool_call_id"))
            if asked not in waiting:
                found.append(f"{index}: orphan tool result {asked}")
            waiting.discard(asked)
        elif waiting:
            found.append(f"{index}: calls without result {sorted(waiting)}")
            waiting = set()
        waiting |= {str(b.tool_call_id) for b in message.blocks if isinstance(b, ToolCallBlock)}
    if waiting:
        found.append(f"calls without result at the end {sorted(waiting)}")
    if not any(m.role == MessageRole.SYSTEM and SYSTEM in str(m.content) for m in request[:2]):
        found.append("no system prompt")
    rest = [m for m in request if m.role != MessageRole.SYSTEM and not is_block(m)]
    if rest and rest[0].role != MessageRole.USER:
        found.append(f"begins with {rest[0].role.value}")
    return found


def out_of_order(request: Sequence[ChatMessage], history: Sequence[str]) -> list[str]:
    """Messages of the history that a request has in another order, or twice."""
    places = {text: index for index, text in enumerate(history)}
    found = [places[str(m.content)] for m in request if str(m.content) in places]
    return [history[b] for a, b in itertools.pairwise(found) if a >= b]
