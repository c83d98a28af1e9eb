"""Wrapping the methods by which a chat model reaches its provider, on a copy that stays its own class."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

from langchain_core.language_models.chat_models import BaseChatModel

from pagefault_langgraph.locate import given

M = TypeVar("M", bound=BaseChatModel)
Wire = Callable[..., Any]


def rewired(model: M, wrap: Mapping[str, Callable[[Wire], Wire]], mark: str, *, value: object = True) -> M:
    """A copy of ``model`` whose own wire methods are wrapped, and which notes the config of each call.

    The copy is an instance of a dynamic subclass, so tool binding, structured output, profiles and
    ``isinstance`` checks keep working. Methods that the class does not define stay inherited: they
    lead to the others.

    Args:
        model: The chat model; stays as it is.
        wrap: For each wire method, from the method to the one that replaces it.
        mark: Attribute of the new class by which it is recognised.
        value: Of that attribute.
    """
    base = type(model)
    body: dict[str, Any] = {"__module__": base.__module__, "__doc__": base.__doc__, "__qualname__": base.__qualname__}
    body |= {name: wrap[name](getattr(base, name)) for name in wrap if _defines(base, name)}
    body |= {name: outer(getattr(base, name)) for name, outer in _OUTER.items()}
    copy = model.model_copy()
    subclass = type(base.__name__, (base,), body)
    setattr(subclass, mark, value)
    object.__setattr__(copy, "__class__", subclass)
    return copy


def _defines(base: type[BaseChatModel], name: str) -> bool:
    return getattr(base, name) is not getattr(BaseChatModel, name)


def _invoke(call: Wire) -> Wire:
    def invoke(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002  # LangChain's name
        with given(config):
            return call(self, input, config, **kwargs)

    return invoke


def _ainvoke(call: Wire) -> Wire:
    async def ainvoke(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002  # as above
        with given(config):
            return await call(self, input, config, **kwargs)

    return ainvoke


def _stream(call: Wire) -> Wire:
    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002  # as above
        chunks = call(self, input, config, **kwargs)
        with given(config):  # it is paged before the first chunk, and what its reader does is not part of the call
            first = next(chunks, None)
        if first is not None:
            yield first
            yield from chunks

    return stream


def _astream(call: Wire) -> Wire:
    async def astream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:  # noqa: A002  # as above
        async with aclosing(call(self, input, config, **kwargs)) as chunks:
            with given(config):
                first = await anext(chunks, None)
            if first is not None:
                yield first
                async for chunk in chunks:
                    yield chunk

    return astream


_OUTER: Final[Mapping[str, Callable[[Wire], Wire]]] = {
    "invoke": _invoke,
    "ainvoke": _ainvoke,
    "stream": _stream,
    "astream": _astream,
}
"""What an application calls; each notes the config that it is given."""
