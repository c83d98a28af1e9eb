"""For users of LlamaIndex's own ``Memory``: a chat store over pagefault.

A key has two spaces, one for the messages in use and one for those that ``Memory`` archived. What is
archived is added there before it is taken away here: a crash in between leaves a message in both,
never in none. A third space lists the keys; a new key is stored there before its messages are.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn
from weakref import WeakKeyDictionary

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from pydantic import ConfigDict, Field, PrivateAttr

from pagefault import Memory
from pagefault.errors import CorruptPage, InvalidId, PagefaultError, PagesLost, StoreError
from pagefault.held import Held
from pagefault.paths.paging import Paging
from pagefault_llamaindex.messages import LLAMAINDEX, accept, copy_of

_KEYS = "keys"
_log: Final = logging.getLogger("pagefault")
_one: Final = threading.Lock()
_changing: Final[WeakKeyDictionary[Paging, threading.RLock]] = WeakKeyDictionary()
"""Held while messages of a conversation are taken out, or looked at in both parts, by any store: several may have the
same one, on threads of their own. Nothing waits for the store beneath them."""


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
            CorruptPage: One of them is damaged; ``limit`` and ``offset`` read around it.
        """
        first, count = _number("offset", offset or 0), None if limit is None else _number("limit", limit)
        parts, wrong = await self._look(key, status)
        with self._changing(key):
            natives = [native for part in parts for native in part.ready().seen]
        wanted = natives[first : None if count is None else first + count]
        if any(id(native) in wrong for native in wanted):
            self._refuse(key, wanted, wrong)
        return [copy_of(native) for native in wanted]

    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        """How many messages a key has."""
        parts = [self._part(key, part) for part in _parts(status)]
        for part in parts:
            await part.aready()
        with self._changing(key):
            return sum(len(part.ready().seen) for part in parts)

    async def get_keys(self) -> list[str]:
        """Keys that have messages."""
        keys = [str(native.content) for native in await self._index().aeverything()]
        return [key for key in dict.fromkeys(keys) if await self._is_used(key)]

    async def _is_used(self, key: str) -> bool:
        return await self._part(key, MessageStatus.ACTIVE).ahas_any() or (
            await self._part(key, MessageStatus.ARCHIVED).ahas_any()
        )

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
        """Make these all messages of a key: none stays in its other part."""
        accepted = accept(messages)
        await self._note_key(key)
        await self._replace(key, status, accepted)
        for other in set(_parts(None)) - {MessageStatus(status)}:
            await self._replace(key, other, [])

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at an index, archived ones counted first; ``None`` when there is none.

        One that is damaged cannot be given back: ``None`` as well, and a line in the log. All damaged ones of that part
        go with it.

        Raises:
            CorruptPage: Another one is damaged, which would have to be written again; nothing is changed.
        """
        _whole_number("idx", idx)
        (archive, active), wrong = await self._look(key, None)
        with self._changing(key):
            archived = len(archive.ready().seen)
            held, at = (archive, idx) if idx < archived else (active, idx - archived)
            seen = held.ready().seen
            gone = seen[at : at + 1] if at >= 0 else []
            damaged = [native for native in seen if id(native) in wrong]
            if gone and damaged:
                if gone[0] not in damaged:
                    self._refuse(key, damaged, wrong)
                held.take_out(damaged)
                _log.warning("%d damaged messages of %r are deleted: %s", len(damaged), key, wrong[id(gone[0])])
                return None
            held.take_out(gone)
        return copy_of(gone[0]) if gone else None

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Delete the messages of a key."""
        for part in _parts(status):
            await self._replace(key, part, [])

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the oldest messages in use, and give them."""
        return await self._cut(key, n)

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the oldest messages in use, and give them."""
        archive = self._part(key, MessageStatus.ARCHIVED)
        await archive.aroom()  # so that nothing waits while it is added to
        return await self._cut(key, n, archive)

    async def _cut(self, key: str, n: int, archive: Held | None = None) -> list[ChatMessage]:
        """Take the oldest messages in use out, after the archive has them, if it is to."""
        _whole_number("n", n)
        (held,), wrong = await self._look(key, MessageStatus.ACTIVE)
        with self._changing(key):
            seen = held.ready().seen
            gone = seen[: max(0, n)]
            if gone and wrong:
                self._refuse(key, seen, wrong)
            if gone and archive is not None:
                archive.admit([copy_of(native) for native in gone])
            held.take_out(gone, now_in=archive)
        return [copy_of(native) for native in gone]

    # -- inside ----------------------------------------------------------------------------

    async def _replace(self, key: str, status: MessageStatus, messages: list[ChatMessage]) -> None:
        held = self._part(key, status)
        await held.aready()
        with self._changing(key):
            held.replace(messages)

    async def _look(self, key: str, status: MessageStatus | None) -> tuple[list[Held], dict[int, PagefaultError]]:
        """The parts of a key with all their messages here, and what is wrong with those that are damaged, by id."""
        parts = [self._part(key, part) for part in _parts(status)]
        wrong: dict[int, PagefaultError] = {}
        for part in parts:
            natives, failed = await part.aintact()
            wrong |= {id(natives[at]): error for at, error in failed.items()}
        return parts, wrong

    def _refuse(self, key: str, natives: Sequence[Any], wrong: Mapping[int, PagefaultError]) -> NoReturn:
        """Say which is damaged, by the index that deletes it."""
        damaged = next(native for native in natives if id(native) in wrong)
        every = [native for part in _parts(None) for native in self._part(key, part).ready().seen]
        idx = next((at for at, native in enumerate(every) if native is damaged), 0)
        error = wrong[id(damaged)]
        raise type(error)(
            f"message {idx} of {key!r:.60} is damaged: delete_message(key, {idx}) takes it out, the others can be read "
            f"with limit= and offset= ({error})"
        ) from error

    def _changing(self, key: str) -> threading.RLock:
        paging = self._part(key, MessageStatus.ACTIVE)._paging
        with _one:
            return _changing.setdefault(paging, threading.RLock())

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
        """Have a key listed and that stored before its first messages are; one that is down takes neither."""
        self._part(key, MessageStatus.ACTIVE)  # refuses what cannot be a key
        whose = (self.tenant, self.user)
        if (*whose, key) in self._keys:
            return
        index = self._index()
        try:
            known = [str(native.content) for native in await index.aeverything()]
        except (CorruptPage, PagesLost):  # which get_keys tells
            known = []
        if key not in known:  # of two that see that at once, both list it
            await index.aput([ChatMessage(role=MessageRole.USER, content=key)])
        with contextlib.suppress(StoreError):  # the list waits, and so will the messages
            await index.astored()
        self._keys.update([(*whose, each) for each in (*known, key)])


def _number(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}={value!r:.60}; give a number of messages from 0 on, or None")
    return value


def _whole_number(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}={value!r:.60}; give a whole number")


def _parts(status: MessageStatus | None) -> list[MessageStatus]:
    return [MessageStatus.ARCHIVED, MessageStatus.ACTIVE] if status is None else [MessageStatus(status)]
