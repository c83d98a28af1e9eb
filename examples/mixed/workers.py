"""The workers: LlamaIndex chat engines that read, each with a session of its own in the shared memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage, ChatResponse, CompletionResponse, CustomLLM, LLMMetadata

import pagefault
from pagefault_llamaindex import PagefaultMemory, scheduled

TOKEN_LIMIT: Final = 2_000


class ChatLLM(CustomLLM):
    """A LangChain chat model as a LlamaIndex LLM, so that planner and workers call one and the same backend."""

    model: Any

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=8_000, is_chat_model=True, model_name="chat")

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        del kwargs
        answer = self.model.invoke([(message.role.value, message.content or "") for message in messages])
        raw = {"usage": answer.usage_metadata} if answer.usage_metadata else None
        return ChatResponse(message=ChatMessage(answer.text, role="assistant"), raw=raw)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002  # LlamaIndex's signature
        del formatted
        return CompletionResponse(text=self.chat([ChatMessage(prompt)], **kwargs).message.content or "")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002  # as above
        yield self.complete(prompt, formatted, **kwargs)


def read(messages: list[BaseMessage]) -> AIMessage:
    """A stand-in for a worker's model: it says what it was given to read."""
    given = messages[-1].text.strip()
    return AIMessage(f"I have read {len(given):,} characters: {given.splitlines()[0][:60]}")


@dataclass
class Worker:
    """A chat engine and the memory of its session."""

    name: str
    memory: PagefaultMemory
    engine: SimpleChatEngine
    lock: Any = field(default_factory=threading.Lock)

    def read(self, text: str) -> str:
        """Have it read a text; one at a time, as a conversation goes."""
        with self.lock:
            return str(self.engine.chat(text))


def hire(name: str, memory: pagefault.Memory, scheduler: pagefault.Scheduler, model: BaseChatModel) -> Worker:
    """A worker on the shared memory, scheduler and backend."""
    session = PagefaultMemory.from_defaults(memory, session_id=f"worker-{name}", token_limit=TOKEN_LIMIT)
    engine = SimpleChatEngine.from_defaults(llm=scheduled(ChatLLM(model=model), scheduler, agent=name), memory=session)
    return Worker(name, session, engine)
