"""Which chat models may answer a call, where what was given chooses one at run time or falls back to others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import DynamicRunnable

_RUNS_OWN: Final = ("__", "checkpoint", "thread_id")
"""Beginnings of the keys by which LangGraph tells runs and steps apart; no model is chosen by them."""


def models_of(model: Any, config: Mapping[str, Any]) -> list[Any]:
    """The chat models that may answer a call under this run's config, or what has their attributes."""
    if isinstance(model, BaseChatModel) or not isinstance(model, Runnable):
        return [model]
    if isinstance(model, RunnableWithFallbacks):
        return [answering for each in model.runnables for answering in models_of(each, config)]
    if isinstance(model, RunnableBindingBase):
        return models_of(
            model.bound, merge_configs(RunnableConfig(configurable=config.get("configurable") or {}), model.config)
        )
    if isinstance(model, DynamicRunnable):
        prepared, its = model.prepare({"configurable": config.get("configurable") or {}})
        return models_of(prepared, its)
    # of init_chat_model: has the attributes of the model that its config names
    return [model.with_config({"configurable": config.get("configurable") or {}})]


def choices(config: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """What in a run's config a model may be chosen by."""
    found: Mapping[str, Any] = config.get("configurable") or {}
    names = sorted(name for name in found if not name.startswith(_RUNS_OWN))
    return tuple((name, found[name]) for name in names if isinstance(found[name], str | int | float))
