"""pagefault for LlamaIndex chat engines and agents."""

from __future__ import annotations

try:
    import llama_index.core  # noqa: F401  # only to see whether it is there
except ImportError as error:
    from pagefault.errors import MissingDependency

    raise MissingDependency("pagefault_llamaindex needs LlamaIndex: pip install 'pagefault[llamaindex]'") from error

from pagefault_llamaindex.embedder import LlamaIndexEmbedder
from pagefault_llamaindex.memory import PagefaultMemory
from pagefault_llamaindex.messages import LlamaIndexCodec

__all__ = ["LlamaIndexCodec", "LlamaIndexEmbedder", "PagefaultMemory"]
