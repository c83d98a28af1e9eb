"""pagefault for LangGraph and LangChain agents."""

from __future__ import annotations

try:
    import langchain  # noqa: F401  # only to see whether it is there
    import langgraph  # noqa: F401  # only to see whether it is there
except ImportError as error:
    from pagefault.errors import MissingDependency

    raise MissingDependency("pagefault_langgraph needs LangGraph: pip install 'pagefault[langgraph]'") from error

from pagefault_langgraph.drop import ParallelDrop, add_paged_messages
from pagefault_langgraph.embedder import LangChainEmbedder
from pagefault_langgraph.history import PagefaultChatMessageHistory
from pagefault_langgraph.identity import Identity, space_of
from pagefault_langgraph.messages import LangChainCodec
from pagefault_langgraph.middleware import PagingMiddleware
from pagefault_langgraph.model import NotPageable, paged
from pagefault_langgraph.node import NotPaged, needs_paging, paging_node, prompt_of
from pagefault_langgraph.remember import remember_tool
from pagefault_langgraph.retriever import PagefaultRetriever
from pagefault_langgraph.scheduling import SchedulerRateLimiter, SchedulingMiddleware, scheduled
from pagefault_langgraph.source import StoreSource
from pagefault_langgraph.state import PagedState, PagingState
from pagefault_langgraph.store import PagefaultStore, open_store
from pagefault_langgraph.tools import recall_tool
from pagefault_langgraph.translation import messages_of
from pagefault_langgraph.window import window_tools

__all__ = [
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
    "remember_tool",
    "scheduled",
    "space_of",
    "window_tools",
]
