"""The model's hand on its own window: what may leave first, and what always stays in sight."""

from __future__ import annotations

from typing import Annotated, Any, Final

from langchain.tools import ToolRuntime
from langchain_core.tools import BaseTool, StructuredTool

from pagefault import Memory
from pagefault.arguments import numbers
from pagefault.errors import PagefaultError
from pagefault.lineage import Lineage
from pagefault_langgraph.identity import Identity
from pagefault_langgraph.tools import Said, SaidAddresses, apast_of, past_of

RELEASE: Final = (
    "Let pages of this conversation that you are done with leave your context window first, by page number, such as "
    "'12' or '12-14, 20'. They are not lost: recall brings them back."
)
PIN_ITEM: Final = (
    "Keep a short text under a key in your context window at all times, such as a goal, a decision or an open task. "
    "Setting a key again replaces its text; an empty text removes it."
)
Runtime = ToolRuntime[Any, Any]
Pages = Annotated[SaidAddresses, "Page numbers, such as '12' or '12-14'"]
Key = Annotated[Said, "A short name"]
Text = Annotated[Said, "What to keep"]


def window_tools(memory: Memory, *, identity: Identity | None = None) -> list[BaseTool]:
    """The tools ``release`` and ``pin_item``; ``PagingMiddleware(manage=True)`` brings them along.

    A model cannot undo pins that the application made.

    Args:
        memory: From ``pagefault.open(...)``.
        identity: The same as given to the middleware.
    """
    return [_release_tool(memory, identity), _pin_item_tool(memory, identity)]


def _release_tool(memory: Memory, identity: Identity | None) -> BaseTool:
    def release(runtime: Runtime, addresses: Pages) -> str:
        space, past = past_of(memory, identity, runtime)
        try:
            space.release(addresses, path=past.path, unpin=False)
        except PagefaultError as error:
            return _refused("release", error)
        return _released(addresses, past.path)

    async def arelease(runtime: Runtime, addresses: Pages) -> str:
        space, past = await apast_of(memory, identity, runtime)
        try:
            await space.arelease(addresses, path=past.path, unpin=False)
        except PagefaultError as error:
            return _refused("release", error)
        return _released(addresses, past.path)

    return StructuredTool.from_function(release, arelease, name="release", description=RELEASE)


def _pin_item_tool(memory: Memory, identity: Identity | None) -> BaseTool:
    def pin_item(runtime: Runtime, key: Key, text: Text) -> str:
        space, past = past_of(memory, identity, runtime)
        try:
            if text.strip():
                space.pin_item(key, text, path=past.path)
            else:
                space.unpin_item(key, path=past.path)
        except PagefaultError as error:
            return _refused("pin_item", error)
        return _pinned(key, text)

    async def apin_item(runtime: Runtime, key: Key, text: Text) -> str:
        space, past = await apast_of(memory, identity, runtime)
        try:
            if text.strip():
                await space.apin_item(key, text, path=past.path)
            else:
                await space.aunpin_item(key, path=past.path)
        except PagefaultError as error:
            return _refused("pin_item", error)
        return _pinned(key, text)

    return StructuredTool.from_function(pin_item, apin_item, name="pin_item", description=PIN_ITEM)


def _refused(tool: str, error: PagefaultError) -> str:
    """The model reads what went wrong and can ask better."""
    return f"{tool} failed: {error}"


def _released(addresses: str, path: Lineage) -> str:
    said = f"pages {addresses} leave first when room is needed"
    if pinned := sorted(path.view.pinned.intersection(numbers(addresses, path))):
        said += f", but pinned ones stay: {', '.join(map(str, pinned))}"
    return said


def _pinned(key: str, text: str) -> str:
    return f"{key} is kept in sight" if text.strip() else f"{key} is no longer kept in sight"
