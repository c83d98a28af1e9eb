"""From a run's config and messages to the space, path and budget that a call is about."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final, NamedTuple

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import var_child_runnable_config

from pagefault import Budget, Memory, SpaceId
from pagefault.paths.paging import Prompt
from pagefault.window.budget import DEFAULT_WINDOW, check_budget
from pagefault.window.calibration import Gauge
from pagefault_langgraph.answering import choices, models_of
from pagefault_langgraph.identity import Identity, space_of

MAX_MODELS: Final = 64
_log: Final = logging.getLogger("pagefault")


OWNED: Final[ContextVar[Prompt | None]] = ContextVar("pagefault_owned", default=None)
"""What paging made of the request on its way to the model. Set by whoever pages it first: a page has one owner."""


IN_TURN: Final[ContextVar[bool]] = ContextVar("pagefault_in_turn", default=False)
"""Set while a scheduling middleware holds a turn for the request that is on its way."""


_given: Final[ContextVar[Mapping[str, Any] | None]] = ContextVar("pagefault_given", default=None)


class Sent(NamedTuple):
    """What a paged model sends, and what paging made of it."""

    messages: list[BaseMessage]
    prompt: Prompt


SENT: Final[ContextVar[Sent | None]] = ContextVar("pagefault_sent", default=None)
"""Of the last request that a paged model rendered here; it is recognised by its very list."""


def owned_by(messages: list[BaseMessage] | None) -> Prompt | None:
    """What paging made of the request on its way to the model, whoever did it."""
    sent = SENT.get()
    return sent.prompt if sent is not None and sent.messages is messages else OWNED.get()


@contextmanager
def given(config: Mapping[str, Any] | None) -> Iterator[None]:
    """While a model is called with this config: outside of a run nothing else says whose call it is."""
    token = _given.set(config or _given.get())
    try:
        yield
    finally:
        _given.reset(token)


def config_of() -> Mapping[str, Any]:
    """The config of the run that this call is part of; outside of a run the one given with the call."""
    return var_child_runnable_config.get() or _given.get() or {}


class Budgets:
    """Which budget holds for a call: it follows the model of this call, and what its provider reports."""

    def __init__(self, memory: Memory, budget: Budget | None) -> None:
        if not isinstance(memory, Memory):
            raise TypeError(f"memory is what pagefault.open(...) returns, got {type(memory).__name__} {memory!r:.60}")
        check_budget(budget)
        self._memory = memory
        self._budget = budget
        self._known: dict[Hashable, tuple[Any, Gauge]] = {}

    def of(self, model: Any) -> Gauge:
        """The gauge over the budget given, else the memory's own, else one for the window in the model's profile.

        What may be answered by several models, such as ``with_fallbacks``, has the smallest of their windows.
        """
        known = self._known.get(id(model))
        if known is not None:
            return known[1]
        config = config_of()
        key = id(model) if isinstance(model, BaseChatModel) else (id(model), *choices(config))
        known = self._known.get(key)
        if known is None:  # the model is kept beside its gauge, so that its id stays its own
            if len(self._known) >= MAX_MODELS:
                self._known.clear()
            gauges = [self._memory.core.gauge(_name(m), self._budget or self._ask(m)) for m in models_of(model, config)]
            known = self._known[key] = (model, min(gauges, key=lambda gauge: gauge.asked.window))
        return known[1]

    @cached_property
    def fixed(self) -> Budget:
        """The budget where neither model nor answers are seen."""
        return self._budget or self._ask(None)

    def _ask(self, model: Any) -> Budget:
        if self._memory.has_budget:
            return self._memory.budget
        profile = getattr(model, "profile", None)
        window = profile.get("max_input_tokens") if isinstance(profile, dict) else None
        if isinstance(window, int) and window > 0:
            return Budget(window=window)
        _log.warning(
            "%s does not say how large its window is; assuming %s tokens. "
            "Say it with budget=pagefault.Budget(window=...)",
            "the memory of a paging node, which sees no model,"
            if model is None
            else f"the model {type(model).__name__}",
            f"{DEFAULT_WINDOW:,}",
        )
        return self._memory.budget


def _name(model: Any) -> str:
    """What tells tokenizers apart: the model's name where it has one, and the class that calls it."""
    names = (getattr(model, key, None) for key in ("model_name", "model", "model_id"))
    name = next((n for n in names if isinstance(n, str) and n), "")
    return f"{type(model).__name__} {name}".strip()


def identify(identity: Identity | None, config: Mapping[str, Any], history: list[Any]) -> SpaceId:
    """The application's own identity where it gave one, else the default."""
    return identity(config) if identity is not None else space_of(config, history)
