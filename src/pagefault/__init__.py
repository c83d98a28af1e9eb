"""pagefault: virtual memory for LLM agents."""

from __future__ import annotations

from pagefault.budget import Budget, Watermarks
from pagefault.errors import (
    BadAddress,
    BudgetError,
    CorruptPage,
    EmbedderError,
    InvalidId,
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
)
from pagefault.memory import Memory, open  # noqa: A004  # pagefault.open reads as it should
from pagefault.page import Address, Kind, Page, Projection, Role, SpaceId
from pagefault.ports import Embedder, PageStore, TokenCounter
from pagefault.recall import Found, Outcome, RecalledPage
from pagefault.space import Space

__all__ = [
    "Address",
    "BadAddress",
    "Budget",
    "BudgetError",
    "CorruptPage",
    "Embedder",
    "EmbedderError",
    "Found",
    "InvalidId",
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
    "Watermarks",
    "open",
]
