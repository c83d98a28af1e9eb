"""pagefault for LlamaIndex chat engines and agents."""

from __future__ import annotations

try:
    import llama_index.core  # noqa: F401  # only to see whether it is there
except ImportError as error:
    from pagefault.errors import MissingDependency

    raise MissingDependency("pagefault_llamaindex needs LlamaIndex: pip install 'pagefault[llamaindex]'") from error

from pagefault_llamaindex.agents import own_space
from pagefault_llamaindex.block import PagefaultMemoryBlock
from pagefault_llamaindex.chat_store import PagefaultChatStore
from pagefault_llamaindex.embedder import LlamaIndexEmbedder
from pagefault_llamaindex.memory import PagefaultMemory
from pagefault_llamaindex.messages import LlamaIndexCodec
from pagefault_llamaindex.model import NotPageable, paged
from pagefault_llamaindex.retriever import PagefaultRetriever
from pagefault_llamaindex.scheduling import NotSchedulable, scheduled
from pagefault_llamaindex.tools import PagefaultToolSpec, recall_tool, remember_tool
from pagefault_llamaindex.translation import messages_of

__all__ = [
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
]
