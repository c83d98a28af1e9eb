"""Pages as LangChain messages, whichever framework wrote them."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage

from pagefault import translation
from pagefault.page import Page, Role
from pagefault.recall import RecalledPage
from pagefault.translation import Spoken
from pagefault_langgraph.messages import LANGCHAIN

_TYPES = {Role.USER: "human", Role.ASSISTANT: "ai", Role.SYSTEM: "system", Role.TOOL: "tool"}


def messages_of(page: Page | RecalledPage) -> list[BaseMessage]:
    """The messages of a page, such as one that a recall found.

    Those that LangChain wrote are restored as they were. Those of LlamaIndex, and chat dictionaries, are
    translated: roles, text, names, tool calls with their ids and arguments, tool results.

    Args:
        page: From ``Found.pages``.

    Raises:
        CannotTranslate: Another framework wrote the page, and it holds more than that (media, thinking, ...).

    Example:
        >>> import pagefault
        >>> with pagefault.open(":memory:", embedder=None) as memory:
        ...     space = memory.space(thread="t")
        ...     _ = space.append([{"role": "user", "content": "hi"}])
        ...     messages_of(space.fault("1").pages[0])[0].content
        'hi'
    """
    found: list[BaseMessage] = translation.messages_of(page, LANGCHAIN, _build)
    return found


def _build(spoken: Spoken) -> dict[str, Any]:
    texts = spoken.texts
    data: dict[str, Any] = {
        "type": _TYPES[spoken.role],
        "content": [{"type": "text", "text": text} for text in texts] if len(texts) > 1 else "".join(texts),
        "name": spoken.name or None,
        "id": spoken.message_id or None,
    }
    if spoken.role is Role.TOOL:
        return {**data, "tool_call_id": spoken.call_id}
    if spoken.role is Role.ASSISTANT:
        calls = [{"type": "tool_call", "id": c.id or None, "name": c.name, "args": c.arguments} for c in spoken.calls]
        return {**data, "tool_calls": calls}
    return data
