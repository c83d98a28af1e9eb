"""For users of LlamaIndex's own ``Memory``: a chat store over pagefault.

A key has two spaces, one for the messages in use and one for those that ``Memory`` archived. What is
archived is added there before it is taken away here: a crash in between leaves a message in both,
never in none.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import ConfigDict, Field, PrivateAttr

from pagefault import Memory
from pagefault.errors import InvalidId
from pagefault.held import Held
from pagefault_llamaindex.messages import LLAMAINDEX, accept, copy_of

_KEYS = "keys"


class PagefaultChatStore(AsyncDBChatStore):
    """Messages that survive: for ``Memory.from_defaults(chat_store=PagefaultChatStore(memory=...))``.

    Attributes:
        memory: From ``pagefault.open(...)``.
        tenant: The isolation boundary, where there are several.
        user: Whose conversations these are, where that matters.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    memory: Memory = Field(exclude=True)
    tenant: str | None = None
    user: str = ""
    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _keys: set[tuple[str | None, str, str]] = PrivateAttr(default_factory=set)

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised components."""
        return "PagefaultChatStore"

    # -- reading ---------------------------------------------------------------------------

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Messages of a key in order, archived ones first where both are asked for.

        Raises:
            ValueError: ``limit`` or ``offset`` is below 0.
        """
        first, count = _number("offset", offset or 0), None if limit is None else _number("limit", limit)
        natives = [native for part in _parts(status) for native in await self._part(key, part).aeverything()]
        return [copy_of(native) for native in natives[first : None if count is None else first + count]]

    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        """How many messages a key has."""
        return sum([len((await self._part(key, part).aready()).seen) for part in _parts(status)])

    async def get_keys(self) -> list[str]:
        """Keys that have messages."""
        keys = [str(native.content) for native in await self._index().aeverything()]
        return [key for key in dict.fromkeys(keys) if await self.count_messages(key, None)]

    # -- writing ---------------------------------------------------------------------------

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE) -> None:
        """Add a message."""
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Add messages, all or none."""
        accepted = accept(messages)
        if accepted:
            await self._note_key(key)
            await self._part(key, status).aput(accepted)

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Replace the messages of a key."""
        accepted = accept(messages)
        await self._note_key(key)
        await self._part(key, status).areplace(accepted)

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at an index, archived ones counted first; ``None`` when there is none."""
        archived = await self.count_messages(key, MessageStatus.ARCHIVED)
        part, at = (MessageStatus.ARCHIVED, idx) if idx < archived else (MessageStatus.ACTIVE, idx - archived)
        gone = await self._cut(key, part, lambda natives: natives[at : at + 1] if at >= 0 else [])
        return gone[0] if gone else None

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Delete the messages of a key."""
        for part in _parts(status):
            await self._part(key, part).areplace([])

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest messages in use, and give them."""
        return await self._cut(key, MessageStatus.ACTIVE, lambda natives: natives[: max(0, n)])

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest messages in use, and give them."""
        archive = self._part(key, MessageStatus.ARCHIVED)
        await archive.aready()
        return await self._cut(key, MessageStatus.ACTIVE, lambda natives: natives[: max(0, n)], keep=archive.put)

    async def _cut(
        self,
        key: str,
        status: MessageStatus,
        choose: Callable[[list[ChatMessage]], list[ChatMessage]],
        keep: Callable[[list[ChatMessage]], None] | None = None,
    ) -> list[ChatMessage]:
        """Take some messages out, after ``keep`` has them."""
        held = self._part(key, status)
        await held.aready()
        with self._lock:  # nothing in here waits
            natives = held.ready().seen
            gone = choose(natives)
            if gone:
                if keep is not None:
                    keep([copy_of(native) for native in gone])
                left = {id(native) for native in gone}
                held.replace([native for native in natives if id(native) not in left])
        return [copy_of(native) for native in gone]

    # -- inside ----------------------------------------------------------------------------

    def _part(self, key: str, status: MessageStatus) -> Held:
        if not isinstance(key, str):
            raise InvalidId(
                f"a chat store's key is text, got {type(key).__name__} {key!r:.60}; convert it with str(...)"
            )
        space = self.memory.space(
            thread=key, tenant=self.tenant, user=self.user, agent=f"chat-store:{MessageStatus(status).value}"
        )
        return space.held(LLAMAINDEX)

    def _index(self) -> Held:
        """The keys, under no user: they are no conversation that a recall should find."""
        whose = hashlib.sha256(self.user.encode("utf-8")).hexdigest()[:32] if self.user else ""
        space = self.memory.space(thread=_KEYS, tenant=self.tenant, agent=f"chat-store:{_KEYS}{whose}")
        return space.held(LLAMAINDEX)

    async def _note_key(self, key: str) -> None:
        self._part(key, MessageStatus.ACTIVE)  # refuses what cannot be a key
        tenant, user = self.tenant, self.user
        if (tenant, user, key) in self._keys:
            return
        known = [str(native.content) for native in await self._index().aeverything()]
        with self._lock:
            self._keys.update((tenant, user, each) for each in known)
            is_new = (tenant, user, key) not in self._keys
            self._keys.add((tenant, user, key))
        if is_new:
            await self._index().aput([ChatMessage(role=MessageRole.USER, content=key)])


def _number(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}={value!r:.60}; give a number of messages from 0 on, or None")
    return value


def _parts(status: MessageStatus | None) -> list[MessageStatus]:
    return [MessageStatus.ARCHIVED, MessageStatus.ACTIVE] if status is None else [MessageStatus(status)]
