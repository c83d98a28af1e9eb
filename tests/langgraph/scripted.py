"""A deterministic stand-in for a chat model, and the checks that every request must pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import BaseTool, tool
from pydantic import PrivateAttr

Script = Callable[[int, list[BaseMessage]], AIMessage]


class ScriptedModel(BaseChatModel):
    """Answers by a script ``(call number, request) -> AIMessage`` and keeps every request."""

    _script: Script = PrivateAttr()
    _requests: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    def __init__(self, script: Script, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._script = script

    @property
    def requests(self) -> list[list[BaseMessage]]:
        """Every list of messages it was sent."""
        return self._requests

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self._requests.append(list(messages))
        answer = self._script(len(self._requests), messages)
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self._requests.append(list(messages))
        answer = self._script(len(self._requests), messages)
        for word in str(answer.content).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word + " ", id=answer.id))
        if answer.tool_calls:
            chunks = [
                {"name": c["name"], "args": __import__("json").dumps(c["args"]), "id": c["id"], "index": i}
                for i, c in enumerate(answer.tool_calls)
            ]
            yield ChatGenerationChunk(message=AIMessageChunk(content="", id=answer.id, tool_call_chunks=chunks))


def words(seed: str, count: int) -> str:
    """Deterministic text that no other seed gives."""
    return " ".join(hashlib.sha256(f"{seed}/{i}".encode()).hexdigest()[:8] for i in range(count))


@tool
def lookup(key: str) -> str:
    """Look a key up in the archive."""
    return f"record {key}: {words(key, 18)}"


@tool
def measure(key: str, times: int = 1) -> str:
    """Measure something."""
    return f"measured {key} x{times}: {words(f'm{key}', 8)}"


TOOLS: list[BaseTool] = [lookup, measure]


def worker_script(steps_per_turn: int) -> Script:
    """Calls tools, every third time two at once, and answers after some steps."""

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        step = call % steps_per_turn
        if step == 0:
            return AIMessage(content=f"turn done at call {call}: {words(f'a{call}', 6)}", id=f"ai-{call}")
        calls = [{"name": "lookup", "args": {"key": f"k{call}"}, "id": f"c{call}a"}]
        if call % 3 == 0:
            calls.append({"name": "measure", "args": {"key": f"k{call}", "times": call}, "id": f"c{call}b"})
        return AIMessage(content=f"step {call}", tool_calls=calls, id=f"ai-{call}")

    return script


def problems(messages: Sequence[BaseMessage]) -> list[str]:
    """What a provider would refuse in a request."""
    found: list[str] = []
    waiting: dict[str, int] = {}
    for index, message in enumerate(messages):
        if isinstance(message, SystemMessage) and index > 0 and not isinstance(messages[index - 1], SystemMessage):
            found.append(f"{index}: system message in the middle")
        if isinstance(message, ToolMessage):
            if waiting.pop(message.tool_call_id, None) is None:
                found.append(f"{index}: orphan tool result {message.tool_call_id}")
        elif waiting:
            found.append(f"{index}: calls without result {sorted(waiting)}")
            waiting = {}
        if isinstance(message, AIMessage):
            waiting = {str(call["id"]): index for call in message.tool_calls}
    if waiting:
        found.append(f"calls without result at the end {sorted(waiting)}")
    return found


def is_extension(before: Sequence[BaseMessage], after: Sequence[BaseMessage]) -> bool:
    """Whether a request begins with the whole request before it."""
    return list(after[: len(before)]) == list(before)


def last_user(messages: Sequence[BaseMessage]) -> BaseMessage | None:
    """The last human message that is no compaction block."""
    human = [m for m in messages if isinstance(m, HumanMessage) and not str(m.id).startswith("pagefault-")]
    return human[-1] if human else None
