"""The model's own page fault: a tool that returns exact originals by address or by query; and one to keep facts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from pagefault import Source, Space
from pagefault.arguments import ScopeName
from pagefault.asking import (
    ADDRESSES,
    AFTER,
    BEFORE,
    FACT,
    KEY,
    NAME,
    QUERY,
    REMEMBER,
    asked,
    description_of,
    failed,
    few,
    kept,
    said,
    said_addresses,
    said_fact,
    told,
)
from pagefault.errors import PagefaultError
from pagefault.paths.lineage import Lineage
from pagefault_llamaindex.encoding import RecalledBlock
from pagefault_llamaindex.home import Home, aspace_of, check_home, space_of
from pagefault_llamaindex.messages import LLAMAINDEX


class _Recall(BaseModel):
    addresses: str = Field(default="", description=ADDRESSES)
    query: str = Field(default="", description=QUERY)
    after: str = Field(default="", description=AFTER)
    before: str = Field(default="", description=BEFORE)


class _Remember(BaseModel):
    key: str = Field(description=KEY)
    value: str = Field(description=FACT)


def recall_tool(memory: Home, *, scope: ScopeName = "thread", sources: Sequence[Source] = ()) -> FunctionTool:
    """The ``recall`` tool of one session. Whose conversation it reads is fixed here, never said by the model.

    Within an agent's run it reads the tool steps of that run as well, if a paged LLM saw them.

    Args:
        memory: The session's memory, or the space of a history that a paged LLM's caller carries along.
        scope: ``"user"`` lets it find pages of all sessions of this user, each marked with its own. The model
            cannot switch it on.
        sources: Asked at each query as well; what they say stands apart.

    Raises:
        ValueError: No such scope.
        InvalidId: ``scope="user"`` for a session of no user.
    """
    check_home(memory, scope)
    description = description_of(scope)
    how: Any = {"skip_resident": True, "scope": scope, "sources": sources}

    def recall(addresses: Any = "", query: Any = "", after: Any = "", before: Any = "", **_: Any) -> RecalledBlock:
        try:
            space = space_of(memory)
            if wanted := said_addresses(addresses):
                return _quoted(space.fault(few(wanted), path=_path(space), scope=scope).text)
            question = asked(said(query), after, before)
            return _quoted(told(space.recall(**question, path=_path(space), **how), question).text)
        except (PagefaultError, ValueError) as error:
            return _quoted(failed(NAME, error))

    async def arecall(
        addresses: Any = "", query: Any = "", after: Any = "", before: Any = "", **_: Any
    ) -> RecalledBlock:
        try:
            space = await aspace_of(memory)
            if wanted := said_addresses(addresses):
                return _quoted((await space.afault(few(wanted), path=_path(space), scope=scope)).text)
            question = asked(said(query), after, before)
            return _quoted(told(await space.arecall(**question, path=_path(space), **how), question).text)
        except (PagefaultError, ValueError) as error:
            return _quoted(failed(NAME, error))

    return _tool(recall, arecall, description, _Recall)


def remember_tool(memory: Home) -> FunctionTool:
    """The ``remember`` tool of one session: facts under keys, for all sessions of its user.

    Args:
        memory: The session's memory, or its space.
    """
    check_home(memory)

    def remember(key: Any = "", value: Any = "", **_: Any) -> str:
        try:
            return kept(space_of(memory).remember(said(key), said_fact(value)).key)
        except PagefaultError as error:
            return failed("remember", error)

    async def aremember(key: Any = "", value: Any = "", **_: Any) -> str:
        try:
            return kept((await (await aspace_of(memory)).aremember(said(key), said_fact(value))).key)
        except PagefaultError as error:
            return failed("remember", error)

    return _tool(remember, aremember, REMEMBER, _Remember)


class PagefaultToolSpec:
    """Both tools of one session, given as LlamaIndex's tool specs give theirs.

    Args:
        memory: The session's memory, or its space.
        scope: As for :func:`recall_tool`.
        sources: As for :func:`recall_tool`.

    Example:
        >>> from pagefault_llamaindex import PagefaultMemory
        >>> memory = PagefaultMemory.from_defaults(":memory:", session_id="ada")
        >>> [tool.metadata.name for tool in PagefaultToolSpec(memory).to_tool_list()]
        ['recall', 'remember']
        >>> memory.close()
    """

    def __init__(self, memory: Home, *, scope: ScopeName = "thread", sources: Sequence[Source] = ()) -> None:
        self._tools = [recall_tool(memory, scope=scope, sources=sources), remember_tool(memory)]

    def to_tool_list(self) -> list[Any]:  # lists of one kind of tool fit no ``list[BaseTool | Callable]``
        """The tools, each a ``FunctionTool``, for an agent's ``tools=``."""
        return list(self._tools)


def _tool(
    function: Callable[..., Any], awaited: Callable[..., Awaitable[Any]], description: str, schema: type[BaseModel]
) -> FunctionTool:
    """A tool under its function's name, which says all that the tool does: agents that write code are shown that."""
    arguments = [f"    {name}: {field.description}" for name, field in schema.model_fields.items()]
    function.__doc__ = "\n".join([description, "", "Args:", *arguments])
    return FunctionTool.from_defaults(
        fn=function, async_fn=awaited, name=function.__name__, description=description, fn_schema=schema
    )


def _path(space: Space) -> Lineage | None:
    return space.held(LLAMAINDEX).path()


def _quoted(text: str) -> RecalledBlock:
    return RecalledBlock(text=text)
