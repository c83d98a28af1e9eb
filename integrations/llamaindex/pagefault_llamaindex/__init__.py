"""pagefault for LlamaIndex: not built yet, the package only keeps its place."""

from __future__ import annotations

import importlib.util

from pagefault.errors import MissingDependency

if importlib.util.find_spec("llama_index") is None:
    raise MissingDependency("pagefault_llamaindex needs LlamaIndex: pip install 'pagefault[llamaindex]'")
