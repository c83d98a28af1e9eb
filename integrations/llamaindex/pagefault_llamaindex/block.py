"""For users of LlamaIndex's own ``Memory``: a block that keeps what it flushes, and finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.memory import BaseMemoryBlock
from pydantic import ConfigDict, Field

from pagefault import Memory, Outcome, Space
from pagefault.arguments import MAX_LIMIT, ScopeName
from pagefault.recall import ended
from pagefault_llamaindex.home import check_user
from pagefault_llamaindex.messages import LLAMAINDEX, accept, not_a_message

_DEFAULT_SESSION = "default"
_SESSION = "session_id"


class PagefaultMemoryBlock(BaseMemoryBlock[str]):
    """Keeps every message that leaves LlamaIndex's ``Memory``, session by session, and recalls by the last question.

    Attributes:
        memory: From ``pagefault.open(...)``.
        tenant: The isolation boundary, where there are several.
        user: Whose sessions these are, where that matters.
        limit: Pages that one recall returns at most, 1 to 100.
        token_limit: Tokens that they may take.
        scope: ``"user"`` recalls from all sessions of this user, each page marked with its own.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = Field(default="earlier", description="The block's name in the prompt.")
    memory: Memory = Field(exclude=True, description="From pagefault.open(...).")
    tenant: str | None = None
    user: str = ""
    limit: int = Field(default=5, ge=1, le=MAX_LIMIT)
    token_limit: int = Field(default=1_000, ge=1)
    scope: ScopeName = "thread"

    def model_post_init(self, context: Any) -> None:
        """Refuse all sessions of nobody, or ids that cannot be used, before anything is kept or asked."""
        super().model_post_init(context)
        check_user(self.scope, self.user)
        self.space()

    def space(self, session_id: str | None = None) -> Space:
        """The space of one session's flushed messages."""
        return self.memory.space(
            thread=session_id or _DEFAULT_SESSION, tenant=self.tenant, user=self.user, agent=f"block:{self.name}"
        )

    async def aput(
        self,
        messages: Sequence[ChatMessage],
        from_short_term_memory: bool = False,  # noqa: FBT001, FBT002  # as the base has it
        session_id: str | None = None,
    ) -> None:
        """Keep messages of a session; they are not changed.

        They are kept whatever becomes of the caller: where another block raises, LlamaIndex waits for none.
        """
        if messages and (self.accept_short_term_memory or not from_short_term_memory):
            keeping = self.space(session_id).held(LLAMAINDEX).aput(accept(list(messages)))
            await asyncio.shield(asyncio.wrap_future(self.memory.core.kernel.start(keeping)))

    async def _aput(self, messages: list[ChatMessage]) -> None:
        session = next((m.additional_kwargs[_SESSION] for m in messages if _SESSION in m.additional_kwargs), None)
        await self.aput(messages, session_id=session)

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        asked = [text for m in messages or () if (text := _asked(m)).strip()]
        if not asked:
            return ""
        space, query = self.space(block_kwargs.get(_SESSION)), asked[-1]
        found = await space.arecall(query, limit=self.limit, budget=self.token_limit, scope=self.scope)
        return "" if found.outcome is Outcome.ABSTAIN else found.text

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """The beginning of a recall: its best pages, the last of them cut short."""
        counter = self.memory.counter
        room = counter.count(content) - tokens_to_truncate
        lines = content.splitlines(keepends=True)
        while lines and counter.count(ended("".join(lines).removesuffix("\n"))) > room:
            lines = lines[: len(lines) * 3 // 4]
        return ended("".join(lines).removesuffix("\n")) or None


def _asked(message: ChatMessage) -> str:
    """What a user's message asks; of text that is none, nothing: a question that cannot be read ends no turn."""
    if not isinstance(message, ChatMessage):
        raise not_a_message(message)
    if message.role != MessageRole.USER:
        return ""
    return "\n".join(b.text for b in message.blocks or () if isinstance(b, TextBlock) and isinstance(b.text, str))
