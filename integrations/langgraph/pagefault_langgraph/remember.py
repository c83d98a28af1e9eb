"""A tool with which the model keeps something for later conversations with the same user."""

from __future__ import annotations

from typing import Annotated, Final

from langchain_core.tools import BaseTool, StructuredTool

from pagefault import Memory
from pagefault.asking import FACT, KEY, REMEMBER, failed, kept, said_fact
from pagefault.errors import PagefaultError
from pagefault.space import Space
from pagefault_langgraph.identity import Identity
from pagefault_langgraph.locate import config_of, identify
from pagefault_langgraph.state import read
from pagefault_langgraph.tools import OUTSIDE, Runtime, Said

NAME: Final = "remember"


def remember_tool(memory: Memory, *, identity: Identity | None = None, messages_key: str = "messages") -> BaseTool:
    """The ``remember`` tool for an agent or a ``ToolNode``; ``recall`` finds what it keeps.

    Whose item it is comes from the run's config, never from the model: it belongs to the user, or
    to the thread where the application names no user.

    Args:
        memory: From ``pagefault.open(...)``.
        identity: The same as given to the middleware.
        messages_key: Where the state has its messages; the same as given to ``recall_tool``.
    """

    def locate(runtime: Runtime | None) -> Space:
        if runtime is None:
            return memory.at(identify(identity, config_of(), []))
        return memory.at(identify(identity, runtime.config, read(runtime.state, messages_key) or []))

    def remember(
        key: Annotated[Said, KEY],
        value: Annotated[Said, FACT],
        runtime: Runtime = OUTSIDE,
    ) -> str:
        space = locate(runtime)
        try:
            return kept(space.remember(key, said_fact(value)).key)
        except PagefaultError as error:
            return failed(NAME, error)

    async def aremember(
        key: Annotated[Said, KEY],
        value: Annotated[Said, FACT],
        runtime: Runtime = OUTSIDE,
    ) -> str:
        space = locate(runtime)
        try:
            return kept((await space.aremember(key, said_fact(value))).key)
        except PagefaultError as error:
            return failed(NAME, error)

    return StructuredTool.from_function(func=remember, coroutine=aremember, name=NAME, description=REMEMBER)
