"""An LLM that takes its turn: the scheduler's hook for chat engines, agents and workflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM

from pagefault import Scheduler
from pagefault.errors import BadTurn, PagefaultError
from pagefault.scheduler import check_scheduler
from pagefault.turn import Turn
from pagefault_llamaindex.model import Sent, known_of, pager_of
from pagefault_llamaindex.wire import L, Wire, rewired

DEFAULT_AGENT: Final = "agent"
_MARK: Final = "__pagefault_scheduled__"
_USAGE_NAMES: Final = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
_inside: Final[ContextVar[bool]] = ContextVar("pagefault_scheduled", default=False)
Asked = Sequence[ChatMessage] | str
"""What an LLM is sent: messages, or the prompt of a completion."""
Ask = Callable[[Asked], Turn]
Usage = tuple[int, int]
"""Input and output tokens."""


class NotSchedulable(PagefaultError, TypeError):
    """What was given to ``scheduled`` is no LLM."""


def scheduled(
    llm: L,
    scheduler: Scheduler,
    *,
    agent: str = DEFAULT_AGENT,
    tenant: str = "default",
    weight: float = 1,
    priority: int = 0,
    timeout: float | None = None,
) -> L:
    """A copy of ``llm`` that takes one turn of the scheduler for each chat and completion, streamed or not.

    It stays an instance of the LLM's own class. A turn is charged what the response reports, and as
    expected where it reports nothing. What it will cost and how it begins is known from ``paged``, which
    it may be combined with in either order, and from a :class:`PagefaultMemory`.

    Args:
        llm: A chat model.
        scheduler: One for all that share a backend.
        agent: Who calls.
        tenant: For whom; set by the application.
        weight: The agent's share, against 1 of others.
        priority: Higher goes first.
        timeout: Seconds to wait for a turn at most.

    Raises:
        NotSchedulable: Not an LLM.
        BadTurn: No scheduler.
    """
    check_scheduler(scheduler)
    if not isinstance(llm, LLM):
        raise NotSchedulable(f"scheduled() takes a LlamaIndex LLM, got {type(llm).__name__} {llm!r:.60}")

    def ask(asked: Asked) -> Turn:
        known = Sent(()) if isinstance(asked, str) else known_of(asked)
        return scheduler.turn(
            agent=agent,
            tenant=tenant,
            weight=weight,
            priority=priority,
            input_tokens=known.tokens,
            prefix=known.prefix or None,
            timeout=timeout,
        )

    return rewired(llm, {name: partial(wrap, ask) for name, wrap in _WRAPPERS.items()}, _MARK)


def _paged(llm: Any, asked: Asked, extra: Mapping[str, Any]) -> Asked:
    """A paged LLM pages before it asks for its turn: no slot is held for it, and the turn knows the prompt."""
    pager = pager_of(llm)
    return asked if pager is None or isinstance(asked, str) else pager.page(llm, asked, extra)


async def _apaged(llm: Any, asked: Asked, extra: Mapping[str, Any]) -> Asked:
    pager = pager_of(llm)
    return asked if pager is None or isinstance(asked, str) else await pager.apage(llm, asked, extra)


def _chat(ask: Ask, wire: Wire) -> Wire:
    def chat(self: Any, messages: Asked, *args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return wire(self, messages, *args, **kwargs)
        messages = _paged(self, messages, kwargs)
        with ask(messages) as turn:
            token = _inside.set(True)
            try:
                response = wire(self, messages, *args, **kwargs)
            finally:
                _inside.reset(token)
            _charge(turn, _usage(response))
            return response

    return chat


def _achat(ask: Ask, wire: Wire) -> Wire:
    async def achat(self: Any, messages: Asked, *args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return await wire(self, messages, *args, **kwargs)
        messages = await _apaged(self, messages, kwargs)
        async with ask(messages) as turn:
            token = _inside.set(True)
            try:
                response = await wire(self, messages, *args, **kwargs)
            finally:
                _inside.reset(token)
            _charge(turn, _usage(response))
            return response

    return achat


def _stream_chat(ask: Ask, wire: Wire) -> Wire:
    def stream_chat(self: Any, messages: Asked, *args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return wire(self, messages, *args, **kwargs)
        messages = _paged(self, messages, kwargs)

        def chunks() -> Any:
            with ask(messages) as turn:
                used: Usage | None = None
                stream = _marked(lambda: iter(wire(self, messages, *args, **kwargs)))
                while (chunk := _marked(lambda: next(stream, None))) is not None:
                    used = _usage(chunk) or used  # while streaming, reports grow
                    yield chunk
                _charge(turn, used)

        return chunks()

    return stream_chat


def _marked(work: Callable[[], Any]) -> Any:
    """Inside a turn only while a chunk is made: what its reader does between chunks is not."""
    token = _inside.set(True)
    try:
        return work()
    finally:
        _inside.reset(token)


def _astream_chat(ask: Ask, wire: Wire) -> Wire:
    async def astream_chat(self: Any, messages: Asked, *args: Any, **kwargs: Any) -> Any:
        if _inside.get():
            return await wire(self, messages, *args, **kwargs)
        messages = await _apaged(self, messages, kwargs)

        async def chunks() -> Any:
            async with ask(messages) as turn:
                used: Usage | None = None
                stream = aiter(await _amarked(wire(self, messages, *args, **kwargs)))
                while (chunk := await _amarked(anext(stream, None))) is not None:
                    used = _usage(chunk) or used  # while streaming, reports grow
                    yield chunk
                _charge(turn, used)

        return chunks()

    return astream_chat


async def _amarked(work: Any) -> Any:
    token = _inside.set(True)
    try:
        return await work
    finally:
        _inside.reset(token)


def _of_prompt(wrap: Callable[[Ask, Wire], Wire], ask: Ask, wire: Wire) -> Wire:
    """The same for a completion, whose prompt may be given by its name."""
    call = wrap(ask, wire)

    def complete(self: Any, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return call(self, prompt, *args, **kwargs)

    return complete


def _of_prompt_async(wrap: Callable[[Ask, Wire], Wire], ask: Ask, wire: Wire) -> Wire:
    call = wrap(ask, wire)

    async def acomplete(self: Any, prompt: str, *args: Any, **kwargs: Any) -> Any:
        return await call(self, prompt, *args, **kwargs)

    return acomplete


_WRAPPERS: Final[Mapping[str, Callable[[Ask, Wire], Wire]]] = {
    "chat": _chat,
    "achat": _achat,
    "stream_chat": _stream_chat,
    "astream_chat": _astream_chat,
    "complete": partial(_of_prompt, _chat),
    "acomplete": partial(_of_prompt_async, _achat),
    "stream_complete": partial(_of_prompt, _stream_chat),
    "astream_complete": partial(_of_prompt_async, _astream_chat),
}


def _charge(turn: Turn, used: Usage | None) -> None:
    if used is not None:
        with suppress(BadTurn):  # nobody loses an answer by what its provider says of it
            turn.charge(input_tokens=used[0], output_tokens=used[1])


def _usage(response: Any) -> Usage | None:
    """Input and output tokens that a response reports, wherever its integration puts them."""
    raw = getattr(response, "raw", None)
    for place in (getattr(response, "additional_kwargs", None), _of(raw, "usage"), raw):
        for names in _USAGE_NAMES:
            sent, came = (_of(place, name) for name in names)
            if type(sent) is int and type(came) is int and sent >= 0 and came >= 0:
                return sent, came
    return None


def _of(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, Mapping) else getattr(place, name, None)
