"""The model's hand on its own window: what may leave first, and what always stays in sight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.types import Command

from pagefault import Memory
from pagefault.arguments import numbers, parsed
from pagefault.asking import failed
from pagefault.errors import InvalidId, PagefaultError
from pagefault.page import in_words
from pagefault.paths.lineage import Lineage
from pagefault.window.view import to_record
from pagefault_langgraph.identity import Identity
from pagefault_langgraph.state import VIEW_KEY, told_of
from pagefault_langgraph.tools import OUTSIDE, Asker, Runtime, Said, SaidAddresses

RELEASE: Final = (
    "Let pages of this conversation that you are done with leave your context window first, by page number, such as "
    "'12' or '12-14, 20'. They are not lost: recall brings them back."
)
PIN_ITEM: Final = (
    "Keep a short text under a key in your context window at all times, such as a goal, a decision or an open task. "
    "Setting a key again replaces its text; an empty text removes it."
)
Pages = Annotated[SaidAddresses, "Page numbers, such as '12' or '12-14'"]
Key = Annotated[Said, "A short name"]
Text = Annotated[Said, "What to keep"]
Answer = str | Command[Any]


def window_tools(memory: Memory, *, identity: Identity | None = None, messages_key: str = "messages") -> list[BaseTool]:
    """The tools ``release`` and ``pin_item``; ``PagingMiddleware(manage=True)`` brings them along.

    A model cannot undo pins that the application made. Where the state has a key for the view record, as
    :class:`PagedState` has, what a tool changed is in the state at once, so a restart before the next model call loses
    nothing.

    Args:
        memory: From ``pagefault.open(...)``.
        identity: The same as given to the middleware.
        messages_key: Where the state has its messages.
    """
    asker = Asker(memory, identity, messages_key)
    return [_release_tool(asker), _pin_item_tool(asker)]


def _release_tool(asker: Asker) -> BaseTool:
    def release(addresses: Pages, runtime: Runtime = OUTSIDE) -> Answer:
        place = asker.place(runtime)
        try:
            path = place.past().path
            place.space.release(addresses, path=path, unpin=False)
        except PagefaultError as error:
            return failed("release", error)
        return _kept(asker, _released(addresses, path), path, runtime)

    async def arelease(addresses: Pages, runtime: Runtime = OUTSIDE) -> Answer:
        place = asker.place(runtime)
        try:
            path = (await place.apast()).path
            await place.space.arelease(addresses, path=path, unpin=False)
        except PagefaultError as error:
            return failed("release", error)
        return _kept(asker, _released(addresses, path), path, runtime)

    return StructuredTool.from_function(release, arelease, name="release", description=RELEASE)


def _pin_item_tool(asker: Asker) -> BaseTool:
    def pin_item(key: Key, text: Text, runtime: Runtime = OUTSIDE) -> Answer:
        place = asker.place(runtime)
        try:
            path = place.past().path
            if text.strip():
                place.space.pin_item(key, text, path=path)
            else:
                place.space.unpin_item(key, path=path)
        except PagefaultError as error:
            return failed("pin_item", error, InvalidId)
        return _kept(asker, _pinned(key, text), path, runtime)

    async def apin_item(key: Key, text: Text, runtime: Runtime = OUTSIDE) -> Answer:
        place = asker.place(runtime)
        try:
            path = (await place.apast()).path
            if text.strip():
                await place.space.apin_item(key, text, path=path)
            else:
                await place.space.aunpin_item(key, path=path)
        except PagefaultError as error:
            return failed("pin_item", error, InvalidId)
        return _kept(asker, _pinned(key, text), path, runtime)

    return StructuredTool.from_function(pin_item, apin_item, name="pin_item", description=PIN_ITEM)


def _kept(asker: Asker, said: str, path: Lineage, runtime: Runtime) -> Answer:
    """What the model reads, and with it the decision for the state, where that has a key for it."""
    state: Any = runtime.state
    has_key = VIEW_KEY in state if isinstance(state, Mapping) else hasattr(state, VIEW_KEY)
    if not has_key:
        return said
    result = ToolMessage(said, tool_call_id=runtime.tool_call_id)
    return Command(update={asker.messages_key: [result], VIEW_KEY: told_of(to_record(path.view), asker.messages_key)})


def _released(addresses: str, path: Lineage) -> str:
    released = numbers(addresses, path)
    said = f"First to leave when room is needed: {in_words([str(each) for each in parsed(addresses)])}."
    if pinned := sorted(path.view.pinned.intersection(released)):
        said += f" Pinned by the application, so kept: {in_words(list(map(str, pinned)))}."
    return said


def _pinned(key: str, text: str) -> str:
    return f"Kept in sight: {key!r:.80}." if text.strip() else f"No longer kept in sight: {key!r:.80}."
