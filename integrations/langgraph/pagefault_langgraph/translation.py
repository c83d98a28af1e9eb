"""Pages as LangChain messages, whichever framework wrote them."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage

from pagefault import translation
from pagefault.messages.spoken import Part, Spoken, SpokenCall, Thought
from pagefault.page import Page, Role
from pagefault.recall import RecalledPage
from pagefault_langgraph.messages import LANGCHAIN

_TYPES = {Role.USER: "human", Role.ASSISTANT: "ai", Role.SYSTEM: "system", Role.TOOL: "tool"}


def messages_of(page: Page | RecalledPage) -> list[BaseMessage]:
    """The messages of a page, such as one that a recall found.

    Those that LangChain wrote are restored as they were. Those of LlamaIndex, and chat dictionaries, are
    translated: roles, text, names, tool calls with their ids and arguments, tool results, images, audio, video, files
    and thinking.

    Args:
        page: From ``Found.pages``.

    Raises:
        CannotTranslate: Another framework wrote the page, and it holds more than that (a file's path, citations, ...).

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
    content = _content(spoken)
    data: dict[str, Any] = {
        "type": _TYPES[spoken.role],
        "content": content[0]["text"] if [part["type"] for part in content] == ["text"] else content or "",
        "name": spoken.name or None,
        "id": spoken.message_id or None,
    }
    if spoken.role is Role.TOOL:
        return {**data, "tool_call_id": spoken.call_id}
    return {**data, "tool_calls": [_part(call) for call in spoken.calls]} if spoken.role is Role.ASSISTANT else data


def _content(spoken: Spoken) -> list[dict[str, Any]]:
    """Tool calls stand in the content only where something is said after one."""
    others = [part for part in spoken.parts if not isinstance(part, SpokenCall)]
    in_order = spoken.parts[: len(others)] != tuple(others)
    return [_part(part) for part in (spoken.parts if in_order else others)]


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if isinstance(part, SpokenCall):
        return {"type": "tool_call", "id": part.id or None, "name": part.name, "args": dict(part.arguments)}
    if isinstance(part, Thought):
        extra = dict(part.extra)
        fields = {"id": extra.pop("id", ""), "reasoning": part.text, "extras": extra}
        return {"type": "reasoning"} | {key: value for key, value in fields.items() if value}
    extras = {key: value for key, value in (("filename", part.title), ("detail", part.detail)) if value}
    fields = {"url": part.url, "base64": part.data, "mime_type": part.mime, "extras": extras}
    return {"type": part.kind} | {key: value for key, value in fields.items() if value}
