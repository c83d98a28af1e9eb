"""What a request holds besides its conversation: schemas of tools and answers, transient messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from pagefault import Memory
from pagefault.messages.equal import differing, is_equal
from pagefault.paths.overhead import Overhead
from pagefault_langgraph.messages import LANGCHAIN

_SHAPES: Final = ("response_format", "response_schema", "response_json_schema", "output_config", "format", "functions")
"""By these a request tells its provider what the answer looks like, besides tools."""
_MEMO: Final = "_tool_call_schema_memo"
"""Where a tool of LangChain keeps its schema once that was asked for, made anew for each copy of a tool."""


def overhead_of(memory: Memory) -> Overhead:
    """What counts the surroundings of a memory's conversations."""
    return Overhead(LANGCHAIN, lambda: memory.counter, _schema, are_same)


def are_same(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether tools are the same by value, whichever of them was described already: that alone makes two unequal."""
    return is_equal(ones, others) or (len(ones) == len(others) and all(map(_is_same, ones, others)))


def _is_same(one: Any, other: Any) -> bool:
    if not isinstance(one, BaseTool) or one.__class__ is not other.__class__:
        return is_equal(one, other)
    return is_equal(_parts(one), _parts(other))


def _parts(tool: BaseTool) -> Any:
    private = tool.__pydantic_private__ or {}
    return tool.__dict__, {name: value for name, value in private.items() if name != _MEMO}


def transient(requested: Sequence[BaseMessage], history: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Messages that other middleware put into the request only."""
    ours, theirs = differing(history, requested)
    known = {id(m) for m in ours}
    ids = {m.id for m in ours} - {None}
    return [m for m in theirs if id(m) not in known and m.id not in ids]


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
