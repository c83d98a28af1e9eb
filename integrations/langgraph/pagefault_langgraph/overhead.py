"""Tokens of a request besides its conversation: system prompt, schemas of tools and answers, transient messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import BaseMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from pagefault.messages.equal import differing
from pagefault.page import Kind
from pagefault.paths.content import materialise, schema_tokens
from pagefault.ports import TokenCounter
from pagefault_langgraph.messages import LANGCHAIN

_SHAPES: Final = ("response_format", "response_schema", "response_json_schema", "output_config", "format", "functions")
"""By these a request tells its provider what the answer looks like, besides tools."""


class Overhead:
    """Counts what surrounds the conversation; remembers the last answer, which rarely changes."""

    def __init__(self, counter: Callable[[], TokenCounter]) -> None:
        self._counter = counter
        self._last: tuple[BaseMessage | None, list[Any], int] = None, [], 0

    def of(self, system: BaseMessage | None, tools: Sequence[Any]) -> int:
        """Tokens of a request's system message, tool schemas and what :func:`shapes` gave."""
        known, same, tokens = self._last  # one value: several threads ask at once
        if system is not known or tools != same:
            tokens = self.messages([system] if system is not None else [])
            tokens += schema_tokens(map(_schema, tools), self._counter())
            self._last = system, list(tools), tokens
        return tokens

    def transient(self, requested: Sequence[BaseMessage], history: Sequence[BaseMessage]) -> int:
        """Tokens of messages that other middleware put into the request only."""
        ours, theirs = differing(history, requested)
        known = {id(m) for m in ours}
        ids = {m.id for m in ours} - {None}
        return self.messages([m for m in theirs if id(m) not in known and m.id not in ids])

    def messages(self, natives: Sequence[BaseMessage]) -> int:
        """Exact tokens of some messages."""
        if not natives:
            return 0
        return materialise(natives, LANGCHAIN, self._counter(), Kind.MESSAGE).tokens


def shapes(response_format: Any) -> list[Any]:
    """The schemas that an agent's ``response_format`` adds to a request, as a tool or beside the tools."""
    if response_format is None:
        return []
    if isinstance(response_format, ProviderStrategy):
        return [response_format.to_model_kwargs()]
    if not isinstance(response_format, ToolStrategy):
        is_auto = isinstance(response_format, AutoStrategy)
        response_format = ToolStrategy(response_format.schema if is_auto else response_format)
    return [
        {"name": spec.name, "description": spec.description, "parameters": spec.json_schema}
        for spec in response_format.schema_specs
    ]


def shapes_of(extra: Mapping[str, Any]) -> list[Any]:
    """The schemas among what a request passes to its model besides messages and tools."""
    return [extra[name] for name in _SHAPES if extra.get(name)]


def _schema(tool: Any) -> Any:
    """What of a tool is sent; a kind that only its provider knows is counted as it prints."""
    if isinstance(tool, dict | str):
        return tool
    if isinstance(tool, list | tuple):
        return [_schema(each) for each in tool]
    try:
        return convert_to_openai_tool(tool)
    except (TypeError, ValueError):
        return repr(tool)
