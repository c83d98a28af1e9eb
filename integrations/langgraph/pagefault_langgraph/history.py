"""A conversation that only the memory keeps, as LangChain's chat message history."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from pagefault import Memory
from pagefault.held import Held
from pagefault.messages import canonical
from pagefault_langgraph.messages import LANGCHAIN


class PagefaultChatMessageHistory(BaseChatMessageHistory):
    """All messages of one conversation, exact, for ``RunnableWithMessageHistory`` and the like.

    It gives everything back, whatever its length; to keep a model's window within a budget, wrap
    the model: ``paged(model, memory)``. A conversation that a graph pages belongs to that graph:
    give this one a thread of its own. A value that JSON has no form for, such as an object in an
    artifact, comes back as a placeholder, and keys that are no text as text.

    Args:
        memory: From ``pagefault.open(...)``.
        thread: The conversation.
        user: Whose.
        tenant: The tenant; the default one if not given.
        agent: Where several histories share a thread.

    Example:
        >>> import pagefault
        >>> from langchain_core.messages import HumanMessage
        >>> with pagefault.open(":memory:", embedder=None) as memory:
        ...     history = PagefaultChatMessageHistory(memory, thread="t1")
        ...     history.add_messages([HumanMessage("My cat is called Turing.")])
        ...     [message.content for message in history.messages]
        ['My cat is called Turing.']
    """

    def __init__(
        self, memory: Memory, *, thread: str, user: str = "", tenant: str | None = None, agent: str = ""
    ) -> None:
        self._space = memory.space(tenant=tenant, user=user, thread=thread, agent=agent)

    @property
    def _held(self) -> Held:
        return self._space.held(LANGCHAIN)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # a property where the base has a field
        """All messages, as copies."""
        return _copies(self._held.everything())

    async def aget_messages(self) -> list[BaseMessage]:
        """Async twin of :attr:`messages`."""
        return _copies(await self._held.aeverything())

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages at the end; accepted on return, stored behind you."""
        if messages:
            self._held.put(_copies(messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Async twin of :meth:`add_messages`."""
        if messages:
            await self._held.aput(_copies(messages))

    def clear(self) -> None:
        """Begin an empty conversation. What was said before is not shown any more; it is not erased."""
        self._held.replace([])

    async def aclear(self) -> None:
        """Async twin of :meth:`clear`."""
        await self._held.areplace([])


def _copies(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Nobody changes ours, and we change nobody's."""
    return list(map(_copy, messages))


def _copy(message: BaseMessage) -> BaseMessage:
    try:
        return message.model_copy(deep=True)
    except Exception:  # noqa: BLE001  # an object that cannot be copied, such as a lock: as it will come back
        text, _ = canonical.dump(canonical.prune(LANGCHAIN.encode(message)))
        return LANGCHAIN.decode(canonical.load(text))
