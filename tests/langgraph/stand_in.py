"""A chat model that answers anything, with usage reports and tool calls made up from their schemas."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

_SAMPLES: dict[str, Any] = {"integer": 3, "number": 1.5, "boolean": True, "null": None}


class ChatStandIn(BaseChatModel):
    """No provider behind it: a stand-in for one."""

    model: str = "stand-in-1"
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    streaming: bool = False
    api_key: str = ""
    timeout: float | None = None
    max_retries: int = 0
    numbers: ClassVar[Iterator[int]] = itertools.count()

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        shapes = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=shapes, tool_choice=tool_choice, **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, kwargs))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages, kwargs)
        for word in str(answer.content).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word, id=answer.id))
        calls = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": index}
            for index, call in enumerate(answer.tool_calls)
        ]
        last = AIMessageChunk(
            content="", id=answer.id, tool_call_chunks=calls, usage_metadata=answer.usage_metadata,
            response_metadata=answer.response_metadata, chunk_position="last",
        )  # fmt: skip
        yield ChatGenerationChunk(message=last)

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        number = next(self.numbers)
        tools = [tool["function"] for tool in kwargs.get("tools") or ()]
        calls = []
        if tools and isinstance(messages[-1], HumanMessage):
            chosen = next((tool for tool in tools if tool["name"] == kwargs.get("tool_choice")), tools[0])
            shape = chosen.get("parameters") or {}
            calls = [
                {
                    "name": chosen["name"],
                    "args": _sample(shape, shape, str(messages[-1].content)),
                    "id": f"call-{number}",
                }
            ]
        sent = sum(len(str(message.content)) // 4 + 4 for message in messages)
        return AIMessage(
            content="" if calls else "an answer of five words",
            id=f"answer-{number}",
            tool_calls=calls,
            usage_metadata=UsageMetadata(input_tokens=sent, output_tokens=9, total_tokens=sent + 9),
            response_metadata={"model_name": kwargs.get("model", self.model)},
        )


def _sample(shape: dict[str, Any], root: dict[str, Any], text: str) -> Any:
    """Something that a JSON schema accepts; strings are what was asked."""
    if "$ref" in shape:
        name = shape["$ref"].rsplit("/", 1)[-1]
        defined = root.get("$defs") or root.get("definitions") or {}
        return _sample(defined[name], root, text)
    if "enum" in shape:
        return shape["enum"][0]
    if options := shape.get("anyOf") or shape.get("allOf"):
        return _sample(options[0], root, text)
    if shape.get("type") == "array":
        return [_sample(shape.get("items") or {}, root, text)]
    if shape.get("type") == "object" or "properties" in shape:
        return {name: _sample(each, root, text) for name, each in (shape.get("properties") or {}).items()}
    return _SAMPLES.get(str(shape.get("type")), text)
