"""The workers: LlamaIndex chat engines that read, each with a session of its own in the shared memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Final

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import LLM, CompletionResponse, CustomLLM, LLMMetadata

import pagefault
from pagefault_llamaindex import PagefaultMemory, scheduled

TOKEN_LIMIT: Final = 2_000


class ReadingLLM(CustomLLM):
    """A deterministic stand-in for an LLM: it says what it was given to read."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=8_000, model_name="stand-in")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002  # LlamaIndex's signature
        del formatted, kwargs
        given = prompt.rsplit("user: ", 1)[-1].removesuffix("assistant: ").strip()
        return CompletionResponse(text=f"I have read {len(given):,} characters: {given.splitlines()[0][:60]}")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002  # as above
        yield self.complete(prompt, formatted, **kwargs)


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


def hire(name: str, memory: pagefault.Memory, scheduler: pagefault.Scheduler, llm: LLM) -> Worker:
    """A worker on the shared memory and scheduler."""
    session = PagefaultMemory.from_defaults(memory, session_id=f"worker-{name}", token_limit=TOKEN_LIMIT)
    engine = SimpleChatEngine.from_defaults(llm=scheduled(llm, scheduler, agent=name), memory=session)
    return Worker(name, session, engine)
