"""Wrapping the methods by which an LLM is chatted with, on a copy that stays its own class."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from llama_index.core.llms import LLM

L = TypeVar("L", bound=LLM)
Wire = Callable[..., Any]


def rewired(llm: L, wrap: Mapping[str, Callable[[Wire], Wire]], mark: str, *, value: object = True) -> L:
    """A copy of ``llm`` with some of its methods wrapped, of a dynamic subclass of its class.

    Args:
        llm: The LLM; stays as it is.
        wrap: By method name, from the method to the one that replaces it.
        mark: Attribute of the new class by which it is recognised.
        value: Of that attribute.
    """
    base = type(llm)
    body: dict[str, Any] = {"__module__": base.__module__, "__doc__": base.__doc__, "__qualname__": base.__qualname__}
    body |= {name: _named(make(_inherited(base, name)), getattr(base, name)) for name, make in wrap.items()}
    subclass = type(base.__name__, (base,), body)
    setattr(subclass, mark, value)
    copy = llm.model_copy()
    object.__setattr__(copy, "__class__", subclass)
    return copy


def _inherited(base: type[LLM], name: str) -> Wire:
    """A method, bound before it is called.

    LlamaIndex decorates it by means of wrapt, which before 2.5 loses an argument where it is called on the class.
    """
    method = inspect.getattr_static(base, name)

    def wire(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method.__get__(self, base)(*args, **kwargs)

    return wire


def _named(made: Wire, wire: Wire) -> Wire:
    """With the method's own name and marks: LlamaIndex then opens one span for a call, the method's, not two."""
    return functools.update_wrapper(made, wire)
