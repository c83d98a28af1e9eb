"""What users may import. A name added or removed here is a line in the CHANGELOG."""

from __future__ import annotations

import importlib
import inspect

import pytest

# Sorted; edit together with `__all__` of the package.
PUBLIC: dict[str, tuple[str, ...]] = {
    "pagefault": (
        "Address",
        "AmbiguousAgent",
        "BadAddress",
        "BadFilter",
        "BadTurn",
        "Budget",
        "BudgetError",
        "CannotTranslate",
        "CorruptPage",
        "Embedder",
        "EmbedderError",
        "Found",
        "InvalidId",
        "InvalidItem",
        "Item",
        "Kind",
        "LeaseLost",
        "Limits",
        "Memory",
        "MemoryClosed",
        "MissingDependency",
        "Outcome",
        "Page",
        "PageNotFound",
        "PageStore",
        "PageTooLarge",
        "PagefaultError",
        "PagesLost",
        "Passage",
        "PinnedOverBudget",
        "Prices",
        "Projection",
        "QueueFull",
        "QuotaExceeded",
        "RecalledItem",
        "RecalledPage",
        "RecalledPassage",
        "Role",
        "RulesDiffer",
        "Scheduler",
        "SchedulerClosed",
        "SchedulerError",
        "SchedulerUnreachable",
        "SharedStateUnreadable",
        "Source",
        "Space",
        "SpaceId",
        "StoreDenied",
        "StoreError",
        "StoreLocked",
        "StoreMismatch",
        "StoreMissing",
        "StoreUnreachable",
        "StoreUnwritable",
        "Token",
        "TokenCounter",
        "Turn",
        "TurnNotOpen",
        "TurnTimeout",
        "UnknownAgent",
        "UnsupportedMessage",
        "VersionConflict",
        "WaitBlocksLoop",
        "Watermarks",
        "aopen",
        "open",
    ),
    "pagefault_langgraph": (
        "Identity",
        "LangChainCodec",
        "LangChainEmbedder",
        "NotPageable",
        "NotPaged",
        "PagedState",
        "PagefaultChatMessageHistory",
        "PagefaultRetriever",
        "PagefaultStore",
        "PagingMiddleware",
        "PagingState",
        "ParallelDrop",
        "SchedulerRateLimiter",
        "SchedulingMiddleware",
        "StoreSource",
        "add_paged_messages",
        "messages_of",
        "needs_paging",
        "open_store",
        "paged",
        "paging_node",
        "prompt_of",
        "recall_tool",
        "scheduled",
        "remember_tool",
        "space_of",
        "window_tools",
    ),
    "pagefault_llamaindex": (
        "LlamaIndexCodec",
        "LlamaIndexEmbedder",
        "NotPageable",
        "NotSchedulable",
        "PagefaultChatStore",
        "PagefaultMemory",
        "PagefaultMemoryBlock",
        "PagefaultRetriever",
        "PagefaultToolSpec",
        "messages_of",
        "own_space",
        "paged",
        "recall_tool",
        "remember_tool",
        "scheduled",
    ),
}


@pytest.mark.parametrize("package", PUBLIC)
def test_exported_names_are_pinned(package):
    exported = getattr(importlib.import_module(package), "__all__", ())
    assert sorted(exported) == sorted(PUBLIC[package])


@pytest.mark.parametrize("package", PUBLIC)
def test_every_exported_name_exists_and_is_documented(package):
    module = importlib.import_module(package)
    for each in PUBLIC[package]:
        value = getattr(module, each)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert value.__doc__, f"{package}.{each} has no docstring"
