"""``PagefaultMemory``: the memory of a chat engine or agent, in three lines."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import BaseMemory
from pydantic import ConfigDict, Field, PrivateAttr

import pagefault
from pagefault import Budget, Memory, Space
from pagefault.attaching import aattach, attach
from pagefault.errors import BudgetError, InvalidId
from pagefault.held import Held, Shown
from pagefault.page import Kind
from pagefault.paths.content import materialise
from pagefault_llamaindex import rendering
from pagefault_llamaindex.messages import LLAMAINDEX, accept, accept_one, copy_of

DEFAULT_TOKEN_LIMIT: Final = 30_000
_ROOMY: Final = 2**52
"""A window that nothing exceeds: a memory gives what must stay rather than raise."""


class PagefaultMemory(BaseMemory):
    """A session's memory: the newest turns within a token limit, and contents of what left.

    Whole turns leave, system messages stay, nothing is lost: ``get_all`` gives every message, the
    recall tool finds each. The object itself is a small handle: copied, pickled or written into a
    workflow's ``Context`` it comes back attached to the same session. Its fields do not change, but for
    ``token_limit``: another session is another object.

    Attributes:
        place: Directory or URL of the memory.
        session_id: Names the conversation.
        token_limit: Tokens that ``get`` keeps to. Only what must stay may exceed it: system messages, pins, the
            last user message and the last message, given whole. What an LLM's window cannot hold, ``paged(llm)``
            refuses (``PageTooLarge``).
        tenant: The isolation boundary, where there are several.
        user: Whose session it is, where that matters.
        agent: The agent within the session.

    Example:
        >>> memory = PagefaultMemory.from_defaults(":memory:", session_id="ada")
        >>> memory.put(ChatMessage(role="user", content="My cat is called Turing."))
        >>> memory.get()[0].content
        'My cat is called Turing.'
        >>> memory.close()
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    place: str = Field(description="Directory or URL of the memory.")
    session_id: str = Field(description="Names the conversation.")
    token_limit: int = Field(
        default=DEFAULT_TOKEN_LIMIT, ge=1, description="Tokens that `get` keeps to, but for what must stay."
    )
    tenant: str | None = Field(default=None, description="The isolation boundary.")
    user: str = Field(default="", description="Whose session it is.")
    agent: str = Field(default="", description="The agent within the session.")
    _memory: Memory | None = PrivateAttr(default=None)
    _opened: bool = PrivateAttr(default=False)
    _held: Held | None = PrivateAttr(default=None)

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised handles."""
        return "PagefaultMemory"

    @classmethod
    def from_defaults(
        cls,
        memory: Memory | str | os.PathLike[str] = ":memory:",
        *,
        session_id: str | int | None = None,
        chat_history: Sequence[ChatMessage] | None = None,
        token_limit: int = DEFAULT_TOKEN_LIMIT,
        tenant: str | int | None = None,
        user: str | int = "",
        agent: str = "",
        **unknown: Any,
    ) -> Self:
        """A session's memory.

        Args:
            memory: From ``pagefault.open(...)``, or a path or URL to open.
            session_id: Names the conversation; a new one by default.
            chat_history: The session's messages from now on, in place of those it has, as LlamaIndex's take it.
            token_limit: Tokens that ``get`` keeps to; what must stay may exceed it.
            tenant: The isolation boundary, where there are several.
            user: Whose session it is.
            agent: The agent within the session.
            **unknown: Refused by name.

        Raises:
            InvalidId: An id is no usable string.
            BudgetError: ``token_limit`` is not a positive number.
            StoreError: The place cannot be opened.
            TypeError: An argument that it does not know, such as another memory's ``chat_store_key``.
        """
        _check(token_limit, unknown)
        source = memory if isinstance(memory, Memory) else pagefault.open(memory)
        try:
            made = cls._made(
                source, session_id=session_id, token_limit=token_limit, tenant=tenant, user=user, agent=agent
            )
            if chat_history:
                made.set(chat_history)
        except BaseException:
            if source is not memory:
                source.close()
            raise
        made._opened = source is not memory
        return made

    @classmethod
    async def afrom_defaults(
        cls,
        memory: Memory | str | os.PathLike[str] = ":memory:",
        *,
        session_id: str | int | None = None,
        chat_history: Sequence[ChatMessage] | None = None,
        token_limit: int = DEFAULT_TOKEN_LIMIT,
        tenant: str | int | None = None,
        user: str | int = "",
        agent: str = "",
        **unknown: Any,
    ) -> Self:
        """Async twin of :meth:`from_defaults`: asks the file system, and takes a history, beside the event loop."""
        _check(token_limit, unknown)
        source = memory if isinstance(memory, Memory) else await pagefault.aopen(memory)
        try:
            made = cls._made(
                source, session_id=session_id, token_limit=token_limit, tenant=tenant, user=user, agent=agent
            )
            if chat_history:
                await made.aset(chat_history)
        except BaseException:
            if source is not memory:
                await source.aclose()
            raise
        made._opened = source is not memory
        return made

    @classmethod
    def _made(
        cls,
        source: Memory,
        *,
        session_id: str | int | None,
        token_limit: int,
        tenant: str | int | None,
        user: str | int,
        agent: str,
    ) -> Self:
        made = cls(
            place=source.place,
            session_id=_id("session_id", uuid.uuid4().hex if session_id is None else session_id),
            token_limit=token_limit,
            tenant=None if tenant is None else _id("tenant", tenant),
            user=_id("user", user),
            agent=_id("agent", agent),
        )
        made._memory = source
        made.space  # noqa: B018  # an id that cannot be used is refused here
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        """Whose session it is stays as it is; another limit counts from the next ``get`` on.

        Raises:
            AttributeError: The field says whose session it is.
            BudgetError: ``token_limit`` is not a positive number.
        """
        if name == "token_limit":
            _check_limit(value)
        elif name in type(self).model_fields:
            raise AttributeError(
                f"{name} of a memory does not change: it says whose session this is. For another one call "
                "PagefaultMemory.from_defaults(memory.memory, session_id=..., user=...), or for_agent(...)"
            )
        super().__setattr__(name, value)

    def for_agent(self, agent: str) -> Self:
        """The memory of another agent in the same session, with a space of its own."""
        return self._again(agent=_id("agent", agent))

    @property
    def space(self) -> Space:
        """The space behind it: ``recall``, ``fault``, ``pin`` and the like."""
        return self.memory.space(thread=self.session_id, tenant=self.tenant, user=self.user, agent=self.agent)

    async def aspace(self) -> Space:
        """Async twin of :attr:`space`: of a session that was written down, the place is opened beside the loop."""
        if self._memory is None:
            self._memory = await aattach(self.place)
        return self.space

    @property
    def memory(self) -> Memory:
        """The memory that the session is in."""
        if self._memory is None:
            self._memory = attach(self.place)
        return self._memory

    @property
    def tokenizer_fn(self) -> Callable[[str], Sequence[int]]:
        """As long as the number of tokens: engines count their system prompt with it."""
        return lambda text: range(self.memory.counter.count(text))

    # -- reading ---------------------------------------------------------------------------

    def get(self, input: Any = None, initial_token_count: int = 0, **_: Any) -> list[ChatMessage]:  # noqa: A002  # the base's name
        """The messages to send: contents of what left, the newest whole turns, within the limit.

        Args:
            input: The message to come, where it is not in the memory yet: room is kept for it.
            initial_token_count: Tokens of what the engine puts before.
        """
        held = self._conversation()
        overhead = self._overhead(held, input, initial_token_count)
        return self._given(held, held.render(self._budget(), overhead=overhead, by_turns=True))

    async def aget(self, input: Any = None, initial_token_count: int = 0, **_: Any) -> list[ChatMessage]:  # noqa: A002  # the base's name
        """Async twin of :meth:`get`."""
        held = await self._aconversation()
        overhead = self._overhead(held, input, initial_token_count)
        return self._given(held, await held.arender(self._budget(), overhead=overhead, by_turns=True))

    def get_all(self) -> list[ChatMessage]:
        """Every message of the session, in order, wherever it is."""
        return [copy_of(native) for native in self._conversation().everything()]

    async def aget_all(self) -> list[ChatMessage]:
        """Async twin of :meth:`get_all`."""
        return [copy_of(native) for native in await (await self._aconversation()).aeverything()]

    # -- writing ---------------------------------------------------------------------------

    def put(self, message: ChatMessage) -> None:
        """Add a message. Accepted on return, stored behind you.

        Raises:
            UnsupportedMessage: Not a ``ChatMessage``, or it holds what JSON cannot (objects, keys that are no text).
            MemoryClosed: After ``close()``.
        """
        self._conversation().put([accept_one(message)])

    async def aput(self, message: ChatMessage) -> None:
        """Async twin of :meth:`put`."""
        await (await self._aconversation()).aput([accept_one(message)])

    def put_messages(self, messages: Sequence[ChatMessage]) -> None:
        """Add messages, all or none."""
        accepted = accept(messages)
        if accepted:
            self._conversation().put(accepted)

    async def aput_messages(self, messages: Sequence[ChatMessage]) -> None:
        """Async twin of :meth:`put_messages`."""
        accepted = accept(messages)
        if accepted:
            await (await self._aconversation()).aput(accepted)

    def set(self, messages: Sequence[ChatMessage]) -> None:
        """Make these the session's messages. Where they begin with all that it has, the others are added.

        Contents of what left, as ``get`` gave them out, stand for the messages that left. What is left out is part of
        the session no more and no recall finds it; its text stays in the store.
        """
        held, accepted = self._conversation(), accept(messages)
        held.replace(rendering.meant(messages, accepted, held))

    async def aset(self, messages: Sequence[ChatMessage]) -> None:
        """Async twin of :meth:`set`."""
        held, accepted = await self._aconversation(), accept(messages)
        await held.aready()
        await held.areplace(rendering.meant(messages, accepted, held))

    def reset(self) -> None:
        """Begin the session anew, with no messages. No recall finds the old ones; their text stays in the store."""
        self._conversation().replace([])

    async def areset(self) -> None:
        """Async twin of :meth:`reset`."""
        await (await self._aconversation()).areplace([])

    # -- life ------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the memory if ``from_defaults`` opened it; one that it was given stays open."""
        if self._opened and self._memory is not None:
            self._opened = False
            self._memory.close()

    async def aclose(self) -> None:
        """Async twin of :meth:`close`."""
        if self._opened and self._memory is not None:
            self._opened = False
            await self._memory.aclose()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **kwargs: Any) -> Self:
        """The session that :meth:`to_dict` describes, attached again at first use."""
        return cls(**{name: value for name, value in {**data, **kwargs}.items() if name != "class_name"})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_dict, (self.to_dict(),)

    def __copy__(self) -> Self:
        return self._again()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self._again()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002  # Pydantic's
        """Another handle, deep or not: of this session, or of the one that ``update`` makes of it."""
        return self._again(**(update or {}))

    def _again(self, **changes: Any) -> Self:
        twin = self.from_dict(self.to_dict(), **changes)
        if twin.place == self.place:
            twin._memory = self._memory
        return twin

    # -- inside ----------------------------------------------------------------------------

    def _conversation(self) -> Held:
        if self._held is None:
            self._held = self.space.held(LLAMAINDEX)
        return self._held

    async def _aconversation(self) -> Held:
        await self.aspace()
        return self._conversation()

    def _budget(self) -> Budget:
        return Budget(window=_ROOMY, target=self.token_limit, reserve=0)

    def _overhead(self, held: Held, message: object, initial: object) -> int:
        """Tokens to leave free."""
        tokens = initial if isinstance(initial, int) and initial > 0 else 0
        if isinstance(message, str):
            message = ChatMessage(role=MessageRole.USER, content=message)
        if isinstance(message, ChatMessage) and message.blocks and not _is_last_question(held, message):
            tokens += materialise([message], LLAMAINDEX, self.memory.counter, Kind.MESSAGE).tokens
        return tokens

    def _given(self, held: Held, shown: Shown) -> list[ChatMessage]:
        copies = [copy_of(native) for native in shown.natives]
        rendering.note(held, shown, copies, self.token_limit)
        return copies


def _is_last_question(held: Held, message: ChatMessage) -> bool:
    lineage = held.known()
    if lineage is None or not lineage.request:
        return False
    slot = lineage.slots[lineage.request - 1]
    return any(isinstance(n, ChatMessage) and n.content == message.content for n in lineage.natives(slot))


def _check(token_limit: object, unknown: Mapping[str, Any]) -> None:
    if unknown:
        raise TypeError(
            f"PagefaultMemory.from_defaults takes no {', '.join(sorted(unknown))}; the first argument says where "
            "messages are kept, session_id, tenant, user and agent say whose they are"
        )
    _check_limit(token_limit)


def _check_limit(tokens: object) -> None:
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        raise BudgetError(f"token_limit={tokens!r:.40}; give a positive number of tokens")


def _id(name: str, value: object) -> str:
    """An id as text; numbers are common as ids of users and sessions."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InvalidId(f"{name} is text, got {type(value).__name__} {value!r:.60}")
    return value
