"""Wrapping the methods by which a chat model reaches its provider, on a copy that stays its own class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from langchain_core.language_models.chat_models import BaseChatModel

M = TypeVar("M", bound=BaseChatModel)
Wire = Callable[..., Any]
WIRE: Final = ("_generate", "_agenerate", "_stream", "_astream")


def rewired(model: M, wrap: Mapping[str, Callable[[Wire], Wire]], mark: str, *, value: object = True) -> M:
    """A copy of ``model`` whose own wire methods are wrapped.

    The copy is an instance of a dynamic subclass, so tool binding, structured output, profiles and
    ``isinstance`` checks keep working. Methods that the class does not define stay inherited: they
    lead to the others.

    Args:
        model: The chat model; stays as it is.
        wrap: For each name in ``WIRE``, and of other methods, from the method to the one that replaces it.
        mark: Attribute of the new class by which it is recognised.
        value: Of that attribute.
    """
    base = type(model)
    body: dict[str, Any] = {"__module__": base.__module__, "__doc__": base.__doc__, "__qualname__": base.__qualname__}
    names = [name for name in wrap if name not in WIRE or _defines(base, name)]
    body |= {name: wrap[name](getattr(base, name)) for name in names}
    copy = model.model_copy()
    subclass = type(base.__name__, (base,), body)
    setattr(subclass, mark, value)
    object.__setattr__(copy, "__class__", subclass)
    return copy


def _defines(base: type[BaseChatModel], name: str) -> bool:
    return getattr(base, name) is not getattr(BaseChatModel, name)
