"""Pages as LlamaIndex messages, whichever framework wrote them."""

from __future__ import annotations

from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage
from pydantic import AnyUrl

from pagefault import translation
from pagefault.messages.spoken import Part, Spoken, SpokenCall, Thought
from pagefault.page import Page
from pagefault.recall import RecalledPage
from pagefault_llamaindex.encoding import plain
from pagefault_llamaindex.messages import LLAMAINDEX

_MEDIA: Final = {
    "image": ("image", "image", "image_mimetype"),
    "audio": ("audio", "audio", "format"),
    "video": ("video", "video", "video_mimetype"),
    "file": ("document", "data", "document_mimetype"),
}


def messages_of(page: Page | RecalledPage) -> list[ChatMessage]:
    """The messages of a page, such as one that a recall found.

    Those that LlamaIndex wrote are restored as they were. Those of LangChain, and chat dictionaries, are
    translated: roles, text, names, tool calls with their ids and arguments, tool results, images, audio, video, files
    and thinking.

    Args:
        page: From ``Found.pages``.

    Raises:
        CannotTranslate: Another framework wrote the page, and it holds more than that (failed calls, artifacts, ...).

    Example:
        >>> import pagefault
        >>> with pagefault.open(":memory:", embedder=None) as memory:
        ...     space = memory.space(thread="t")
        ...     _ = space.append([{"role": "user", "content": "hi"}])
        ...     messages_of(space.fault("1").pages[0])[0].content
        'hi'
    """
    found: list[ChatMessage] = translation.messages_of(page, LLAMAINDEX, _build)
    return found


def _build(spoken: Spoken) -> dict[str, Any]:
    extra = {"tool_call_id": spoken.call_id, "name": spoken.name}
    return {
        "role": spoken.role.value,
        "blocks": [_block(part) for part in spoken.parts or ("",)],
        "additional_kwargs": {key: value for key, value in extra.items() if value},
    }


def _block(part: Part) -> dict[str, Any]:
    if isinstance(part, str):
        return {"block_type": "text", "text": part}
    if isinstance(part, SpokenCall):
        data = {"block_type": "tool_call", "tool_name": part.name, "tool_kwargs": plain(part.arguments)}
        return {**data, "tool_call_id": part.id} if part.id else data
    if isinstance(part, Thought):
        data = {"block_type": "thinking", "additional_information": plain(part.extra)}
        return {**data, "content": part.text} if part.text else data
    kind, name, mime = _MEDIA[part.kind]
    fields = {
        name: plain(part.data.encode()),
        "url": part.url if kind == "document" else plain(_url(part.url)),
        mime: part.mime.removeprefix("audio/"),
        "title": part.title,
        "detail": part.detail,
    }
    given = {name: part.data, "url": part.url, mime: part.mime, "title": part.title, "detail": part.detail}
    return {"block_type": kind} | {key: value for key, value in fields.items() if given[key]}


def _url(url: str) -> AnyUrl | str:
    """As LlamaIndex holds it, where that spells it as it was given."""
    try:
        found = AnyUrl(url)
    except ValueError:
        return url
    return found if str(found) == url else url
