"""pagefault for LlamaIndex."""

from __future__ import annotations

import importlib.util

from pagefault.errors import MissingDependency

if importlib.util.find_spec("llama_index") is None:
    raise MissingDependency("pagefault_llamaindex needs LlamaIndex: pip install 'pagefault[llamaindex]'")

from pagefault_llamaindex.embedder import LlamaIndexEmbedder

__all__ = ["LlamaIndexEmbedder"]
