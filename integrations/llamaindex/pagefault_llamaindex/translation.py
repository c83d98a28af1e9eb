"""Pages as LlamaIndex messages, whichever framework wrote them."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from pagefault import translation
from pagefault.page import Page
from pagefault.recall import RecalledPage
from pagefault.translation import Spoken, SpokenCall
from pagefault_llamaindex.encoding import plain
from pagefault_llamaindex.messages import LLAMAINDEX


def messages_of(page: Page | RecalledPage) -> list[ChatMessage]:
    """The messages of a page, such as one that a recall found.

    Those that LlamaIndex wrote are restored as they were. Those of LangChain, and chat dictionaries, are
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
    found: list[ChatMessage] = translation.messages_of(page, LLAMAINDEX, _build)
    return found


def _build(spoken: Spoken) -> dict[str, Any]:
    texts = spoken.texts or (() if spoken.calls else ("",))
    blocks = [{"block_type": "text", "text": text} for text in texts]
    extra = {"tool_call_id": spoken.call_id, "name": spoken.name}
    return {
        "role": spoken.role.value,
        "blocks": [*blocks, *map(_block, spoken.calls)],
        "additional_kwargs": {key: value for key, value in extra.items() if value},
    }


def _block(call: SpokenCall) -> dict[str, Any]:
    data = {"block_type": "tool_call", "tool_name": call.name, "tool_kwargs": plain(call.arguments)}
    return {**data, "tool_call_id": call.id} if call.id else data
