"""pagefault: virtual memory for LLM agents."""

from __future__ import annotations

from pagefault.budget import Budget, Watermarks
from pagefault.errors import (
    BadAddress,
    BadFilter,
    BudgetError,
    CorruptPage,
    EmbedderError,
    InvalidId,
    InvalidItem,
    MemoryClosed,
    MissingDependency,
    PagefaultError,
    PageNotFound,
    PagesLost,
    PageTooLarge,
    PinnedOverBudget,
    StoreDenied,
    StoreError,
    StoreLocked,
    StoreMismatch,
    StoreUnreachable,
    StoreUnwritable,
    UnsupportedMessage,
    VersionConflict,
)
from pagefault.items import Item
from pagefault.memory import Memory, open  # noqa: A004  # pagefault.open reads as it should
from pagefault.page import Address, Kind, Page, Projection, Role, SpaceId
from pagefault.ports import Embedder, PageStore, TokenCounter
from pagefault.recall import Found, Outcome, RecalledItem, RecalledPage
from pagefault.space import Space

__all__ = [
    "Address",
    "BadAddress",
    "BadFilter",
    "Budget",
    "BudgetError",
    "CorruptPage",
    "Embedder",
    "EmbedderError",
    "Found",
    "InvalidId",
    "InvalidItem",
    "Item",
    "Kind",
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
    "PinnedOverBudget",
    "Projection",
    "RecalledItem",
    "RecalledPage",
    "Role",
    "Space",
    "SpaceId",
    "StoreDenied",
    "StoreError",
    "StoreLocked",
    "StoreMismatch",
    "StoreUnreachable",
    "StoreUnwritable",
    "TokenCounter",
    "UnsupportedMessage",
    "VersionConflict",
    "Watermarks",
    "open",
]
